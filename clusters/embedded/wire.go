package embedded

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

const (
	// segment is the most that travels as one piece, in bytes.
	segment = 16 << 10
	// inFlight bounds the pieces under way in one direction. What is written beyond it waits, as with a full window.
	inFlight = 64
)

// wire is the client's end of a TCP connection across a link. Every piece of data arrives, in order, a latency after
// it was sent; the other end is an ordinary connection of the host's loopback.
//
// Two goroutines carry it, one a direction. They end when the connection does, which may be some time after Close: what
// was written before still arrives, and a partition holds back even the end of the connection. The network waits for
// them when it is taken down.
type wire struct {
	far  *net.TCPConn // the connection to the far end. No wire is one: io.Copy and others would go past the latency
	net  *network
	link *link

	out      chan piece // to the far end
	in       chan piece // from it
	writeMu  sync.Mutex // one Write at a time, so that they do not mix
	readMu   sync.Mutex
	head     piece // piece that has arrived in part
	headOK   bool
	timer    *time.Timer // of Read
	finSent  bool        // guarded by writeMu
	broken   chan struct{}
	breakErr error // why broken is closed

	closed    chan struct{}
	closeOnce sync.Once
	breakOnce sync.Once
	abortive  bool // Close resets the connection; set before closed is closed
	lingerMu  sync.Mutex

	readDeadline, writeDeadline deadline
}

// piece is some data, or the end of it.
type piece struct {
	data []byte
	due  time.Time
	end  error // io.EOF, or why there is no more
}

// newWire makes a wire over a connection that was just opened, or nil where the network is down.
func (n *network) newWire(raw *net.TCPConn, l *link) *wire {
	w := &wire{
		far: raw, net: n, link: l,
		out: make(chan piece, inFlight), in: make(chan piece, inFlight),
		broken: make(chan struct{}), closed: make(chan struct{}), timer: newTimer(),
	}
	w.readDeadline.init()
	w.writeDeadline.init()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down {
		return nil
	}
	n.wires.Add(2)
	go w.carryOut()
	go w.carryIn()
	return w
}

// Write implements net.Conn. It returns when the data is under way, not when it has arrived.
func (w *wire) Write(b []byte) (int, error) {
	w.writeMu.Lock()
	defer w.writeMu.Unlock()
	if w.finSent {
		return 0, w.opError("write", net.ErrClosed)
	}
	sent := 0
	for sent < len(b) {
		if err := w.writable(); err != nil {
			return sent, w.opError("write", err)
		}
		part := b[sent:min(len(b), sent+segment)]
		p := piece{data: append([]byte(nil), part...), due: w.link.due()}
		select {
		case w.out <- p:
			sent += len(part)
		case <-w.writeDeadline.passed():
			return sent, w.opError("write", os.ErrDeadlineExceeded)
		case <-w.broken:
		case <-w.closed:
		}
	}
	return sent, nil
}

func (w *wire) writable() error {
	select {
	case <-w.closed:
		return net.ErrClosed
	case <-w.broken:
		return w.breakErr
	case <-w.writeDeadline.passed():
		return os.ErrDeadlineExceeded
	default:
		return nil
	}
}

// Read implements net.Conn.
func (w *wire) Read(b []byte) (int, error) {
	w.readMu.Lock()
	defer w.readMu.Unlock()
	if len(b) == 0 {
		return 0, nil
	}
	select {
	case <-w.closed:
		return 0, w.opError("read", net.ErrClosed)
	case <-w.readDeadline.passed():
		return 0, w.opError("read", os.ErrDeadlineExceeded)
	default:
	}
	if !w.headOK {
		select {
		case w.head = <-w.in:
			w.headOK = true
		case <-w.closed:
			return 0, w.opError("read", net.ErrClosed)
		case <-w.readDeadline.passed():
			return 0, w.opError("read", os.ErrDeadlineExceeded)
		}
	}
	if !w.head.due.IsZero() {
		if err := w.link.arrive(w.head.due, w.timer, w.readDeadline.passed(), w.closed); err != nil {
			if errors.Is(err, errGivenUp) {
				return 0, w.opError("read", os.ErrDeadlineExceeded)
			}
			return 0, w.opError("read", net.ErrClosed)
		}
		w.head.due = time.Time{}
	}
	if w.head.end != nil {
		return 0, w.head.end // io.EOF, or the far end's error with its addresses
	}
	n := copy(b, w.head.data)
	w.head.data = w.head.data[n:]
	w.headOK = len(w.head.data) > 0
	return n, nil
}

// carryOut takes what was written to the far end.
func (w *wire) carryOut() {
	defer w.net.wires.Done()
	defer w.far.Close()
	timer := newTimer()
	ending := w.closed
	for {
		var p piece
		select {
		case p = <-w.out:
		case <-ending:
			// What was written before Close goes first; then the end itself travels.
			ending = nil
			if w.aborts() {
				w.reset(timer)
				return
			}
			select {
			case p = <-w.out:
			default:
				_ = w.link.arrive(w.link.due(), timer, nil, w.net.stop)
				return
			}
		case <-w.net.stop:
			w.fail(errNetworkDown)
			_ = w.Close()
			return
		}
		if !w.deliver(p, timer) {
			return
		}
		if ending == nil && len(w.out) == 0 {
			return // closed, and everything has arrived; the FIN rode on the last piece
		}
	}
}

// deliver hands one piece to the far end, and says whether the connection goes on.
func (w *wire) deliver(p piece, timer *time.Timer) bool {
	give := w.closed
	for {
		err := w.link.arrive(p.due, timer, give, w.net.stop)
		if errors.Is(err, errGivenUp) { // closed in the meantime
			if w.aborts() {
				w.reset(timer)
				return false
			}
			give = nil
			continue
		}
		if err != nil {
			w.fail(err)
			_ = w.Close()
			return false
		}
		break
	}
	if p.end != nil {
		_ = w.far.CloseWrite()
		return true
	}
	if _, err := w.far.Write(p.data); err != nil {
		w.fail(err)
		return false
	}
	return true
}

// reset lets an RST travel to the far end.
func (w *wire) reset(timer *time.Timer) {
	_ = w.link.arrive(w.link.due(), timer, nil, w.net.stop)
	_ = w.far.SetLinger(0)
}

// carryIn takes what the far end wrote.
func (w *wire) carryIn() {
	defer w.net.wires.Done()
	buf := make([]byte, segment)
	for {
		n, err := w.far.Read(buf)
		if n > 0 && !w.arriveIn(piece{data: append([]byte(nil), buf[:n]...), due: w.link.due()}) {
			return
		}
		if err != nil {
			w.arriveIn(piece{end: err, due: w.link.due()})
			return
		}
	}
}

func (w *wire) arriveIn(p piece) bool {
	select {
	case w.in <- p:
		return true
	case <-w.closed:
		return false
	}
}

// fail breaks the connection for its user.
func (w *wire) fail(err error) {
	w.breakOnce.Do(func() {
		w.breakErr = err
		close(w.broken)
	})
}

func (w *wire) aborts() bool {
	w.lingerMu.Lock()
	defer w.lingerMu.Unlock()
	return w.abortive
}

// SetLinger is TCPConn's: with 0, Close drops what is under way and resets the connection.
func (w *wire) SetLinger(sec int) error {
	w.lingerMu.Lock()
	defer w.lingerMu.Unlock()
	w.abortive = sec == 0
	return nil
}

// Close implements net.Conn.
func (w *wire) Close() error {
	err := w.opError("close", net.ErrClosed)
	w.closeOnce.Do(func() {
		close(w.closed)
		err = nil
	})
	return err
}

// CloseWrite says that nothing more will be written.
func (w *wire) CloseWrite() error {
	w.writeMu.Lock()
	defer w.writeMu.Unlock()
	if w.finSent {
		return nil
	}
	select {
	case w.out <- piece{end: io.EOF, due: w.link.due()}:
		w.finSent = true
		return nil
	case <-w.broken:
		return w.opError("close", w.breakErr)
	case <-w.closed:
		return w.opError("close", net.ErrClosed)
	}
}

// SetDeadline implements net.Conn.
func (w *wire) SetDeadline(t time.Time) error {
	w.readDeadline.set(t)
	w.writeDeadline.set(t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (w *wire) SetReadDeadline(t time.Time) error { w.readDeadline.set(t); return nil }

// SetWriteDeadline implements net.Conn.
func (w *wire) SetWriteDeadline(t time.Time) error { w.writeDeadline.set(t); return nil }

// LocalAddr implements net.Conn.
func (w *wire) LocalAddr() net.Addr { return w.far.LocalAddr() }

// RemoteAddr implements net.Conn.
func (w *wire) RemoteAddr() net.Addr { return w.far.RemoteAddr() }

func (w *wire) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: w.LocalAddr(), Addr: w.RemoteAddr(), Err: err}
}
