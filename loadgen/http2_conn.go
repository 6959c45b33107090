package loadgen

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	// maxUnheard is how much (bytes) may be written to a connection by whoever sends, past what the server is known to have
	// read because it answered: that much waits for nobody, because the buffers of a TCP connection hold it. More is written
	// by a goroutine of its own.
	maxUnheard = 16 << 10
	// maxGathered is how much (bytes) may wait to be written to a server that makes us answer, and does not read.
	maxGathered = 1 << 20
	// maxFrame is the largest frame, in bytes, sent or taken: every server takes such, and none may send larger ones unasked
	// (RFC 9113, 4.2).
	maxFrame = 16 << 10
	// readBuffer is how much is read at once, in bytes.
	readBuffer = 32 << 10
	// streamWindow and connWindow are how much (bytes) a server may send of one answer, and ahead on a connection, before it is told to go on.
	streamWindow, connWindow = 4 << 20, 1 << 30
	// firstWindow is what both are until they are changed (RFC 9113, 6.9.2), and maxWindow what they may become.
	firstWindow, maxWindow = 65535, 1<<31 - 1
)

// conn2 is one connection in HTTP/2.
type conn2 struct {
	sender *multiplexer
	shard  int

	used, limit int // requests given to it, and how many it may have at once; guarded by the sender's mu

	framer *http2.Framer // reads frames, and writes them to out

	mu       sync.Mutex
	net      net.Conn
	direct   bool // it has a send buffer of its own
	closed   bool
	ended    bool  // nobody reads any more
	broke    error // why reading or writing ended
	armed    time.Time
	heard    time.Duration // when the server last said something
	stamps   stamped       // nil where it has none
	ready    bool          // the server has said what it allows
	draining bool          // nothing more is to be sent
	max      int           // requests that the server allows to be under way
	active   int           // requests sent and not ended
	freed    int           // requests that have ended since the sender was told
	nextID   uint32
	streams  map[uint32]*stream
	oldest   *stream // of all, by the time that they were given; a list
	newest   *stream
	waiting  []*stream // given, and not sent yet
	bodies   []*stream // whose bodies are not sent yet
	window   int64     // how much the server takes, on the connection
	initial  int64     // and of a new stream
	got      int64     // received, and not given back of its window
	blocks   blocks

	out      []byte // what is to be written
	spare    []byte
	block    []byte
	gathered int64 // bytes, since the beginning
	proved   int64 // of these, what the server is known to have read
	writing  bool
}

// stream is one request, and its answer.
type stream struct {
	pending
	given      time.Duration // to the connection: its time-out counts from then
	id         uint32        // 0: not sent yet
	head       bool          // its answer has no body
	prev, next *stream
	sentAt     int64  // how much had been gathered with its header
	rest       []byte // of its body, what is not sent yet
	window     int64  // how much the server takes of it
	code       int    // 0: no answer yet
	length     int64  // of the answer's body as announced; -1: it was not
	bytes      int64  // of the answer's body, so far
	got        int64  // received, and not given back of its window
}

func newConn2(s *multiplexer, shard int) *conn2 {
	return &conn2{
		sender: s, shard: shard, max: maxUntold, nextID: 1, streams: map[uint32]*stream{},
		window: firstWindow, initial: firstWindow, blocks: newBlocks(),
	}
}

var errNobodyWaits = errors.New("no request waits for the connection any more")

// live opens the connection and reads from it until it ends. What is under way then has failed.
func (c *conn2) live() {
	err := c.dial()
	for err == nil {
		var f http2.Frame
		f, err = c.framer.ReadFrame()
		c.mu.Lock()
		err = c.take(f, err)
		c.mu.Unlock()
	}
	c.mu.Lock()
	c.ended = true
	if c.broke != nil {
		err = c.broke // and not what the parser made of it
	}
	class := c.sender.classOf(err)
	for c.oldest != nil {
		c.end(c.oldest, class)
	}
	freed := c.freed
	c.mu.Unlock()
	c.close()
	c.sender.gone(c, freed)
}

// dial opens the connection, and says what is said first. Who waits for it has the time that it has: opening goes on for the
// others, and takes no longer by itself than a request may; then it begins anew.
func (c *conn2) dial() error {
	s := c.sender
	for {
		c.mu.Lock()
		if c.oldest == nil {
			c.ended = true
			c.mu.Unlock()
			return errNobodyWaits
		}
		c.mu.Unlock()
		ctx, cancel := context.WithTimeout(s.abort, s.timeout)
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			c.expireUntil(ctx)
			cancel()
		}()
		nc, raw, err := c.open(ctx)
		until, _ := ctx.Deadline() // the network may know that it has passed before ctx does
		late := (ctx.Err() != nil || !time.Now().Before(until)) && s.abort.Err() == nil
		cancel()
		<-watched
		if err != nil && late {
			c.expire()
			c.turn()
			continue
		} else if err != nil {
			return err
		}
		c.greet(nc, raw)
		return nil
	}
}

// expireUntil ends each request that waits for the connection when it has had its time, and lets the sender have its place,
// until ctx ends or nobody waits.
func (c *conn2) expireUntil(ctx context.Context) {
	for {
		c.mu.Lock()
		if c.oldest == nil {
			c.mu.Unlock()
			return
		}
		wait := time.NewTimer(time.Until(c.due(c.oldest)))
		c.mu.Unlock()
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
		c.expire()
		c.turn()
	}
}

// open opens the connection below the frames.
func (c *conn2) open(ctx context.Context) (nc net.Conn, raw *gate, err error) {
	d := c.sender.dialer
	dial := d.dial
	d.dial = func(ctx context.Context, address string) (net.Conn, error) {
		under, err := dial(ctx, address)
		if err != nil {
			return nil, err
		}
		raw = &gate{Conn: noteArrivals(under)}
		raw.in = bufio.NewReaderSize(below{raw}, readBuffer)
		return raw, nil
	}
	nc, err = d.open(ctx)
	return nc, raw, err
}

// greet makes the connection ready, and begins it (RFC 9113, 3.4).
func (c *conn2) greet(nc net.Conn, raw *gate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.net, c.direct, c.heard = nc, hasBuffer(raw), c.sender.now()
	if c.closed { // given up meanwhile
		_ = nc.Close()
	}
	from := io.Reader(raw.in)
	if c.sender.dialer.tls != nil {
		from = bufio.NewReaderSize(nc, maxFrame)
	}
	c.framer = http2.NewFramer(gathering{c}, from)
	c.framer.SetReuseFrames()
	c.stamps, _ = raw.Conn.(stamped)
	c.framer.SetMaxReadFrameSize(maxFrame)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(maxTable, nil)
	c.framer.MaxHeaderListSize = maxHead
	c.out = append(c.out, http2.ClientPreface...)
	_ = c.framer.WriteSettings(
		http2.Setting{ID: http2.SettingEnablePush, Val: 0},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: streamWindow},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: maxHead},
	)
	_ = c.framer.WriteWindowUpdate(0, connWindow-firstWindow)
	if c.oldest != nil {
		c.arm(c.due(c.oldest))
	}
	raw.conn = c
}

// gathering takes what is to be written. It never fails.
type gathering struct{ c *conn2 }

func (g gathering) Write(p []byte) (int, error) {
	g.c.out = append(g.c.out, p...)
	g.c.gathered += int64(len(p))
	return len(p), nil
}

// gate is the network below TLS. Before it waits for data, the connection has its turn.
type gate struct {
	net.Conn
	in   *bufio.Reader
	conn *conn2 // nil until it speaks HTTP/2
}

func (g *gate) Read(p []byte) (int, error) { return g.in.Read(p) }

type below struct{ *gate }

func (b below) Read(p []byte) (int, error) {
	c := b.conn
	if c == nil {
		return b.Conn.Read(p)
	}
	for {
		c.turn()
		n, err := b.Conn.Read(p)
		if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
			c.expire()
			continue
		}
		c.mu.Lock()
		c.heard = c.sender.now()
		if err != nil && c.broke == nil {
			c.broke = err
		}
		c.mu.Unlock()
		return n, err
	}
}

// turn tells the sender what has happened, and writes what there is to write. A connection that is of no more use is closed.
func (c *conn2) turn() {
	c.mu.Lock()
	ended, limit := c.freed, c.max
	if c.freed = 0; c.draining || c.closed {
		limit = 0
	}
	c.mu.Unlock()
	if c.sender.turn(c, ended, limit) {
		c.flush()
	} else {
		c.close()
	}
}

// begin gives a request to the connection. It is false where that has ended, or takes no more.
func (c *conn2) begin(n int64, at, sent time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || c.closed || c.draining {
		return false
	}
	st := &stream{pending: pending{n: n, intended: at, sent: sent}, given: sent, length: -1, prev: c.newest}
	if c.newest == nil {
		c.oldest = st
	} else {
		c.newest.next = st
	}
	c.newest = st
	c.sender.gauge.enter()
	if c.net != nil && c.armed.IsZero() {
		c.arm(c.due(st))
	}
	if c.free() && len(c.waiting) == 0 {
		c.send(st)
	} else {
		c.waiting = append(c.waiting, st)
	}
	return true
}

// flush writes what has been gathered, unless somebody does already.
func (c *conn2) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writing || c.net == nil || len(c.out) == 0 {
		return
	}
	c.writing = true
	c.put()
}

// put writes until there is nothing more to write, or has it written. The caller holds mu.
func (c *conn2) put() {
	for len(c.out) > 0 && !c.closed {
		if !c.direct || c.gathered-c.proved > maxUnheard {
			c.sender.running.Go(func() {
				c.mu.Lock()
				defer c.mu.Unlock()
				for len(c.out) > 0 && !c.closed {
					c.write()
				}
				c.writing = false
			})
			return
		}
		c.write()
	}
	c.writing = false
}

// write writes what has been gathered so far. The caller holds mu, which is let go meanwhile.
func (c *conn2) write() {
	out := c.out
	c.out = c.spare[:0]
	c.mu.Unlock()
	_, err := c.net.Write(out)
	c.mu.Lock()
	if c.spare = out; cap(out) > maxGathered/4 {
		c.spare = nil
	}
	if err != nil {
		if c.broke == nil {
			c.broke = err
		}
		c.shutDown()
		return
	}
	c.sendBodies()
}

// due is when a request has had its time.
func (c *conn2) due(st *stream) time.Time {
	return c.sender.attack.Start.Add(st.given + c.sender.timeout)
}

// arm lets reads end without data at a time. The caller holds mu.
func (c *conn2) arm(at time.Time) {
	c.armed = at
	_ = c.net.SetReadDeadline(at) // fails where the connection is closed, and then reads fail by themselves
}

// expire ends the requests that have had their time, and sees to it that the next one's is not missed. So a deadline is set
// once in the length of a time-out. A connection on which nothing was heard since such a request was given takes no more.
func (c *conn2) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.sender.now()
	for st := c.oldest; st != nil && st.given+c.sender.timeout <= now; st = c.oldest {
		if c.net != nil && c.heard < st.given {
			c.draining = true
		}
		c.giveUp(st, http2.ErrCodeCancel, classTimeout)
	}
	if c.net == nil {
		return
	}
	c.sendWaiting(false)
	if c.oldest == nil {
		c.arm(time.Time{})
	} else {
		c.arm(c.due(c.oldest))
	}
}

// close closes the connection; twice is once.
func (c *conn2) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shutDown()
}

// shutDown is close for who holds mu.
func (c *conn2) shutDown() {
	if c.closed {
		return
	}
	c.closed = true
	if c.net != nil {
		_ = c.net.Close()
	}
}
