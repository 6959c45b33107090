package loadgen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
)

// dialer opens connections to where an attack goes.
type dialer struct {
	address string // host:port
	dial    func(ctx context.Context, address string) (net.Conn, error)
	tls     *tls.Config // nil: none
	gauge   *gauge
}

// newDialer makes the dialer for an attack at a URL. With TLS, ALPN (RFC 7301) has to settle on the protocol.
func newDialer(a Attack, to *url.URL, g *gauge) dialer {
	d := dialer{address: hostPort(to), dial: a.Dial, gauge: g}
	if d.dial == nil {
		var host net.Dialer
		d.dial = func(ctx context.Context, address string) (net.Conn, error) {
			return host.DialContext(ctx, "tcp", address)
		}
	}
	if to.Scheme != "https" {
		return d
	}
	if d.tls = a.TLS.Clone(); d.tls == nil {
		d.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if d.tls.ServerName == "" {
		d.tls.ServerName = to.Hostname()
	}
	d.tls.NextProtos = []string{"http/1.1"}
	if a.Protocol.multiplexed() {
		d.tls.NextProtos = []string{"h2"}
	}
	return d
}

// open opens a connection, which is counted until it is closed.
func (d dialer) open(ctx context.Context) (net.Conn, error) {
	raw, err := d.dial(ctx, d.address)
	if err != nil {
		return nil, err
	}
	d.gauge.opened()
	c := &counted{Conn: noteArrivals(raw), closed: sync.OnceFunc(d.gauge.closed)}
	if d.tls == nil {
		return c, nil
	}
	t := tls.Client(c, d.tls)
	if err := t.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, handshakeError{err}
	}
	if got := t.ConnectionState().NegotiatedProtocol; got != d.tls.NextProtos[0] && (got != "" || d.tls.NextProtos[0] == "h2") {
		_ = c.Close()
		return nil, handshakeError{fmt.Errorf("the server speaks %q, and not %q", got, d.tls.NextProtos[0])}
	}
	return t, nil
}

// hostPort is where to connect to for a URL.
func hostPort(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// counted is a connection that counts itself while it is open.
type counted struct {
	net.Conn
	closed func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	defer c.closed()
	return c.Conn.Close()
}

// handshakeError is a TLS handshake that failed: the server's certificate is not good, or it does not like ours.
type handshakeError struct{ error }

// Unwrap lets a time-out be known.
func (e handshakeError) Unwrap() error { return e.error }

// isHandshake reports whether an error is that of a handshake.
func isHandshake(err error) bool {
	var h handshakeError
	return errors.As(err, &h)
}
