package istio

import (
	"errors"
	"net"
	"sync"
	"time"
)

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

var errKilled = errors.New("the proxy was killed")

// connSet knows all sockets of a proxy, so that it can die as a process does: all at once, with a reset.
type connSet struct {
	mu     sync.Mutex
	open   map[*trackedConn]struct{}
	closed bool
}

type trackedConn struct {
	net.Conn
	set *connSet
}

// add takes a connection in. After abort it is aborted at once.
func (s *connSet) add(c net.Conn) (*trackedConn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		abort(c)
		return nil, errKilled
	}
	if s.open == nil {
		s.open = map[*trackedConn]struct{}{}
	}
	t := &trackedConn{c, s}
	s.open[t] = struct{}{}
	return t, nil
}

// Close implements net.Conn.
func (t *trackedConn) Close() error {
	t.set.mu.Lock()
	delete(t.set.open, t)
	t.set.mu.Unlock()
	return t.Conn.Close()
}

// reset closes the connection without a farewell.
func (t *trackedConn) reset() {
	t.set.mu.Lock()
	delete(t.set.open, t)
	t.set.mu.Unlock()
	abort(t.Conn)
}

func (s *connSet) abort() {
	s.mu.Lock()
	open := s.open
	s.open, s.closed = nil, true
	s.mu.Unlock()
	for c := range open {
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

// handoff is a listener for connections that were accepted and examined elsewhere.
type handoff struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	addr  net.Addr
}

func newHandoff(addr net.Addr) *handoff {
	return &handoff{conns: make(chan net.Conn), done: make(chan struct{}), addr: addr}
}

// give hands a connection over, and reports false when nobody takes it any more.
func (h *handoff) give(c net.Conn) bool {
	select {
	case h.conns <- c:
		return true
	case <-h.done:
		return false
	}
}

// Accept implements net.Listener.
func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *handoff) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

// Addr implements net.Listener.
func (h *handoff) Addr() net.Addr { return h.addr }
