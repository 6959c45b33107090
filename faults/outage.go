package faults

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
)

// outageWatch counts the pods of a service in one cluster.
type outageWatch struct {
	fault   *fault
	cluster clusters.Cluster
	ready   int // pods that are ready when the service is whole
}

// outage ends all pods of a service in a cluster at once, and keeps them away for a time. Its effect: no pod of the
// service is ready there until it ends. It is over when as many are as before.
func (f *fault) outage(ctx context.Context) error {
	if !sleepUntil(ctx, f.at.Add(-Lead)) {
		return nil
	}
	w := &outageWatch{fault: f, cluster: f.env.Fleet.Cluster(f.plan.Target.Cluster), ready: f.plan.Replicas}
	if w.cluster == nil {
		return f.failed(fmt.Errorf("there is no cluster %q", f.plan.Target.Cluster))
	}
	whole, err := w.look(ctx, stageBefore, w.ready)
	if err != nil || ctx.Err() != nil {
		return err
	}
	if !whole {
		return f.failed(fmt.Errorf("not injected: fewer than %d pods of %s are ready", w.ready, f.plan.target()))
	}
	if !sleepUntil(ctx, f.at) {
		return nil
	}
	settle, err := f.intend("end all pods of "+f.plan.target(), map[string]string{
		"cluster": f.plan.Target.Cluster, "namespace": f.plan.Namespace, "service": f.plan.Target.Service,
	})
	if err != nil {
		return err
	}
	if err := f.step(evidence.FaultInject); err != nil {
		return errors.Join(err, settle()) // nothing was changed
	}
	began := time.Now()
	restore, err := w.cluster.Outage(ctx, f.plan.Namespace, f.plan.Target.Service, string(f.plan.Kind)+" "+f.plan.Name)
	if err != nil {
		return f.failed(fmt.Errorf("injecting: %w", err)) // the journal's entry stays open: what was changed is not known
	}
	f.changed(true)
	failed := f.step(evidence.FaultInjected)
	for failed == nil && ctx.Err() == nil && time.Since(began) < f.plan.For.D() {
		_, failed = w.look(ctx, stageDuring, 1)
		sleep(ctx, min(podPause, max(0, f.plan.For.D()-time.Since(began))))
	}
	if err := errors.Join(failed, f.revert(ctx, restore, settle)); err != nil || ctx.Err() != nil {
		return err
	}
	return w.after(ctx)
}

// after looks until the service is whole again.
func (w *outageWatch) after(ctx context.Context) error {
	reverted := time.Now()
	for ctx.Err() == nil {
		whole, err := w.look(ctx, stageAfter, w.ready)
		if err != nil || whole {
			return err
		}
		if time.Since(reverted) > ReplaceLimit {
			return w.fault.failed(fmt.Errorf("%s after the end of the outage, fewer than %d pods of %s are ready", ReplaceLimit, w.ready, w.fault.plan.target()))
		}
		sleep(ctx, podPause)
	}
	return nil
}

// look lists the pods once, and records whether at least so many of the service are ready.
func (w *outageWatch) look(ctx context.Context, stage string, want int) (bool, error) {
	began := time.Now()
	pods, err := w.cluster.Pods(ctx)
	if ctx.Err() != nil {
		return false, nil
	}
	s := evidence.FaultSample{Stage: stage, Connection: fresh, Micros: time.Since(began).Microseconds()}
	n := 0
	for _, p := range pods {
		if p.Service == w.fault.plan.Target.Service && p.Ready {
			n++
		}
	}
	switch {
	case err != nil && stage == stageDuring:
		return false, nil // nobody was seen, which is not to have seen nobody
	case err != nil:
		s.Error = "listing pods: " + err.Error()
	case n >= want:
		s.OK = true
	default:
		s.Error = fmt.Sprintf("%d pods of %s are ready", n, w.fault.plan.target())
	}
	return s.OK, w.fault.record(evidence.Fault{Action: evidence.FaultProbe, Probe: &s})
}
