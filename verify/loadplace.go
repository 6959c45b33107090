package verify

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// onBoundary is how many requests that lie on the boundary of two phases may be counted to either.
const onBoundary = 1

// stageAt is the stage of a profile at a time (µs) after the start of the load; the last one after the end.
func stageAt(p scenarios.Profile, at int64) int {
	end := time.Duration(0)
	for i := range p.Stages {
		if end += p.Stages[i].For.D(); micro(at) < end {
			return i
		}
	}
	return len(p.Stages) - 1
}

// stageName is the name of the phase that a stage makes.
func stageName(p scenarios.Profile, i int) string {
	if name := p.Stages[i].Name; name != "" {
		return name
	}
	return fmt.Sprintf("stage-%d", i+1)
}

// hasPhase reports whether a profile has a phase of this name.
func hasPhase(p scenarios.Profile, name string) bool {
	for i := range p.Stages {
		if stageName(p, i) == name {
			return true
		}
	}
	return false
}

// loadPlaced wants the slices of a traffic to lie where the start of the load and their own times say. Faults are placed
// by the one clock, and what they did to the load by the other.
func (x *trial) loadPlaced(l *loadState) {
	starts := x.events[evidence.EventLoadStart]
	if len(starts) != 1 {
		l.tally.invalid("WrongLoad", refsOf(starts...), "there are %d records of the start of the load, want 1", len(starts))
		return
	}
	l.tally.use(starts[0].Ref())
	for _, k := range l.ticks {
		if off := k.Start.Sub(starts[0].T) - micro(k.AtMicros); off.Abs() > onSchedule {
			l.tally.invalid("WrongLoad", refsOf(k), "a slice of time of traffic %s lies %s off the start of the load", k.Traffic, off.Round(time.Millisecond))
			return
		}
	}
}

// phaseSums are what the slices of time that lie wholly in a phase say of it: a second word on which phase was how slow, and
// in which requests failed.
type phaseSums map[*evidence.Phase]*loadSum

func newPhaseSums(phases []*evidence.Phase) phaseSums {
	out := phaseSums{}
	for _, p := range phases {
		out[p] = newLoadSum()
	}
	return out
}

func (s phaseSums) add(k *evidence.Tick, latency *hdrhistogram.Histogram) {
	for p, sum := range s {
		if k.AtMicros >= p.AtMicros && k.AtMicros+k.Micros <= p.AtMicros+p.ForMicros {
			sum.add(k, latency)
		}
	}
}

// exceed says where the slices in a phase hold more of something than the phase, but for what lies on its two boundaries.
func (s phaseSums) exceed(p *evidence.Phase, latency *hdrhistogram.Histogram) string {
	more, whole := int64(0), latency.Export().Counts
	for j, n := range s[p].latency.Export().Counts {
		more += max(0, n-whole[j])
	}
	switch {
	case s[p].errors > p.Errors+2*onBoundary:
		return fmt.Sprintf("%d errors lie in its slices of time, and it has %d", s[p].errors, p.Errors)
	case more > 2*onBoundary:
		return fmt.Sprintf("%d requests in its slices of time took as long as none of it", more)
	}
	return ""
}
