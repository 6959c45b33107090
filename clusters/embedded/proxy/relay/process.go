package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// Process is a sidecar's process: its ports, its connections, and all that runs for it.
type Process struct {
	Conns      ConnSet        // every socket, except the listeners
	Accepted   *Handoff       // takes inbound connections that were examined
	Captured   *Handoff       // takes outbound ones, where Capture examines them
	Goroutines sync.WaitGroup // of everything but servers

	inbound, outbound, stats net.Listener
	ctx                      context.Context
	cancel                   context.CancelFunc
	servers                  []*http.Server
	serving                  sync.WaitGroup // of servers and their connections
}

// Handlers is what a Process serves.
type Handlers struct {
	// Admit examines an inbound connection and gives it to Accepted, or ends it. It runs in a goroutine of its own.
	Admit func(*Conn)
	// Capture does the same with an outbound connection, for Captured. nil: each is one of HTTP.
	Capture           func(*Conn)
	Inbound, Outbound http.Handler
	Metrics           http.Handler
	MaxHeader         int             // of a request, in bytes
	Protocols         *http.Protocols // of inbound connections; nil: HTTP/1.1
}

// NewProcess opens three ports on 127.0.0.1.
func NewProcess() (*Process, error) {
	p := &Process{}
	var opened []net.Listener
	for _, l := range []*net.Listener{&p.inbound, &p.outbound, &p.stats} {
		var err error
		if *l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			for _, o := range opened {
				o.Close()
			}
			return nil, fmt.Errorf("opening a port on 127.0.0.1: %w", err)
		}
		opened = append(opened, *l)
	}
	p.Accepted, p.Captured = NewHandoff(p.inbound.Addr()), NewHandoff(p.outbound.Addr())
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p, nil
}

// Context ends when the process is killed.
func (p *Process) Context() context.Context { return p.ctx }

// Inbound is the address where connections to the pod's application port arrive.
func (p *Process) Inbound() string { return p.inbound.Addr().String() }

// Outbound is the address that captures the workload's own requests.
func (p *Process) Outbound() string { return p.outbound.Addr().String() }

// Metrics is the address that serves /metrics.
func (p *Process) Metrics() string { return p.stats.Addr().String() }

// Serve begins to serve. It is called once.
func (p *Process) Serve(h Handlers) {
	p.server(p.Accepted, h.Inbound, h.MaxHeader, h.Protocols)
	p.server(trackingListener{p.stats, &p.Conns}, h.Metrics, h.MaxHeader, nil)
	p.Goroutines.Go(func() { p.accept(p.inbound, h.Admit) })
	if h.Capture == nil {
		p.server(trackingListener{p.outbound, &p.Conns}, h.Outbound, h.MaxHeader, nil)
		return
	}
	p.server(p.Captured, h.Outbound, h.MaxHeader, nil)
	p.Goroutines.Go(func() { p.accept(p.outbound, h.Capture) })
}

func (p *Process) server(l net.Listener, h http.Handler, maxHeader int, protocols *http.Protocols) {
	s := &http.Server{
		Handler:        h,
		MaxHeaderBytes: maxHeader,
		Protocols:      protocols,
		ErrorLog:       log.New(io.Discard, "", 0), // what matters is in access log and metrics
		BaseContext:    func(net.Listener) context.Context { return p.ctx },
		ConnContext:    func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		ConnState: func(_ net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				p.serving.Add(1)
			case http.StateClosed, http.StateHijacked:
				p.serving.Done()
			}
		},
	}
	p.servers = append(p.servers, s)
	p.serving.Go(func() { s.Serve(l) }) // returns when the listener is closed
}

// connKey is the context key of a request's connection.
type connKey struct{}

// ConnOf is the connection that a request came on; nil for a context that is not a request's.
func ConnOf(ctx context.Context) net.Conn {
	c, _ := ctx.Value(connKey{}).(net.Conn)
	return c
}

type trackingListener struct {
	net.Listener
	set *ConnSet
}

// Accept implements net.Listener.
func (l trackingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.set.Add(c)
}

func (p *Process) accept(l net.Listener, admit func(*Conn)) {
	for {
		raw, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors, or a client that left in the queue
			select {
			case <-p.ctx.Done():
				return
			case <-time.After(5 * time.Millisecond):
			}
			continue
		}
		c, err := p.Conns.Add(raw)
		if err != nil {
			return
		}
		p.Goroutines.Go(func() { admit(c) })
	}
}

// Dial opens a connection of the process: dial makes it.
func (p *Process) Dial(dial func() (net.Conn, error)) (*Conn, error) {
	c, err := dial()
	if err != nil {
		return nil, err
	}
	return p.Conns.Add(c)
}

// DialTCP opens a connection to an address on this host.
func (p *Process) DialTCP(ctx context.Context, addr string) (*Conn, error) {
	return p.Dial(func() (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", addr)
	})
}

// Stop ends the process's context: nothing new begins.
func (p *Process) Stop() { p.cancel() }

// Kill resets every connection and waits until nothing is left. closing is called between the two.
func (p *Process) Kill(closing func()) {
	p.cancel()
	p.inbound.Close()
	p.outbound.Close()
	p.Conns.Abort()
	for _, s := range p.servers {
		s.Close()
	}
	closing()
	p.serving.Wait()
	p.Goroutines.Wait()
}

// Sleep waits, and reports whether it came to the end before ctx did.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
