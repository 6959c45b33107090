package relay

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"
)

// FailureKind says how a request got no response.
type FailureKind int

// The ways in which a request gets no response.
const (
	ConnectFailure FailureKind = iota // no connection: refused, timed out, or no TLS
	ResetFailure                      // the connection ended before a response began
	Canceled                          // the caller went away
	TimedOut                          // a limit of the route ended it
)

// Failure is a request without a response.
type Failure struct {
	Kind FailureKind
	Err  error
}

// Outgoing is a request on its way.
type Outgoing struct {
	Method, URI, Host string
	Header            http.Header
	Body              []byte    // the whole body; or
	Stream            io.Reader // a body that is too large to be kept
	Length            int64     // of Stream; -1: unknown
	stopStream        func()    // unblocks reads from Stream
}

// Pool is the connections to one address. HTTP/1.1: one request at a time on each.
type Pool struct {
	// Dial opens a connection.
	Dial func(context.Context) (net.Conn, error)
	// Timeout is for Dial; ErrConnectTimeout is the error when it passes. 0: no limit.
	Timeout time.Duration
	// MaxRequests on one connection; 0: no limit.
	MaxRequests int
	// Goroutines are counted here.
	Goroutines *sync.WaitGroup

	mu     sync.Mutex
	idle   []*pooledConn
	closed bool
}

// pooledConn is a kept connection. A goroutine of its own waits for its next byte, so that a connection that the
// other side closes while it is idle is never used again.
type pooledConn struct {
	net.Conn
	pool   *Pool
	br     *bufio.Reader
	bw     *bufio.Writer
	served int
	ready  chan error    // the first byte of a response is there, or an error
	resume chan struct{} // the response was read: wait for the next
	done   chan struct{} // closed with the connection
	once   sync.Once
}

// Exchange is a response that is being read. Finish must be called once.
type Exchange struct {
	*http.Response
	conn    *pooledConn
	Began   time.Time
	sent    <-chan error // of a streamed body; nil: all was sent
	stop    func() bool
	request *Outgoing
}

// Do sends a request, and returns when the response's header is there.
func (p *Pool) Do(ctx context.Context, r *Outgoing) (*Exchange, *Failure) {
	c := p.take()
	if c == nil {
		raw, err := p.Open(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil, &Failure{Canceled, ctx.Err()}
			}
			return nil, &Failure{ConnectFailure, err}
		}
		c = p.adopt(raw)
	}
	c.served++
	x := &Exchange{conn: c, Began: time.Now(), request: r, stop: context.AfterFunc(ctx, c.discard)}
	if err := x.send(); err != nil {
		c.discard() // so that the wait below ends
	}
	err := <-c.ready
	if err == nil {
		x.Response, err = readResponse(c.br, r.Method)
	}
	if err != nil {
		x.abandon()
		if ctx.Err() != nil {
			return nil, &Failure{Canceled, ctx.Err()}
		}
		return nil, &Failure{ResetFailure, err}
	}
	return x, nil
}

// Open opens a connection that the pool does not keep.
func (p *Pool) Open(ctx context.Context) (net.Conn, error) {
	if p.Timeout <= 0 {
		return p.Dial(ctx)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, p.Timeout, ErrConnectTimeout)
	defer cancel()
	c, err := p.Dial(ctx)
	if err != nil && errors.Is(context.Cause(ctx), ErrConnectTimeout) {
		return nil, ErrConnectTimeout
	}
	return c, err
}

// ErrConnectTimeout is the error of a connection that took longer than its Pool allows.
var ErrConnectTimeout = errors.New("connection timeout")

// readResponse skips interim responses.
func readResponse(br *bufio.Reader, method string) (*http.Response, error) {
	for {
		resp, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil {
			return nil, err
		}
		if resp.StatusCode == http.StatusSwitchingProtocols {
			return nil, errors.New("the upstream switched protocols without being asked")
		}
		if resp.StatusCode >= 200 {
			return resp, nil
		}
	}
}

// send writes the request; a streamed body goes on being written while the response is awaited.
func (x *Exchange) send() error {
	c, r := x.conn, x.request
	writeHead(c.bw, r)
	if r.Stream == nil {
		c.bw.Write(r.Body)
		return c.bw.Flush() // which reports the error of any write before it
	}
	sent := make(chan error, 1)
	x.sent = sent
	c.pool.Goroutines.Go(func() {
		err := copyBody(c.bw, r)
		if err != nil {
			c.discard() // half a request is of no use
		}
		sent <- err
	})
	return nil
}

func copyBody(w *bufio.Writer, r *Outgoing) error {
	if r.Length >= 0 {
		n, err := io.Copy(w, r.Stream)
		if err == nil && n != r.Length {
			err = io.ErrUnexpectedEOF
		}
		return errors.Join(err, w.Flush())
	}
	cw := httputil.NewChunkedWriter(w)
	if _, err := io.Copy(cw, r.Stream); err != nil {
		return err
	}
	_, err := w.WriteString("0\r\n\r\n")
	return errors.Join(err, w.Flush())
}

// Finish gives the connection back after the whole response was read, or ends it.
func (x *Exchange) Finish(whole bool) {
	whole = x.stop() && whole // else the request was called off, and the connection with it
	if x.sent != nil {
		select {
		case err := <-x.sent:
			whole = whole && err == nil
		default: // the answer came before the request was read
			x.abandonStream()
			whole = false
		}
	}
	if whole && !x.Close {
		x.conn.pool.put(x.conn)
		return
	}
	x.conn.discard()
}

// abandon ends an exchange without a response.
func (x *Exchange) abandon() {
	x.stop()
	x.conn.discard()
	if x.sent != nil {
		x.abandonStream()
	}
}

func (x *Exchange) abandonStream() {
	x.conn.discard()
	x.request.stopStream()
	<-x.sent
}

// adopt makes a connection one of the pool's.
func (p *Pool) adopt(raw net.Conn) *pooledConn {
	c := &pooledConn{
		Conn: raw, pool: p,
		br: bufio.NewReader(raw), bw: bufio.NewWriter(raw),
		ready: make(chan error, 1), resume: make(chan struct{}, 1), done: make(chan struct{}),
	}
	p.Goroutines.Go(c.watch)
	return c
}

// watch waits for the first byte of each response. Whatever comes while the connection is idle ends it.
func (c *pooledConn) watch() {
	for {
		_, err := c.br.Peek(1)
		if c.pool.retire(c) {
			c.discard()
			return
		}
		c.ready <- err // never blocks: it is read once for each resume
		if err != nil {
			return
		}
		select {
		case <-c.resume:
		case <-c.done:
			return
		}
	}
}

// discard ends the connection at once, without a farewell of TLS that a stuck network could hold up. It may be called
// at any time, by anyone, more than once.
func (c *pooledConn) discard() {
	c.once.Do(func() {
		close(c.done)
		if t, ok := c.Conn.(*tls.Conn); ok {
			t.NetConn().Close()
			return
		}
		c.Close()
	})
}

// end closes the connection in an orderly way, after its last response.
func (c *pooledConn) end() {
	c.once.Do(func() {
		close(c.done)
		c.Close()
	})
}

// take hands out the connection that was used last.
func (p *Pool) take() *pooledConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	c := p.idle[n-1]
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	return c
}

func (p *Pool) put(c *pooledConn) {
	p.mu.Lock()
	spent := p.closed || p.MaxRequests > 0 && c.served >= p.MaxRequests
	if !spent {
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	if spent {
		c.end()
		return
	}
	c.resume <- struct{}{}
}

// retire takes a connection out of those that are idle, and reports whether it was one.
func (p *Pool) retire(c *pooledConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, o := range p.idle {
		if o == c {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			return true
		}
	}
	return false
}

// Close ends the idle connections; those in use end with their request.
func (p *Pool) Close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	for _, c := range idle {
		c.discard()
	}
}

// Idle counts the connections that are kept and not in use.
func (p *Pool) Idle() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle)
}

// Request makes a request of net/http, which can be sent once.
func (r *Outgoing) Request(ctx context.Context) (*http.Request, error) {
	u, err := url.ParseRequestURI(r.URI)
	if err != nil {
		return nil, err
	}
	u.Scheme, u.Host = "http", r.Host
	req := (&http.Request{Method: r.Method, URL: u, Host: r.Host, Header: r.Header.Clone(), ContentLength: int64(len(r.Body))}).WithContext(ctx)
	switch {
	case r.Stream != nil:
		req.Body, req.ContentLength = io.NopCloser(r.Stream), r.Length
	case len(r.Body) > 0:
		req.Body = io.NopCloser(bytes.NewReader(r.Body))
	}
	return req, nil
}
