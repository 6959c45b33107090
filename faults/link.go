package faults

import (
	"context"
	"errors"
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
	// On a slow link the baseline takes longer; a sample of an open connection that must first be dialled is three round
	// trips.
	lead := Lead + MinSamples*6*f.plan.Latency
	if !sleepUntil(ctx, f.at.Add(-lead)) {
		return nil
	}
	link, err := f.link()
	if err != nil {
		return f.failed(err)
	}
	w, err := f.watch(ctx, link, k)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return f.failed(fmt.Errorf("not injected, because its effect probe cannot be opened: %w", err))
	}
	defer w.close()
	if err := w.before(ctx); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return nil
	}
	if why := w.missing(stageBefore, true); why != nil {
		return f.failed(fmt.Errorf("not injected, because the link could not be measured before: %w", why))
	}

	settle, err := f.intend(k.what+" between "+f.plan.target(), map[string]string{
		"a": f.plan.Between[0], "b": f.plan.Between[1], "delay": k.delay.String(),
	})
	if err != nil {
		return err
	}
	if err := f.step(evidence.FaultInject); err != nil {
		return errors.Join(err, settle()) // nothing was changed
	}
	revert, err := k.inject(ctx, link)
	if errors.Is(err, clusters.ErrNotPossible) {
		return errors.Join(f.record(evidence.Fault{Action: evidence.FaultSkipped, Message: err.Error()}), settle())
	}
	if err != nil {
		// Whether anything was changed is not known: the journal's entry stays open, for clean to look at.
		return f.failed(fmt.Errorf("injecting: %w", err))
	}
	f.changed(true)
	failed := f.step(evidence.FaultInjected)
	if failed == nil {
		failed = w.during(ctx, time.Now().Add(f.plan.For))
	}
	if err := errors.Join(failed, f.revert(ctx, revert, settle)); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return nil
	}
	if why := w.missing(stageDuring, false); why != nil {
		if err := f.failed(fmt.Errorf("its effect cannot be told: %w; let it last longer than %s", why, f.plan.For)); err != nil {
			return err
		}
	}
	return w.after(ctx)
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

// intend announces the fault to the journal. An error is one of Run, and is recorded too.
func (f *fault) intend(what string, undo map[string]string) (func() error, error) {
	undo["fault"], undo["kind"] = f.plan.Name, string(f.plan.Kind)
	settle, err := f.env.Journal.Intend(fmt.Sprintf("fault %s: %s", f.plan.Name, what), undo)
	if err != nil {
		err = fmt.Errorf("not injected, because the journal could not be written: %w", err)
		return nil, errors.Join(err, f.failed(err))
	}
	return func() error {
		if err := settle(); err != nil {
			return fmt.Errorf("settling the journal: %w", err)
		}
		return nil
	}, nil
}

// revert undoes the fault, whether ctx has ended or not.
func (f *fault) revert(ctx context.Context, revert func(context.Context) error, settle func() error) error {
	rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), RevertLimit)
	defer cancel()
	said := f.step(evidence.FaultRevert) // the fault is reverted even where this cannot be recorded
	if err := revert(rctx); err != nil {
		err = fmt.Errorf("reverting: %w", err)
		return errors.Join(err, said, f.failed(err))
	}
	f.changed(false)
	return errors.Join(said, f.step(evidence.FaultReverted), settle())
}
