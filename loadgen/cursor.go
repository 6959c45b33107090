package loadgen

import (
	"sort"
	"time"
)

// Cursor goes through the requests of a schedule in order, cheaper than At does: worker k of N takes Cursor(k, N). It is
// for one goroutine.
type Cursor struct {
	s       *Schedule
	n       int64 // the next request
	stride  int64
	phase   int
	segment int

	walk walk
	leaf []time.Duration // of the Poisson arrivals around n
	from int64           // the request of leaf[0]
}

// Cursor returns the requests from, from + stride, from + 2·stride, … of an open schedule. A closed one has none.
func (s *Schedule) Cursor(from, stride int64) *Cursor {
	return &Cursor{s: s, n: max(from, 0), stride: max(stride, 1), phase: -1}
}

// Next is the next request, and when it is meant to be sent, which is At of it; false when there is none.
func (c *Cursor) Next() (n int64, at time.Duration, ok bool) {
	s := c.s
	if c.n >= s.Total() {
		return 0, 0, false
	}
	n = c.n
	c.n += c.stride
	if c.phase < 0 || n >= s.phases[c.phase].Last {
		c.phase = s.phaseOf(n)
		c.segment = s.first[c.phase]
		c.walk, c.leaf = walk{a: s.arrivals[c.phase], rest: c.walk.rest}, c.leaf[:0]
	}
	if c.walk.a != nil {
		return n, c.poisson(n), true
	}
	h := float64(n) + 0.5
	for end := s.segmentsEnd(c.phase); c.segment+1 < end && s.segments[c.segment+1].h0 <= h; {
		c.segment++
	}
	return n, s.placed(c.phase, c.segment, h), true
}

// poisson is the time of request n of the cursor's phase, which has Poisson arrivals.
func (c *Cursor) poisson(n int64) time.Duration {
	if end := c.from + int64(len(c.leaf)); len(c.leaf) == 0 || n >= end {
		a := c.walk.a
		rank := n - c.s.phases[c.phase].First
		var in int64
		if len(c.leaf) > 0 && rank < a.before[c.walk.block+1] {
			in = c.walk.next(n - end)
		} else {
			block := sort.Search(a.blocks(), func(i int) bool { return a.before[i+1] > rank })
			in = c.walk.to(block, rank-a.before[block])
		}
		c.from = n - in
		c.leaf = c.walk.times(c.leaf[:0], func(h float64) time.Duration { return c.s.timeOf(c.phase, h) })
	}
	return c.leaf[n-c.from]
}
