package loadgen

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/meshproof/meshproof/scenarios"
)

// segment is a stretch of time in which the rate changes in a straight line, or swings around a mean.
type segment struct {
	start float64 // seconds after the start of the load
	dur   float64 // seconds
	r0    float64 // requests per second at its start; of a sine the mean
	r1    float64 // requests per second at its end, as a straight line would have it
	h0    float64 // requests asked for until its start
	amp   float64 // of a sine, requests per second; 0 for a straight line
	omega float64 // of a sine, 2π/period, per second
}

// rate is the rate (1/s) after t seconds of the segment.
func (s segment) rate(t float64) float64 {
	r := s.r0 + (s.r1-s.r0)*t/s.dur
	if s.amp != 0 {
		r += s.amp * math.Sin(s.omega*t)
	}
	return max(r, 0)
}

// hits is the number of requests asked for in the first t seconds of the segment: the integral of a rate that goes from
// r0 to r1 (1/s) in dur (s), and of the sine around it,
//
//	h(t) = r0·t + (r1-r0)·t²/(2·dur) + amp/omega·(1 - cos(omega·t))
func (s segment) hits(t float64) float64 {
	h := t * (s.r0 + (s.r1-s.r0)*t/(2*s.dur))
	if s.amp != 0 {
		h += s.amp / s.omega * (1 - math.Cos(s.omega*t))
	}
	return h
}

// total is h(dur).
func (s segment) total() float64 { return s.hits(s.dur) }

// at is the inverse of hits: the t (s) with h(t) = h. Of the two forms of the root of a·t² + r0·t - h = 0, with
// a = (r1-r0)/(2·dur), this one neither divides by a slope of zero nor subtracts nearly equal numbers:
//
//	t = 2h / (r0 + √(r0² + 4·a·h))
//
// That of a sine has no closed form (it is Kepler's equation), and is sought.
func (s segment) at(h float64) float64 {
	if h <= 0 {
		return 0
	}
	if s.amp != 0 {
		return s.seek(h)
	}
	d := s.r0*s.r0 + 2*(s.r1-s.r0)/s.dur*h
	t := 2 * h / (s.r0 + math.Sqrt(max(d, 0)))
	// Not a number where r0 and r1 are zero, and then the segment has no requests to place.
	if !(t < s.dur) {
		return s.dur
	}
	return t
}

// seek finds the t with h(t) = h of a sine by Newton's steps, kept within a bracket that only shrinks: h never falls.
func (s segment) seek(h float64) float64 {
	const enough = 1e-11 // seconds, a hundredth of what is told apart
	lo, hi := max(0, (h-2*s.amp/s.omega)/s.r0), min(s.dur, h/s.r0)
	t := (lo + hi) / 2
	for range 100 {
		d := s.hits(t) - h
		if d > 0 {
			hi = t
		} else {
			lo = t
		}
		next := t - d/s.rate(t)
		if !(next > lo && next < hi) {
			next = (lo + hi) / 2
		}
		if math.Abs(next-t) <= enough {
			return next
		}
		t = next
	}
	return t
}

// piece is a segment as a stage has it: rates from a time (s) after the stage's start on.
type piece struct{ from, r0, r1 float64 }

// segmentsOf lays out a stage that begins at a time, with h requests asked for before it.
func segmentsOf(st *scenarios.Stage, start time.Duration, h float64) ([]segment, error) {
	pieces, err := piecesOf(st)
	if err != nil {
		return nil, err
	}
	var out []segment
	for i, p := range pieces {
		to := st.For.D().Seconds()
		if i+1 < len(pieces) {
			to = pieces[i+1].from
		}
		for _, r := range []float64{p.r0, p.r1} {
			if !(r >= 0) || math.IsInf(r, 1) {
				return nil, fmt.Errorf("a rate of %v per second; want 0 or more", r)
			}
		}
		g := segment{start: start.Seconds() + p.from, dur: to - p.from, r0: p.r0, r1: p.r1, h0: h}
		if s := st.Sine; s != nil {
			if !(s.Amplitude > 0 && s.Amplitude <= st.Rate) || s.Period <= 0 {
				return nil, fmt.Errorf("a sine of %v around %v every %s; want a rate of 0 or more at all times", s.Amplitude, st.Rate, s.Period)
			}
			g.amp, g.omega = s.Amplitude, 2*math.Pi/s.Period.D().Seconds()
		}
		if g.dur > 0 {
			out = append(out, g)
			h += g.total()
		}
	}
	return out, nil
}

// piecesOf lists the straight lines that a stage's rate is made of; for a sine, that it swings around.
func piecesOf(st *scenarios.Stage) ([]piece, error) {
	d := st.For.D()
	shapes := 0
	for _, has := range []bool{st.To != nil, st.Peak != nil, st.Steps != nil, st.Sine != nil, st.Bursts != nil, st.Replay != nil, st.Closed()} {
		if has {
			shapes++
		}
	}
	switch {
	case d <= 0:
		return nil, fmt.Errorf("it lasts %s; want more than nothing", d)
	case shapes > 1:
		return nil, errors.New("it has several shapes; a stage is a ramp, a spike, or one of the others")
	case st.To != nil:
		return []piece{{0, st.Rate, *st.To}}, nil
	case st.Peak != nil:
		return []piece{{0, st.Rate, *st.Peak}, {d.Seconds() / 2, *st.Peak, st.Rate}}, nil
	case st.Steps != nil:
		every := st.Steps.Every.D()
		if every <= 0 || d/every > maxPieces {
			return nil, fmt.Errorf("it has a step every %s; want at most %d in %s", every, maxPieces, d)
		}
		var out []piece
		for i := time.Duration(0); i*every < d; i++ {
			r := st.Rate + st.Steps.By*float64(i)
			out = append(out, piece{(i * every).Seconds(), r, r})
		}
		return out, nil
	case st.Bursts != nil:
		b := st.Bursts
		if b.Every <= 0 || b.For <= 0 || b.For >= b.Every || st.For/b.Every > maxPieces {
			return nil, fmt.Errorf("it has bursts of %s every %s; want shorter ones, and at most %d in %s", b.For, b.Every, maxPieces, d)
		}
		var out []piece
		for at := time.Duration(0); at < d; at += b.Every.D() {
			out = append(out, piece{at.Seconds(), st.Rate, st.Rate})
			if rest := at + b.For.D(); rest < d {
				out = append(out, piece{rest.Seconds(), b.Between, b.Between})
			}
		}
		return out, nil
	case st.Replay != nil:
		return replayed(st.Replay, d)
	}
	return []piece{{0, st.Rate, st.Rate}}, nil
}

// replayed lays out a recorded series over a stage's time.
func replayed(r *scenarios.Replay, d time.Duration) ([]piece, error) {
	n := len(r.Seconds)
	if n < 2 || len(r.Rates) != n || r.Seconds[0] != 0 || !(r.Scale > 0) {
		return nil, fmt.Errorf("its series has %d times and %d rates; want as many of both, two or more, from 0 on", n, len(r.Rates))
	}
	stretch := d.Seconds() / r.Seconds[n-1]
	var out []piece
	for i := range n - 1 {
		if !(r.Seconds[i+1] > r.Seconds[i]) {
			return nil, fmt.Errorf("time %d of its series is not after the one before it", i+2)
		}
		out = append(out, piece{r.Seconds[i] * stretch, r.Rates[i] * r.Scale, r.Rates[i+1] * r.Scale})
	}
	return out, nil
}

// maxPieces bounds the steps or bursts of a stage.
const maxPieces = 100_000
