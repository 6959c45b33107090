package loadgen

import (
	"sync"
	"time"
)

// gauge follows how many requests are under way and how many connections are open, slice by slice.
type gauge struct {
	grid grid
	now  func() time.Duration // after the start of the load

	mu       sync.Mutex
	index    int // slice that the fields below belong to
	inFlight int64
	peak     int64
	conns    int64
	sent     int64 // since the start
	open     int64 // connections opened since the start
	highs    level // most requests under way, and most connections open, since high was asked last
	past     []level
	base     int // slice of past[0]
}

// level is what the gauge showed in one slice.
type level struct {
	peak  int64 // most requests under way at once
	conns int64 // connections open at its end
}

func (g *gauge) enter() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.roll()
	g.sent++
	g.inFlight++
	g.peak = max(g.peak, g.inFlight)
	g.highs.peak = max(g.highs.peak, g.inFlight)
}

func (g *gauge) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.roll()
	g.inFlight--
}

func (g *gauge) opened() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.roll()
	g.conns++
	g.open++
	g.highs.conns = max(g.highs.conns, g.conns)
}

func (g *gauge) closed() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.roll()
	g.conns--
}

// roll closes the slices that are over. What is under way at the edge of a slice is under way in the next one too.
func (g *gauge) roll() {
	for now := g.grid.slice(g.now()); g.index < now; g.index++ {
		g.past = append(g.past, level{peak: g.peak, conns: g.conns})
		g.peak = g.inFlight
	}
}

// take returns the level of a slice and forgets those up to it. Slices are asked for in order.
func (g *gauge) take(index int) level {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.roll()
	if index >= g.index {
		return level{peak: g.peak, conns: g.conns} // not over: the last slice of a load that was stopped
	}
	l := g.past[index-g.base]
	g.past = append(g.past[:0], g.past[index-g.base+1:]...)
	g.base = index + 1
	return l
}

// read returns what the gauge shows now.
func (g *gauge) read() (inFlight, sent int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inFlight, g.sent
}

// openedSoFar is how many connections were opened since the start.
func (g *gauge) openedSoFar() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open
}

// high returns the most requests that were under way at once, and the most connections that were open, since it was
// asked last.
func (g *gauge) high() (inFlight, conns int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h := g.highs
	g.highs = level{peak: g.inFlight, conns: g.conns}
	return h.peak, h.conns
}

// grid cuts time into slices of TickWidth. The slice at the end of the schedule is cut short, so that its rate is one;
// slices go on after it while what is late is sent.
type grid struct{ end time.Duration }

func (g grid) planned() int { return int((g.end + TickWidth - 1) / TickWidth) }

// slice is the index of the slice at a time after the start of the load.
func (g grid) slice(at time.Duration) int {
	switch {
	case at < 0:
		return 0
	case at < g.end:
		return int(at / TickWidth)
	}
	return g.planned() + int((at-g.end)/TickWidth)
}

// bounds are the start and the end of a slice.
func (g grid) bounds(index int) (from, to time.Duration) {
	if k := index - g.planned(); k >= 0 {
		return g.end + time.Duration(k)*TickWidth, g.end + time.Duration(k+1)*TickWidth
	}
	from = time.Duration(index) * TickWidth
	return from, min(from+TickWidth, g.end)
}
