package linkerd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/meshproof/meshproof/clusters/embedded/proxy/relay"
	"github.com/meshproof/meshproof/internal/trust"
	"github.com/meshproof/meshproof/scenarios"
)

// What a proxy asks Linkerd's identity service for, and when it asks again.
const (
	leafLifetime = 24 * time.Hour
	leafBackdate = 20 * time.Second // clock skew allowance of the identity service
	leafRenewal  = 0.7
)

// identityOf is the name of a service account.
func identityOf(namespace, account string) string {
	return fmt.Sprintf("%s.%s.serviceaccount.identity.%s.%s", account, namespace, controlPlane, scenarios.TrustDomain)
}

// identity is the workload's certificate.
type identity struct{ relay.Identity }

func newIdentity(name string, issuer func() *trust.Issuer, lifetime time.Duration, renewed func(error)) (*identity, error) {
	id := &identity{relay.Identity{
		Issuer: issuer, Renewal: leafRenewal, Renewed: renewed,
		Leaf: trust.Leaf{DNS: name, Key: trust.ECDSAP256, Backdate: leafBackdate, Lifetime: lifetime},
	}}
	return id, id.Renew()
}

var (
	errKey        = errors.New("the peer's key is not ECDSA P-256, and there is no common signature algorithm")
	errUnexpected = errors.New("the peer is not who was expected")
)

// verify checks a chain: it leads to the root, and the leaf's key is of the one kind that Linkerd knows.
func (id *identity) verify(chain []*x509.Certificate, usage x509.ExtKeyUsage) error {
	if err := id.Verify(chain, usage); err != nil {
		return err
	}
	if key, ok := chain[0].PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		return errKey
	}
	return nil
}

// serverTLS is the inbound side: a client's certificate is asked for, and valid where there is one.
func (id *identity) serverTLS() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		ClientAuth:             tls.RequestClientCert,
		SessionTicketsDisabled: true,
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return id.Now.Load(), nil },
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return nil
			}
			return id.verify(s.PeerCertificates, x509.ExtKeyUsageClientAuth)
		},
	}
}

// clientTLS is the outbound side: the server must be the one that discovery named.
func (id *identity) clientTLS(server string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		ServerName:         server,
		InsecureSkipVerify: true, // VerifyConnection checks, against the run's root alone
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return id.Now.Load(), nil
		},
		VerifyConnection: func(s tls.ConnectionState) error {
			if err := id.verify(s.PeerCertificates, x509.ExtKeyUsageServerAuth); err != nil {
				return err
			}
			if !slices.Contains(s.PeerCertificates[0].DNSNames, server) {
				return fmt.Errorf("%w: %s", errUnexpected, server)
			}
			return nil
		},
	}
}

// clientID is a client's identity as policy and metrics see it: its certificate's first DNS or URI name.
type clientID struct {
	name string
	uri  bool
}

func clientIDOf(s tls.ConnectionState) clientID {
	if len(s.PeerCertificates) == 0 {
		return clientID{}
	}
	leaf := s.PeerCertificates[0]
	switch {
	case len(leaf.DNSNames) > 0:
		return clientID{name: leaf.DNSNames[0]}
	case len(leaf.URIs) > 0:
		return clientID{name: leaf.URIs[0].String(), uri: true}
	}
	return clientID{}
}
