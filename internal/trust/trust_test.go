package trust

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

const shopID = "spiffe://cluster.local/ns/app/sa/shop"

func newIssuer(t *testing.T, root *Root, name string) *Issuer {
	t.Helper()
	i, err := root.Issuer(name)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func newRoot(t *testing.T) *Root {
	t.Helper()
	r, err := NewRoot("Meshproof root")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func issue(t *testing.T, i *Issuer, l Leaf) *tls.Certificate {
	t.Helper()
	c, err := i.Issue(l)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// verify checks a certificate by what it carries and a pool of roots alone, as a peer does.
func verify(c *tls.Certificate, roots *x509.CertPool, at time.Time) error {
	pool := x509.NewCertPool()
	for _, der := range c.Certificate[1:] {
		ca, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		pool.AddCert(ca)
	}
	_, err := c.Leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: pool, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err
}

func TestALeafHasTheIdentityKeyAndLifetimeThatWereAskedFor(t *testing.T) {
	issuer := newIssuer(t, newRoot(t), "east")
	for _, tt := range []struct {
		name string
		leaf Leaf
		is   func(crypto.PublicKey) bool
	}{
		{"ECDSA P-256", Leaf{URI: shopID, Key: ECDSAP256, Backdate: 2 * time.Minute, Lifetime: 24 * time.Hour}, func(k crypto.PublicKey) bool {
			e, ok := k.(*ecdsa.PublicKey)
			return ok && e.Params().BitSize == 256
		}},
		{"RSA-2048", Leaf{URI: shopID, Key: RSA2048, Lifetime: time.Hour}, func(k crypto.PublicKey) bool {
			r, ok := k.(*rsa.PublicKey)
			return ok && r.N.BitLen() == 2048
		}},
		{"a DNS name", Leaf{DNS: "shop.app.serviceaccount.identity.linkerd.cluster.local", Lifetime: time.Hour}, func(k crypto.PublicKey) bool {
			_, ok := k.(*ecdsa.PublicKey)
			return ok
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := time.Now()
			c := issue(t, issuer, tt.leaf)
			if !tt.is(c.Leaf.PublicKey) {
				t.Errorf("key %T", c.Leaf.PublicKey)
			}
			if err := verify(c, issuer.Root().Pool(), time.Now()); err != nil {
				t.Error(err)
			}
			if got := c.Leaf.NotAfter.Sub(c.Leaf.NotBefore); got != tt.leaf.Lifetime+tt.leaf.Backdate {
				t.Errorf("valid for %v", got)
			}
			if d := c.Leaf.NotAfter.Sub(before.Add(tt.leaf.Lifetime)); d < -time.Second || d > time.Minute {
				t.Errorf("ends %v off", d)
			}
			var uris []string
			for _, u := range c.Leaf.URIs {
				uris = append(uris, u.String())
			}
			if strings.Join(uris, ",") != tt.leaf.URI || strings.Join(c.Leaf.DNSNames, ",") != tt.leaf.DNS {
				t.Errorf("SANs %v %v", uris, c.Leaf.DNSNames)
			}
			if c.Leaf.IsCA || c.Leaf.KeyUsage&x509.KeyUsageCertSign != 0 || c.Leaf.Subject.String() != "" {
				t.Errorf("CA %v, key usage %v, subject %q", c.Leaf.IsCA, c.Leaf.KeyUsage, c.Leaf.Subject)
			}
			if len(c.Certificate) != 2 {
				t.Errorf("a chain of %d", len(c.Certificate))
			}
		})
	}
}

func TestALeafIsTrustedByItsOwnRootWhileItIsValid(t *testing.T) {
	root, other := newRoot(t), newRoot(t)
	east := newIssuer(t, root, "east")
	c := issue(t, east, Leaf{URI: shopID, Backdate: time.Minute, Lifetime: time.Hour})
	for _, tt := range []struct {
		name  string
		roots *x509.CertPool
		at    time.Time
		ok    bool
	}{
		{"now", root.Pool(), time.Now(), true},
		{"by another root of the same name", other.Pool(), time.Now(), false},
		{"before", root.Pool(), time.Now().Add(-2 * time.Minute), false},
		{"after", root.Pool(), time.Now().Add(2 * time.Hour), false},
	} {
		if err := verify(c, tt.roots, tt.at); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestALeafCannotIssueAndAnIntermediateCannotMakeIntermediates(t *testing.T) {
	root := newRoot(t)
	east := newIssuer(t, root, "east")
	c := issue(t, east, Leaf{URI: shopID, Lifetime: time.Hour})
	if !east.cert.IsCA || east.cert.MaxPathLen != 0 || !east.cert.MaxPathLenZero {
		t.Errorf("intermediate: CA %v, path length %d (zero: %v)", east.cert.IsCA, east.cert.MaxPathLen, east.cert.MaxPathLenZero)
	}
	key := c.PrivateKey.(*ecdsa.PrivateKey)
	forger := &Issuer{root: root, cert: c.Leaf, key: key}
	forged, err := forger.Issue(Leaf{URI: "spiffe://cluster.local/ns/app/sa/admin", Lifetime: time.Hour})
	if err != nil {
		return // refused while signing
	}
	forged.Certificate = append(forged.Certificate, east.cert.Raw)
	if err := verify(forged, root.Pool(), time.Now()); err == nil {
		t.Error("a certificate that a workload issued is trusted")
	}
}

func TestSerialsArePositiveAndNeverTheSame(t *testing.T) {
	east := newIssuer(t, newRoot(t), "east")
	var mu sync.Mutex
	seen := map[string]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				c, err := east.Issue(Leaf{URI: shopID, Lifetime: time.Hour})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				s := c.Leaf.SerialNumber
				if s.Sign() <= 0 || s.BitLen() > 159 || seen[s.String()] {
					t.Errorf("serial %v", s)
				}
				seen[s.String()] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestIdentitiesThatAreNoneAreRefused(t *testing.T) {
	east := newIssuer(t, newRoot(t), "east")
	for _, tt := range []struct {
		name string
		leaf Leaf
	}{
		{"no identity", Leaf{Lifetime: time.Hour}},
		{"both", Leaf{URI: shopID, DNS: "shop", Lifetime: time.Hour}},
		{"no URI", Leaf{URI: "spiffe://%zz", Lifetime: time.Hour}},
	} {
		if _, err := east.Issue(tt.leaf); err == nil {
			t.Errorf("%s was issued", tt.name)
		}
	}
}

func TestPEMHoldsTheCertificateAndNoKey(t *testing.T) {
	root := newRoot(t)
	east := newIssuer(t, root, "east")
	for text, want := range map[string]*x509.Certificate{root.PEM(): root.cert, east.PEM(): east.cert} {
		block, rest := pem.Decode([]byte(text))
		if block == nil || block.Type != "CERTIFICATE" || len(rest) > 0 || !bytes.Equal(block.Bytes, want.Raw) {
			t.Errorf("PEM:\n%s", text)
		}
	}
}

func TestIssuersOfOneRootTrustEachOther(t *testing.T) {
	root := newRoot(t)
	server := issue(t, newIssuer(t, root, "east"), Leaf{DNS: "shop", Lifetime: time.Hour})
	client := issue(t, newIssuer(t, root, "west"), Leaf{URI: shopID, Lifetime: time.Hour})
	a, b := net.Pipe()
	done := make(chan error, 1)
	go func() {
		s := tls.Server(a, &tls.Config{Certificates: []tls.Certificate{*server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: root.Pool()})
		_, err := io.WriteString(s, "x")
		done <- err
		s.Close()
	}()
	c := tls.Client(b, &tls.Config{Certificates: []tls.Certificate{*client}, RootCAs: root.Pool(), ServerName: "shop"})
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Error(err)
	}
	b.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAnIssuerThatHasExpiredWasValidInThePast(t *testing.T) {
	root := newRoot(t)
	end := time.Now().Add(-time.Minute) // of the two that the root is older than now
	i, err := root.IssuerUntil("expired", end)
	if err != nil {
		t.Fatal(err)
	}
	leaf := issue(t, i, Leaf{URI: shopID, Backdate: 3 * time.Hour, Lifetime: time.Hour})
	if err := verify(leaf, root.Pool(), time.Now()); err == nil {
		t.Error("a chain through an expired issuer is valid")
	}
	if err := verify(leaf, root.Pool(), end.Add(-30*time.Second)); err != nil {
		t.Errorf("before its end: %v", err)
	}
}
