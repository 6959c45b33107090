package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/meshproof/meshproof/internal/trust"
)

// leafRetry is the pause before an issuer that failed is asked again.
const leafRetry = time.Second

// Identity is a workload's certificate, renewed while the proxy runs. New handshakes use the newest.
type Identity struct {
	Issuer  func() *trust.Issuer // who issues now
	Leaf    trust.Leaf
	Renewal float64 // share of the lifetime after which a new leaf is fetched
	Now     atomic.Pointer[tls.Certificate]
	Renewed func(error) // is told of each attempt; may be nil
}

// Renew fetches a new leaf.
func (id *Identity) Renew() error {
	cert, err := id.Issuer().Issue(id.Leaf)
	if err == nil {
		id.Now.Store(cert)
	}
	if id.Renewed != nil {
		id.Renewed(err)
	}
	return err
}

// Keep renews the certificate until ctx ends. An issuer that fails is asked again.
func (id *Identity) Keep(ctx context.Context) {
	wait := time.Duration(float64(id.Leaf.Lifetime) * id.Renewal)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if err := id.Renew(); err != nil {
			timer.Reset(leafRetry)
			continue
		}
		timer.Reset(wait)
	}
}

// Verify checks that a chain, leaf first, leads to the issuer's root.
func (id *Identity) Verify(chain []*x509.Certificate, usage x509.ExtKeyUsage) error {
	if len(chain) == 0 {
		return x509.UnknownAuthorityError{}
	}
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: id.Issuer().Root().Pool(), Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{usage},
	})
	if err != nil {
		return fmt.Errorf("verifying the peer's certificate: %w", err)
	}
	return nil
}
