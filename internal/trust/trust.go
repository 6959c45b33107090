// Package trust makes the certificate authorities of a run: one root, an
// intermediate for each mesh and cluster, and the workload certificates that
// these issue. Keys live in memory; nothing here writes them anywhere.
package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"time"
)

// KeyKind is the kind of a leaf's key.
type KeyKind int

// Kinds of key.
const (
	ECDSAP256 KeyKind = iota
	RSA2048
)

// Root is the root of trust of one run.
type Root struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// NewRoot makes an ECDSA P-256 root that is valid for a year.
func NewRoot(commonName string) (*Root, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the root's key: %w", err)
	}
	tmpl, err := caTemplate(commonName, 1, 365*24*time.Hour)
	if err != nil {
		return nil, err
	}
	cert, err := sign(tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("signing the root: %w", err)
	}
	return &Root{cert: cert, key: key}, nil
}

// Pool holds the root alone.
func (r *Root) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(r.cert)
	return p
}

// PEM is the root's certificate.
func (r *Root) PEM() string { return certPEM(r.cert) }

// issuerLifetime is that of an intermediate.
const issuerLifetime = 180 * 24 * time.Hour

// Issuer makes an intermediate under the root, valid for 180 days.
func (r *Root) Issuer(commonName string) (*Issuer, error) {
	return r.IssuerUntil(commonName, time.Now().Add(issuerLifetime))
}

// IssuerUntil makes an intermediate under the root that is valid until notAfter, and was from two minutes before that or
// before now, whichever is earlier: one that has expired is a valid certificate of the past.
func (r *Root) IssuerUntil(commonName string, notAfter time.Time) (*Issuer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the key of %s: %w", commonName, err)
	}
	tmpl, err := caTemplate(commonName, 0, time.Until(notAfter))
	if err != nil {
		return nil, err
	}
	if from := notAfter.Add(-2 * time.Minute); from.Before(tmpl.NotBefore) {
		tmpl.NotBefore = from
	}
	tmpl.MaxPathLenZero = true
	cert, err := sign(tmpl, r.cert, key.Public(), r.key)
	if err != nil {
		return nil, fmt.Errorf("signing %s: %w", commonName, err)
	}
	return &Issuer{root: r, cert: cert, key: key, name: commonName}, nil
}

// Issuer is an intermediate certificate authority. It is safe for concurrent use.
type Issuer struct {
	root *Root
	cert *x509.Certificate
	key  crypto.Signer
	name string  // common name of the first in its place
	was  *Issuer // whose place it took; nil for the first
}

// Successor makes another intermediate under the same root, to take this one's place.
func (i *Issuer) Successor() (*Issuer, error) {
	n := 2
	for p := i.was; p != nil; p = p.was {
		n++
	}
	next, err := i.root.Issuer(fmt.Sprintf("%s (%d)", i.name, n))
	if err != nil {
		return nil, err
	}
	next.name, next.was = i.name, i
	return next, nil
}

// Lineage is the issuer's certificate, with those of all whose place it took: what they have signed holds until it ends.
func (i *Issuer) Lineage() string {
	var all strings.Builder
	for ; i != nil; i = i.was {
		all.WriteString(i.PEM())
	}
	return all.String()
}

// Root is the issuer's root.
func (i *Issuer) Root() *Root { return i.root }

// PEM is the issuer's certificate.
func (i *Issuer) PEM() string { return certPEM(i.cert) }

// KeyPEM is the issuer's private key in PKCS #8, for a control plane that signs with it. It must be handed to nobody else.
func (i *Issuer) KeyPEM() (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(i.key)
	if err != nil {
		return "", fmt.Errorf("writing the key of %s: %w", i.cert.Subject.CommonName, err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}

// Leaf says what a workload certificate holds: one identity, either URI or DNS.
type Leaf struct {
	URI      string        // SPIFFE ID, for a URI SAN; or
	DNS      string        // a DNS SAN
	Key      KeyKind       //
	WithRoot bool          // the chain that is handed out with it ends in the root
	Backdate time.Duration // how far NotBefore lies in the past
	Lifetime time.Duration // from now to NotAfter
}

// Issue makes a key and its certificate, with the chain leaf, intermediate and, where that is asked for, root.
func (i *Issuer) Issue(l Leaf) (*tls.Certificate, error) {
	if (l.URI == "") == (l.DNS == "") {
		return nil, fmt.Errorf("issuing a workload's certificate: it needs one identity, a URI or a DNS name; asked for URI %q and DNS name %q", l.URI, l.DNS)
	}
	var key crypto.Signer
	var err error
	if l.Key == RSA2048 {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return nil, fmt.Errorf("making a workload's key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: serial,
		NotBefore:    now.Add(-l.Backdate),
		NotAfter:     now.Add(l.Lifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if l.URI != "" {
		u, err := url.Parse(l.URI)
		if err != nil {
			return nil, fmt.Errorf("identity %q: %w", l.URI, err)
		}
		tmpl.URIs = []*url.URL{u}
	}
	if l.DNS != "" {
		tmpl.DNSNames = []string{l.DNS}
	}
	cert, err := sign(tmpl, i.cert, key.Public(), i.key)
	if err != nil {
		return nil, fmt.Errorf("signing %s%s: %w", l.URI, l.DNS, err)
	}
	chain := [][]byte{cert.Raw, i.cert.Raw}
	if l.WithRoot {
		chain = append(chain, i.root.cert.Raw)
	}
	return &tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: cert}, nil
}

func caTemplate(cn string, pathLen int, lifetime time.Duration) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: cn, Organization: []string{"Meshproof"}},
		NotBefore:             now.Add(-2 * time.Minute),
		NotAfter:              now.Add(lifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLen:            pathLen,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}, nil
}

func sign(tmpl, parent *x509.Certificate, pub crypto.PublicKey, by crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, by)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// newSerial draws 128 bits, as RFC 5280 section 4.1.2.2 allows (at most 20 octets, positive).
func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("drawing a serial number: %w", err)
	}
	return n.Add(n, big.NewInt(1)), nil
}

func certPEM(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}
