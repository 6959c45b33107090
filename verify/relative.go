package verify

import (
	"fmt"
	"slices"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// relativeBlocks is from how many blocks a budget over a baseline is judged: the fewest for which medianInterval has
// one.
const relativeBlocks = 6

// relative is one budget over a baseline for one phase: how much more of a figure any other mesh may show.
type relative struct {
	kind, subject string
	traffic       *scenarios.Traffic
	stage         stagePhase
	baseline      string
	limit         float64 // in the unit of figure
	cost          bool    // it is about what proxies cost, which models say nothing about
	figure        func(*trial, *tally, *evidence.Phase) (float64, bool)
	show          func(float64) string
}

// relatives lists the scenario's budgets over baselines by phase. Of several for the same thing the tightest counts.
func relatives(s *scenarios.Scenario, seed int64) []relative {
	var out []relative
	add := func(r relative) {
		for i := range out {
			if o := &out[i]; o.kind == r.kind && o.subject == r.subject {
				o.limit = min(o.limit, r.limit)
				return
			}
		}
		out = append(out, r)
	}
	for i := range s.Spec.Traffic {
		tr := &s.Spec.Traffic[i]
		for _, st := range stagesOf(tr, seed) {
			if st.silent() {
				continue // vanished says so
			}
			for _, e := range s.Spec.Expect.Latency {
				if o := e.OverBaseline; o != nil && e.Traffic == tr.Name && (e.Phase == "" || e.Phase == st.name) {
					for _, q := range []struct {
						name  string
						limit scenarios.Duration
					}{{"p50", o.P50}, {"p90", o.P90}, {"p99", o.P99}} {
						if q.limit > 0 {
							add(latencyOver(tr, st, string(o.Mesh), q.name, q.limit.D()))
						}
					}
				}
			}
			for _, e := range s.Spec.Expect.Errors {
				if o := e.OverBaseline; o != nil && e.Traffic == tr.Name && (e.Phase == "" || e.Phase == st.name) {
					add(errorsOver(tr, st, string(o.Mesh), o.Rate))
				}
			}
		}
	}
	return out
}

// latencyOver is a budget for a quantile, in microseconds.
func latencyOver(tr *scenarios.Traffic, st stagePhase, baseline, quantile string, limit time.Duration) relative {
	return relative{
		kind: KindLatency, subject: tr.Name + "/" + st.name + "/" + quantile + "/over-" + baseline,
		traffic: tr, stage: st, baseline: baseline, limit: evidence.Round(float64(limit.Microseconds())), cost: true,
		figure: func(x *trial, t *tally, p *evidence.Phase) (float64, bool) {
			v, ok := x.quantile(t, p, quantile, 0)
			if why := doubt(p, quantile); why != "" {
				t.invalid("GeneratorLag", refsOf(p), "trial %s can't be compared, because its latency may be that of the load generator: %s", x.id, why)
				return 0, false
			}
			return float64(v), ok
		},
		show: func(v float64) string { return micros(int64(v)) },
	}
}

// errorsOver is a budget for the share of requests that fail.
func errorsOver(tr *scenarios.Traffic, st stagePhase, baseline string, limit float64) relative {
	return relative{
		kind: KindErrors, subject: tr.Name + "/" + st.name + "/over-" + baseline,
		traffic: tr, stage: st, baseline: baseline, limit: evidence.Round(limit),
		figure: func(x *trial, t *tally, p *evidence.Phase) (float64, bool) {
			rate := errorRate(p.Errors, p.Done)
			if x.id.Mesh == baseline && rate > mostlyErrors {
				// Nothing can be much worse than a baseline that fails itself.
				t.invalid("BaselineBroken", refsOf(p), "trial %s is no baseline: %s of its requests failed in phase %s", x.id, percent(rate), st.name)
				return 0, false
			}
			return rate, p.Done > 0
		},
		show: percent,
	}
}

// relativeChecks judges every budget over a baseline for every other mesh, over all blocks: the Trial of such a check
// has block 0.
func relativeChecks(rec *evidence.Record, s *scenarios.Scenario, all map[evidence.Trial]*trial, modelled bool) []Check {
	blocks := max(s.Spec.Blocks, len(rec.Manifest.Order), 1)
	var out []Check
	for _, m := range s.Spec.Meshes {
		for _, r := range relatives(s, rec.Manifest.Seed) {
			if string(m.Name) == r.baseline {
				continue
			}
			c := r.judge(s, all, string(m.Name), blocks, modelled)
			c.ID, c.Trial = c.Kind+"/"+c.Subject, evidence.Trial{Mesh: string(m.Name)}
			out = append(out, c)
		}
	}
	return out
}

// judge holds a mesh against the baseline. The two trials of a block are a pair, which went through the same load and
// the same faults; what is judged is the confidence interval of the median of the pairs' differences (mesh minus
// baseline). The budget is kept when all of the interval is within it, broken when all of it is beyond, and undecided
// otherwise. Each budget is judged by itself: of many at this confidence one in thirty may be wrong by chance.
func (r relative) judge(s *scenarios.Scenario, all map[evidence.Trial]*trial, mesh string, blocks int, modelled bool) Check {
	c := Check{Kind: r.kind, Subject: r.subject, Limit: r.show(r.limit) + " over " + r.baseline}
	skip := func(reason, format string, args ...any) Check {
		c.Verdict, c.Reason, c.Message = Skipped, reason, fmt.Sprintf(format, args...)
		return c
	}
	switch {
	case r.cost && modelled:
		return skip("ModelledCost", "not judged: the data planes are models, which say nothing about the latency that real proxies cost")
	case !slices.ContainsFunc(s.Spec.Meshes, func(m scenarios.MeshEntry) bool { return string(m.Name) == r.baseline }):
		return skip("NoBaseline", "not judged: the baseline mesh %s was left out of this run", r.baseline)
	case blocks < relativeBlocks:
		return skip("NeedsBlocks", "not judged, %d blocks needed and %d run: use --blocks %d", relativeBlocks, blocks, relativeBlocks)
	}
	t := &tally{}
	var diffs []float64
	for b := 1; b <= blocks; b++ {
		var pair [2]float64
		whole := true
		for i, name := range []string{mesh, r.baseline} {
			id := evidence.Trial{Block: b, Mesh: name}
			x := all[id]
			if x == nil {
				t.invalid("PairUnusable", nil, "trial %s is not among those of the run", id)
				whole = false
				continue
			}
			if e := x.events[evidence.EventSkipped]; len(e) > 0 {
				c.Used = refsOf(e...)
				return skip("NotPossibleHere", "not judged: trial %s was skipped: %s", id, e[0].Message)
			}
			for _, e := range x.events[evidence.EventAmbient] {
				t.invalid("PairUnusable", refsOf(e), "trial %s can't be compared: %s", id, ambient(e))
				whole = false
			}
			for _, f := range r.faults(x) {
				if f.Verdict == Skipped {
					c.Used = f.Used
					return skip(f.Reason, "not judged: fault %s was skipped in trial %s: %s", f.Subject, id, f.Message)
				}
			}
			v, ok := r.measure(x, t)
			pair[i], whole = v, whole && ok
		}
		if whole {
			diffs = append(diffs, evidence.Round(pair[0]-pair[1]))
		}
	}
	lo, hi, coverage, ok := medianInterval(len(diffs))
	if len(t.lack) == 0 && !ok {
		t.invalid("PairUnusable", nil, "only %d pairs of trials can be compared, want %d", len(diffs), relativeBlocks)
	}
	found := ""
	if len(t.lack) == 0 {
		slices.Sort(diffs)
		least, most := diffs[lo-1], diffs[hi-1]
		c.Observed = r.show(least) + " to " + r.show(most)
		found = fmt.Sprintf("over %d pairs the median difference to %s lies between %s and %s (%s confidence), at most %s was expected",
			len(diffs), r.baseline, r.show(least), r.show(most), percent(coverage), r.show(r.limit))
		switch {
		case least > r.limit:
			t.fail("OverBaseline", t.used, "%s", found)
		case most > r.limit:
			t.invalid("Undecided", t.used, "%s: more blocks may decide it", found)
		}
	}
	c.Verdict, c.Reason, c.Message, c.Used = t.judge(found)
	return c
}

// measure reads the figure of one trial. It notes in t what makes the trial no part of a pair: a load that was not what
// the profile asks for, or a fault until then that did not happen as planned.
func (r relative) measure(x *trial, t *tally) (float64, bool) {
	usable := true
	need := func(c Check, used []evidence.Ref) {
		if c.Verdict == Pass {
			t.use(used...)
			return
		}
		usable = false
		t.invalid("PairUnusable", c.Used, "trial %s can't be compared: %s %s is %s: %s", x.id, c.Kind, c.Subject, c.Verdict, c.Message)
	}
	load, lt := x.load(r.traffic, r.stage)
	need(load, lt.used)
	for _, f := range r.faults(x) {
		need(f, f.Used)
	}
	p := x.loadOf(r.traffic).phases[r.stage.name]
	if p == nil || !usable {
		return 0, false
	}
	t.use(p.Ref())
	v, ok := r.figure(x, t, p)
	if !ok {
		t.invalid("PairUnusable", refsOf(p), "trial %s has no figure for phase %s of traffic %s", x.id, r.stage.name, r.traffic.Name)
	}
	return v, ok
}

// faults judges the faults of a trial that were to begin before the end of the phase, and may show in it.
func (r relative) faults(x *trial) []Check {
	var out []Check
	for i := range x.s.Spec.Faults {
		if f := &x.s.Spec.Faults[i]; f.At.D() < r.stage.start+r.stage.duration {
			c, _ := x.fault(f)
			out = append(out, c)
		}
	}
	return out
}
