package faults

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// src is the producer of fault records in evidence.
const src = "faults"

const (
	// Lead is how long before a fault its effect probe starts to sample the baseline.
	Lead = 500 * time.Millisecond
	// MinSamples is how many samples each connection of an effect probe must have before and during a network fault.
	// With fewer the fault is recorded as failed.
	MinSamples = 5
	// RevertLimit is the longest that undoing a fault may take, also after the run was stopped.
	RevertLimit = 3 * time.Second
	// ToolRevertLimit is the same where a tool in the clusters carries the fault out, and takes it back itself.
	ToolRevertLimit = 15 * time.Second
	// ClearLimit is how long an effect probe waits for the effect of a network fault to go once it is reverted.
	ClearLimit = 10 * time.Second
	// DeathLimit is how long a killed pod may still be listed.
	DeathLimit = 5 * time.Second
	// ReplaceLimit is how long a killed pod's replacement may take to be ready.
	ReplaceLimit = time.Minute
	// RotationSlack is how much longer than certificates hold a rotation is watched that nothing is expected of.
	RotationSlack = 5 * time.Second
	// BaselineLimit is how much later than planned a network fault is injected when its baseline takes that long.
	BaselineLimit = 2 * time.Second
)

// Journal keeps what has been changed and not yet undone.
type Journal interface {
	// Intend records a change that is about to be made, and how to undo it. settle records that it is undone.
	Intend(what string, undo map[string]string) (settle func() error, err error)
}

// Env is what faults are injected into.
type Env struct {
	Fleet   clusters.Fleet
	Sink    evidence.Sink
	Journal Journal
	Trial   evidence.Trial
	// Mesh makes the faults that are the mesh's own. It may be nil where there are none.
	Mesh *Mesh
	// ServerName is the name that a client must ask for in a TLS handshake with a service's pods.
	ServerName func(service string) string
	// OnChange is told when a fault becomes active and when it ceases to be. It may be nil, and is called from several
	// goroutines.
	OnChange func(name string, active bool)
}

// Run injects the planned faults at their times after start, the zero of the load, and reverts them at theirs. It
// returns when the effect of the last one is gone. To have a baseline of a fault at the very start, call it Lead before
// start.
//
// A fault that could not be injected, or whose effect probe could not run, is evidence and no error. The error is one of
// the environment: the record or the journal could not be written, or a fault could not be reverted (its journal entry
// then stays open). When ctx ends, active faults are reverted within RevertLimit; the error is then that of ctx.
func Run(ctx context.Context, env Env, plan []Planned, start time.Time) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	errs := make([]error, len(plan))
	var wg sync.WaitGroup
	for i, p := range plan {
		wg.Go(func() {
			f := &fault{env: env, plan: p, at: start.Add(p.At.D())}
			if err := f.run(ctx); err != nil {
				errs[i] = fmt.Errorf("fault %q: %w", p.Name, err)
				// The others are reverted too: this trial proves nothing any more.
				cancel(errs[i])
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return ctx.Err()
}

// fault is one fault on its way.
type fault struct {
	env  Env
	plan Planned
	at   time.Time

	by    string            // who carries it out
	tool  clusters.Injector // nil where the driver itself, or the mesh, does
	limit time.Duration     // that reverting may take
	// with and without are the mesh's object by which it makes the fault.
	with, without clusters.Object
	forced        error // why only the effect probe can tell what became of it; nil where the tool said so
}

// run takes the fault all its way. Where ctx ends it reverts what is active, and returns nil.
func (f *fault) run(ctx context.Context) error {
	if why := f.injector(); why != nil {
		return f.skipped(why)
	}
	switch f.plan.Kind {
	case scenarios.PodKill:
		return f.podKill(ctx)
	case scenarios.WorkloadOutage:
		return f.outage(ctx)
	case scenarios.LeafRotation, scenarios.IssuerRotation:
		return f.rotation(ctx)
	case scenarios.NetworkDelay:
		return f.onLink(ctx, networkDelay(f.plan))
	case scenarios.Partition:
		return f.onLink(ctx, partition(f.plan))
	case scenarios.NetworkLoss:
		return f.onLink(ctx, networkLoss(f.plan))
	case scenarios.NetworkBandwidth, scenarios.CPUStress, scenarios.MemoryStress, scenarios.ClockSkew, scenarios.DNSError:
		return f.inPods(ctx)
	case scenarios.MeshAbort, scenarios.MeshDelay:
		return f.byMesh(ctx)
	}
	return f.failed(fmt.Errorf("this version has no fault of kind %q", f.plan.Kind))
}

// injector finds who carries the fault out, or says why it is known that nobody can.
func (f *fault) injector() (why error) {
	f.by, f.limit = string(scenarios.ByMeshproof), RevertLimit
	if f.plan.Kind.ByMesh() {
		if f.env.Mesh == nil {
			return fmt.Errorf("%w: there is no mesh that could make it", clusters.ErrNotPossible)
		}
		f.by, f.limit = f.env.Trial.Mesh, ToolRevertLimit
		f.with, f.without, why = f.env.Mesh.Faulty(f.plan.Fault)
		return why
	}
	if f.plan.By != scenarios.ByChaosMesh {
		return nil
	}
	tool, ok := f.env.Fleet.(clusters.Injector)
	if !ok {
		switch f.plan.Kind {
		case scenarios.PodKill, scenarios.NetworkDelay, scenarios.Partition: // of which the driver has its own
			return nil
		}
		f.by = string(f.plan.By)
		return fmt.Errorf("%w: %s is made by Chaos Mesh, in real clusters: use --driver kind", clusters.ErrNotPossible, f.plan.Kind)
	}
	f.by = string(f.plan.By)
	by, err := tool.Injector(f.plan.Fault)
	if err != nil {
		return err
	}
	f.by, f.tool, f.limit = by, tool, ToolRevertLimit
	return nil
}

// skipped records why the fault is known to be impossible here.
func (f *fault) skipped(why error) error {
	return f.record(evidence.Fault{Action: evidence.FaultSkipped, Message: why.Error()})
}

// record writes a step of the fault, now.
func (f *fault) record(r evidence.Fault) error {
	r.Header = evidence.Header{Trial: f.env.Trial, Src: src, T: time.Now().UTC()}
	r.Name, r.Kind, r.By = f.plan.Name, string(f.plan.Kind), f.by
	if r.Target == "" {
		r.Target = f.plan.target()
	}
	if err := f.env.Sink.Append(&r); err != nil {
		return fmt.Errorf("recording %q: %w", r.Action, err)
	}
	return nil
}

// step writes a step that has nothing to say but its name.
func (f *fault) step(action string) error { return f.record(evidence.Fault{Action: action}) }

// failed records why the fault, or the proof of its effect, came to nothing.
func (f *fault) failed(why error) error {
	return f.record(evidence.Fault{Action: evidence.FaultFailed, Message: why.Error()})
}

func (f *fault) changed(active bool) {
	if f.env.OnChange != nil {
		f.env.OnChange(f.plan.Name, active)
	}
}

// sleepUntil waits for a moment, and reports whether it came before ctx ended.
func sleepUntil(ctx context.Context, t time.Time) bool { return sleep(ctx, time.Until(t)) }

func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
