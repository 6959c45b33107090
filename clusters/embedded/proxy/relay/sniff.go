package relay

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"
)

// PrefixConn is a connection that is examined before it is read: what was read ahead is given back.
type PrefixConn struct {
	net.Conn
	br *bufio.Reader
}

// NewPrefixConn wraps a connection of which nothing was read.
func NewPrefixConn(c net.Conn) *PrefixConn { return &PrefixConn{Conn: c, br: bufio.NewReader(c)} }

// Read implements net.Conn.
func (c *PrefixConn) Read(b []byte) (int, error) { return c.br.Read(b) }

// CloseWrite ends what is sent.
func (c *PrefixConn) CloseWrite() error { return CloseWrite(c.Conn) }

// IsTLS waits for the first byte, and reports whether it is that of a TLS handshake.
func (c *PrefixConn) IsTLS() (bool, error) {
	const handshakeRecord = 0x16
	first, err := c.br.Peek(1)
	if err != nil {
		return false, err
	}
	return first[0] == handshakeRecord, nil
}

// ClientHello is what a client asks for before any key is agreed on.
type ClientHello struct {
	ServerName string
	Protocols  []string // of ALPN
}

// Sniff reads a ClientHello ahead. It reports false where there is none.
func (c *PrefixConn) Sniff() (ClientHello, bool) {
	var (
		ahead bytes.Buffer
		hello ClientHello
		heard bool
	)
	errHeard := errors.New("heard enough")
	probe := tls.Server(readOnly{io.TeeReader(c.br, &ahead)}, &tls.Config{
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			hello, heard = ClientHello{h.ServerName, h.SupportedProtos}, true
			return nil, errHeard
		},
	})
	_ = probe.Handshake() // ends with errHeard, or with the error of something that is not a ClientHello
	c.br = bufio.NewReader(io.MultiReader(&ahead, c.br))
	return hello, heard
}

// readOnly is a connection that swallows what is written.
type readOnly struct{ io.Reader }

func (readOnly) Write(b []byte) (int, error)      { return len(b), nil }
func (readOnly) Close() error                     { return nil }
func (readOnly) LocalAddr() net.Addr              { return nil }
func (readOnly) RemoteAddr() net.Addr             { return nil }
func (readOnly) SetDeadline(time.Time) error      { return nil }
func (readOnly) SetReadDeadline(time.Time) error  { return nil }
func (readOnly) SetWriteDeadline(time.Time) error { return nil }
