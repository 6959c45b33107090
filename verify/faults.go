package verify

import (
	"fmt"
	"slices"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

const (
	// onSchedule is how far from its planned time a fault may begin or end.
	onSchedule = time.Second
	// toolTime is how long a tool that carries a fault out may take to do so.
	toolTime = 15 * time.Second
	// effectShare is how much of a delay's round trip must show.
	effectShare = 0.8
	// minSamples is how many samples of each kind of connection it takes before and during a network fault.
	minSamples = 3
	// spareShare is the share of samples that may go without an answer where there should be one: on a busy machine an
	// attempt times out now and then.
	spareShare = 0.2
)

// faultState is what became of one fault.
type faultState struct {
	scenario *scenarios.Fault
	Fault    Fault
	tally    tally
	zero     time.Time // start of the load
	from     time.Time // from when recovery counts
	clear    time.Time // when the effect probe saw nothing of it any more; zero where it cannot be told
	began    time.Time // when its injection began
}

// fault follows one fault through its records: injected and reverted on schedule, and seen by its effect probe to begin
// and to end. What the injector says of itself is never enough.
func (x *trial) fault(f *scenarios.Fault) (Check, *faultState) {
	c := Check{Kind: KindFault, Subject: f.Name}
	st := &faultState{scenario: f, Fault: Fault{Trial: x.id, Name: f.Name, Kind: string(f.Kind), RecoveryMicros: -1, FailoverMicros: -1}}
	t := &st.tally
	x.whole(t, evidence.Faults, evidence.Events)
	for _, r := range x.faults[f.Name] {
		switch r.Action {
		case evidence.FaultSkipped:
			c.Verdict, c.Reason, c.Message, c.Used = Skipped, "NotPossibleHere", r.Message, refsOf(r)
			st.Fault.Verdict, st.Fault.Effect = Skipped, "not tried: "+r.Message
			return c, st
		case evidence.FaultFailed:
			t.invalid("FaultFailed", refsOf(r), "the fault could not be injected or reverted: %s", r.Message)
		}
	}
	if starts := x.events[evidence.EventLoadStart]; len(starts) == 1 {
		st.zero = starts[0].T
		t.use(starts[0].Ref())
	} else {
		t.invalid("NoLoad", refsOf(starts...), "there are %d records of the start of the load, want 1", len(starts))
	}
	inject, injected := x.step(t, f, evidence.FaultInject), x.step(t, f, evidence.FaultInjected)
	byTool := injected != nil && injected.By != "" && injected.By != string(scenarios.ByMeshproof)
	revert, reverted := x.step(t, f, evidence.FaultRevert), x.step(t, f, evidence.FaultReverted)
	if inject != nil && injected != nil && reverted != nil && (revert != nil || !isReverted(f)) && !st.zero.IsZero() {
		st.began = inject.T
		st.Fault.Began, st.Fault.Target, st.Fault.By = injected.T, injected.Target, injected.By
		st.Fault.StartMicros = injected.T.Sub(st.zero).Microseconds()
		st.Fault.EndMicros = reverted.T.Sub(st.zero).Microseconds()
		begins := injected.T
		if f.Kind == scenarios.WorkloadOutage || f.Rotates() {
			begins = inject.T // it takes a while until all pods have ended, or a control plane has what it was given
		}
		begun := begins
		if byTool { // which takes its time, once it is told
			begun = inject.T
			if took := injected.T.Sub(inject.T); took > toolTime {
				t.invalid("OffSchedule", refsOf(inject, injected), "%s took %s to inject the fault", injected.By, took)
			}
		}
		late := begun.Sub(st.zero.Add(f.At.D()))
		if late.Abs() > onSchedule {
			t.invalid("OffSchedule", refsOf(inject, injected), "the fault was planned at %s and injected %s off", f.At, late.Round(time.Millisecond))
		}
		switch {
		case f.Kind == scenarios.PodKill:
			st.from = inject.T
			x.killEffect(st, inject, reverted)
		case f.Rotates():
			st.from, st.clear = inject.T, reverted.T
			x.rotationEffect(st)
		default:
			st.from = revert.T
			if off := revert.T.Sub(begins) - f.For.D(); off.Abs() > onSchedule {
				t.invalid("OffSchedule", refsOf(revert), "the fault was planned to last %s, and its end was %s off", f.For, off.Round(time.Millisecond))
			}
			switch {
			case f.Kind.Between():
				x.linkEffect(st)
			case f.Kind == scenarios.WorkloadOutage:
				x.outageEffect(st, injected, revert)
			default:
				x.podsEffect(st)
			}
			if byTool && f.Kind == scenarios.Partition {
				x.escaped(st, inject, revert)
			}
		}
		inOrder(t, inject, injected, revert, reverted)
		if !st.clear.IsZero() && st.clear.Before(st.from) {
			t.invalid(reasonOrder, refsOf(inject), "the effect of the fault was seen to be over %s before the fault was: %s", st.from.Sub(st.clear).Round(time.Millisecond), wentBack)
		}
	}
	c.Verdict, c.Reason, c.Message, c.Used = t.judge(st.Fault.Effect)
	st.Fault.Verdict = c.Verdict
	if c.Verdict != Pass {
		st.Fault.Effect = c.Message
	}
	return c, st
}

const (
	reasonOrder = "OutOfOrder"
	wentBack    = "a clock went back, or these are not records of one fault"
)

// inOrder wants the steps of a fault, of which some may be nil, to have come one after the other.
func inOrder(t *tally, steps ...*evidence.Fault) {
	var before *evidence.Fault
	for _, s := range steps {
		if s == nil {
			continue
		}
		if before != nil && s.T.Before(before.T) {
			t.invalid(reasonOrder, refsOf(before, s), "step %q of the fault was %s before step %q: %s", s.Action, before.T.Sub(s.T).Round(time.Millisecond), before.Action, wentBack)
		}
		before = s
	}
}

// isReverted reports whether the harness itself ends what the fault does. A pod is brought back by its Deployment alone,
// and a rotation is never taken back.
func isReverted(f *scenarios.Fault) bool { return f.Kind != scenarios.PodKill && !f.Rotates() }

// step finds the one record of a step that every fault must have gone through.
func (x *trial) step(t *tally, f *scenarios.Fault, action string) *evidence.Fault {
	var found []*evidence.Fault
	for _, r := range x.faults[f.Name] {
		if r.Action == action {
			found = append(found, r)
		}
	}
	if action == evidence.FaultRevert && !isReverted(f) && len(found) == 0 {
		return nil
	}
	if len(found) != 1 {
		t.invalid("NoFault", refsOf(found...), "fault %s has %d records of step %q, want 1", f.Name, len(found), action)
		return nil
	}
	t.use(found[0].Ref())
	return found[0]
}

// samples lists what a fault's effect probe saw at a stage, on one kind of connection ("" for any).
func (x *trial) samples(name, stage, connection string) []*evidence.Fault {
	var out []*evidence.Fault
	for _, r := range x.faults[name] {
		if r.Action == evidence.FaultProbe && r.Probe != nil && r.Probe.Stage == stage && (connection == "" || r.Probe.Connection == connection) {
			out = append(out, r)
		}
	}
	return out
}

// atLeast is the evidence that a claim of "at least n" cannot do without: any one piece can be spared where there are
// more.
func atLeast[T interface{ Ref() evidence.Ref }](n int, list []T) []evidence.Ref {
	if len(list) > n {
		return nil
	}
	return refsOf(list...)
}

// linkEffect wants the network between two clusters to have been well before, hit during, and well after, on fresh and
// on established connections.
func (x *trial) linkEffect(st *faultState) {
	t, name := &st.tally, st.scenario.Name
	for _, conn := range []string{connFresh, connEstablished} {
		before, during, after := x.samples(name, "before", conn), x.samples(name, "during", conn), x.samples(name, "after", conn)
		for _, s := range []struct {
			stage string
			list  []*evidence.Fault
			need  int
		}{{"before", before, minSamples}, {"during", during, minSamples}, {"after", after, 1}} {
			if len(s.list) < s.need {
				t.invalid("NoEffectProbe", refsOf(s.list...), "%d probes were made on %s connections %s the fault, want %d", len(s.list), conn, s.stage, s.need)
				return
			}
			t.use(atLeast(s.need, s.list)...)
		}
		before, why := answered(before)
		if why != "" {
			t.invalid("NotWellBefore", refsOf(x.samples(name, "before", conn)...), "%s on %s connections before the fault", why, conn)
			return
		}
		t.use(atLeast(minSamples, before)...)
		was := quantile(before, len(before)/2)
		what := fmt.Sprintf("%s connections: no answer to %d of %d probes", conn, count(during, false), len(during))
		switch st.scenario.Kind {
		case scenarios.NetworkLoss:
			what = x.lossEffect(st, conn, was, during)
		case scenarios.Partition:
			if n := count(during, true); n > 0 {
				t.invalid("NoEffect", refsOf(during...), "%d of %d probes on %s connections were answered through the partition", n, len(during), conn)
			}
		default:
			slowed, why := answered(during)
			if why != "" {
				t.invalid("NoEffect", refsOf(during...), "%s on %s connections during the fault: that is no delay", why, conn)
				continue
			}
			t.use(atLeast(minSamples, slowed)...)
			// A machine that is busy makes round trips longer, never shorter: the shortest are those that show the line.
			was, is := quantile(before, 0), quantile(slowed, 0)
			want := was + time.Duration(effectShare*2*float64(st.scenario.Delay.D()))
			if is < want {
				t.invalid("NoEffect", refsOf(slowed...), "the shortest round trip on %s connections was %s before and %s during a delay of %s in each direction, want at least %s", conn, was, is, st.scenario.Delay, want)
			}
			what = fmt.Sprintf("%s connections: shortest round trip from %s to %s", conn, was, is)
		}
		st.Fault.Effect = join(st.Fault.Effect, what)
		x.linkClear(st, conn, after, was)
	}
}

// answered is the samples of a link that got an answer, and what is wrong where too few did.
func answered(list []*evidence.Fault) (ok []*evidence.Fault, why string) {
	last := ""
	for _, s := range list {
		if s.Probe.OK {
			ok = append(ok, s)
		} else {
			last = s.Probe.Error
		}
	}
	n := len(list) - len(ok)
	if len(ok) < minSamples || evidence.Round(float64(n)/float64(len(list))) > spareShare {
		why = fmt.Sprintf("%d of %d probes had no answer (%s)", n, len(list), last)
	}
	return ok, why
}

// linkClear finds the probe from which on nothing of the fault was seen any more: answered within one and a half times
// the round trip of before and half of the delay.
func (x *trial) linkClear(st *faultState, conn string, after []*evidence.Fault, was time.Duration) {
	limit := was + was/2 + st.scenario.Delay.D()/2
	if st.scenario.Kind != scenarios.NetworkDelay {
		limit = was + was/2 + partitionSlack
	}
	var since *evidence.Fault
	for _, s := range after {
		switch ok := s.Probe.OK && micro(s.Probe.Micros) <= limit; {
		case !ok:
			since = nil
		case since == nil:
			since = s
		}
	}
	if since == nil {
		st.tally.invalid("NotCleared", refsOf(after[len(after)-1]), "the fault was reverted, and %s connections were still hit when the probe ended", conn)
		return
	}
	if end := since.T.Add(micro(since.Probe.Micros)); end.After(st.clear) {
		st.clear = end
	}
}

// partitionSlack is what a round trip may take beyond that of before to count as unhindered by lost packets: less
// than the shortest wait for a retransmission (RFC 6298 section 2.4: 1 s; Linux: 200 ms).
const partitionSlack = 100 * time.Millisecond

// killEffect wants the pod's UID to be gone for good and another to stand in its place, by the word of the effect probe
// and of the cluster's own events.
func (x *trial) killEffect(st *faultState, inject, reverted *evidence.Fault) {
	t, name, uid := &st.tally, st.scenario.Name, inject.UID
	if uid == "" {
		t.invalid("NoFault", refsOf(inject), "the record of the kill does not say which pod")
		return
	}
	before := x.samples(name, "before", "")
	if count(before, true) == 0 || count(before, false) > 0 {
		t.invalid("NotWellBefore", refsOf(before...), "pod %s was not seen to stand before it was killed", inject.Target)
	}
	t.use(atLeast(1, before)...)
	var there, gone []*evidence.Fault
	for _, s := range append(x.samples(name, "during", ""), x.samples(name, "after", "")...) {
		if s.Probe.UID == uid {
			there = append(there, s)
		} else if s.Probe.UID != "" {
			gone = append(gone, s)
		}
	}
	// What was sampled while the kill was on its way may still see the pod; what comes after a replacement may not.
	if len(gone) == 0 {
		t.invalid("NoEffect", refsOf(there...), "the effect probe never saw another pod in the place of %s", inject.Target)
	} else if i := len(there) - 1; i >= 0 && there[i].T.After(gone[0].T) {
		t.invalid("NoEffect", refsOf(there[i], gone[0]), "pod %s was seen again after its replacement", inject.Target)
	}
	t.use(atLeast(1, gone)...)
	ended := slices.DeleteFunc(slices.Clone(x.events[evidence.EventPodEnded]), func(e *evidence.Event) bool { return e.At.UID != uid })
	if len(ended) != 1 || ended[0].T.Before(inject.T) {
		t.invalid("NoEffect", refsOf(ended...), "the cluster has %d records of the end of pod %s after the kill, want 1", len(ended), inject.Target)
		return
	}
	t.use(ended[0].Ref())
	ready := slices.DeleteFunc(slices.Clone(x.events[evidence.EventPodReady]), func(e *evidence.Event) bool {
		p := ended[0].At
		return e.At.UID == uid || e.At.Service != p.Service || e.At.Cluster != p.Cluster || e.T.Before(ended[0].T)
	})
	if len(ready) == 0 {
		t.invalid("NoEffect", refsOf(ended...), "the cluster has no record of a replacement of pod %s", inject.Target)
		return
	}
	t.use(atLeast(1, ready)...)
	st.clear = reverted.T
	st.Fault.Effect = fmt.Sprintf("pod %s was gone, and its replacement %s was ready %s after the kill", inject.Target, ready[0].At.Pod, ready[0].T.Sub(inject.T).Round(time.Millisecond))
}

// quantile is the i-th smallest round trip, from 0.
func quantile(list []*evidence.Fault, i int) time.Duration {
	v := make([]int64, len(list))
	for i, s := range list {
		v[i] = s.Probe.Micros
	}
	slices.Sort(v)
	return micro(v[i])
}

func count(list []*evidence.Fault, ok bool) (n int) {
	for _, s := range list {
		if s.Probe.OK == ok {
			n++
		}
	}
	return n
}

func micro(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}
