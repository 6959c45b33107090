package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// network is what lies between the clusters of a fleet: one link for each two of them. Within a cluster there is
// nothing but the host's loopback.
type network struct {
	links map[pair]*link
	stop  chan struct{} // closed at the end: every wire falls apart
	wires sync.WaitGroup
	mu    sync.Mutex // orders wires.Add and the closing of stop
	down  bool
}

// pair names a link, its clusters in alphabetical order.
type pair struct{ a, b string }

func pairOf(a, b string) pair {
	if a > b {
		a, b = b, a
	}
	return pair{a, b}
}

func newNetwork(names []string, latency time.Duration) *network {
	n := &network{links: map[pair]*link{}, stop: make(chan struct{})}
	for i, a := range names {
		for _, b := range names[i+1:] {
			n.links[pairOf(a, b)] = newLink(latency)
		}
	}
	return n
}

// dial opens a TCP connection from one cluster to an address in another. Across clusters it takes a round trip, and in
// a partition it waits until the link is whole again or ctx ends.
func (n *network) dial(ctx context.Context, from, to, addr string) (net.Conn, error) {
	var d net.Dialer
	if from == to {
		return d.DialContext(ctx, "tcp", addr)
	}
	l := n.links[pairOf(from, to)]
	if l == nil {
		return nil, fmt.Errorf("no network leads from cluster %q to cluster %q", from, to)
	}
	if err := l.cross(ctx, n.stop); err != nil { // SYN
		return nil, err
	}
	raw, dialErr := d.DialContext(ctx, "tcp", addr)
	if err := l.cross(ctx, n.stop); err != nil { // SYN-ACK, or RST
		if raw != nil {
			_ = raw.Close()
		}
		return nil, err
	}
	if dialErr != nil {
		return nil, dialErr
	}
	w := n.newWire(raw.(*net.TCPConn), l)
	if w == nil {
		_ = raw.Close()
		return nil, errNetworkDown
	}
	return w, nil
}

var errNetworkDown = fmt.Errorf("the clusters are being removed: %w", net.ErrClosed)

// close breaks every wire and waits for them.
func (n *network) close() {
	n.mu.Lock()
	if !n.down {
		n.down = true
		close(n.stop)
	}
	n.mu.Unlock()
	n.wires.Wait()
}

// link is the network between two clusters. It is the same in both directions.
type link struct {
	mu      sync.Mutex // of those who change the state
	state   atomic.Pointer[linkState]
	base    time.Duration
	extra   time.Duration
	cut     int // partitions in force
	changed chan struct{}
}

// linkState is the state of a link at one moment.
type linkState struct {
	latency time.Duration // one way
	cut     bool
	changed <-chan struct{} // closed when this state is over
}

func newLink(latency time.Duration) *link {
	l := &link{base: latency, changed: make(chan struct{})}
	l.state.Store(&linkState{latency: latency, changed: l.changed})
	return l
}

func (l *link) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	over := l.changed
	l.changed = make(chan struct{})
	l.state.Store(&linkState{latency: l.base + l.extra, cut: l.cut > 0, changed: l.changed})
	close(over)
}

// Delay implements clusters.Link.
func (l *link) Delay(ctx context.Context, d time.Duration) (func(context.Context) error, error) {
	if d <= 0 {
		return nil, fmt.Errorf("a delay of %s is none: give a time above 0", d)
	}
	return l.fault(ctx, func() { l.extra += d }, func() { l.extra -= d })
}

// Partition implements clusters.Link.
func (l *link) Partition(ctx context.Context) (func(context.Context) error, error) {
	return l.fault(ctx, func() { l.cut++ }, func() { l.cut-- })
}

func (l *link) fault(ctx context.Context, inject, revert func()) (func(context.Context) error, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.change(inject)
	var once sync.Once
	return func(context.Context) error {
		once.Do(func() { l.change(revert) })
		return nil
	}, nil
}

// due is when a packet that is sent now arrives, if nothing holds it up.
func (l *link) due() time.Time { return time.Now().Add(l.state.Load().latency) }

var errGivenUp = errors.New("given up")

// arrive waits until a packet with that due time arrives. A partition holds it back; when the link is whole again it
// is sent once more, as TCP does, and takes the latency of that moment. give ends the waiting with errGivenUp, as stop
// does with errNetworkDown; either may be nil.
func (l *link) arrive(due time.Time, timer *time.Timer, give, stop <-chan struct{}) error {
	for {
		st := l.state.Load()
		if st.cut {
			select {
			case <-st.changed:
				if now := l.state.Load(); !now.cut {
					due = time.Now().Add(now.latency)
				}
				continue
			case <-give:
				return errGivenUp
			case <-stop:
				return errNetworkDown
			}
		}
		wait := time.Until(due)
		if wait <= 0 {
			return nil
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-give:
			timer.Stop()
			return errGivenUp
		case <-stop:
			timer.Stop()
			return errNetworkDown
		}
		// Due now; the next turn looks whether the link was cut in the meantime.
	}
}

// cross lets one packet pass.
func (l *link) cross(ctx context.Context, stop <-chan struct{}) error {
	err := l.arrive(l.due(), newTimer(), ctx.Done(), stop)
	if errors.Is(err, errGivenUp) {
		return ctx.Err()
	}
	return err
}

// newTimer is a timer that is not running.
func newTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}
