package verify

import (
	"testing"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

const chaosMesh = "chaos-mesh 2.9"

// chaosRecord is the record of a trial whose fault "cut" is another one, by Chaos Mesh.
func chaosRecord(t *testing.T, kind scenarios.Fault, probe func(*evidence.FaultSample)) *evidence.Record {
	t.Helper()
	s := testScenario(scenarios.MeshIstio)
	f := &s.Spec.Faults[2]
	kind.Name, kind.At, kind.For, kind.By = f.Name, f.At, f.For, scenarios.ByChaosMesh
	*f = kind
	rec := goodRecord(t, s)
	for _, r := range rec.Faults {
		if r.Name != f.Name {
			continue
		}
		r.By = chaosMesh
		if r.Probe != nil {
			probe(r.Probe)
		}
	}
	return rec
}

// stepOf finds the one record of a step of the fault "cut".
func stepOf(t *testing.T, rec *evidence.Record, action string) *evidence.Fault {
	t.Helper()
	for _, r := range rec.Faults {
		if r.Name == "cut" && r.Action == action {
			return r
		}
	}
	t.Fatalf("there is no step %q", action)
	return nil
}

func podOf(t *testing.T, rec *evidence.Record, service string) evidence.PodRef {
	t.Helper()
	for _, p := range rec.Pods {
		if p.At.Service == service {
			return p.At
		}
	}
	t.Fatalf("there is no pod of %s", service)
	return evidence.PodRef{}
}

func TestAFaultInPodsIsProvedByWhatWasReadFromEachOfThem(t *testing.T) {
	clocks := scenarios.Fault{
		Kind: scenarios.ClockSkew, Ahead: scenarios.Duration(10 * time.Second), Target: &scenarios.FaultTarget{Service: "shop", Cluster: "east"},
	}
	const ahead = 10_000_000
	for name, c := range map[string]struct {
		values map[string]int64 // by stage
		change func(*evidence.Record)
		want   Verdict
		reason string
	}{
		"as it should be": {map[string]int64{"during": ahead}, nil, Pass, ""},
		"no effect":       {map[string]int64{}, nil, Invalid, "NoEffect"},
		"half of it":      {map[string]int64{"during": ahead / 2}, nil, Invalid, "NoEffect"},
		"it was so before": {map[string]int64{"before": 3 * ahead, "during": 4 * ahead, "after": 3 * ahead}, func(rec *evidence.Record) {
			for _, r := range rec.Faults {
				if r.Probe != nil && r.Name == "cut" && r.Probe.Stage == "before" {
					r.Probe.Value = 4 * ahead // one of them, beside a median of less
					break
				}
			}
		}, Invalid, "NotWellBefore"},
		"it stays":                {map[string]int64{"during": ahead, "after": ahead}, nil, Invalid, "NotCleared"},
		"nobody can say":          {map[string]int64{"during": ahead}, func(rec *evidence.Record) { unread(rec, "during") }, Invalid, "NoEffect"},
		"nobody could say before": {map[string]int64{"during": ahead}, func(rec *evidence.Record) { unread(rec, "before") }, Invalid, "NotWellBefore"},
		"another pod was read": {map[string]int64{"during": ahead}, func(rec *evidence.Record) {
			for _, r := range rec.Faults {
				if r.Probe != nil && r.Name == "cut" {
					r.Probe.UID = "somebody"
				}
			}
		}, Invalid, "NoEffectProbe"},
	} {
		t.Run(name, func(t *testing.T) {
			rec := chaosRecord(t, clocks, func(s *evidence.FaultSample) {
				s.Connection, s.OK, s.Error, s.Value = "", true, "", c.values[s.Stage]
			})
			for _, r := range rec.Faults {
				if r.Probe != nil && r.Name == "cut" {
					r.Probe.UID = podOf(t, rec, "shop").UID
				}
			}
			if c.change != nil {
				c.change(rec)
			}
			res := Evaluate(rec)
			expectFault(t, res, c.want, c.reason)
			for _, f := range res.Faults {
				if f.Name == "cut" && f.By != chaosMesh {
					t.Errorf("it is by %q", f.By)
				}
			}
		})
	}
}

func TestAFaultOfTheMeshIsProvedByTheShareOfACallersRequests(t *testing.T) {
	aborts := scenarios.Fault{Kind: scenarios.MeshAbort, Status: 503, Share: 1, Target: &scenarios.FaultTarget{Service: "cart", Cluster: "east"}}
	for name, c := range map[string]struct {
		during, after int64
		want          Verdict
		reason        string
	}{
		"as it should be": {503, 200, Pass, ""},
		"other errors":    {500, 200, Invalid, "NoEffect"},
		"no effect":       {200, 200, Invalid, "NoEffect"},
		"it stays":        {503, 503, Invalid, "NotCleared"},
	} {
		t.Run(name, func(t *testing.T) {
			f := aborts
			f.Share = 1
			rec := chaosRecord(t, f, func(s *evidence.FaultSample) {
				s.Connection, s.OK, s.Error = "", true, ""
				s.Value = map[string]int64{"before": 200, "during": c.during, "after": c.after}[s.Stage]
			})
			var last, after *evidence.Fault
			for _, r := range rec.Faults {
				if r.Name == "cut" {
					r.By = "istio"
					if r.Probe != nil {
						r.Probe.UID = podOf(t, rec, "shop").UID
						switch r.Probe.Stage {
						case "during":
							last = r
						case "after":
							after = r
						}
					}
				}
			}
			last.Probe.Stage, last.Probe.Value, last.T = "after", c.after, after.T // two are not enough
			expectFault(t, Evaluate(rec), c.want, c.reason)
		})
	}
}

func unread(rec *evidence.Record, stage string) {
	for _, r := range rec.Faults {
		if r.Probe != nil && r.Name == "cut" && r.Probe.Stage == stage {
			r.Probe.OK, r.Probe.Error = false, "timeout"
		}
	}
}

func TestLostPacketsAreProvedByAsManyRoundTripsAsTheirShareMakesLikely(t *testing.T) {
	loss := scenarios.Fault{Kind: scenarios.NetworkLoss, Share: 0.5, Between: []string{"east", "west"}}
	for name, c := range map[string]struct {
		during evidence.FaultSample
		want   Verdict
		reason string
	}{
		"no answer":    {evidence.FaultSample{Error: "timeout", Micros: 250_000}, Pass, ""},
		"late answers": {evidence.FaultSample{OK: true, Micros: 203_000}, Pass, ""},
		"nothing lost": {evidence.FaultSample{OK: true, Micros: 2_100}, Invalid, "NoEffect"},
	} {
		t.Run(name, func(t *testing.T) {
			rec := chaosRecord(t, loss, func(s *evidence.FaultSample) {
				if s.Stage == "during" {
					s.OK, s.Error, s.Micros = c.during.OK, c.during.Error, c.during.Micros
				}
			})
			expectFault(t, Evaluate(rec), c.want, c.reason)
		})
	}
	for _, c := range []struct {
		n     int
		share float64
		want  int
	}{{100, 0.75, 47}, {100, 0.19, 3}, {20, 1, 16}, {5, 1, 4}, {3, 0.1, 1}} {
		if got := expectedHits(c.n, c.share); got != c.want {
			t.Errorf("of %d at %g: at least %d, want %d", c.n, c.share, got, c.want)
		}
	}
}

func TestAToolHasTimeToInjectOnceItIsToldOnTime(t *testing.T) {
	cut := scenarios.Fault{Kind: scenarios.Partition, Between: []string{"east", "west"}}
	as := func(*evidence.FaultSample) {}
	for name, c := range map[string]struct {
		change func(rec *evidence.Record)
		want   Verdict
		reason string
	}{
		"at once": {func(*evidence.Record) {}, Pass, ""},
		"told late": {func(rec *evidence.Record) {
			stepOf(t, rec, evidence.FaultInject).T = stepOf(t, rec, evidence.FaultInject).T.Add(1200 * time.Millisecond)
		}, Invalid, "OffSchedule"},
		"it took too long": {func(rec *evidence.Record) {
			in := stepOf(t, rec, evidence.FaultInjected)
			in.T = in.T.Add(toolTime + time.Second)
		}, Invalid, "OffSchedule"},
		"a pod came up meanwhile": {func(rec *evidence.Record) {
			for _, e := range rec.Events {
				if e.Kind == evidence.EventPodReady {
					e.T = stepOf(t, rec, evidence.FaultInjected).T.Add(time.Millisecond)
				}
			}
		}, Invalid, "PodEscaped"},
	} {
		t.Run(name, func(t *testing.T) {
			rec := chaosRecord(t, cut, as)
			c.change(rec)
			expectFault(t, Evaluate(rec), c.want, c.reason)
		})
	}
}

// expectFault wants a verdict about the fault "cut".
func expectFault(t *testing.T, res *Result, want Verdict, reason string) {
	t.Helper()
	if want != Pass {
		expectCheck(t, res, "fault/cut", want, reason)
		return
	}
	for _, f := range res.Faults {
		if f.Name == "cut" && f.Verdict != Pass {
			t.Errorf("fault cut is %s: %s", f.Verdict, f.Effect)
		}
	}
	if res.Verdict != Pass {
		t.Errorf("the run is %s: %s", res.Verdict, res.Message)
	}
}
