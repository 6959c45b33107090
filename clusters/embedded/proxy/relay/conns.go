package relay

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
)

// ErrKilled is the error of what is asked of a proxy that was killed.
var ErrKilled = errors.New("the proxy was killed")

// ConnSet knows all sockets of a proxy, so that it can die as a process does: all at once, with a reset.
type ConnSet struct {
	mu     sync.Mutex
	open   map[*Conn]struct{}
	closed bool
}

// Conn is a connection that a ConnSet knows.
type Conn struct {
	net.Conn
	First sync.Once // for what is done at the first request on the connection
	set   *ConnSet
	after atomic.Pointer[func()]
}

// AfterClose has f called when the connection ends. It is called once at most.
func (t *Conn) AfterClose(f func()) { t.after.Store(&f) }

func (t *Conn) ended() {
	if f := t.after.Swap(nil); f != nil {
		(*f)()
	}
}

// Add takes a connection in. After Abort it is aborted at once.
func (s *ConnSet) Add(c net.Conn) (*Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		abort(c)
		return nil, ErrKilled
	}
	if s.open == nil {
		s.open = map[*Conn]struct{}{}
	}
	t := &Conn{Conn: c, set: s}
	s.open[t] = struct{}{}
	return t, nil
}

// Close implements net.Conn.
func (t *Conn) Close() error {
	t.set.mu.Lock()
	delete(t.set.open, t)
	t.set.mu.Unlock()
	t.ended()
	return t.Conn.Close()
}

// CloseWrite ends what is sent; a connection that cannot end one direction alone is closed.
func (t *Conn) CloseWrite() error { return CloseWrite(t.Conn) }

// CloseWrite ends what is sent on c; a connection that cannot end one direction alone is closed.
func CloseWrite(c net.Conn) error {
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return c.Close()
}

// Reset closes the connection without a farewell.
func (t *Conn) Reset() {
	t.set.mu.Lock()
	delete(t.set.open, t)
	t.set.mu.Unlock()
	t.ended()
	abort(t.Conn)
}

// Abort ends all connections with a reset, and every later one at once.
func (s *ConnSet) Abort() {
	s.mu.Lock()
	open := s.open
	s.open, s.closed = nil, true
	s.mu.Unlock()
	for c := range open {
		c.ended()
		abort(c.Conn)
	}
}

// abort sends a reset where the network underneath can, and closes.
func abort(c net.Conn) {
	if l, ok := c.(interface{ SetLinger(sec int) error }); ok {
		_ = l.SetLinger(0) // on an error the close below is an ordinary one
	}
	c.Close()
}

// Handoff is a listener for connections that were accepted and examined elsewhere.
type Handoff struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	addr  net.Addr
}

// NewHandoff makes the listener that stands for addr.
func NewHandoff(addr net.Addr) *Handoff {
	return &Handoff{conns: make(chan net.Conn), done: make(chan struct{}), addr: addr}
}

// Give hands a connection over, and reports false when nobody takes it any more.
func (h *Handoff) Give(c net.Conn) bool {
	select {
	case h.conns <- c:
		return true
	case <-h.done:
		return false
	}
}

// Accept implements net.Listener.
func (h *Handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *Handoff) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

// Addr implements net.Listener.
func (h *Handoff) Addr() net.Addr { return h.addr }
