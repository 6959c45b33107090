package verify

import (
	"fmt"
	"slices"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// outageEffect wants all pods of a service in one cluster to have been there, gone, and there again, by the word of the
// effect probe and of the cluster's own events.
func (x *trial) outageEffect(st *faultState, injected, revert *evidence.Fault) {
	t, f := &st.tally, st.scenario
	w, ok := x.s.Workload(f.Target.Service)
	if !ok {
		t.invalid("NoFault", nil, "the scenario has no service %s", f.Target.Service)
		return
	}
	before, during, after := x.samples(f.Name, "before", ""), x.samples(f.Name, "during", ""), x.samples(f.Name, "after", "")
	if len(before) == 0 || count(before, false) > 0 {
		t.invalid("NotWellBefore", refsOf(before...), "%s was not seen to be whole in %s before its pods died", w.Name, f.Target.Cluster)
	}
	t.use(atLeast(1, before)...)
	if len(during) == 0 || count(during, true) > 0 {
		t.invalid("NoEffect", refsOf(during...), "in %d of %d looks during the outage a pod of %s was ready in %s", count(during, true), len(during), w.Name, f.Target.Cluster)
	}
	t.use(atLeast(1, during)...)
	back := slices.IndexFunc(after, func(s *evidence.Fault) bool { return s.Probe.OK })
	if back < 0 {
		t.invalid("NotCleared", refsOf(after...), "after the outage, %s was not seen to be whole in %s again", w.Name, f.Target.Cluster)
		return
	}
	t.use(after[back].Ref())
	st.clear = after[back].T
	// A controller may make others before it learns that there shall be none; they end for the outage too.
	ended := slices.DeleteFunc(x.endedBy(f), func(e *evidence.Event) bool { return x.appeared(e.At.UID, st.began) })
	if len(ended) != w.Replicas {
		t.invalid("NoEffect", refsOf(ended...), "the cluster has records that %d pods of %s in %s ended for the outage, want %d", len(ended), w.Name, f.Target.Cluster, w.Replicas)
	}
	t.use(refsOf(ended...)...)
	var ready []*evidence.Event
	for _, e := range x.events[evidence.EventPodReady] {
		if e.At.Service != w.Name || e.At.Cluster != f.Target.Cluster {
			continue
		}
		switch {
		case e.T.After(injected.T) && e.T.Before(revert.T):
			t.invalid("NoEffect", refsOf(e), "pod %s was ready during the outage", podName(e.At))
		case e.T.After(revert.T):
			ready = append(ready, e)
		}
	}
	if len(ready) < w.Replicas {
		t.invalid("NoEffect", refsOf(ready...), "the cluster has records that %d pods of %s in %s were ready after the outage, want %d", len(ready), w.Name, f.Target.Cluster, w.Replicas)
	}
	t.use(atLeast(w.Replicas, ready)...)
	st.Fault.Effect = fmt.Sprintf("all pods of %s in %s (%d) were gone, and it was whole again %s after the end of the outage",
		w.Name, f.Target.Cluster, len(ended), st.clear.Sub(revert.T).Round(time.Millisecond))
}

// endedBy lists the ends of pods that an outage is the reason of, in the driver's words.
func (x *trial) endedBy(f *scenarios.Fault) []*evidence.Event {
	var out []*evidence.Event
	if f.Kind != scenarios.WorkloadOutage || f.Target == nil {
		return nil
	}
	for _, r := range x.faults[f.Name] {
		if r.Action != evidence.FaultInject {
			continue
		}
		for _, e := range x.events[evidence.EventPodEnded] {
			if e.At.Service == f.Target.Service && e.At.Cluster == f.Target.Cluster && e.Message == string(f.Kind)+" "+f.Name && !e.T.Before(r.T) {
				out = append(out, e)
			}
		}
	}
	return out
}

// appeared reports whether a pod was made after a moment, by the cluster's own word.
func (x *trial) appeared(uid string, since time.Time) bool {
	return slices.ContainsFunc(x.events[evidence.EventPodCreated], func(e *evidence.Event) bool { return e.At.UID == uid && e.T.After(since) })
}

// takenAway notes the pods that ended for an outage.
func (x *trial) takenAway(killed map[string]bool) {
	for i := range x.s.Spec.Faults {
		for _, e := range x.endedBy(&x.s.Spec.Faults[i]) {
			killed[e.At.UID] = true
		}
	}
}
