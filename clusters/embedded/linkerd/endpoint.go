package linkerd

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meshproof/meshproof/clusters/embedded/proxy/relay"
)

// Pauses before a connection that failed is tried again: twice as long each time, and up to a tenth longer.
const (
	reconnectMin = 100 * time.Millisecond
	reconnectMax = time.Minute
)

// endpoint is one endpoint of a balancer with its connections: one of HTTP/2 to a proxy of the mesh, which is kept up
// and on which all requests ride, or some of HTTP/1.1, opened as requests come, to everything else.
type endpoint struct {
	destination
	proxy   *linkerdProxy
	labels  labels // of requests
	opened  labels // of connections
	load    *peakEWMA
	breaker *breaker
	changed func() // tells the balancer that the endpoint became ready, or ceased to be

	h1 *relay.Pool // nil where HTTP/2 is spoken
	h2 atomic.Pointer[http.ClientConn]

	cancel  context.CancelFunc
	release func() // of its series
}

func (p *linkerdProxy) newEndpoint(s *service, d destination, changed func()) *endpoint {
	ctx, cancel := context.WithCancel(p.Context())
	target := s.endpointLabels(d)
	e := &endpoint{
		destination: d, proxy: p,
		labels: labels("").with("direction", "outbound").and(target),
		opened: labels("").with("direction", "outbound", "peer", "dst").and(target),
		load:   newPeakEWMA(p.clock()), changed: changed, cancel: cancel,
	}
	if s.settings.accrual != nil {
		e.breaker = &breaker{policy: *s.settings.accrual, draw: p.dice.Draw}
	}
	e.release = p.metrics.hold(requestTotal, e.labels) // born with the endpoint, at 0
	if d.identity == "" || d.opaque {
		e.h1 = &relay.Pool{Dial: e.dial, Timeout: outboundConnectTimeout, Goroutines: &p.Goroutines}
	} else {
		p.Goroutines.Go(func() { e.keepConnected(ctx) })
	}
	return e
}

// close ends the endpoint's connections; requests under way on HTTP/2 end with theirs, as those of a pod that has left
// the endpoints do not: they are let go on until they are answered.
func (e *endpoint) close() {
	e.cancel()
	if e.h1 != nil {
		e.h1.Close()
	}
	e.release()
}

// dial opens a connection, with TLS where the endpoint has an identity.
func (e *endpoint) dial(ctx context.Context) (net.Conn, error) {
	if e.own {
		c, err := e.proxy.DialTCP(ctx, e.proxy.pod.AppAddr)
		if err != nil {
			return nil, err
		}
		e.proxy.opened(c, e.opened)
		return c, nil
	}
	c, err := e.proxy.Dial(func() (net.Conn, error) {
		return e.proxy.world.Dial(ctx, e.proxy.pod.Cluster, e.Cluster, e.Addr)
	})
	if err != nil {
		return nil, err
	}
	if e.identity == "" {
		e.proxy.opened(c, e.opened)
		return c, nil
	}
	secured := tls.Client(c, e.proxy.id.clientTLS(e.identity))
	if err := secured.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, err
	}
	e.proxy.opened(c, e.opened)
	return secured, nil
}

// ready reports whether a request can be sent at once, or else from when on one may be; zero: after a change.
func (e *endpoint) ready(now time.Time) (bool, time.Time) {
	if e.h1 == nil && e.h2.Load() == nil {
		return false, time.Time{}
	}
	return e.breaker.admits(now)
}

// keepConnected holds one connection open until ctx ends.
func (e *endpoint) keepConnected(ctx context.Context) {
	pause := reconnectMin
	for ctx.Err() == nil {
		c, broken, err := e.connect(ctx)
		if err != nil {
			if !relay.Sleep(ctx, pause+time.Duration(e.proxy.dice.Draw(int(pause/10)))) {
				return
			}
			pause = min(2*pause, reconnectMax)
			continue
		}
		pause = reconnectMin
		e.h2.Store(c)
		e.changed()
		select {
		case <-broken:
			e.h2.Store(nil)
			e.changed()
		case <-ctx.Done():
			e.h2.Store(nil)
			e.drain(c, broken)
			return
		}
	}
}

// drain closes a connection after its last request.
func (e *endpoint) drain(c *http.ClientConn, broken <-chan struct{}) {
	defer c.Close()
	for c.InFlight() > 0 {
		select {
		case <-broken:
			return
		case <-e.proxy.Context().Done():
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// connect opens a connection of HTTP/2. broken is closed when it ends.
func (e *endpoint) connect(ctx context.Context) (c *http.ClientConn, broken <-chan struct{}, err error) {
	ctx, cancel := context.WithTimeout(ctx, outboundConnectTimeout)
	defer cancel()
	raw, err := e.dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	ended := make(chan struct{})
	watched := &watchedConn{Conn: raw, ended: ended}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	t := &http.Transport{
		DialContext:        func(context.Context, string, string) (net.Conn, error) { return watched, nil },
		DisableCompression: true,
		Protocols:          &protocols,
	}
	c, err = t.NewClientConn(ctx, "http", net.JoinHostPort(e.Pod, "80"))
	if err != nil {
		raw.Close()
		return nil, nil, err
	}
	return c, ended, nil
}

// watchedConn says when it can no longer be read.
type watchedConn struct {
	net.Conn
	once  sync.Once
	ended chan struct{}
}

// Read implements net.Conn.
func (c *watchedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		c.once.Do(func() { close(c.ended) })
	}
	return n, err
}

// Close implements net.Conn.
func (c *watchedConn) Close() error {
	c.once.Do(func() { close(c.ended) })
	return c.Conn.Close()
}

// errNotReady is of an endpoint that ceased to be ready while it was chosen.
var errNotReady = errors.New("the endpoint is not connected")

// answer is a response, and what must be called once it was read.
type answer struct {
	*http.Response
	finish func(whole bool)
}

// do sends a request.
func (e *endpoint) do(ctx context.Context, r *relay.Outgoing) (*answer, *relay.Failure) {
	if e.h1 != nil {
		x, fail := e.h1.Do(ctx, r)
		if fail != nil {
			return nil, fail
		}
		return &answer{x.Response, x.Finish}, nil
	}
	c := e.h2.Load()
	if c == nil {
		return nil, &relay.Failure{Kind: relay.ResetFailure, Err: errNotReady}
	}
	req, err := r.Request(ctx)
	if err != nil {
		return nil, &relay.Failure{Kind: relay.ResetFailure, Err: err}
	}
	resp, err := c.RoundTrip(req)
	switch {
	case err == nil:
		return &answer{resp, func(bool) { resp.Body.Close() }}, nil
	case ctx.Err() != nil:
		return nil, &relay.Failure{Kind: relay.Canceled, Err: ctx.Err()}
	default:
		return nil, &relay.Failure{Kind: relay.ResetFailure, Err: err}
	}
}
