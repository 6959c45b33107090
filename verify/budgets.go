package verify

import (
	"fmt"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// defaultErrorBudget is the error budget of traffic for which the scenario gives none.
const defaultErrorBudget = 0.01

// mostlyErrors is the share of errors beyond which the latency of a phase is that of failing, whatever its error budget
// allows; without one it is defaultErrorBudget.
const mostlyErrors = 0.5

// latencyBudget is the tightest budget that the scenario sets for one quantile of one phase; 0 where it sets none.
func latencyBudget(s *scenarios.Scenario, traffic, phase, quantile string) time.Duration {
	var out time.Duration
	for _, e := range s.Spec.Expect.Latency {
		if e.Traffic != traffic || e.Phase != "" && e.Phase != phase {
			continue
		}
		d := map[string]scenarios.Duration{"p50": e.P50, "p90": e.P90, "p99": e.P99}[quantile].D()
		if d > 0 && (out == 0 || d < out) {
			out = d
		}
	}
	return out
}

// errorBudget is the tightest error budget of a phase, and whether the scenario sets any.
func errorBudget(s *scenarios.Scenario, traffic, phase string) (float64, bool) {
	budget, set := defaultErrorBudget, false
	for _, e := range s.Spec.Expect.Errors {
		if e.Traffic != traffic || e.Phase != "" && e.Phase != phase {
			continue
		}
		if e.Rate != nil && (!set || *e.Rate < budget) {
			budget, set = *e.Rate, true
		}
	}
	return budget, set
}

// vanished is what becomes of budgets for a phase whose profile rounds to no request. One that names the phase, or that
// has no other phase to be judged by, was not met: it was not tried. Of one for all phases the others speak.
func (x *trial) vanished(tr *scenarios.Traffic, st stagePhase) []Check {
	total := int64(0)
	for _, other := range stagesOf(tr, x.seed) {
		total += other.hits + int64(other.users)
	}
	var out []Check
	add := func(kind, subject, traffic, phase string) {
		if traffic == tr.Name && (phase == st.name || phase == "" && total == 0) {
			out = append(out, Check{
				Kind: kind, Subject: subject, Verdict: Invalid, Reason: "NothingSent",
				Message: fmt.Sprintf("the profile of traffic %s asks for no request in phase %s, so its budget was never tried", tr.Name, st.name),
			})
		}
	}
	for _, e := range x.s.Spec.Expect.Latency {
		add(KindLatency, tr.Name+"/"+st.name, e.Traffic, e.Phase)
	}
	for _, e := range x.s.Spec.Expect.Errors {
		add(KindErrors, tr.Name+"/"+st.name, e.Traffic, e.Phase)
	}
	return out
}

// budgets judges what the scenario expects of one phase. Where the load was not what it should have been, what was
// measured under it proves nothing.
func (x *trial) budgets(tr *scenarios.Traffic, st stagePhase, load *tally) []Check {
	var out []Check
	phase := st.name
	if st.silent() {
		return x.vanished(tr, st)
	}
	p := x.loadOf(tr).phases[phase]
	for _, q := range []string{"p50", "p90", "p99"} {
		limit := latencyBudget(x.s, tr.Name, phase, q)
		if limit == 0 {
			continue
		}
		c := Check{Kind: KindLatency, Subject: tr.Name + "/" + phase + "/" + q, Limit: limit.String()}
		t := &tally{}
		t.add(load)
		ok := ""
		if p != nil {
			if v, has := x.quantile(t, p, q, limit); has {
				got := micro(v)
				c.Observed = got.String()
				ok = fmt.Sprintf("%s of %d requests is %s, at most %s was expected", q, p.Done, got, limit)
				if why := blame(p, q, limit.Microseconds()); got > limit && why != "" {
					t.invalid("GeneratorLag", refsOf(p), "%s of %d requests from their intended time is %s, at most %s was expected, and the load generator may have done that itself: %s", q, p.Done, got, limit, why)
				}
				if len(t.lack) == 0 && got > limit {
					t.fail("TooSlow", refsOf(p), "%s of %d requests from their intended time is %s, at most %s was expected", q, p.Done, got, limit)
				}
			}
		}
		c.Verdict, c.Reason, c.Message, c.Used = t.judge(ok)
		out = append(out, c)
	}
	if limit, set := errorBudget(x.s, tr.Name, phase); set {
		c := Check{Kind: KindErrors, Subject: tr.Name + "/" + phase, Limit: percent(limit)}
		t := &tally{}
		t.add(load)
		ok := ""
		if p != nil {
			rate := errorRate(p.Errors, p.Done)
			c.Observed = percent(rate)
			ok = fmt.Sprintf("%d of %d requests failed, at most %s were expected to", p.Errors, p.Done, percent(limit))
			if len(load.lack) == 0 && rate > evidence.Round(limit) {
				t.fail("TooManyErrors", refsOf(p), "%d of %d requests failed (%s), at most %s were expected to", p.Errors, p.Done, percent(rate), percent(limit))
			}
		}
		c.Verdict, c.Reason, c.Message, c.Used = t.judge(ok)
		out = append(out, c)
	}
	return out
}

// quantile is a quantile (µs) of a phase's latency from the intended send time, to be held against a limit; 0 where it is
// to be subtracted from another. It notes in t where so many requests failed that it is not that of answers.
func (x *trial) quantile(t *tally, p *evidence.Phase, q string, limit time.Duration) (int64, bool) {
	v, has := quantilesOf(p.Intended)[q]
	if !has || offScale(t, p, q, v, limit) {
		return 0, false
	}
	bearable := mostlyErrors
	if budget, set := errorBudget(x.s, p.Traffic, p.Phase); !set {
		bearable = budget // nobody else would say that requests failed
	}
	if errorRate(p.Errors, p.Done) > bearable {
		t.invalid("MostlyErrors", refsOf(p), "%d of %d requests failed: how fast they did so says nothing about latency; up to %s are left out of account here", p.Errors, p.Done, percent(bearable))
	}
	return v, true
}

// offScale notes that a quantile (µs) is the largest that a histogram holds, which stands for all that is larger. It does
// not matter for a limit that is smaller; 0 is none.
func offScale(t *tally, p *evidence.Phase, q string, v int64, limit time.Duration) bool {
	const largest = evidence.HistogramMaxMicros
	if !evidence.SameBucket(v, largest) || limit > 0 && limit < micro(largest) {
		return false
	}
	t.invalid("OffScale", refsOf(p), "%s of %d requests is %s or more, which is all that is recorded of it", q, p.Done, micro(largest))
	return true
}
