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
}

// Total is the number of the phase's requests.
func (p Phase) Total() int64 { return p.Last - p.First }

// End is when the phase ends, after the start of the load.
func (p Phase) End() time.Duration { return p.Start + p.For }

// Schedule says when each request of a profile is meant to be sent. It is never changed and safe for concurrent use.
//
// With H(t) the number of requests that the profile asks for until t, request n is meant for the time t with
// H(t) = n + 1/2: in the middle of its share of the load. A phase that ends at T has round(H(T)) requests together
// with all phases before it.
type Schedule struct {
	phases   []Phase
	segments []segment
	first    []int // first segment of each phase
}

// segment is a stretch of time in which the rate changes in a straight line.
type segment struct {
	start float64 // seconds after the start of the load
	dur   float64 // seconds
	r0    float64 // requests per second at its start
	r1    float64 // requests per second at its end
	h0    float64 // requests asked for until its start
}

// hits is the number of requests asked for in the first t seconds of the segment: the integral of a rate that goes from
// r0 to r1 (1/s) in dur (s),
//
//	h(t) = r0·t + (r1-r0)·t²/(2·dur)
func (s segment) hits(t float64) float64 { return t * (s.r0 + (s.r1-s.r0)*t/(2*s.dur)) }

// total is h(dur) = (r0+r1)·dur/2.
func (s segment) total() float64 { return (s.r0 + s.r1) * s.dur / 2 }

// at is the inverse of hits: the t (s) with h(t) = h. Of the two forms of the root of a·t² + r0·t - h = 0, with
// a = (r1-r0)/(2·dur), this one neither divides by a slope of zero nor subtracts nearly equal numbers:
//
//	t = 2h / (r0 + √(r0² + 4·a·h))
func (s segment) at(h float64) float64 {
	if h <= 0 {
		return 0
	}
	d := s.r0*s.r0 + 2*(s.r1-s.r0)/s.dur*h
	t := 2 * h / (s.r0 + math.Sqrt(max(d, 0)))
	// Not a number where r0 and r1 are zero, and then the segment has no requests to place.
	if !(t < s.dur) {
		return s.dur
	}
	return t
}

// NewSchedule lays out a profile. It refuses profiles without a request, with rates that are negative or not finite, and
// with stages that take no time.
func NewSchedule(p scenarios.Profile) (*Schedule, error) {
	if len(p.Stages) == 0 {
		return nil, errors.New("the profile has no stages")
	}
	s := &Schedule{}
	var start time.Duration
	var h float64 // requests asked for so far
	var n int64   // round(h)
	for i, st := range p.Stages {
		rates, err := ratesOf(st)
		if err != nil {
			return nil, fmt.Errorf("stage %d: %w", i+1, err)
		}
		d := st.For.D()
		if start > math.MaxInt64/2-d {
			return nil, fmt.Errorf("stage %d: the profile is longer than a century", i+1)
		}
		s.first = append(s.first, len(s.segments))
		part := d.Seconds() / float64(len(rates)-1)
		at := start.Seconds()
		for k := range len(rates) - 1 {
			g := segment{start: at + float64(k)*part, dur: part, r0: rates[k], r1: rates[k+1], h0: h}
			h += g.total()
			s.segments = append(s.segments, g)
		}
		if h > maxTotal {
			return nil, fmt.Errorf("stage %d: the profile asks for %.3g requests so far; at most %.0g are possible", i+1, h, maxTotal)
		}
		name := st.Name
		if name == "" {
			name = fmt.Sprintf("stage-%d", i+1)
		}
		last := int64(math.Floor(h + 0.5))
		s.phases = append(s.phases, Phase{Name: name, Start: start, For: d, First: n, Last: last})
		start, n = start+d, last
	}
	if n == 0 {
		return nil, fmt.Errorf("the profile asks for no request at all: %.3g in %s", h, start)
	}
	return s, nil
}

// ratesOf lists the rates between which a stage goes in straight lines, in equal parts of its time.
func ratesOf(st scenarios.Stage) ([]float64, error) {
	if st.For <= 0 {
		return nil, fmt.Errorf("it lasts %s; want more than nothing", st.For)
	}
	if st.To != nil && st.Peak != nil {
		return nil, errors.New(`it has "to" and "peak"; a stage is a ramp or a spike`)
	}
	rates := []float64{st.Rate, st.Rate}
	switch {
	case st.To != nil:
		rates = []float64{st.Rate, *st.To}
	case st.Peak != nil:
		rates = []float64{st.Rate, *st.Peak, st.Rate}
	}
	for _, r := range rates {
		if !(r >= 0) || math.IsInf(r, 1) {
			return nil, fmt.Errorf("a rate of %v per second; want 0 or more", r)
		}
	}
	return rates, nil
}

// Total is the number of requests of the whole schedule.
func (s *Schedule) Total() int64 { return s.phases[len(s.phases)-1].Last }

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
	i := s.phaseOf(max(n, 0))
	p := s.phases[i]
	h := float64(max(n, 0)) + 0.5
	j := s.first[i]
	for end := s.segmentsEnd(i); j+1 < end && s.segments[j+1].h0 <= h; {
		j++
	}
	g := s.segments[j]
	at := time.Duration(math.Round((g.start + g.at(h-g.h0)) * 1e9))
	// Rounding may carry a request over the edge of the phase that it is counted in.
	return min(max(at, p.Start), p.End()-1)
}

// Rate is the rate that the profile asks for at a time after the start of the load, per second; 0 outside it.
func (s *Schedule) Rate(at time.Duration) float64 {
	if at < 0 || at >= s.End() {
		return 0
	}
	g := s.segments[s.segmentAt(at)]
	x := min(max((at.Seconds()-g.start)/g.dur, 0), 1)
	return g.r0 + (g.r1-g.r0)*x
}

// Hits is H(t): how many requests the profile asks for until a time after the start of the load.
func (s *Schedule) Hits(at time.Duration) float64 {
	at = min(max(at, 0), s.End())
	g := s.segments[s.segmentAt(at)]
	return g.h0 + g.hits(min(max(at.Seconds()-g.start, 0), g.dur))
}

// Before is the number of requests that are meant to be sent before a time after the start of the load. It agrees with
// At to the nanosecond.
func (s *Schedule) Before(at time.Duration) int64 {
	if at <= 0 {
		return 0
	}
	if at >= s.End() {
		return s.Total()
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
	j := s.first[i]
	for end := s.segmentsEnd(i); j+1 < end && s.segments[j+1].start <= at.Seconds(); {
		j++
	}
	return j
}
