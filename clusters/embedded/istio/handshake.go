package istio

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
)

// tlsFailure is a handshake that failed.
type tlsFailure struct{ err error }

func (f *tlsFailure) Error() string { return f.err.Error() }
func (f *tlsFailure) Unwrap() error { return f.err }

func isTLSFailure(err error) bool {
	var f *tlsFailure
	return errors.As(err, &f)
}

// secureDial puts mutual TLS on top of dial, with the identities that the upstream had when the host was made: hosts are
// made anew when these change.
func (p *sidecar) secureDial(u *upstream, dial func(context.Context) (net.Conn, error)) func(context.Context) (net.Conn, error) {
	cfg, stats := p.id.clientTLS(u.sni, u.identities), u.stats
	return func(ctx context.Context) (net.Conn, error) {
		raw, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		c := tls.Client(raw, cfg)
		if err := c.HandshakeContext(ctx); err != nil {
			raw.Close()
			if ctx.Err() != nil {
				return nil, err
			}
			switch kindOf(err) {
			case failedChain:
				stats.verifyError.Inc()
			case failedIdentity:
				stats.verifySAN.Inc()
			default:
				stats.tlsErrors.Inc()
			}
			return nil, &tlsFailure{fmt.Errorf("handshake with %s: %w", u.name, err)}
		}
		stats.handshakes.Inc()
		return c, nil
	}
}

// verification says why a peer's certificate was refused.
type verification int

const (
	notRefused     verification = iota
	failedChain                 // it does not lead to the root, or is not valid now
	failedIdentity              // it names somebody else
	noCertificate               // there is none
)

// noCertificateText is what crypto/tls says without a certificate that is required; it has no error value for it.
const noCertificateText = "tls: client didn't provide a certificate"

func kindOf(err error) verification {
	var (
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
	)
	switch {
	case errors.Is(err, errUnexpected), errors.Is(err, errNoIdentity):
		return failedIdentity
	case errors.As(err, &authority), errors.As(err, &invalid):
		return failedChain
	case err.Error() == noCertificateText:
		return noCertificate
	default:
		return notRefused
	}
}
