package verify

import (
	"fmt"
	"slices"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// turnsTaken is how many requests another cluster must have served after an outage for it to mean something that the
// first cluster served none: with fair turns, one in 2^20.
const turnsTaken = 20

// failover judges how long it took, from the beginning of an outage, until another cluster served in place of the one
// whose pods were gone and no traffic failed beyond its error budget any more; and whether the first serves again since.
func (x *trial) failover(e scenarios.ExpectFailover, st *faultState, fault Check) Check {
	c := Check{Kind: KindFailover, Subject: e.After, Limit: e.Within.String()}
	if fault.Verdict == Skipped {
		return c.skippedWith(fault)
	}
	t := &tally{}
	t.add(&st.tally)
	x.whole(t, evidence.Requests)
	if fault.Verdict == Pass {
		if took, ok := x.tookOver(t, e, st); ok {
			st.Fault.FailoverMicros = took.Microseconds()
			c.Observed = took.Round(time.Millisecond).String()
			st.Fault.Effect = join(st.Fault.Effect, fmt.Sprintf("%s served in its place after %s", e.To, c.Observed))
			if took > e.Within.D() {
				t.fail("TooSlow", t.used, "%s served in place of %s without failures %s after its pods died, at most %s was expected", e.To, st.scenario.Target.Cluster, c.Observed, e.Within)
			}
		}
	}
	c.Verdict, c.Reason, c.Message, c.Used = t.judge(fmt.Sprintf("%s served in place of %s %s after its pods died, at most %s was expected", e.To, st.scenario.Target.Cluster, c.Observed, e.Within))
	return c
}

// tookOver measures a failover by the workloads' own records, and by the load's.
func (x *trial) tookOver(t *tally, e scenarios.ExpectFailover, st *faultState) (time.Duration, bool) {
	f := st.scenario
	near, service, ends := f.Target.Cluster, f.Target.Service, st.from
	var before, during, instead []*evidence.Request
	for _, r := range x.received[edgeWindow{window: windowLoad, service: service}] {
		at := r.At.Cluster
		switch {
		case r.Status/100 != 2:
		case at == near && r.T.Before(st.began):
			before = append(before, r.Request)
		case at == near && r.T.After(st.Fault.Began) && r.T.Before(ends):
			during = append(during, r.Request)
		case at == e.To && !r.T.Before(st.began) && r.T.Before(ends):
			instead = append(instead, r.Request)
		}
	}
	if len(before) == 0 {
		t.invalid("NotWellBefore", nil, "%s in %s served no request before its pods died: nobody had to take over", service, near)
		return 0, false
	}
	t.use(atLeast(1, before)...)
	if len(during) > 0 {
		t.invalid("NoEffect", refsOf(during...), "%s in %s served %d requests during its outage", service, near, len(during))
		return 0, false
	}
	took, ok := x.cleanSince(t, st)
	if !ok {
		return 0, false
	}
	if len(instead) == 0 {
		t.fail("NoFailover", nil, "%s served no request of %s while its pods in %s were gone", e.To, service, near)
		return 0, false
	}
	t.use(atLeast(1, instead)...)
	x.back(t, e, st)
	return max(took, instead[0].T.Sub(st.began)), true
}

// back wants the cluster whose pods were gone to serve again, under load or in the proof windows after it: load may go on
// over the connections that it has, and a balancer may prefer whom it knows.
func (x *trial) back(t *tally, e scenarios.ExpectFailover, st *faultState) {
	f := st.scenario
	var again, since []*evidence.Request
	for _, list := range x.requests {
		for _, r := range list {
			if r.At.Service != f.Target.Service || r.Status/100 != 2 || !r.T.After(st.clear) {
				continue
			}
			switch r.At.Cluster {
			case f.Target.Cluster:
				again = append(again, r)
			case e.To:
				since = append(since, r)
			}
		}
	}
	switch n := len(since); {
	case len(again) > 0:
		t.use(atLeast(1, again)...)
	case n >= turnsTaken:
		t.fail("NotBack", refsOf(since...), "since the pods of %s in %s are back, %s has served %d requests and they none", f.Target.Service, f.Target.Cluster, e.To, n)
	default:
		t.invalid("NotWatched", nil, "%s in %s was not seen to serve again after its outage, and %s served only %d requests since", f.Target.Service, f.Target.Cluster, e.To, n)
	}
}

// cleanSince is how long it took from the beginning of an outage until every traffic was within its error budget, to stay
// there. Who is only when the outage is over has found nobody who took over.
func (x *trial) cleanSince(t *tally, st *faultState) (took time.Duration, ok bool) {
	start, ends := st.began.Sub(st.zero).Microseconds(), st.from.Sub(st.zero).Microseconds()
	horizon, next := x.nextFault(st)
	watched := false
	for i := range x.s.Spec.Traffic {
		tr := &x.s.Spec.Traffic[i]
		l := x.loadOf(tr)
		t.lack = append(t.lack, l.lack()...)
		if len(l.lack()) > 0 {
			return 0, false
		}
		if !slices.ContainsFunc(l.ticks, func(k *evidence.Tick) bool { return k.AtMicros+k.Micros > start && k.AtMicros < ends && k.Done > 0 }) {
			continue // sent nothing during the outage
		}
		watched = true
		at, ok := x.cleanFrom(t, tr, l.ticks, start, horizon, 0, next)
		switch {
		case !ok:
			return 0, false
		case at >= ends:
			t.fail("NoFailover", t.used, "traffic %s failed beyond its error budget as long as the outage lasted", tr.Name)
			return 0, false
		}
		took = max(took, micro(at-start))
	}
	if !watched {
		t.invalid("NoLoad", nil, "no traffic was sent during the outage, so nobody saw who served instead")
	}
	return took, watched
}
