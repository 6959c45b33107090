package verify

import (
	"strings"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// encoded writes a histogram of n equal values.
func encoded(t *testing.T, n, value int64) string {
	t.Helper()
	h := evidence.NewHistogram()
	for range n {
		evidence.RecordMicros(h, value)
	}
	text, err := evidence.EncodeHistogram(h)
	must(t, err)
	return text
}

// tookAll makes all requests of a phase have these latencies and this send lag, in µs, and the record agree with it.
func tookAll(t *testing.T, rec *evidence.Record, phase int, intended, service, lag int64) {
	t.Helper()
	p := rec.Phases[phase]
	p.Intended, p.Service, p.Lag, p.LagMicros = encoded(t, p.Done, intended), encoded(t, p.Done, service), encoded(t, p.Done, lag), lag
	sortOutcomes(p)
	for _, k := range rec.Ticks {
		if k.Trial == p.Trial && k.Traffic == p.Traffic && k.Phase == p.Phase {
			h := evidence.NewHistogram()
			for range k.Done {
				evidence.RecordMicros(h, intended)
			}
			must(t, evidence.SetLatency(k, h, intended))
		}
	}
}

// sortOutcomes gives a phase the outcomes that its codes say: its slowest requests are those that failed.
func sortOutcomes(p *evidence.Phase) {
	of := func(text string) [2]string {
		all, err := evidence.DecodeHistogram(text)
		if err != nil {
			panic(err)
		}
		var parts [2]*hdrhistogram.Histogram
		parts[0], parts[1] = evidence.NewHistogram(), evidence.NewHistogram()
		left := p.Done - p.Errors
		for _, b := range all.Distribution() {
			for range b.Count {
				at := 0
				if left--; left < 0 {
					at = 1
				}
				evidence.RecordMicros(parts[at], b.From)
			}
		}
		var out [2]string
		for i := range parts {
			if out[i], err = evidence.EncodeHistogram(parts[i]); err != nil {
				panic(err)
			}
		}
		return out
	}
	intended, service := of(p.Intended), of(p.Service)
	p.Outcomes = map[string]evidence.Outcome{evidence.OutcomeOK: {Done: p.Done - p.Errors, Intended: intended[0], Service: service[0]}}
	if p.Errors > 0 {
		p.Outcomes["5xx"] = evidence.Outcome{Done: p.Errors, Intended: intended[1], Service: service[1]}
	}
}

func TestWhatALoadGeneratorMayHaveDoneItselfIsNotBelieved(t *testing.T) {
	const load, latency = "load/visitors/calm", "latency/visitors/calm/p99"
	busy := func(rec *evidence.Record) {
		g := &rec.Phases[0].Generators[0]
		g.CPUMicros = g.Micros * int64(g.CPUs)
	}
	slow := func(t *testing.T, rec *evidence.Record) { tookAll(t, rec, 0, 2_000_000, 1_999_960, 40) }
	spoil(t, scenarios.MeshIstio, []mutation{
		{"a budget that only lateness broke", func(t *testing.T, rec *evidence.Record) {
			tookAll(t, rec, 0, 2_000_000, 1000, 200_000)
		}, latency, Invalid, "GeneratorLag"},
		{"a budget that was broken by a generator without a free processor", func(t *testing.T, rec *evidence.Record) {
			slow(t, rec)
			busy(rec)
		}, latency, Invalid, "GeneratorLag"},
		{"a budget that was broken by no more than a garbage collection", func(t *testing.T, rec *evidence.Record) {
			slow(t, rec)
			g := &rec.Phases[0].Generators[0]
			g.Collections, g.PauseMicros, g.LongestMicros = 2, 1_990_000, 1_950_000
		}, latency, Invalid, "GeneratorLag"},
		{"a load of another shape", func(t *testing.T, rec *evidence.Record) {
			tookAll(t, rec, 0, 300_000, 1000, 299_000)
		}, load, Invalid, "LoadLate"},
		{"a slice whose quantiles are not those of its latencies", func(_ *testing.T, rec *evidence.Record) { rec.Ticks[0].P99Micros-- }, load, Invalid, "BadHistogram"},
		{"a slice whose largest latency is another", func(_ *testing.T, rec *evidence.Record) { rec.Ticks[0].MaxMicros *= 2 }, load, Invalid, "BadHistogram"},
		{"a slice without its latencies", func(_ *testing.T, rec *evidence.Record) { rec.Ticks[0].Latency = "" }, load, Invalid, "BadHistogram"},
		{"a slice with other latencies than the phase", func(t *testing.T, rec *evidence.Record) {
			k := rec.Ticks[0]
			h := evidence.NewHistogram()
			for range k.Done {
				evidence.RecordMicros(h, 7)
			}
			must(t, evidence.SetLatency(k, h, 7))
		}, load, Invalid, "CountsDisagree"},
		{"an outcome that is missing", func(_ *testing.T, rec *evidence.Record) { delete(rec.Phases[0].Outcomes, evidence.OutcomeOK) }, load, Invalid, "CountsDisagree"},
		{"outcomes with other latencies than the phase", func(t *testing.T, rec *evidence.Record) {
			o := rec.Phases[0].Outcomes[evidence.OutcomeOK]
			o.Service = encoded(t, o.Done, 9)
			rec.Phases[0].Outcomes[evidence.OutcomeOK] = o
		}, load, Invalid, "CountsDisagree"},
		{"an outcome that cannot be read", func(_ *testing.T, rec *evidence.Record) {
			rec.Phases[0].Outcomes[evidence.OutcomeOK] = evidence.Outcome{Done: rec.Phases[0].Done, Intended: "rubbish"}
		}, load, Invalid, "BadHistogram"},
		{"no record of the send lag", func(_ *testing.T, rec *evidence.Record) { rec.Phases[0].Lag = "" }, load, Invalid, "BadHistogram"},
		{"a largest send lag that is not among them", func(_ *testing.T, rec *evidence.Record) { rec.Phases[0].LagMicros = 0 }, load, Invalid, "CountsDisagree"},
		{"a generator that did not watch itself", func(_ *testing.T, rec *evidence.Record) { rec.Phases[0].Generators[0].Micros = 0 }, load, Invalid, "CountsDisagree"},
		{"no word of any generator", func(_ *testing.T, rec *evidence.Record) { rec.Phases[0].Generators = nil }, load, Invalid, "CountsDisagree"},
		{"a generator that is missing", func(_ *testing.T, rec *evidence.Record) { rec.Phases[0].Generators[0].Worker = 1 }, load, Invalid, "CountsDisagree"},
	})
}

func TestALateGeneratorDoesNotBreakABudgetThatWasKept(t *testing.T) {
	rec := goodRecord(t, testScenario(scenarios.MeshIstio))
	tookAll(t, rec, 0, 100_000, 1000, 99_000)
	expectPass(t, Evaluate(rec), "latency/visitors/calm/p99")
}

func TestDoubtAboutAFigureNamesWhatMayHaveMadeIt(t *testing.T) {
	phase := func(intended, service, lag int64, change func(*evidence.Generator)) *evidence.Phase {
		g := evidence.Generator{Done: 100, Micros: 1e6, CPUs: 2, MaxInFlight: 10, InFlight: 2}
		if change != nil {
			change(&g)
		}
		return &evidence.Phase{
			Done: 100, Intended: encoded(t, 100, intended), Service: encoded(t, 100, service), Lag: encoded(t, 100, lag),
			Generators: []evidence.Generator{g},
		}
	}
	for _, c := range []struct {
		name  string
		phase *evidence.Phase
		want  string // "" where there is none
	}{
		{"hardly any lag", phase(50_000, 49_900, 100, nil), ""},
		{"less than a millisecond of lag under a small latency", phase(1500, 600, 900, nil), ""},
		{"as much lag as latency", phase(50_000, 25_000, 25_000, nil), "requests were sent late"},
		{"no free place", phase(50_000, 25_000, 25_000, func(g *evidence.Generator) { g.InFlight = 10 }), "10 requests were under way, the most that may be"},
		{"no free processor", phase(50_000, 49_900, 100, func(g *evidence.Generator) { g.CPUMicros = 1_990_000 }), "99.5% of its processors"},
		{"a garbage collection", phase(50_000, 49_900, 100, func(g *evidence.Generator) { g.PauseMicros, g.LongestMicros = 20_000, 20_000 }), "garbage collections"},
		{"garbage collections too short to matter", phase(50_000, 49_900, 100, func(g *evidence.Generator) { g.PauseMicros, g.LongestMicros = 20_000, 500 }), ""},
		{"garbage collections too few to matter", phase(50_000, 49_900, 100, func(g *evidence.Generator) { g.PauseMicros, g.LongestMicros = 9000, 9000 }), ""},
	} {
		got := doubt(c.phase, "p99")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestWorkersShareTheProcessorsThatTheyAreOn(t *testing.T) {
	p := &evidence.Phase{
		Done: 100, Intended: encoded(t, 100, 50_000), Service: encoded(t, 100, 49_900), Lag: encoded(t, 100, 100),
		Generators: []evidence.Generator{
			{Worker: 0, Of: 2, Micros: 1e6, CPUs: 2, CPUMicros: 990_000},
			{Worker: 1, Of: 2, Micros: 1e6, CPUs: 2, CPUMicros: 990_000},
		},
	}
	if got := doubt(p, "p99"); !strings.Contains(got, "99% of its processors") {
		t.Errorf("two workers on two processors that used one each: %q", got)
	}
	p.Generators[1].CPUMicros = 10_000
	if got := doubt(p, "p99"); got != "" {
		t.Errorf("two workers on two processors that used one: %q", got)
	}
}

func TestOneLateRequestMakesNoOtherLoadAndOneInAHundredDoes(t *testing.T) {
	for _, c := range []struct {
		intime, late int64
		want         bool
	}{
		{59, 1, false},
		{58, 2, true},
		{198, 2, false},
		{197, 3, true},
		{0, 1, true}, // all of them
		{1, 1, false},
	} {
		h := evidence.NewHistogram()
		for range c.intime {
			evidence.RecordMicros(h, 50)
		}
		for range c.late {
			evidence.RecordMicros(h, 312_000)
		}
		text, err := evidence.EncodeHistogram(h)
		must(t, err)
		if got := late(&evidence.Phase{Lag: text}); (got != "") != c.want {
			t.Errorf("%d late of %d: %q", c.late, c.intime+c.late, got)
		}
	}
}
