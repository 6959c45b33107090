package faults

import (
	"context"
	"fmt"
	"time"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
)

// minAttempt is the shortest time after which a sample of a link is given up.
const minAttempt = 250 * time.Millisecond

// linkKind is what one kind of fault does to the link between two clusters.
type linkKind struct {
	what    string
	inject  func(context.Context, clusters.Link) (revert func(context.Context) error, err error)
	delay   time.Duration // that a packet takes longer; 0 where none comes
	sample  time.Duration // that a sample takes under the fault
	attempt time.Duration // after which a sample is given up
}

// lanes is how many samples of each connection must run side by side for twice as many as it takes to fit into the
// fault: on a busy machine a sample takes longer, and the last of a lane is cut off.
func (k linkKind) lanes(lasts time.Duration) int {
	inOne := max(1, int(lasts/(k.sample+pauseOf(lasts))))
	return (2*MinSamples + inOne - 1) / inOne
}

// pauseOf is how long a lane rests between two samples during a fault.
func pauseOf(lasts time.Duration) time.Duration {
	return min(max(lasts/20, 10*time.Millisecond), time.Second)
}

// onLink takes a fault of the link between two clusters all its way.
func (f *fault) onLink(ctx context.Context, k linkKind) error {
	link, err := f.link()
	if err != nil {
		return f.failed(err)
	}
	e := effect{
		what: k.what + " between " + f.plan.target(),
		undo: map[string]string{"a": f.plan.Between[0], "b": f.plan.Between[1], "delay": k.delay.String()},
		// On a slow link the baseline takes longer; a sample of an open connection that must first be dialled is three
		// round trips.
		lead:    Lead + MinSamples*6*f.plan.Latency,
		attempt: k.attempt,
		open:    func(ctx context.Context) ([]lane, error) { return f.linkLanes(ctx, link, k) },
		inject:  func(ctx context.Context) (func(context.Context) error, error) { return k.inject(ctx, link) },
		gone: func(before []evidence.FaultSample, s evidence.FaultSample) bool {
			// A half of the baseline is noise; a half of the delay is still its effect, which is twice the delay.
			return s.OK && time.Duration(s.Micros)*time.Microsecond <= baseline(before)*3/2+k.delay/2
		},
		unmeasured: "the link could not be measured before",
	}
	if f.tool != nil {
		e.inject = func(ctx context.Context) (func(context.Context) error, error) {
			return f.tool.Inject(ctx, f.plan.Fault, nil)
		}
	}
	return f.through(ctx, e)
}

// linkLanes opens the effect probe of a link. Each lane has a LinkProbe of its own.
func (f *fault) linkLanes(ctx context.Context, link clusters.Link, k linkKind) (lanes []lane, err error) {
	for range k.lanes(f.plan.For.D()) {
		for _, c := range []string{fresh, established} {
			p, err := link.Probe(ctx)
			if err != nil {
				closeLanes(lanes)
				return nil, err
			}
			measure := p.Fresh
			if c == established {
				measure = p.Established
			}
			lanes = append(lanes, lane{
				of: group{connection: c}, close: p.Close,
				read: func(ctx context.Context) (time.Duration, int64, error) {
					took, err := measure(ctx)
					return took, 0, err
				},
			})
		}
	}
	return lanes, nil
}

// link finds the link of the fault.
func (f *fault) link() (clusters.Link, error) {
	a, b := f.plan.Between[0], f.plan.Between[1]
	for _, name := range f.plan.Between {
		if f.env.Fleet.Cluster(name) == nil {
			return nil, fmt.Errorf("there is no cluster %q", name)
		}
	}
	l := f.env.Fleet.Link(a, b)
	if l == nil {
		return nil, fmt.Errorf("there is no link between clusters %q and %q", a, b)
	}
	return l, nil
}
