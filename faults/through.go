package faults

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
)

// effect is a fault that lasts for a while: how it is made, and how it is seen.
type effect struct {
	what    string            // for the journal
	undo    map[string]string // for the journal
	lead    time.Duration     // before the fault, for the baseline
	attempt time.Duration     // after which a sample is given up
	open    func(context.Context) ([]lane, error)
	inject  func(context.Context) (revert func(context.Context) error, err error)
	// gone reports whether a sample shows nothing of the fault, given those of before.
	gone   func(before []evidence.FaultSample, s evidence.FaultSample) bool
	inARow int // samples that must see nothing of the fault for it to be gone, one after the other; default clearInARow
	// unmeasured is why nothing is injected where there is too little of a baseline.
	unmeasured string
}

// through takes a fault that lasts for a while all its way.
func (f *fault) through(ctx context.Context, e effect) error {
	if !sleepUntil(ctx, f.at.Add(-e.lead)) {
		return nil
	}
	w, err := f.watch(ctx, e)
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
		return f.failed(fmt.Errorf("not injected, because %s: %w", e.unmeasured, why))
	}

	settle, err := f.intend(e.what, e.undo)
	if err != nil {
		return err
	}
	if err := f.step(evidence.FaultInject); err != nil {
		return errors.Join(err, settle()) // nothing was changed
	}
	revert, err := e.inject(ctx)
	if errors.Is(err, clusters.ErrNotPossible) {
		return errors.Join(f.skipped(err), settle())
	}
	if err != nil {
		if errors.Is(err, clusters.ErrForced) {
			f.forced = err
		}
		// Whether anything was changed is not known: the journal's entry stays open, for clean to look at.
		if err := f.failed(fmt.Errorf("injecting: %w", err)); err != nil || f.forced == nil {
			return err
		}
		return w.after(ctx)
	}
	f.changed(true)
	failed := f.step(evidence.FaultInjected)
	if failed == nil {
		failed = w.during(ctx, time.Now().Add(f.plan.For.D()))
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
	rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.limit)
	defer cancel()
	said := f.step(evidence.FaultRevert) // the fault is reverted even where this cannot be recorded
	err := revert(rctx)
	if err != nil && !errors.Is(err, clusters.ErrForced) {
		err = fmt.Errorf("reverting: %w", err)
		return errors.Join(err, said, f.failed(err))
	}
	reverted := evidence.Fault{Action: evidence.FaultReverted}
	if err != nil { // what became of it only the effect probe can tell
		f.forced, reverted.Message = err, err.Error()
	}
	f.changed(false)
	return errors.Join(said, f.record(reverted), settle())
}
