package verify

import (
	"strings"
	"testing"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// What is just at a limit: small latencies are recorded exactly.

func TestOfALoadByItselfLessThanALimitIsExpected(t *testing.T) {
	for name, c := range map[string]struct {
		failed  int64
		budgets []Budget
		want    Verdict
	}{
		"as slow as the limit":     {0, []Budget{{Figure: "p99", Limit: time.Millisecond}}, Fail},
		"a microsecond faster":     {0, []Budget{{Figure: "p99", Limit: 1001 * time.Microsecond}}, Pass},
		"as many errors":           {1, []Budget{{Figure: "errors", Share: 0.01}}, Fail},
		"fewer errors":             {1, []Budget{{Figure: "errors", Share: 0.011}}, Pass},
		"half of all are failures": {50, []Budget{{Figure: "errors", Share: 0.6}, {Figure: "p99", Limit: time.Second}}, Pass},
	} {
		tr, ticks, phases := aloneRecord(t, 100, c.failed)
		phases[0].Service = phases[0].Intended
		sortOutcomes(phases[0])
		if a := JudgeAlone(tr, 1, ticks, phases, nil, c.budgets); a.Verdict != c.want {
			t.Errorf("%s: %s %s: %s; want %s", name, a.Verdict, a.Reason, a.Message, c.want)
		}
	}
}

func TestABudgetOfARunIsTheMostThatMayBe(t *testing.T) {
	const latency, errors = "latency/visitors/calm/p99", "errors/visitors/calm"
	of := func(limit time.Duration, failed int) *Result {
		s := testScenario(scenarios.MeshIstio)
		s.Spec.Expect.Latency[0].P99 = scenarios.Duration(limit)
		rec := goodRecord(t, s)
		for i := 0; int64(failed) > rec.Phases[0].Errors; i++ { // the kill costs one of 40
			fail(rec, i, min(rec.Ticks[i].Codes["200"], failed-int(rec.Phases[0].Errors)))
		}
		tookAll(t, rec, 0, 1200, 1200, 0)
		return Evaluate(rec)
	}
	expectPass(t, of(1200*time.Microsecond, 0), latency)
	expectCheck(t, of(1199*time.Microsecond, 0), latency, Fail, "TooSlow")
	expectPass(t, of(time.Second, 2), errors) // 5% of 40
	expectCheck(t, of(time.Second, 3), errors, Fail, "TooManyErrors")
	expectPass(t, of(time.Second, 20), latency) // half of all are failures
	expectCheck(t, of(time.Second, 21), latency, Invalid, "MostlyErrors")
}

func TestTheTightestBudgetHoldsWhateverElseIsExpected(t *testing.T) {
	ms := func(n int) scenarios.Duration { return scenarios.Duration(time.Duration(n) * time.Millisecond) }
	s := testScenario(scenarios.MeshIstio)
	s.Spec.Expect.Latency = []scenarios.ExpectLatency{
		{Traffic: "visitors", P99: ms(30)},
		{Traffic: "visitors", Phase: "calm", P99: ms(20)},
		{Traffic: "visitors", P50: ms(5)},
		{Traffic: "visitors", Phase: "spike", P99: ms(1)},
		{Traffic: "others", P99: ms(2)},
	}
	if got := latencyBudget(s, "visitors", "calm", "p99"); got != 20*time.Millisecond {
		t.Errorf("p99: %s", got)
	}
	s.Spec.Expect.Errors = []scenarios.ExpectErrors{
		{Traffic: "visitors", Rate: new(0.3)},
		{Traffic: "visitors", Phase: "calm", Rate: new(0.2)},
		{Traffic: "visitors"},
		{Traffic: "visitors", Phase: "spike", Rate: new(0.1)},
		{Traffic: "others", Rate: new(0.0)},
	}
	if got, set := errorBudget(s, "visitors", "calm"); got != 0.2 || !set {
		t.Errorf("errors: %v %v", got, set)
	}
}

func TestDoubtBeginsBeyondItsBounds(t *testing.T) {
	phase := func(v, sent, lag int64, g evidence.Generator) *evidence.Phase {
		g.Done, g.Micros, g.CPUs = 100, 1e6, 2
		return &evidence.Phase{
			Done: 100, Intended: encoded(t, 100, v), Service: encoded(t, 100, sent), Lag: encoded(t, 100, lag),
			Generators: []evidence.Generator{g},
		}
	}
	quiet := evidence.Generator{}
	pauses := evidence.Generator{PauseMicros: 10_001, LongestMicros: 1001}
	for _, c := range []struct {
		name         string
		phase        *evidence.Phase
		limit        int64  // µs, for blame
		doubt, blame string // "": none
	}{
		{"as much lag as is bearable", phase(2000, 1000, 1001, quiet), 900, "", ""},
		{"more than that between the quantiles, and not of the lag", phase(2000, 999, 1000, quiet), 900, "", ""},
		{"more lag than that", phase(2000, 999, 1001, quiet), 998, "sent late", ""},
		{"sent in time for the limit", phase(2000, 999, 1001, quiet), 999, "sent late", "sent late"},
		{"a large latency bears a tenth of it", phase(20_000, 18_500, 1500, quiet), 10_000, "", ""},
		{"as busy as may be", phase(2000, 2000, 0, evidence.Generator{CPUMicros: 1_900_000}), 1900, "", ""},
		{"busier", phase(2000, 2000, 0, evidence.Generator{CPUMicros: 1_900_200}), 1900, "its processors", "its processors"},
		{"pauses longer than is bearable", phase(2000, 2000, 0, pauses), 998, "garbage", ""},
		{"pauses that make the difference", phase(2000, 2000, 0, pauses), 999, "garbage", "garbage"},
		{"a pause as long as is bearable", phase(2000, 2000, 0, evidence.Generator{PauseMicros: 10_001, LongestMicros: 1000}), 900, "", ""},
		{"pauses on one in a hundred", phase(2000, 2000, 0, evidence.Generator{PauseMicros: 10_000, LongestMicros: 5000}), 1999, "", ""},
	} {
		got := map[string]string{"doubt": doubt(c.phase, "p99"), "blame": blame(c.phase, "p99", c.limit)}
		for kind, want := range map[string]string{"doubt": c.doubt, "blame": c.blame} {
			if want == "" && got[kind] != "" || !strings.Contains(got[kind], want) {
				t.Errorf("%s: %s: %q, want %q", c.name, kind, got[kind], want)
			}
		}
	}
}

func TestAGeneratorThatKnowsNoLimitWasNotAtIt(t *testing.T) {
	p := &evidence.Phase{Generators: []evidence.Generator{{}}}
	if got := because(p); got != "" {
		t.Errorf("%q", got)
	}
	if got := busiest(p); got != 0 {
		t.Errorf("%v of no processor", got)
	}
}

func TestTheFirstAndTheLastSliceOfAPhaseAreInIt(t *testing.T) {
	p := &evidence.Phase{AtMicros: 1_000_000, ForMicros: 500_000, Done: 20}
	all := evidence.NewHistogram()
	for _, c := range []struct {
		at     int64
		inside bool
	}{{750_000, false}, {1_000_000, true}, {1_250_000, true}, {1_250_001, false}, {1_500_000, false}} {
		for _, errors := range []int64{2, 3} { // two may lie on the boundaries
			sums := newPhaseSums([]*evidence.Phase{p})
			sums.add(&evidence.Tick{AtMicros: c.at, Micros: 250_000, Done: 10, Errors: errors}, all)
			if got := sums.exceed(p, all); (got != "") != (c.inside && errors > 2) {
				t.Errorf("%d errors from %d µs on: %q", errors, c.at, got)
			}
		}
	}
}

func TestABudgetIsUntriedWhereItsPhaseSentNothingOrNoneDid(t *testing.T) {
	faint := func(name string) scenarios.Stage {
		return scenarios.Stage{Name: name, Rate: 0.1, For: scenarios.Duration(time.Second)}
	}
	for name, c := range map[string]struct {
		stages         []scenarios.Stage
		traffic, phase string // that the budget names
		want           int
	}{
		"its phase":                          {[]scenarios.Stage{faint("a"), {Name: "b", Rate: 5, For: scenarios.Duration(time.Second)}}, "load", "a", 1},
		"another phase":                      {[]scenarios.Stage{faint("a"), {Name: "b", Rate: 5, For: scenarios.Duration(time.Second)}}, "load", "b", 0},
		"every phase, of which one did":      {[]scenarios.Stage{faint("a"), {Name: "b", Rate: 5, For: scenarios.Duration(time.Second)}}, "load", "", 0},
		"every phase, of which one is users": {[]scenarios.Stage{faint("a"), {Name: "b", Users: 2, For: scenarios.Duration(time.Second)}}, "load", "", 0},
		"every phase, of which none did":     {[]scenarios.Stage{faint("a"), faint("b")}, "load", "", 1},
		"another traffic":                    {[]scenarios.Stage{faint("a"), faint("b")}, "other", "a", 0},
	} {
		tr := &scenarios.Traffic{Name: "load", Profile: scenarios.Profile{Stages: c.stages}}
		x := &trial{s: &scenarios.Scenario{}}
		x.s.Spec.Expect.Latency = []scenarios.ExpectLatency{{Traffic: c.traffic, Phase: c.phase}}
		x.s.Spec.Expect.Errors = []scenarios.ExpectErrors{{Traffic: c.traffic, Phase: c.phase}}
		got := x.vanished(tr, stagesOf(tr, 1)[0])
		if len(got) != 2*c.want {
			t.Errorf("%s: %+v", name, got)
		}
		for _, one := range got {
			if one.Verdict != Invalid || one.Subject != "load/a" {
				t.Errorf("%s: %+v", name, one)
			}
		}
	}
}

func TestALoadByItselfHasACheckOfItsLoadItsFiguresAndEachBudget(t *testing.T) {
	budgets := []Budget{{Figure: "p99", Limit: time.Second}, {Figure: "errors", Share: 0.1}}
	busy := func(p *evidence.Phase) { p.Generators[0].CPUMicros = 2_000_000 }
	for name, c := range map[string]struct {
		change  func(*evidence.Phase)
		budgets []Budget
		want    string
	}{
		"good": {func(*evidence.Phase) {}, budgets, "PASS: load/load/all PASS, figures/load/all PASS, latency/load/p99 PASS, errors/load PASS"},
		"a busy generator, and budgets that were kept with it": {busy, budgets, "PASS: load/load/all PASS, figures/load/all INVALID, latency/load/p99 PASS, errors/load PASS"},
		"a busy generator, and nothing but figures":            {busy, nil, "INVALID: load/load/all PASS, figures/load/all INVALID"},
		"a figure that is too slow, and a busy generator": {
			busy, []Budget{{Figure: "p99", Limit: 900 * time.Microsecond}}, "INVALID: load/load/all PASS, figures/load/all INVALID, latency/load/p99 INVALID",
		},
	} {
		tr, ticks, phases := aloneRecord(t, 100, 0)
		c.change(phases[0])
		a := JudgeAlone(tr, 1, ticks, phases, nil, c.budgets)
		var parts []string
		for _, k := range a.Checks {
			parts = append(parts, k.ID+" "+string(k.Verdict))
		}
		if got := string(a.Verdict) + ": " + strings.Join(parts, ", "); got != c.want {
			t.Errorf("%s: %s\nwant %s", name, got, c.want)
		}
	}
	tr, ticks, _ := aloneRecord(t, 100, 0)
	if a := JudgeAlone(tr, 1, ticks, nil, nil, budgets); a.Verdict != Invalid {
		t.Errorf("without any phase: %s: %s", a.Verdict, a.Message)
	}
}
