package verify

import (
	"testing"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// aloneRecord is a good record of a load that was sent by itself, of whose requests so many failed.
func aloneRecord(t *testing.T, n, failed int64) (*scenarios.Traffic, []*evidence.Tick, []*evidence.Phase) {
	t.Helper()
	stage := scenarios.Stage{Name: "all", Rate: float64(n), For: scenarios.Duration(time.Second)}
	tr := &scenarios.Traffic{Name: "load", Profile: scenarios.Profile{Stages: []scenarios.Stage{stage}}}
	codes := map[string]int{"200": int(n - failed), "503": int(failed)}
	k := &evidence.Tick{Traffic: "load", Phase: "all", Micros: 1_000_000, Offered: n, Sent: n, Done: n, Errors: failed, Codes: codes}
	h := evidence.NewHistogram()
	for range n {
		evidence.RecordMicros(h, 1000)
	}
	must(t, evidence.SetLatency(k, h, 1000))
	p := &evidence.Phase{
		Traffic: "load", Phase: "all", ForMicros: 1_000_000, Offered: n, Achieved: n, Done: n, Errors: failed, Codes: codes,
		Intended: encoded(t, n, 1000), Service: encoded(t, n, 960), Lag: encoded(t, n, 40), LagMicros: 40,
		Generators: []evidence.Generator{{Done: n, Micros: 1_000_000, CPUMicros: 1000, CPUs: 2, MaxInFlight: 10, InFlight: 3}},
	}
	if n == 0 {
		p.LagMicros = 0
	}
	sortOutcomes(p)
	return tr, []*evidence.Tick{k}, []*evidence.Phase{p}
}

func TestWhatALoadByItselfProves(t *testing.T) {
	latency := []Budget{{Figure: "p99", Limit: time.Second}}
	both := append([]Budget{{Figure: "errors", Share: 0.6}}, latency...)
	for name, c := range map[string]struct {
		n, failed int64
		budgets   []Budget
		want      Verdict
		reason    string
	}{
		"all is well":             {100, 0, latency, Pass, "AllProved"},
		"one in a hundred failed": {100, 1, latency, Pass, "AllProved"},
		"latency of failures of which nobody says a word": {100, 40, latency, Invalid, "MostlyErrors"},
		"latency where failures are allowed":              {100, 40, both, Pass, "AllProved"},
		"latency where most are failures":                 {100, 55, both, Invalid, "MostlyErrors"},
		"no failure of no request":                        {0, 0, []Budget{{Figure: "errors", Share: 0.01}}, Invalid, "NoLoad"},
		"no latency of no request":                        {0, 0, latency, Invalid, "NoLoad"},
	} {
		tr, ticks, phases := aloneRecord(t, c.n, c.failed)
		if a := JudgeAlone(tr, 1, ticks, phases, nil, c.budgets); a.Verdict != c.want || a.Reason != c.reason {
			t.Errorf("%s: %s %s: %s; want %s %s", name, a.Verdict, a.Reason, a.Message, c.want, c.reason)
		}
	}
}

func TestRequestsInAPhaseThatAsksForNoneAreAnotherLoad(t *testing.T) {
	tr, ticks, phases := aloneRecord(t, 100, 0)
	_, more, faint := aloneRecord(t, 20, 20)
	tr.Profile.Stages = append(tr.Profile.Stages, scenarios.Stage{Name: "faint", Rate: 0.1, For: scenarios.Duration(time.Second)})
	more[0].Index, more[0].AtMicros, more[0].Phase = 1, 1_000_000, "faint"
	faint[0].AtMicros, faint[0].Phase = 1_000_000, "faint"
	budget := []Budget{{Figure: "p50", Limit: time.Second}}
	if a := JudgeAlone(tr, 1, append(ticks, more...), append(phases, faint...), nil, budget); a.Verdict != Invalid || a.Reason != "WrongLoad" {
		t.Errorf("%s %s: %s", a.Verdict, a.Reason, a.Message)
	}
	_, none, empty := aloneRecord(t, 0, 0)
	none[0].Index, none[0].AtMicros, none[0].Phase = 1, 1_000_000, "faint"
	empty[0].AtMicros, empty[0].Phase = 1_000_000, "faint"
	if a := JudgeAlone(tr, 1, append(ticks, none...), append(phases, empty...), nil, budget); a.Verdict != Pass {
		t.Errorf("%s %s: %s", a.Verdict, a.Reason, a.Message)
	}
}

func TestLatencyBeyondTheScaleIsNotBelievedWithoutABudgetEither(t *testing.T) {
	p := &evidence.Phase{Done: 100, Intended: encoded(t, 100, evidence.HistogramMaxMicros), Service: encoded(t, 100, evidence.HistogramMaxMicros), Lag: encoded(t, 100, 10)}
	got := figures(p, &tally{}, false)
	if len(got.lack) != 1 || got.lack[0].reason != "OffScale" {
		t.Errorf("%+v", got.lack)
	}
}
