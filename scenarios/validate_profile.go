package scenarios

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Bounds of what a stage may ask for.
const (
	maxRate    = 1e6                   // requests per second
	maxPieces  = 100_000               // steps, swings or bursts of a stage
	minPeriod  = 10 * time.Millisecond // of steps, swings and bursts
	maxPoints  = 2000                  // of a replayed series
	maxSeconds = 1e9                   // of a replayed series, as recorded
)

func (v *validator) profile(path string, p *Profile) {
	stages := join(path, "stages")
	names := make([]string, len(p.Stages))
	sends := false
	open, closed := -1, -1 // the first stage of either
	for i := range p.Stages {
		s := &p.Stages[i]
		names[i] = s.Name
		at := fmt.Sprintf("%s[%d]", stages, i)
		v.label(at+".name", s.Name)
		v.stage(at, s)
		sends = sends || s.sends()
		kind := &open
		if s.Closed() {
			kind = &closed
		}
		if *kind < 0 {
			*kind = i
		}
	}
	v.unique(stages, ".name", names)
	known := len(p.Stages) > 0 && v.d.sound(stages)
	if !sends && known {
		v.problem(stages, "every rate is 0: nothing would be sent", "give at least one stage a rate above 0")
	}
	if known && open >= 0 && closed >= 0 {
		v.problem(fmt.Sprintf("%s[%d].users", stages, closed), fmt.Sprintf("%s is a closed loop, and %s has a rate: how many requests were meant to be sent could not be told", p.Stages[closed].Name, p.Stages[open].Name),
			"make two traffics of it")
	} else if known && closed >= 0 && p.Arrivals == ArrivalsPoisson {
		v.problem(join(path, "arrivals"), "users of a closed loop do not arrive: they ask when they had their answer", "remove it, or give the stages a rate")
	}
	if total := p.Length(); total > maxDuration {
		v.problem(stages, "the stages together take longer than 24h", "at most 24h")
	}
}

// shapes lists the fields by which a stage has a shape other than constant, in the order of the type.
func (s *Stage) shapes() []string {
	var out []string
	for _, f := range []struct {
		name string
		has  bool
	}{
		{"to", s.To != nil},
		{"peak", s.Peak != nil},
		{"steps", s.Steps != nil},
		{"sine", s.Sine != nil},
		{"bursts", s.Bursts != nil},
		{"replay", s.Replay != nil},
		{"users", s.Users != 0},
	} {
		if f.has {
			out = append(out, f.name)
		}
	}
	return out
}

func (v *validator) stage(at string, s *Stage) {
	shapes := s.shapes()
	if len(shapes) > 1 {
		v.problem(at+"."+shapes[1], fmt.Sprintf("a stage has one shape, and this one has %s and %s", shapes[0], shapes[1]), "remove one, or make two stages of it")
		return
	}
	rated := s.Replay == nil && !s.Closed() && !v.d.positions.has(at+".users")
	if rated && !v.d.positions.has(at+".rate") && s.Rate == 0 && v.d.sound(at) {
		v.d.unusable(at+".rate", "is missing", "give a number, or replay or users instead")
	}
	if len(shapes) > 0 && !rated && s.Rate != 0 {
		v.problem(at+".rate", fmt.Sprintf("a stage with %s has no rate of its own", shapes[0]), "remove it")
	}
	if s.For == 0 && s.Replay == nil && v.d.sound(at) {
		v.d.unusable(at+".for", "is missing", "give a duration such as 250ms or 4s")
	}
	if s.Think != nil && !s.Closed() && v.d.sound(at+".users") {
		v.problem(at+".think", "only the users of a closed loop think", "add users instead of a rate, or remove it")
	}
	if s.Peak != nil && *s.Peak < s.Rate {
		v.problem(at+".peak", fmt.Sprintf("%s is below rate (%s)", plain(*s.Peak), plain(s.Rate)), "a spike rises; for a rate that falls use to")
	}
	switch {
	case s.Steps != nil:
		v.pieces(at+".steps.every", s.Steps.Every, s.For)
		if s.Steps.By == 0 && v.d.sound(at+".steps.by") {
			v.problem(at+".steps.by", "is 0: that is no step", "give a number above or below 0, or a rate alone")
		}
	case s.Sine != nil:
		v.pieces(at+".sine.period", s.Sine.Period, s.For)
	case s.Bursts != nil:
		v.pieces(at+".bursts.every", s.Bursts.Every, s.For)
		if b := s.Bursts; b.For >= b.Every && b.Every > 0 && v.d.sound(at+".bursts") {
			v.problem(at+".bursts.for", fmt.Sprintf("bursts of %s every %s never end", b.For, b.Every), "make it shorter, or give a rate alone")
		}
	case s.Replay != nil:
		v.replay(at, s.Replay)
	}
	if v.d.sound(at) {
		v.extremes(at, s, append(shapes, "rate")[0])
	}
}

// extremes checks that a stage's rate stays within bounds at all times.
func (v *validator) extremes(at string, s *Stage, shape string) {
	low, high := s.Range()
	switch {
	case low < 0:
		v.problem(at+"."+shape, fmt.Sprintf("the rate would go down to %s", plain(low)), "a rate is 0 or more")
	case high > maxRate:
		v.problem(at+"."+shape, fmt.Sprintf("the rate would go up to %s per second", plain(high)), "at most "+plain(maxRate))
	}
}

// pieces checks how often something happens in a stage.
func (v *validator) pieces(path string, every, whole Duration) {
	switch {
	case every == 0: // said in decoding
	case every.D() < minPeriod:
		v.problem(path, fmt.Sprintf("%s is too short", every), fmt.Sprintf("%s or more", minPeriod))
	case whole/every > maxPieces:
		v.problem(path, fmt.Sprintf("%s is %d times in %s", every, whole/every, whole), fmt.Sprintf("at most %d times: make it longer", maxPieces))
	}
}

// replay checks the recorded series of the stage at a path.
func (v *validator) replay(at string, r *Replay) {
	path := at + ".replay"
	if !v.d.sound(path) {
		return
	}
	seconds, rates := path+".seconds", path+".rates"
	switch n := len(r.Seconds); {
	case n == 0 && len(r.Rates) == 0:
		v.problem(path+".file", "is missing", "name a file with the recorded rates")
	case len(r.Rates) != n:
		v.problem(rates, fmt.Sprintf("has %d entries, and seconds has %d", len(r.Rates), n), "each point has a time and a rate")
	case n < 2 || n > maxPoints:
		v.problem(seconds, fmt.Sprintf("has %d entries", n), fmt.Sprintf("2 to %d", maxPoints))
	case r.Seconds[0] != 0:
		v.problem(seconds+"[0]", fmt.Sprintf("is %s", plain(r.Seconds[0])), "a series begins with 0")
	case r.Seconds[n-1] > maxDuration.D().Seconds() && !v.d.positions.has(at+".for"):
		v.problem(path, "the series takes longer than 24h", "add for, the time that it is to be pressed into")
	default:
		for i := 1; i < n; i++ {
			if !(r.Seconds[i] > r.Seconds[i-1]) {
				v.problem(fmt.Sprintf("%s[%d]", seconds, i), fmt.Sprintf("%s comes after %s", plain(r.Seconds[i]), plain(r.Seconds[i-1])), "times rise")
				return
			}
		}
		if secondsOf(r.Seconds[n-1]) == 0 {
			v.problem(seconds, "the series takes no time", "times are in seconds")
		}
	}
}

// sends reports whether the stage sends anything at any time.
func (s *Stage) sends() bool { return s.Closed() || s.Requests() > 0 }

// ratesKnown reports whether all of every stage could be read.
func (v *validator) ratesKnown() bool {
	const stage = trafficPath + "[].profile.stages[]"
	return v.d.known(stage) && !slices.ContainsFunc(v.d.broken, func(b string) bool { return within(pattern(b), stage) })
}

// secondsOf is a number of seconds as a duration, to the nanosecond.
func secondsOf(s float64) Duration {
	return Duration(math.Round(min(max(s, 0), maxSeconds) * 1e9))
}
