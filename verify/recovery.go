package verify

import (
	"fmt"
	"math"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// staysClean is how long the error rate must stay within its budget to count as recovered: three slices of time.
const staysClean = 750 * time.Millisecond

// skippedWith is a check of what comes of a fault that was skipped: for the fault's reason.
func (c Check) skippedWith(fault Check) Check {
	c.Verdict, c.Reason, c.Message, c.Used = Skipped, fault.Reason, fault.Message, fault.Used
	return c
}

// recovery judges how long it took from the end of a fault (from the kill, where a pod dies) until its effect was gone
// and every traffic was within its error budget again, to stay there.
func (x *trial) recovery(e scenarios.ExpectRecovery, st *faultState, fault Check) Check {
	c := Check{Kind: KindRecovery, Subject: e.After, Limit: e.Within.String()}
	if fault.Verdict == Skipped {
		return c.skippedWith(fault)
	}
	t := &tally{}
	t.add(&st.tally)
	took, ok := time.Duration(0), false
	if fault.Verdict == Pass {
		took, ok = x.recovered(t, st, e.Within.D())
	}
	if ok {
		c.Observed = took.Round(time.Millisecond).String()
		if took > e.Within.D() {
			t.fail("TooSlow", t.used, "the steady state was back %s after the fault, at most %s was expected", c.Observed, e.Within)
		}
	}
	c.Verdict, c.Reason, c.Message, c.Used = t.judge(fmt.Sprintf("the steady state was back after %s, at most %s was expected", c.Observed, e.Within))
	return c
}

// recovered measures a recovery. within is what it is held against: whoever watched that long has seen enough to say
// no, or to say yes when all was well at the end; 0 where there is no limit. It notes in t what keeps it from telling.
func (x *trial) recovered(t *tally, st *faultState, within time.Duration) (time.Duration, bool) {
	if st.clear.IsZero() || st.from.IsZero() {
		t.invalid("NoEffectProbe", nil, "it cannot be told when the effect of fault %s was over", st.scenario.Name)
		return 0, false
	}
	took := max(0, st.clear.Sub(st.from))
	start := st.from.Sub(st.zero).Microseconds()
	horizon, next := x.nextFault(st)
	watched := 0
	for i := range x.s.Spec.Traffic {
		tr := &x.s.Spec.Traffic[i]
		l := x.loadOf(tr)
		t.lack = append(t.lack, l.lack()...)
		if len(l.lack()) > 0 {
			return 0, false
		}
		if n := len(l.ticks); n == 0 || l.ticks[n-1].AtMicros+l.ticks[n-1].Micros <= start {
			continue // was over by then
		}
		watched++
		at, ok := x.cleanFrom(t, tr, l.ticks, start, horizon, within, next)
		if !ok {
			return 0, false
		}
		took = max(took, micro(at-start))
	}
	if watched == 0 {
		t.invalid("NoLoad", nil, "no traffic was sent any more when fault %s was over, so nobody saw the recovery", st.scenario.Name)
		return 0, false
	}
	return took, true
}

// nextFault is when, after the start of the load, another fault begins after this one is over (µs), with its name.
func (x *trial) nextFault(st *faultState) (int64, string) {
	horizon, name := int64(math.MaxInt64), ""
	for i := range x.s.Spec.Faults {
		f := &x.s.Spec.Faults[i]
		if f.Name == st.scenario.Name {
			continue
		}
		for _, r := range x.faults[f.Name] {
			if r.Action == evidence.FaultInject && r.T.After(st.from) {
				if at := r.T.Sub(st.zero).Microseconds(); at < horizon {
					horizon, name = at, f.Name
				}
			}
		}
	}
	return horizon, name
}

// cleanFrom finds the moment (µs after the start of the load) from which a traffic stays within its error budget.
func (x *trial) cleanFrom(t *tally, tr *scenarios.Traffic, ticks []*evidence.Tick, start, horizon int64, within time.Duration, next string) (int64, bool) {
	var (
		used  []evidence.Ref
		since *evidence.Tick // first of the clean slices
		done  int64          // requests in them
		until = start        // watched so far
		bad   = start        // end of the last slice beyond its budget
	)
	for _, k := range ticks {
		end := k.AtMicros + k.Micros
		if end <= start {
			continue
		}
		if end > horizon {
			break
		}
		used, until = append(used, k.Ref()), end
		budget, _ := errorBudget(x.s, tr.Name, k.Phase)
		if errorRate(k.Errors, k.Done) > evidence.Round(budget) {
			since, done, bad = nil, 0, end
			continue
		}
		if since == nil {
			if k.Done == 0 {
				continue // nobody asked, so nobody knows
			}
			since = k
		}
		done += k.Done
		if done > 0 && micro(end-since.AtMicros) >= staysClean {
			t.use(used...)
			return max(since.AtMicros, start), true
		}
	}
	t.use(used...)
	if within > 0 && micro(bad-start) > within {
		return bad, true // too late, whatever came after
	}
	if within > 0 && since != nil && done > 0 && micro(until-start) >= within {
		return max(since.AtMicros, start), true
	}
	why := "the load ended"
	if next != "" {
		why = "fault " + next + " began"
	}
	t.invalid("NotWatched", used, "traffic %s was watched for %s after the fault and was not seen to recover before %s", tr.Name, micro(until-start), why)
	return 0, false
}
