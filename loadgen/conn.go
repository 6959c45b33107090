package loadgen

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	// maxHead bounds the header of an answer, in bytes.
	maxHead = 16 << 10
	// maxInline is the size (bytes) up to which a request is written by whoever sends it. The send buffer of an idle TCP
	// connection holds that much, so that writing it waits for nobody; more, and whatever goes over a connection that is
	// not known to have such a buffer, is written by a goroutine of its own.
	maxInline = 4 << 10
	// written is how long a connection is given, after its answer, to be done with writing the request. An answer that
	// comes before the whole request was read leaves a connection that is of no use.
	written = 50 * time.Millisecond
)

// conn is one connection, with one request under way at most.
type conn struct {
	sender  *sender
	shard   int
	net     net.Conn
	direct  bool // it has a send buffer of its own
	in      *bufio.Reader
	head    fasthttp.ResponseHeader
	out     []byte
	scratch scratch

	mu     sync.Mutex
	closed bool
	busy   bool
	req    pending
	armed  time.Time // when a read ends without data; zero: never. Never after the request's own time, and often before it.
	broke  error     // why reading ended
}

// pending is a request that has been sent.
type pending struct {
	n        int64
	intended time.Duration
	sent     time.Duration
	method   string
	wrote    chan struct{} // closed when it is written, where another goroutine does so; or nil
}

// live opens the connection, sends the request that it was opened for, and reads answers until the connection ends.
func (c *conn) live(n int64, at time.Duration) {
	s := c.sender
	defer s.gone(c)
	sent := s.now()
	s.gauge.enter()
	ctx, cancel := context.WithDeadline(s.abort, s.attack.Start.Add(sent+s.timeout))
	nc, err := s.dialer.open(ctx)
	cancel()
	if err != nil {
		s.gauge.leave()
		s.recorder.record(c.shard, result{n: n, intended: at, sent: sent, done: s.now(), class: s.classOf(err)})
		return
	}
	c.mu.Lock()
	c.net, c.direct = nc, hasBuffer(nc)
	if c.closed { // given up meanwhile
		_ = nc.Close()
	}
	c.mu.Unlock()
	defer c.close()
	c.in = bufio.NewReaderSize(reader{c}, maxHead)
	c.write(n, at, sent)
	for c.answer() {
	}
}

// send sends a request over a connection that is free.
func (c *conn) send(n int64, at time.Duration) {
	c.sender.gauge.enter()
	c.write(n, at, c.sender.now())
}

func (c *conn) write(n int64, at, sent time.Duration) {
	s := c.sender
	k := s.mix.kind(uint64(n))
	c.out = s.mix.appendHTTP1(c.out[:0], uint64(n), &c.scratch)
	inline := c.direct && len(c.out) <= maxInline
	req := pending{n: n, intended: at, sent: sent, method: k.method}
	if !inline {
		req.wrote = make(chan struct{})
	}
	c.mu.Lock()
	c.req, c.busy = req, true
	if c.armed.IsZero() {
		c.arm(s.attack.Start.Add(sent + s.timeout))
	}
	c.mu.Unlock()
	if inline {
		c.put()
		return
	}
	s.running.Go(func() {
		defer close(req.wrote)
		c.put()
	})
}

// put writes the request. Where that fails, the reader finds the connection closed.
func (c *conn) put() {
	if _, err := c.net.Write(c.out); err != nil {
		c.mu.Lock()
		if c.broke == nil {
			c.broke = err
		}
		c.mu.Unlock()
		c.close()
	}
}

// arm lets reads end without data at a time. The caller holds mu.
func (c *conn) arm(at time.Time) {
	c.armed = at
	_ = c.net.SetReadDeadline(at) // fails where the connection is closed, and then reads fail by themselves
}

// late reports whether the request has had its time when a read ended without data. Where it has not, or nothing is under
// way, the deadline was that of a request before it, and is set anew. So a deadline is set once in the length of a
// time-out, and not twice with each request.
func (c *conn) late() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	due := c.sender.attack.Start.Add(c.req.sent + c.sender.timeout)
	switch {
	case !c.busy:
		c.arm(time.Time{})
	case time.Now().Before(due):
		c.arm(due)
	default:
		return true
	}
	return false
}

// reader reads from a connection, past deadlines that are no longer meant.
type reader struct{ c *conn }

func (r reader) Read(p []byte) (int, error) {
	for {
		n, err := r.c.net.Read(p)
		switch {
		case err == nil:
			return n, nil
		case n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && !r.c.late():
			continue
		}
		r.c.mu.Lock()
		if r.c.broke == nil {
			r.c.broke = err
		}
		r.c.mu.Unlock()
		return n, err
	}
}

// answer waits for an answer, counts it, and sends what is due next. It reports whether the connection remains.
func (c *conn) answer() bool {
	s := c.sender
	_, _ = c.in.Peek(1)
	c.mu.Lock()
	req, busy := c.req, c.busy
	c.mu.Unlock()
	if !busy {
		return false // the server closed the connection, or said something that nobody asked for
	}
	code, size, keep, err := c.read(req.method)
	out := result{n: req.n, intended: req.intended, sent: req.sent, code: code, bytes: size}
	if err != nil {
		c.mu.Lock()
		if c.broke != nil {
			err = c.broke // and not what the parser made of it
		}
		c.mu.Unlock()
		out.code, out.class, keep = 0, s.classOf(err), false
	}
	out.done = s.now()
	c.mu.Lock()
	c.busy = false
	c.mu.Unlock()
	s.gauge.leave()
	s.recorder.record(c.shard, out)
	if !keep || c.in.Buffered() > 0 || !over(req.wrote) {
		return false
	}
	n, at, due, remains := s.done(c, out.done)
	if due {
		c.send(n, at)
	}
	return remains
}

// over reports whether a request has been written, at last or soon.
func over(wrote <-chan struct{}) bool {
	if wrote == nil {
		return true
	}
	t := time.NewTimer(written)
	defer t.Stop()
	select {
	case <-wrote:
		return true
	case <-t.C:
		return false
	}
}

// read reads one answer to its end. Interim answers (1xx) are passed over.
func (c *conn) read(method string) (code int, size int64, keep bool, err error) {
	for {
		if err := c.head.Read(c.in); err != nil {
			return 0, 0, false, err
		}
		if code = c.head.StatusCode(); code >= 200 || code == http.StatusSwitchingProtocols {
			break
		}
	}
	keep = !c.head.ConnectionClose() && code != http.StatusSwitchingProtocols
	length := c.head.ContentLength()
	switch {
	case method == http.MethodHead, code < 200, code == http.StatusNoContent, code == http.StatusNotModified:
	case length >= 0:
		var n int
		n, err = c.in.Discard(length)
		size = int64(n)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
	case length == -1:
		size, err = c.discardChunked()
	default: // to the end of the connection
		keep = false
		size, err = io.Copy(io.Discard, c.in)
	}
	return code, size, keep, err
}

// discardChunked reads a chunked body and its trailers (RFC 9112, 7.1).
func (c *conn) discardChunked() (int64, error) {
	size, err := io.Copy(io.Discard, httputil.NewChunkedReader(c.in))
	for err == nil {
		var line []byte
		if line, err = c.in.ReadSlice('\n'); err == nil && len(line) <= len("\r\n") {
			return size, nil
		}
	}
	return size, err
}

// close closes the connection; twice is once.
func (c *conn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	if c.net != nil {
		_ = c.net.Close()
	}
}
