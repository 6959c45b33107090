package faults

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
)

// podPause lies between two looks at the pods of a killed one's service.
const podPause = 50 * time.Millisecond

// podWatch looks for one pod and for what takes its place.
type podWatch struct {
	fault   *fault
	cluster clusters.Cluster
	target  clusters.Pod    // zero until one is chosen
	killed  bool            // the kill is under way or done
	old     map[string]bool // UIDs that stood there before the kill
	ready   int             // pods that are ready when the service is whole
}

// look is what one listing showed.
type look struct {
	sample      evidence.FaultSample
	stands      bool // the target does
	ready       int  // pods of the service that are ready
	replacement bool // one of them was not there before
}

// podKill ends one pod of a service at once. Its effect: the pod's UID is gone, and one that was not there before takes
// its place. It is reverted when as many pods are ready as before.
func (f *fault) podKill(ctx context.Context) error {
	if !sleepUntil(ctx, f.at.Add(-Lead)) {
		return nil
	}
	w := &podWatch{fault: f, cluster: f.env.Fleet.Cluster(f.plan.Target.Cluster), old: map[string]bool{}, ready: f.plan.Replicas}
	if w.cluster == nil {
		return f.failed(fmt.Errorf("there is no cluster %q", f.plan.Target.Cluster))
	}
	last, err := w.before(ctx)
	if err != nil || ctx.Err() != nil {
		return err
	}
	if !last.sample.OK {
		return w.failed(fmt.Errorf("not injected: %s", last.sample.Error))
	}
	settle, err := f.intend(fmt.Sprintf("kill pod %s in cluster %s", w.target.Pod, f.plan.Target.Cluster), map[string]string{
		"cluster": f.plan.Target.Cluster, "namespace": w.target.Namespace, "pod": w.target.Pod, "uid": w.target.UID,
	})
	if err != nil {
		return err
	}
	// A killed pod is replaced by its Deployment: once this is over there is nothing to undo, however it went.
	return errors.Join(w.kill(ctx), settle())
}

// kill ends the pod and watches until its place is taken.
func (w *podWatch) kill(ctx context.Context) error {
	if err := w.step(evidence.FaultInject); err != nil {
		return err
	}
	w.killed = true
	if err := w.end(ctx); err != nil {
		return w.failed(fmt.Errorf("killing pod %s: %w", w.target.Pod, err))
	}
	w.fault.changed(true)
	defer w.fault.changed(false)
	if err := w.step(evidence.FaultInjected); err != nil {
		return err
	}
	killed := time.Now()
	for ctx.Err() == nil {
		l := w.look(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if !l.stands && l.replacement && l.ready >= w.ready {
			return w.replaced(ctx, l)
		}
		if err := w.record(stageDuring, l); err != nil {
			return err
		}
		switch since := time.Since(killed); {
		case l.stands && since > DeathLimit:
			return w.failed(fmt.Errorf("pod %s with UID %s still stands %s after it was killed: the kill had no effect", w.target.Pod, w.target.UID, DeathLimit))
		case since > ReplaceLimit:
			return w.failed(fmt.Errorf("%s after it was killed, %s; %d of %d pods of %s are ready",
				ReplaceLimit, l.sample.Error, l.ready, w.ready, w.fault.plan.target()))
		}
		sleep(ctx, podPause)
	}
	return nil
}

// end has the pod killed.
func (w *podWatch) end(ctx context.Context) error {
	f := w.fault
	if f.tool == nil {
		return w.cluster.KillPod(ctx, w.target.UID, "pod-kill "+f.plan.Name)
	}
	forget, err := f.tool.Inject(ctx, f.plan.Fault, []clusters.Pod{w.target})
	if err != nil {
		return err
	}
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), ToolRevertLimit)
	defer cancel()
	if err := forget(undo); err != nil && !errors.Is(err, clusters.ErrForced) { // there is nothing left of the pod to take back
		return err
	}
	return nil
}

// replaced records that the service is whole again, and looks a few times more whether it stays so.
func (w *podWatch) replaced(ctx context.Context, l look) error {
	if err := errors.Join(w.record(stageAfter, l), w.step(evidence.FaultReverted)); err != nil {
		return err
	}
	for range MinSamples - 1 {
		if !sleep(ctx, podPause) {
			return nil
		}
		if l = w.look(ctx); ctx.Err() != nil {
			return nil
		}
		if err := w.record(stageAfter, l); err != nil {
			return err
		}
	}
	return nil
}

// before chooses the target and looks at it until the fault is due, at least once.
func (w *podWatch) before(ctx context.Context) (look, error) {
	for {
		l := w.look(ctx)
		if ctx.Err() != nil {
			return l, nil
		}
		if err := w.record(stageBefore, l); err != nil {
			return l, err
		}
		left := time.Until(w.fault.at)
		if left <= 0 {
			return l, nil
		}
		if !sleep(ctx, min(left, Lead/MinSamples)) {
			return l, nil
		}
	}
}

// look lists the service's pods once.
func (w *podWatch) look(ctx context.Context) look {
	began := time.Now()
	pods, err := w.cluster.Pods(ctx)
	l := look{sample: evidence.FaultSample{Connection: fresh, Micros: time.Since(began).Microseconds()}}
	if err != nil {
		// Nobody was seen: neither the target nor a replacement.
		l.sample.Error = "listing pods: " + err.Error()
		return l
	}
	var own []clusters.Pod
	for _, p := range pods {
		if p.Service == w.fault.plan.Target.Service {
			own = append(own, p)
		}
	}
	if w.target.UID == "" {
		if len(own) == 0 {
			l.sample.Error = fmt.Sprintf("there is no pod of %s", w.fault.plan.target())
			return l
		}
		w.target = own[w.fault.plan.Ordinal%len(own)]
	}
	for _, p := range own {
		if p.Ready {
			l.ready++
		}
		if !w.killed {
			w.old[p.UID] = true
		}
		switch {
		case p.UID == w.target.UID:
			l.stands, l.sample.OK = true, p.Ready
		case !w.old[p.UID]:
			l.replacement = l.replacement || p.Ready
			l.sample.UID = p.UID
		}
	}
	if !w.killed {
		// Where another fault has just killed a pod of the service, whole is what the scenario asks for.
		w.ready = max(w.ready, l.ready)
	}
	switch {
	case l.stands:
		l.sample.UID = w.target.UID
		if !l.sample.OK {
			l.sample.Error = "pod " + w.target.Pod + " is not ready"
		}
	default:
		l.sample.Error = "pod " + w.target.Pod + " is gone"
	}
	return l
}

// record writes a sample.
func (w *podWatch) record(stage string, l look) error {
	l.sample.Stage = stage
	return w.write(evidence.Fault{Action: evidence.FaultProbe, Probe: &l.sample})
}

func (w *podWatch) step(action string) error { return w.write(evidence.Fault{Action: action}) }

func (w *podWatch) failed(why error) error {
	return w.write(evidence.Fault{Action: evidence.FaultFailed, Message: why.Error()})
}

// write names the pod in a record of the fault.
func (w *podWatch) write(r evidence.Fault) error {
	r.Target, r.UID = w.target.Pod, w.target.UID
	return w.fault.record(r)
}
