package scenarios

import (
	"encoding/json"
	"math"
	"time"
)

// Closed reports whether the stage is a closed loop, which has users and no rate.
func (s *Stage) Closed() bool { return s.Users > 0 }

// Closed reports whether the profile is a closed loop: all of its stages are. One with stages of both kinds is refused
// when it is loaded.
func (p *Profile) Closed() bool {
	for i := range p.Stages {
		if !p.Stages[i].Closed() {
			return false
		}
	}
	return len(p.Stages) > 0
}

// Length is how long the profile takes. It can't overflow: no stage is longer than maxDuration, and a file has less
// than maxTokens of them.
func (p *Profile) Length() Duration {
	var total Duration
	for _, s := range p.Stages {
		total += s.For
	}
	return total
}

// Requests is how many requests the stage asks for: the integral of its rate over its time T, in closed form.
//
//	constant  rate·T
//	ramp      (rate + to)/2·T
//	spike     (rate + peak)/2·T
//	steps     rate·T + by·(m·T - every·m·(m+1)/2), with m = ⌊T/every⌋
//	sine      rate·T + amplitude·period/2π·(1 - cos(2π·T/period))
//	bursts    c·(rate·for + between·(every - for)) + rate·min(x, for) + between·max(0, x - for), with c = ⌊T/every⌋, x = T - c·every
//	replay    scale·T/S·Σ (q[i] + q[i+1])/2·(s[i+1] - s[i]), with rates q at seconds s, and S the last of these
//
// A closed loop asks for none by itself: 0.
func (s *Stage) Requests() float64 {
	t := s.For.D().Seconds()
	switch {
	case s.Closed() || s.For <= 0:
		return 0
	case s.To != nil:
		return (s.Rate + *s.To) / 2 * t
	case s.Peak != nil:
		return (s.Rate + *s.Peak) / 2 * t
	case s.Steps != nil && s.Steps.Every > 0:
		m := float64(s.For / s.Steps.Every)
		return s.Rate*t + s.Steps.By*(m*t-s.Steps.Every.D().Seconds()*m*(m+1)/2)
	case s.Sine != nil && s.Sine.Period > 0:
		// Whole swings add nothing; left out, they cost no digits.
		x := (s.For % s.Sine.Period).D().Seconds()
		period := s.Sine.Period.D().Seconds()
		return s.Rate*t + s.Sine.Amplitude*period/(2*math.Pi)*(1-math.Cos(2*math.Pi*x/period))
	case s.Bursts != nil && s.Bursts.Every > 0:
		b := s.Bursts
		c, x := float64(s.For/b.Every), s.For%b.Every
		return c*(s.Rate*b.For.D().Seconds()+b.Between*(b.Every-b.For).D().Seconds()) +
			s.Rate*min(x, b.For).D().Seconds() + b.Between*max(0, x-b.For).D().Seconds()
	case s.Replay != nil:
		sum := 0.0
		r := s.Replay
		for i := 1; i < min(len(r.Seconds), len(r.Rates)); i++ {
			sum += (r.Rates[i-1] + r.Rates[i]) / 2 * (r.Seconds[i] - r.Seconds[i-1])
		}
		if sum == 0 {
			return 0
		}
		return r.Scale * t / r.Seconds[len(r.Seconds)-1] * sum
	}
	return s.Rate * t
}

// Range is the lowest and the highest rate (1/s) that the stage's shape can have; 0 for a closed loop.
func (s *Stage) Range() (low, high float64) {
	low, high = s.Rate, s.Rate
	other := s.Rate
	switch {
	case s.Closed():
		return 0, 0
	case s.To != nil:
		other = *s.To
	case s.Peak != nil:
		other = *s.Peak
	case s.Steps != nil && s.Steps.Every > 0:
		// The last step begins before the end.
		other += s.Steps.By * float64((s.For-min(s.For, 1))/s.Steps.Every)
	case s.Sine != nil:
		return s.Rate - s.Sine.Amplitude, s.Rate + s.Sine.Amplitude
	case s.Bursts != nil:
		other = s.Bursts.Between
	case s.Replay != nil:
		low, high = math.Inf(1), 0
		for _, r := range s.Replay.Rates {
			low, high = min(low, r*s.Replay.Scale), max(high, r*s.Replay.Scale)
		}
		return min(low, high), high
	}
	return min(low, other), max(high, other)
}

// MarshalJSON writes a rate of 0 where the stage has a rate: left out, it would be missing.
func (s Stage) MarshalJSON() ([]byte, error) {
	type fields Stage // without this method
	if s.Rate != 0 || s.Closed() || s.Replay != nil {
		return json.Marshal(fields(s))
	}
	return json.Marshal(struct {
		Name string  `json:"name,omitempty"`
		Rate float64 `json:"rate"`
		fields
	}{s.Name, s.Rate, fields(s)})
}

// BlockWidth is the time over which the number of Poisson arrivals is drawn at once.
const BlockWidth = 250 * time.Millisecond

// PoissonBlocks draws how many requests of a stage with Poisson arrivals fall into each of its blocks: equal shares of
// the requests that it asks for, one for each begun BlockWidth. The numbers are independent Poisson variables of equal
// means, and the same for the same seed and stage (from 0) wherever they are drawn.
func PoissonBlocks(seed uint64, stage int, s *Stage) []int64 {
	n := int((s.For.D() + BlockWidth - 1) / BlockWidth)
	if n < 1 {
		return nil
	}
	mean := s.Requests() / float64(n)
	out := make([]int64, n)
	for i := range out {
		d := NewDraw(seed, uint64(stage), uint64(i))
		out[i] = d.Poisson(mean)
	}
	return out
}
