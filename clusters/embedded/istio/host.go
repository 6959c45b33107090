package istio

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meshproof/meshproof/clusters/embedded/proxy"
)

// connectTimeout is Istio's default for TCP and TLS together.
const connectTimeout = 10 * time.Second

// failureKind says how a request got no response.
type failureKind int

const (
	connectFailure failureKind = iota // no connection: refused, timed out, or no TLS
	resetFailure                      // the connection ended before a response began
	canceled                          // the caller went away
	timedOut                          // a limit of the route ended it
)

// failure is a request without a response.
type failure struct {
	kind   failureKind
	reason string // in Envoy's words: "connection termination"
}

// outgoing is a request on its way to a host.
type outgoing struct {
	method, uri, host string
	header            http.Header
	body              []byte    // the whole body; or
	stream            io.Reader // a body that is too large to be kept
	length            int64     // of stream; -1: unknown
	stopStream        func()    // unblocks reads from stream
}

// host is one endpoint of one upstream with its connections. HTTP/1.1: one request at a time on each.
type host struct {
	ep          proxy.Endpoint
	secure      bool
	maxRequests int // on one connection; 0: no limit
	connect     func(context.Context) (net.Conn, error)
	explain     func(error) string // words for an error of connect
	active      atomic.Int64       // requests under way
	goroutines  *sync.WaitGroup

	mu     sync.Mutex
	idle   []*upstreamConn
	closed bool
}

// upstreamConn is a kept connection. A goroutine of its own waits for its next byte, so that a connection that the
// other side closes while it is idle is never used again.
type upstreamConn struct {
	net.Conn
	host   *host
	br     *bufio.Reader
	bw     *bufio.Writer
	served int
	ready  chan error    // the first byte of a response is there, or an error
	resume chan struct{} // the response was read: wait for the next
	done   chan struct{} // closed with the connection
	once   sync.Once
}

// exchange is a response that is being read. finish must be called once.
type exchange struct {
	*http.Response
	conn    *upstreamConn
	began   time.Time
	sent    <-chan error // of a streamed body; nil: all was sent
	stop    func() bool
	request *outgoing
}

// do sends a request, and returns when the response's header is there. The caller holds h.active.
func (h *host) do(ctx context.Context, r *outgoing) (*exchange, *failure) {
	c := h.take()
	if c == nil {
		raw, err := h.open(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil, &failure{canceled, ctx.Err().Error()}
			}
			return nil, &failure{connectFailure, h.explain(err)}
		}
		c = h.adopt(raw)
	}
	c.served++
	x := &exchange{conn: c, began: time.Now(), request: r, stop: context.AfterFunc(ctx, c.discard)}
	if err := x.send(); err != nil {
		c.discard() // so that the wait below ends
	}
	err := <-c.ready
	if err == nil {
		x.Response, err = readResponse(c.br, r.method)
	}
	if err != nil {
		x.abandon()
		if ctx.Err() != nil {
			return nil, &failure{canceled, ctx.Err().Error()}
		}
		return nil, &failure{resetFailure, "connection termination"}
	}
	return x, nil
}

func (h *host) open(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, connectTimeout, errConnectTimeout)
	defer cancel()
	c, err := h.connect(ctx)
	if err != nil && errors.Is(context.Cause(ctx), errConnectTimeout) {
		return nil, errConnectTimeout
	}
	return c, err
}

var errConnectTimeout = errors.New("connection timeout")

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
func (x *exchange) send() error {
	c, r := x.conn, x.request
	writeHead(c.bw, r)
	if r.stream == nil {
		c.bw.Write(r.body)
		return c.bw.Flush() // which reports the error of any write before it
	}
	sent := make(chan error, 1)
	x.sent = sent
	c.host.goroutines.Go(func() {
		err := copyBody(c.bw, r)
		if err != nil {
			c.discard() // half a request is of no use
		}
		sent <- err
	})
	return nil
}

func copyBody(w *bufio.Writer, r *outgoing) error {
	if r.length >= 0 {
		n, err := io.Copy(w, r.stream)
		if err == nil && n != r.length {
			err = io.ErrUnexpectedEOF
		}
		return errors.Join(err, w.Flush())
	}
	cw := httputil.NewChunkedWriter(w)
	if _, err := io.Copy(cw, r.stream); err != nil {
		return err
	}
	_, err := w.WriteString("0\r\n\r\n")
	return errors.Join(err, w.Flush())
}

// finish gives the connection back after the whole response was read, or ends it.
func (x *exchange) finish(whole bool) {
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
		x.conn.host.put(x.conn)
		return
	}
	x.conn.discard()
}

// abandon ends an exchange without a response.
func (x *exchange) abandon() {
	x.stop()
	x.conn.discard()
	if x.sent != nil {
		x.abandonStream()
	}
}

func (x *exchange) abandonStream() {
	x.conn.discard()
	x.request.stopStream()
	<-x.sent
}

// adopt makes a connection one of the host's.
func (h *host) adopt(raw net.Conn) *upstreamConn {
	c := &upstreamConn{
		Conn: raw, host: h,
		br: bufio.NewReader(raw), bw: bufio.NewWriter(raw),
		ready: make(chan error, 1), resume: make(chan struct{}, 1), done: make(chan struct{}),
	}
	h.goroutines.Go(c.watch)
	return c
}

// watch waits for the first byte of each response. Whatever comes while the connection is idle ends it.
func (c *upstreamConn) watch() {
	for {
		_, err := c.br.Peek(1)
		if c.host.retire(c) {
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
func (c *upstreamConn) discard() {
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
func (c *upstreamConn) end() {
	c.once.Do(func() {
		close(c.done)
		c.Close()
	})
}

// take hands out the connection that was used last.
func (h *host) take() *upstreamConn {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.idle)
	if n == 0 {
		return nil
	}
	c := h.idle[n-1]
	h.idle[n-1] = nil
	h.idle = h.idle[:n-1]
	return c
}

func (h *host) put(c *upstreamConn) {
	h.mu.Lock()
	spent := h.closed || h.maxRequests > 0 && c.served >= h.maxRequests
	if !spent {
		h.idle = append(h.idle, c)
	}
	h.mu.Unlock()
	if spent {
		c.end()
		return
	}
	c.resume <- struct{}{}
}

// retire takes a connection out of those that are idle, and reports whether it was one.
func (h *host) retire(c *upstreamConn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, o := range h.idle {
		if o == c {
			h.idle = append(h.idle[:i], h.idle[i+1:]...)
			return true
		}
	}
	return false
}

// close ends the idle connections; those in use end with their request.
func (h *host) close() {
	h.mu.Lock()
	idle := h.idle
	h.idle, h.closed = nil, true
	h.mu.Unlock()
	for _, c := range idle {
		c.discard()
	}
}
