package istio

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/clusters/embedded/proxy/relay"
	"github.com/meshproof/meshproof/internal/trust"
)

// What Istio's agent asks istiod for, and when it asks again.
const (
	leafLifetime = 24 * time.Hour
	leafBackdate = 2 * time.Minute // for clocks that are behind
	leafRenewal  = 0.5             // share of the lifetime after which a new leaf is fetched
)

// agentConfig is what the model reads of the annotation proxy.istio.io/config.
type agentConfig struct {
	ProxyMetadata map[string]string `json:"proxyMetadata"`
}

// Environment of the agent that the model knows.
const (
	envSignature = "ECC_SIGNATURE_ALGORITHM" // ECDSA: a P-256 key instead of RSA-2048
	envLifetime  = "SECRET_TTL"              // lifetime of a leaf
)

// leafOf says what leaf a pod gets.
func leafOf(annotations map[string]string, uri string) (trust.Leaf, error) {
	leaf := trust.Leaf{URI: uri, Key: trust.RSA2048, Backdate: leafBackdate, Lifetime: leafLifetime}
	text, ok := annotations[configKey]
	if !ok {
		return leaf, nil
	}
	var cfg agentConfig
	if err := yaml.UnmarshalStrict([]byte(text), &cfg); err != nil {
		return leaf, fmt.Errorf("annotation %s: %w", configKey, err)
	}
	for k, v := range cfg.ProxyMetadata {
		switch k {
		case envSignature:
			if v != "ECDSA" {
				return leaf, fmt.Errorf("annotation %s: proxyMetadata.%s is %q; Istio knows ECDSA", configKey, k, v)
			}
			leaf.Key = trust.ECDSAP256
		case envLifetime:
			d, err := time.ParseDuration(v)
			if err != nil || d <= 0 {
				return leaf, fmt.Errorf("annotation %s: proxyMetadata.%s is %q; it must be a duration such as 24h", configKey, k, v)
			}
			leaf.Lifetime = d
		default:
			return leaf, fmt.Errorf("annotation %s: proxyMetadata.%s is not modelled; %s and %s are", configKey, k, envSignature, envLifetime)
		}
	}
	return leaf, nil
}

// identity is the workload's certificate.
type identity struct{ relay.Identity }

func newIdentity(pod proxy.Pod, issuer *trust.Issuer) (*identity, error) {
	leaf, err := leafOf(pod.Annotations, spiffeID(pod.Namespace, pod.ServiceAccount))
	if err != nil {
		return nil, err
	}
	id := &identity{relay.Identity{Issuer: issuer, Leaf: leaf, Renewal: leafRenewal}}
	return id, id.Renew()
}

var (
	errNoIdentity = errors.New("the peer's certificate has no single SPIFFE ID")
	errUnexpected = errors.New("the peer is not who was expected")
)

// istioALPN is what sidecars offer each other for HTTP/1.1.
var istioALPN = []string{"istio-http/1.1", "istio", "http/1.1"}

// mtlsALPN marks mutual TLS between sidecars where a port takes plaintext too.
var mtlsALPN = []string{"istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"}

// serverTLS is the inbound side: a certificate of the mesh is required.
func (id *identity) serverTLS() *tls.Config {
	cfg := &tls.Config{
		MinVersion:             tls.VersionTLS12,
		ClientAuth:             tls.RequireAnyClientCert,
		SessionTicketsDisabled: true,
		NextProtos:             istioALPN,
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return id.Now.Load(), nil },
		VerifyConnection: func(s tls.ConnectionState) error {
			_, err := id.verify(s.PeerCertificates, x509.ExtKeyUsageClientAuth)
			return err
		},
	}
	plain := cfg.Clone()
	plain.NextProtos = nil
	// Go refuses a client that offers only unknown protocols; Envoy goes on without one.
	cfg.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if !slices.ContainsFunc(h.SupportedProtos, func(p string) bool { return slices.Contains(istioALPN, p) }) {
			return plain, nil
		}
		return nil, nil
	}
	return cfg
}

// clientTLS is the outbound side: the server must be one of the identities.
func (id *identity) clientTLS(sni string, identities []string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         sni,
		NextProtos:         istioALPN,
		InsecureSkipVerify: true, // names are SPIFFE IDs here: VerifyConnection checks chain and ID
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return id.Now.Load(), nil
		},
		VerifyConnection: func(s tls.ConnectionState) error {
			got, err := id.verify(s.PeerCertificates, x509.ExtKeyUsageServerAuth)
			if err != nil {
				return err
			}
			if !slices.Contains(identities, got) {
				return fmt.Errorf("%w: %s", errUnexpected, got)
			}
			return nil
		},
	}
}

// verify checks a chain against the root, and returns the SPIFFE ID of its leaf.
func (id *identity) verify(chain []*x509.Certificate, usage x509.ExtKeyUsage) (string, error) {
	if err := id.Verify(chain, usage); err != nil {
		return "", err
	}
	// Istio's validator takes the one URI of a SPIFFE certificate (SPIFFE X509-SVID section 2).
	if len(chain[0].URIs) != 1 || chain[0].URIs[0].Scheme != "spiffe" {
		return "", errNoIdentity
	}
	return chain[0].URIs[0].String(), nil
}
