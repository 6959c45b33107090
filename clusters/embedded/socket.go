package embedded

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

// acceptPause keeps an accept that fails from spinning. (net/http starts with the same.)
const acceptPause = 5 * time.Millisecond

// socket is a listener that knows its connections, so that it can break them all at once, as the end of a process does.
type socket struct {
	*net.TCPListener
	mu    sync.Mutex
	conns map[*accepted]struct{}
	dead  bool
}

// accepted is a connection of a socket.
type accepted struct {
	*net.TCPConn
	of *socket
}

// listen opens a socket on a free port of 127.0.0.1. what says whose it is, for the error.
func listen(what string) (*socket, error) {
	ln, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("opening the listener of %s: %w%s", what, err, remedy(err))
	}
	return &socket{TCPListener: ln, conns: map[*accepted]struct{}{}}, nil
}

// remedy says what a user can do about a listener that does not open.
func remedy(err error) string {
	switch {
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return ": every pod needs some open files; raise the limit (ulimit -n) or use fewer replicas"
	case errors.Is(err, syscall.EADDRINUSE), errors.Is(err, syscall.EADDRNOTAVAIL):
		return ": no port is free on 127.0.0.1; end what holds them, or widen net.ipv4.ip_local_port_range"
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return ": the host does not let this process listen on 127.0.0.1; run it outside the sandbox"
	}
	return ""
}

func (s *socket) addr() string { return s.Addr().String() }

// Accept implements net.Listener.
func (s *socket) Accept() (net.Conn, error) {
	c, err := s.AcceptTCP()
	if err != nil {
		return nil, err
	}
	a := &accepted{TCPConn: c, of: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		reset(c)
		return nil, net.ErrClosed
	}
	s.conns[a] = struct{}{}
	return a, nil
}

// Close implements net.Conn.
func (a *accepted) Close() error {
	a.of.mu.Lock()
	delete(a.of.conns, a)
	a.of.mu.Unlock()
	return a.TCPConn.Close()
}

// kill closes the listener, and every connection with a reset.
func (s *socket) kill() {
	_ = s.TCPListener.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = true
	for a := range s.conns {
		reset(a.TCPConn)
	}
	clear(s.conns)
}

// reset closes a connection with an RST.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// service is a socket whose connections are each handled in a goroutine.
type service struct {
	*socket
	handle func(*net.TCPConn)
	done   sync.WaitGroup
}

func serve(what string, handle func(*net.TCPConn)) (*service, error) {
	sock, err := listen(what)
	if err != nil {
		return nil, err
	}
	s := &service{socket: sock, handle: handle}
	s.done.Go(s.accept)
	return s, nil
}

func (s *service) accept() {
	for {
		c, err := s.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(acceptPause) // files are short, or the peer was gone before it was accepted
			continue
		}
		a := c.(*accepted)
		s.done.Go(func() {
			defer func() { _ = a.Close() }()
			s.handle(a.TCPConn)
		})
	}
}

// stop breaks every connection and waits until nothing is left of the service.
func (s *service) stop() {
	s.kill()
	s.done.Wait()
}
