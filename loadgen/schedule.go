package loadgen

import (
	"errors"
	"fmt"
	"math"
	"sort"
	"time"

	"github.com/meshproof/meshproof/scenarios"
)

// maxTotal bounds the requests of one schedule. It keeps sums of float64 exact to a small fraction of a request.
const maxTotal = 1e12

// Phase is one stage of a profile with its place in time and in the sequence of requests.
type Phase struct {
	Name  string
	Start time.Duration // after the start of the load
	For   time.Duration
	First int64 // sequence number of its first request
	Last  int64 // sequence number after its last request

	// Closed is not nil for a closed loop, which plans no request: Last is First, and Closed.Number numbers them.
	Closed *Closed
}

// Total is the number of the phase's requests.
func (p Phase) Total() int64 { return p.Last - p.First }

// End is when the phase ends, after the start of the load.
func (p Phase) End() time.Duration { return p.Start + p.For }

// Schedule says when each request of a profile is meant to be sent. It is never changed and safe for concurrent use. Its
// memory grows with the profile's time and not with its requests.
//
// With H(t) the number of requests that the profile asks for until t, request n is meant for the time t with
// H(t) = n + 1/2: in the middle of its share of the load. A phase that ends at T has round(H(T)) requests together
// with all phases before it. With Poisson arrivals H(t) is the mean of as many as there are; see arrivals.
//
// Of a closed loop it knows the phases alone: it has no request, and no times.
type Schedule struct {
	phases   []Phase
	segments []segment
	first    []int       // first segment of each phase
	arrivals []*arrivals // of each phase; nil where they are even
	closed   bool
}

// NewSchedule lays out a profile. The seed draws what is left to chance; scenarios.Seed makes one for a traffic. It refuses
// profiles without a request, with rates that are negative or not finite, and with stages that take no time.
func NewSchedule(p scenarios.Profile, seed uint64) (*Schedule, error) {
	if len(p.Stages) == 0 {
		return nil, errors.New("the profile has no stages")
	}
	s := &Schedule{closed: p.Closed()}
	var start time.Duration
	var h float64 // requests asked for so far
	for i := range p.Stages {
		st := &p.Stages[i]
		if start > math.MaxInt64/2-max(st.For.D(), 0) {
			return nil, fmt.Errorf("stage %d: the profile is longer than a century", i+1)
		}
		ph, err := s.lay(st, i, start, h, seed, p.Arrivals)
		if err != nil {
			return nil, fmt.Errorf("stage %d: %w", i+1, err)
		}
		if n := len(s.segments); n > 0 {
			h = s.segments[n-1].h0 + s.segments[n-1].total()
		}
		if h > maxTotal {
			return nil, fmt.Errorf("stage %d: the profile asks for %.3g requests so far; at most %.0g are possible", i+1, h, maxTotal)
		}
		if ph.Closed == nil && p.Arrivals != scenarios.ArrivalsPoisson {
			ph.Last = int64(math.Floor(h + 0.5))
		}
		s.phases = append(s.phases, ph)
		start = ph.End()
	}
	if s.Total() == 0 && !s.closed {
		return nil, fmt.Errorf("the profile asks for no request at all: %.3g in %s", h, start)
	}
	return s, nil
}

// lay lays out one stage after those before it. The phase has its last request where that does not depend on others.
func (s *Schedule) lay(st *scenarios.Stage, i int, start time.Duration, h float64, seed uint64, how scenarios.Arrivals) (Phase, error) {
	ph := Phase{Name: st.Name, Start: start, For: st.For.D()}
	if ph.Name == "" {
		ph.Name = fmt.Sprintf("stage-%d", i+1)
	}
	if s.closed {
		c, err := newClosed(st, i, seed)
		if err != nil {
			return ph, err
		}
		ph.First, ph.Last, ph.Closed = c.first, c.first, c
		return ph, nil
	}
	if st.Closed() {
		return ph, errors.New("it is a closed loop, and another stage has a rate: how many requests were meant to be sent could not be told")
	}
	if i > 0 {
		ph.First = s.phases[i-1].Last
	}
	g, err := segmentsOf(st, start, h)
	if err != nil {
		return ph, err
	}
	s.first = append(s.first, len(s.segments))
	s.segments = append(s.segments, g...)
	var a *arrivals
	if how == scenarios.ArrivalsPoisson {
		a = newArrivals(seed, i, st, h)
		ph.Last = ph.First + a.total()
	}
	s.arrivals = append(s.arrivals, a)
	return ph, nil
}

// Closed reports whether it is a closed loop.
func (s *Schedule) Closed() bool { return s.closed }

// Total is the number of requests of the whole schedule; 0 of a closed loop, which has no number beforehand.
func (s *Schedule) Total() int64 {
	if s.closed || len(s.phases) == 0 {
		return 0
	}
	return s.phases[len(s.phases)-1].Last
}

// End is when the last phase ends, after the start of the load.
func (s *Schedule) End() time.Duration { return s.phases[len(s.phases)-1].End() }

// Phases lists the phases in order. They follow each other without a gap, in time and in sequence numbers.
func (s *Schedule) Phases() []Phase { return append([]Phase(nil), s.phases...) }

// At is when request n (from 0) is meant to be sent, after the start of the load, to the nanosecond. It never falls as n
// grows. A request beyond the last is meant for the end.
func (s *Schedule) At(n int64) time.Duration {
	if n >= s.Total() {
		return s.End()
	}
	n = max(n, 0)
	i := s.phaseOf(n)
	if a := s.arrivals[i]; a != nil {
		c := Cursor{s: s, phase: i, walk: walk{a: a}}
		return c.poisson(n)
	}
	return s.timeOf(i, float64(n)+0.5)
}

// timeOf is when H has a value within a phase, or near its edges.
func (s *Schedule) timeOf(phase int, h float64) time.Duration {
	from, to := s.first[phase], s.segmentsEnd(phase)
	return s.placed(phase, from+max(0, sort.Search(to-from, func(j int) bool { return s.segments[from+j].h0 > h })-1), h)
}

// placed is when H has a value within a segment.
func (s *Schedule) placed(phase, segment int, h float64) time.Duration {
	p, g := &s.phases[phase], &s.segments[segment]
	at := time.Duration(math.Round((g.start + g.at(h-g.h0)) * 1e9))
	// Rounding may carry a request over the edge of the phase that it is counted in.
	return min(max(at, p.Start), p.End()-1)
}

// Rate is the rate that the profile asks for at a time after the start of the load, per second; 0 outside it.
func (s *Schedule) Rate(at time.Duration) float64 {
	if at < 0 || at >= s.End() || s.closed {
		return 0
	}
	g := s.segments[s.segmentAt(at)]
	return g.rate(min(max(at.Seconds()-g.start, 0), g.dur))
}

// Hits is H(t): how many requests the profile asks for until a time after the start of the load.
func (s *Schedule) Hits(at time.Duration) float64 {
	if s.closed {
		return 0
	}
	at = min(max(at, 0), s.End())
	g := s.segments[s.segmentAt(at)]
	return g.h0 + g.hits(min(max(at.Seconds()-g.start, 0), g.dur))
}

// Before is the number of requests that are meant to be sent before a time after the start of the load. It agrees with
// At to the nanosecond.
func (s *Schedule) Before(at time.Duration) int64 {
	if at <= 0 || s.closed {
		return 0
	}
	if at >= s.End() {
		return s.Total()
	}
	if s.arrivals[0] != nil {
		return int64(sort.Search(int(s.Total()), func(n int) bool { return s.At(int64(n)) >= at }))
	}
	n := min(max(int64(s.Hits(at)+0.5), 0), s.Total())
	// H is right up to rounding; At decides.
	for n > 0 && s.At(n-1) >= at {
		n--
	}
	for n < s.Total() && s.At(n) < at {
		n++
	}
	return n
}

// phaseOf finds the phase of request n, which must be one of the schedule's.
func (s *Schedule) phaseOf(n int64) int {
	if s.closed {
		return int(min(n/closedNumbers, int64(len(s.phases)-1)))
	}
	return sort.Search(len(s.phases), func(i int) bool { return s.phases[i].Last > n })
}

// phaseAt finds the phase at a time after the start of the load; the last one after the end.
func (s *Schedule) phaseAt(at time.Duration) int {
	return min(sort.Search(len(s.phases), func(i int) bool { return s.phases[i].End() > at }), len(s.phases)-1)
}

func (s *Schedule) segmentsEnd(phase int) int {
	if phase+1 < len(s.first) {
		return s.first[phase+1]
	}
	return len(s.segments)
}

func (s *Schedule) segmentAt(at time.Duration) int {
	i := s.phaseAt(at)
	from, to := s.first[i], s.segmentsEnd(i)
	return from + max(0, sort.Search(to-from, func(j int) bool { return s.segments[from+j].start > at.Seconds() })-1)
}
