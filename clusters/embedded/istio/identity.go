package istio

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
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

// leafOf says what leaf a pod gets: a key of the kind that its proxy is told by the mesh's configuration, Istio's other
// defaults, then what the annotation says. istiod hands out the chain with its root.
func leafOf(annotations map[string]string, uri string, key trust.KeyKind) (trust.Leaf, error) {
	leaf := trust.Leaf{URI: uri, Key: key, WithRoot: true, Backdate: leafBackdate, Lifetime: leafLifetime}
	text, ok := annotations[configKey]
	if !ok {
		return leaf, nil
	}
	var cfg agentConfig
	if err := yaml.UnmarshalStrict([]byte(text), &cfg); err != nil {
		return leaf, fmt.Errorf("annotation %s: %w", configKey, err)
	}
	for _, k := range sortedKeys(cfg.ProxyMetadata) {
		ok, err := setLeaf(&leaf, k, cfg.ProxyMetadata[k])
		if err != nil {
			return leaf, fmt.Errorf("annotation %s: proxyMetadata.%w", configKey, err)
		}
		if !ok {
			return leaf, fmt.Errorf("annotation %s: proxyMetadata.%s is not modelled; %s and %s are", configKey, k, envSignature, envLifetime)
		}
	}
	return leaf, nil
}

// setLeaf takes a variable of the agent's environment. It reports false for one that says nothing about the leaf.
func setLeaf(leaf *trust.Leaf, name, value string) (bool, error) {
	switch name {
	case envSignature:
		if value != "ECDSA" {
			return false, fmt.Errorf("%s is %q; Istio knows ECDSA", name, value)
		}
		leaf.Key = trust.ECDSAP256
	case envLifetime:
		d, err := time.ParseDuration(value)
		if err != nil || d <= 0 {
			return false, fmt.Errorf("%s is %q; it must be a duration such as 24h", name, value)
		}
		leaf.Lifetime = d
	default:
		return false, nil
	}
	return true, nil
}

// identity is the workload's certificate.
type identity struct{ relay.Identity }

func newIdentity(pod proxy.Pod, issuer func() *trust.Issuer) (*identity, error) {
	// Meshproof's mesh configuration (proxyMetadata) has injected proxies take ECDSA keys. Who runs a gateway of their own
	// says so in its environment.
	key := trust.ECDSAP256
	if pod.Gateway != nil {
		key = trust.RSA2048
	}
	leaf, err := leafOf(pod.Annotations, spiffeID(pod.Namespace, pod.ServiceAccount), key)
	if err == nil && pod.Gateway != nil {
		err = gatewayEnv(pod.Gateway, pod.Cluster, &leaf)
	}
	if err != nil {
		return nil, err
	}
	id := &identity{relay.Identity{Issuer: issuer, Leaf: leaf, Renewal: leafRenewal}}
	return id, id.Renew()
}

var (
	errNoIdentity = errors.New("the peer's certificate has no single SPIFFE ID")
	errUnexpected = errors.New("the peer is not who was expected")
	errNoCommon   = errors.New("NO_COMMON_SIGNATURE_ALGORITHMS: the server takes ECDSA certificates alone, and this proxy's is not one: set ECC_SIGNATURE_ALGORITHM to ECDSA")
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

// clientTLS is the outbound side: the server must have one of the names, where there are any.
func (id *identity) clientTLS(sni string, identities []string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         sni,
		NextProtos:         istioALPN,
		InsecureSkipVerify: true, // names are not those of hosts here: VerifyConnection checks chain and names
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return id.Now.Load(), nil
		},
		VerifyConnection: func(s tls.ConnectionState) error {
			if err := id.Verify(s.PeerCertificates, x509.ExtKeyUsageServerAuth); err != nil {
				return err
			}
			names := namesOf(s.PeerCertificates[0])
			if len(identities) > 0 && !slices.ContainsFunc(names, func(n string) bool { return slices.Contains(identities, n) }) {
				return fmt.Errorf("%w: it is %q, expected was %q", errUnexpected, names, identities)
			}
			// Linkerd's servers announce that they take ECDSA alone, so that a client with another key ends the handshake
			// itself. crypto/tls announces whatever it supports: the server is known by its name instead.
			if id.Leaf.Key != trust.ECDSAP256 && slices.ContainsFunc(names, isLinkerdName) {
				return errNoCommon
			}
			return nil
		},
	}
}

// namesOf are the names of a certificate that Envoy compares with those it was told.
func namesOf(cert *x509.Certificate) []string {
	names := slices.Clone(cert.DNSNames)
	for _, u := range cert.URIs {
		names = append(names, u.String())
	}
	return names
}

// isLinkerdName reports whether a name has the form of Linkerd's identities.
func isLinkerdName(name string) bool { return strings.Contains(name, ".serviceaccount.identity.") }

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
