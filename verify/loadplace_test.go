package verify

import (
	"testing"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// answerAs makes all good answers of a phase have another code, which is no error either.
func answerAs(rec *evidence.Record, phase, code string) {
	turn := func(codes map[string]int) {
		codes[code] = codes["200"]
		delete(codes, "200")
	}
	for _, p := range rec.Phases {
		if p.Phase == phase {
			turn(p.Codes)
		}
	}
	for _, k := range rec.Ticks {
		if k.Phase == phase {
			turn(k.Codes)
		}
	}
}

func TestALoadRecordThatDeceivesIsNotBelieved(t *testing.T) {
	const load = "load/visitors/calm"
	spoil(t, scenarios.MeshIstio, []mutation{
		{"redirections that no workload gave", func(_ *testing.T, rec *evidence.Record) {
			answerAs(rec, "calm", "302")
			answerAs(rec, "rough", "302")
			keep := rec.Requests[:0]
			for _, r := range rec.Requests {
				if r.Window != windowLoad {
					keep = append(keep, r)
				}
			}
			rec.Requests = keep
			renumber(rec)
		}, "errors/visitors/calm", Invalid, "NoRecord"},
		{"a code that is none", func(_ *testing.T, rec *evidence.Record) { answerAs(rec, "calm", "0") }, load, Invalid, "CountsDisagree"},
		{"a phase that its profile does not have", func(t *testing.T, rec *evidence.Record) {
			more := *rec.Phases[0]
			more.Phase = "hidden"
			more.Offered, more.Achieved, more.Done, more.Errors, more.Codes = 0, 0, 0, 0, map[string]int{}
			empty := encoded(t, 0, 0)
			more.Intended, more.Service, more.Lag, more.Outcomes = empty, empty, empty, nil
			rec.Phases = append(rec.Phases, &more)
			for _, e := range rec.Events {
				if e.Kind == evidence.EventProducerEnd && e.Stream == evidence.Phases && e.Trial == more.Trial {
					e.Count++
					more.N = e.Count
				}
			}
		}, load, Invalid, "WrongLoad"},
		{"errors that are another phase's by the slices of time", func(_ *testing.T, rec *evidence.Record) {
			fail(rec, 4, 2) // what failed in the second phase …
			a, b := rec.Phases[0], rec.Phases[1]
			if a.Errors == 0 {
				a, b = b, a
			}
			n := int(a.Errors)
			for _, m := range []struct {
				p *evidence.Phase
				n int
			}{{a, -n}, {b, n}} { // … is laid to the other
				m.p.Codes["503"] += m.n
				m.p.Codes["200"] -= m.n
				m.p.Errors += int64(m.n)
				sortOutcomes(m.p)
			}
		}, load, Invalid, "CountsDisagree"},
		{"slow requests that are another phase's by the slices of time", func(t *testing.T, rec *evidence.Record) {
			tookAll(t, rec, 0, 700_000, 699_000, 40)
			tookAll(t, rec, 1, 1000, 960, 40)
			const slow = 20
			for i, quick := range []int64{rec.Phases[0].Done - slow, rec.Phases[1].Done - slow} {
				h := evidence.NewHistogram()
				must(t, h.RecordValues(700_000, slow))
				must(t, h.RecordValues(1000, quick))
				var err error
				rec.Phases[i].Intended, err = evidence.EncodeHistogram(h)
				must(t, err)
				sortOutcomes(rec.Phases[i])
			}
		}, load, Invalid, "CountsDisagree"},
		{"a slice that names another phase", func(_ *testing.T, rec *evidence.Record) { rec.Ticks[0].Phase = "rough" }, load, Invalid, "CountsDisagree"},
		{"slices that lie elsewhere in time than the load", func(_ *testing.T, rec *evidence.Record) {
			for _, k := range rec.Ticks {
				k.Start = k.Start.Add(5 * time.Second)
			}
		}, load, Invalid, "WrongLoad"},
		{"a generator that watched itself for a part of the phase", func(_ *testing.T, rec *evidence.Record) { rec.Phases[0].Generators[0].Micros /= 3 }, load, Invalid, "CountsDisagree"},
		{"a generator whose longest pause is longer than all of them", func(_ *testing.T, rec *evidence.Record) {
			rec.Phases[0].Generators[0].LongestMicros = 7
		}, load, Invalid, "CountsDisagree"},
	})
}
