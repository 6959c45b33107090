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
	// maxWriting is how long a connection is given, after its answer, to be done with writing the request. An answer that
	// comes before the whole request was read leaves a connection that is of no use.
	maxWriting = 50 * time.Millisecond
)

// conn is one connection, with one request under way at most.
type conn struct {
	sender  *sender
	shard   int
	session int // 0 where there are none
	net     net.Conn
	direct  bool    // it has a send buffer of its own
	stamps  stamped // nil where it has none
	in      *bufio.Reader
	head    fasthttp.ResponseHeader
	out     []byte
	heard   chan<- over // who waits for the answer; nil in an open loop
	scratch scratch
	writing sync.Mutex // held while a request is written; out and scratch are of use only outside of that

	mu     sync.Mutex
	closed bool
	busy   bool // a request is under way
	ended  bool // nobody reads any more
	req    pending
	armed  time.Time // when a read ends without data; zero: never. Never after the request's own time, and often before it.
	broke  error     // why reading ended
}

// pending is a request that has been sent.
type pending struct {
	n        int64
	intended time.Duration
	sent     time.Duration
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
		out := result{n: n, intended: at, sent: sent, done: s.now(), class: s.classOf(err)}
		s.recorder.record(c.shard, out)
		if c.heard != nil {
			c.heard <- over{done: out.done}
		}
		return
	}
	c.mu.Lock()
	c.net, c.direct = nc, hasBuffer(nc)
	c.stamps, _ = lowest(nc).(stamped)
	if c.closed { // given up meanwhile
		_ = nc.Close()
	}
	c.mu.Unlock()
	defer c.close()
	c.in = bufio.NewReaderSize(reader{c}, maxHead)
	c.begin(n, at, sent)
	c.write()
	for c.answer() {
	}
}

// begin makes a request the connection's. It is false where the connection has just ended. A connection that was taken
// from the idle ones may have; one that asks for more work has not.
func (c *conn) begin(n int64, at, sent time.Duration) bool {
	s := c.sender
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	c.req, c.busy = pending{n: n, intended: at, sent: sent}, true
	if c.armed.IsZero() {
		c.arm(s.attack.Start.Add(sent + s.timeout))
	}
	return true
}

// write sends the request that was begun.
func (c *conn) write() {
	s := c.sender
	if s.attack.Protocol == TCP {
		c.out = s.mix.appendTCP(c.out[:0], uint64(c.req.n), &c.scratch)
	} else {
		c.out = s.mix.appendHTTP1(c.out[:0], uint64(c.req.n), &c.scratch, s.mix.cookies(c.session, uint64(c.req.n)))
	}
	c.writing.Lock()
	if c.direct && len(c.out) <= maxInline && c.scratch.body == nil {
		c.put()
		return
	}
	s.running.Go(c.put)
}

// put writes the request, and lets writing go. Where it fails, the reader finds the connection closed.
func (c *conn) put() {
	defer c.writing.Unlock()
	_, err := c.net.Write(c.out)
	if err == nil && c.scratch.body != nil {
		_, err = c.net.Write(c.scratch.body)
	}
	if err != nil {
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
	c.ended = !busy
	c.mu.Unlock()
	if !busy {
		return false // the server closed the connection, or said something that nobody asked for
	}
	code, size, keep, err := c.read(s.mix.kind(uint64(req.n)).method)
	if len(s.mix.jars) > 0 && err == nil {
		for _, text := range c.head.Cookies() {
			s.mix.keep(c.session, uint64(req.n), string(text))
		}
	}
	out := result{n: req.n, intended: req.intended, sent: req.sent, code: code, bytes: size}
	if err != nil {
		c.mu.Lock()
		if c.broke != nil {
			err = c.broke // and not what the parser made of it
		}
		c.mu.Unlock()
		out.code, out.class, out.done, keep = 0, s.classOf(err), s.now(), false
	} else {
		out.done = s.arrived(c.stamps, req.sent)
	}
	c.mu.Lock()
	c.busy = false
	c.mu.Unlock()
	s.gauge.leave()
	s.recorder.record(c.shard, out)
	keep = keep && !s.mix.each && c.in.Buffered() == 0 && c.written()
	if c.heard != nil {
		c.mu.Lock()
		c.ended = !keep
		c.mu.Unlock()
		c.heard <- over{out.done, keep}
		return keep
	}
	if !keep {
		return false
	}
	due, remains := s.more(c, out.done)
	if due {
		s.gauge.enter()
		c.write()
	}
	return remains
}

// written reports whether the request has been written, at last or soon. Only then may the next one be made.
func (c *conn) written() bool {
	if !c.writing.TryLock() {
		giveUp := time.AfterFunc(maxWriting, c.close)
		c.writing.Lock()
		defer giveUp.Stop()
	}
	defer c.writing.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.closed
}

// read reads one answer to its end. Interim answers (1xx) are passed over.
func (c *conn) read(method string) (code int, size int64, keep bool, err error) {
	if c.sender.attack.Protocol == TCP {
		size, err = readLine(c.in)
		return http.StatusOK, size, true, err
	}
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
