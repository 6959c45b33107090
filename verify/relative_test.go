package verify

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// comparison is a scenario with budgets of istio over none in each phase: 20 ms for the median, 5 % for errors.
func comparison(blocks int) *scenarios.Scenario {
	s := testScenario(scenarios.MeshNone)
	s.Spec.Meshes = append(s.Spec.Meshes, scenarios.MeshEntry{Name: scenarios.MeshIstio})
	s.Spec.Blocks = blocks
	s.Spec.Expect = scenarios.Expect{
		Latency: []scenarios.ExpectLatency{{Traffic: "visitors", OverBaseline: &scenarios.LatencyOverBaseline{Mesh: scenarios.MeshNone, P50: scenarios.Duration(20 * time.Millisecond)}}},
		Errors: []scenarios.ExpectErrors{
			{Traffic: "visitors", Rate: new(0.5), OverBaseline: &scenarios.ErrorsOverBaseline{Mesh: scenarios.MeshNone, Rate: 0.05}},
		},
	}
	return s
}

// compared is the record of a comparison on real data planes. Of the 40 requests of phase calm as many failed on istio
// as errors says for each block, and one on none; every request took longer on istio by as many ms as slower says.
func compared(t *testing.T, s *scenarios.Scenario, errors, slower []int64) *evidence.Record {
	t.Helper()
	var order [][]string
	for range s.Spec.Blocks {
		order = append(order, []string{"none", "istio"})
	}
	rec := goodBlocks(t, s, order, func(b *builder) {
		if b.trial.Mesh == "istio" {
			b.errors, b.slower = errors[b.trial.Block-1], 1000*slower[b.trial.Block-1]
		}
	})
	rec.Manifest.Modelled = false
	return rec
}

// over finds the checks over a baseline.
func over(checks []Check) map[string]Check {
	out := map[string]Check{}
	for _, c := range checks {
		if strings.HasSuffix(c.ID, "/over-none") {
			out[c.ID] = c
		}
	}
	return out
}

func TestAMedianIntervalCoversWhatTheBinomialSays(t *testing.T) {
	for n, want := range map[int][3]float64{
		6: {1, 6, 0.96875}, 7: {1, 7, 0.984375}, 8: {1, 8, 0.992188}, 9: {2, 8, 0.960938}, 12: {3, 10, 0.961426}, 20: {6, 15, 0.958611}, 100: {40, 61, 0.9648},
	} {
		lo, hi, coverage, ok := medianInterval(n)
		if !ok || float64(lo) != want[0] || float64(hi) != want[1] || math.Abs(coverage-want[2]) > 1e-4 {
			t.Errorf("of %d: [%d, %d] at %v, %v; want %v", n, lo, hi, coverage, ok, want)
		}
	}
	for n := range relativeBlocks {
		if _, _, _, ok := medianInterval(n); ok {
			t.Errorf("%d draws are said to be enough", n)
		}
	}
}

func TestABudgetOverABaselineIsJudgedByTheIntervalOfItsMedian(t *testing.T) {
	calm := "errors/visitors/calm/over-none"
	p50 := "latency/visitors/calm/p50/over-none"
	for _, c := range []struct {
		name           string
		errors, slower []int64
		check          string
		want           Verdict
		reason, says   string
	}{
		{"no more errors than the baseline", []int64{1, 1, 1, 1, 1, 1}, make([]int64, 6), calm, Pass, "Proved", "between 0% and 0% (96.9% confidence), at most 5% was expected"},
		{"fewer errors", []int64{0, 0, 0, 0, 0, 0}, make([]int64, 6), calm, Pass, "Proved", "between -2.5% and -2.5%"},
		{"all differences within the budget, on its edge", []int64{1, 2, 3, 3, 3, 1}, make([]int64, 6), calm, Pass, "Proved", "between 0% and 5%"},
		{"all differences beyond", []int64{4, 4, 5, 4, 5, 4}, make([]int64, 6), calm, Fail, "OverBaseline", "between 7.5% and 10%"},
		{"one of six beyond", []int64{1, 1, 1, 5, 1, 1}, make([]int64, 6), calm, Invalid, "Undecided", "between 0% and 10%"},
		{"one of nine beyond", []int64{1, 1, 1, 5, 1, 1, 1, 1, 1}, make([]int64, 9), calm, Pass, "Proved", "over 9 pairs"},
		{"slower within the budget", make([]int64, 6), []int64{1, 19, 3, 4, 5, 6}, p50, Pass, "Proved", "at most 20ms was expected"},
		{"slower beyond", make([]int64, 6), []int64{40, 21, 33, 40, 50, 60}, p50, Fail, "OverBaseline", "at most 20ms"},
		{"slower now and then", make([]int64, 6), []int64{1, 21, 3, 4, 5, 6}, p50, Invalid, "Undecided", "more blocks may decide it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := Evaluate(compared(t, comparison(len(c.errors)), c.errors, c.slower))
			k, ok := over(res.Checks)[c.check]
			if !ok || k.Verdict != c.want || k.Reason != c.reason || !strings.Contains(k.Message, c.says) {
				t.Errorf("%s is %s %s: %s; want %s %s: … %s", c.check, k.Verdict, k.Reason, k.Message, c.want, c.reason, c.says)
			}
			if k.Trial != (evidence.Trial{Mesh: "istio"}) || len(k.Used) == 0 {
				t.Errorf("it is about trial %v, by %d pieces of evidence", k.Trial, len(k.Used))
			}
			if c.want != Pass && (res.Verdict != c.want || !strings.HasPrefix(res.Message, "istio over all blocks: ")) {
				t.Errorf("the run is %s: %s", res.Verdict, res.Message)
			}
		})
	}
}

func TestABudgetOverABaselineIsJudgedForEveryOtherMeshAndPhase(t *testing.T) {
	res := Evaluate(compared(t, comparison(6), []int64{1, 1, 1, 1, 1, 1}, make([]int64, 6)))
	if res.Verdict != Pass {
		t.Errorf("%s: %s", res.Verdict, res.Message)
	}
	got := sortedKeys(over(res.Checks))
	want := "errors/visitors/calm/over-none errors/visitors/rough/over-none latency/visitors/calm/p50/over-none latency/visitors/rough/p50/over-none"
	if strings.Join(got, " ") != want {
		t.Errorf("checks %v, want %s", got, want)
	}
	for _, c := range res.Checks {
		if c.Trial.Block == 0 && c.Trial.Mesh != "istio" {
			t.Errorf("%s is judged for %s", c.ID, c.Trial.Mesh)
		}
	}
}

func TestWhatCanNotBeComparedIsSkippedAndProvesNothing(t *testing.T) {
	s := comparison(5)
	s.Spec.Expect.Errors[0].Rate = nil // nothing but budgets over the baseline
	rec := compared(t, s, []int64{1, 1, 1, 1, 1}, make([]int64, 5))
	res := Evaluate(rec)
	for id, c := range over(res.Checks) {
		if c.Verdict != Skipped || c.Reason != "NeedsBlocks" || !strings.HasPrefix(c.Message, "not judged, 6 blocks needed") || !strings.Contains(c.Message, "--blocks 6") {
			t.Errorf("%s is %s %s: %s", id, c.Verdict, c.Reason, c.Message)
		}
	}
	if res.Verdict != Invalid || res.Reason != "NothingProved" {
		t.Errorf("the run is %s %s: %s", res.Verdict, res.Reason, res.Message)
	}

	s = comparison(6)
	rec = compared(t, s, []int64{1, 1, 1, 1, 1, 1}, make([]int64, 6))
	rec.Manifest.Modelled = true
	for id, c := range over(Evaluate(rec).Checks) {
		if cost := c.Kind == KindLatency; cost && (c.Verdict != Skipped || c.Reason != "ModelledCost") || !cost && c.Verdict != Pass {
			t.Errorf("on models %s is %s %s: %s", id, c.Verdict, c.Reason, c.Message)
		}
	}

	s.Spec.Meshes = s.Spec.Meshes[1:] // run --mesh istio
	doc, err := json.Marshal(s)
	must(t, err)
	rec.Manifest.Modelled, rec.Manifest.Scenario = false, doc
	checks := over(Evaluate(rec).Checks)
	for id, c := range checks {
		if c.Verdict != Skipped || c.Reason != "NoBaseline" {
			t.Errorf("without the baseline %s is %s %s: %s", id, c.Verdict, c.Reason, c.Message)
		}
	}
	if len(checks) != 4 {
		t.Errorf("%d checks", len(checks))
	}
}

func TestAPairOfWhichOneTrialIsSpoiltProvesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*evidence.Record)
		says  string
		want  Verdict
	}{
		"a generator that fell short": {func(rec *evidence.Record) {
			for _, p := range rec.Phases {
				if p.Trial == (evidence.Trial{Block: 4, Mesh: "none"}) && p.Phase == "calm" {
					p.Achieved -= 10
				}
			}
		}, "trial 4/none can't be compared: load visitors/calm is INVALID", Invalid},
		"a fault without an effect": {func(rec *evidence.Record) {
			for _, f := range rec.Faults {
				if f.Trial == (evidence.Trial{Block: 2, Mesh: "istio"}) && f.Name == "cart-dies" && f.Probe != nil {
					f.Probe.OK, f.Probe.UID = true, "uid-2/istio-3"
				}
			}
		}, "trial 2/istio can't be compared: fault cart-dies is INVALID", Invalid},
		"a fault that could not be tried": {func(rec *evidence.Record) {
			for _, f := range rec.Faults {
				if f.Trial == (evidence.Trial{Block: 2, Mesh: "istio"}) && f.Name == "cart-dies" {
					f.Action, f.Message = evidence.FaultSkipped, "no kernel module"
				}
			}
		}, "fault cart-dies was skipped in trial 2/istio: no kernel module", Skipped},
		"a mesh that could not run": {func(rec *evidence.Record) {
			for _, e := range rec.Events {
				if e.Trial == (evidence.Trial{Block: 6, Mesh: "none"}) && e.Kind == evidence.EventTrialEnd {
					e.Kind, e.Message = evidence.EventSkipped, "no images"
				}
			}
		}, "trial 6/none was skipped: no images", Skipped},
		"a cluster in ambient mode": {func(rec *evidence.Record) {
			turnAmbient(rec, evidence.Trial{Block: 6, Mesh: "none"})
		}, "trial 6/none can't be compared: cluster east is in Istio's ambient mode", Invalid},
		"a mesh that was left out of a block": {func(rec *evidence.Record) {
			rec.Manifest.Order[2] = []string{"istio"}
		}, "trial 3/none is not among those of the run", Invalid},
		"blocks that did not run": {func(rec *evidence.Record) {
			rec.Manifest.Order = rec.Manifest.Order[:5]
		}, "trial 6/istio is not among those of the run", Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			rec := compared(t, comparison(6), []int64{1, 1, 1, 1, 1, 1}, make([]int64, 6))
			c.spoil(rec)
			k := over(Evaluate(rec).Checks)["errors/visitors/calm/over-none"]
			if k.Verdict != c.want || !strings.Contains(k.Message, c.says) {
				t.Errorf("%s %s: %s\nwant %s: … %s", k.Verdict, k.Reason, k.Message, c.want, c.says)
			}
		})
	}
}

func TestABaselineThatFailsItselfIsNone(t *testing.T) {
	tr := &scenarios.Traffic{Name: "visitors"}
	r := errorsOver(tr, stagePhase{name: "calm"}, "none", 0.05)
	for _, c := range []struct {
		mesh   string
		errors int64
		ok     bool
	}{{"none", 20, true}, {"none", 21, false}, {"istio", 40, true}} {
		lacks := &tally{}
		_, ok := r.figure(&trial{id: evidence.Trial{Block: 1, Mesh: c.mesh}}, lacks, &evidence.Phase{Done: 40, Errors: c.errors})
		if ok != c.ok || (len(lacks.lack) == 0) != c.ok {
			t.Errorf("%d of 40 requests failed on %s: %v, %+v", c.errors, c.mesh, ok, lacks.lack)
		}
	}
}

func TestAFaultAfterAPhaseDoesNotSpoilIt(t *testing.T) {
	rec := compared(t, comparison(6), []int64{1, 1, 1, 1, 1, 1}, make([]int64, 6))
	for _, f := range rec.Faults {
		if f.Name == "cut" && f.Action == evidence.FaultInjected {
			f.Action = evidence.FaultFailed
		}
	}
	checks := over(Evaluate(rec).Checks)
	if c := checks["errors/visitors/calm/over-none"]; c.Verdict != Pass {
		t.Errorf("%s: %s", c.Verdict, c.Message)
	}
	if c := checks["errors/visitors/rough/over-none"]; c.Verdict != Invalid {
		t.Errorf("%s: %s", c.Verdict, c.Message)
	}
}

func TestABudgetOverABaselineNeverPassesWithoutAnyPieceOfItsEvidence(t *testing.T) {
	s := comparison(6)
	s.Spec.Expect.Latency[0].Phase, s.Spec.Expect.Errors[0].Phase = "calm", "calm"
	rec := compared(t, s, []int64{1, 1, 1, 1, 1, 1}, make([]int64, 6))
	var ids []evidence.Trial
	for b := range 6 {
		ids = append(ids, evidence.Trial{Block: b + 1, Mesh: "none"}, evidence.Trial{Block: b + 1, Mesh: "istio"})
	}
	judge := func(rec *evidence.Record) []Check { return relativeChecks(rec, s, index(rec, s, ids), false) }
	users := map[evidence.Ref][]string{}
	for _, c := range judge(rec) {
		if c.Verdict != Pass {
			t.Fatalf("%s is %s: %s", c.ID, c.Verdict, c.Message)
		}
		for _, r := range c.Used {
			users[r] = append(users[r], c.ID)
		}
	}
	trials := map[evidence.Trial]bool{}
	for _, p := range rec.Phases {
		trials[p.Trial] = trials[p.Trial] || len(users[p.Ref()]) == 2
	}
	for _, id := range ids {
		if !trials[id] {
			t.Errorf("the phase of trial %s is not named as evidence of both", id)
		}
	}
	tried := 0
	for ref, who := range users {
		if hurried() && ref.Line%20 != 0 {
			continue
		}
		tried++
		for _, c := range judge(without(rec, ref)) {
			for _, id := range who {
				if c.ID == id && c.Verdict == Pass {
					t.Errorf("without %v, %s is still PASS", ref, id)
				}
			}
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d of %d pieces of evidence tried", tried, len(users))
}
