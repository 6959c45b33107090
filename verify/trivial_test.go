package verify

import (
	"testing"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

func TestMutualTLSEverywhereIsAlsoAboutServicesThatNobodyCalls(t *testing.T) {
	s := testScenario(scenarios.MeshIstio)
	s.Spec.Policy = scenarios.Policy{Default: scenarios.DefaultAllow}
	s.Spec.Expect.Policy = nil
	s.Spec.Topology.Services[0].Calls = nil
	rec := goodRecord(t, s)
	expectPass(t, Evaluate(rec), "mtls/shop->cart")
	p := firstProbe(t, rec, "before/fresh", func(p *evidence.Probe) bool { return p.From.Service == "outsider" && p.To == "cart" })
	p.Status, p.Error = 200, ""
	expectCheck(t, Evaluate(rec), "mtls/shop->cart", Fail, "PlaintextAccepted")
}

func TestABudgetForAPhaseThatSendsNothingWasNeverTried(t *testing.T) {
	s := testScenario(scenarios.MeshIstio)
	s.Spec.Traffic[0].Profile.Stages = append(s.Spec.Traffic[0].Profile.Stages,
		scenarios.Stage{Name: "faint", Rate: 0.1, For: scenarios.Duration(time.Second)})
	s.Spec.Expect.Latency = append(s.Spec.Expect.Latency, scenarios.ExpectLatency{Traffic: "visitors", Phase: "faint", P99: scenarios.Duration(time.Second)})
	s.Spec.Expect.Errors = append(s.Spec.Expect.Errors, scenarios.ExpectErrors{Traffic: "visitors", Phase: "faint", Rate: new(0.1)})
	res := Evaluate(goodRecord(t, s))
	expectCheck(t, res, "latency/visitors/faint", Invalid, "NothingSent")
	expectCheck(t, res, "errors/visitors/faint", Invalid, "NothingSent")
	expectPass(t, res, "latency/visitors/calm/p99")
}

func TestLatencyOfPhasesWithErrorsThatNobodyAllowedProvesNothing(t *testing.T) {
	s := testScenario(scenarios.MeshIstio)
	s.Spec.Expect.Errors = nil
	rec := goodRecord(t, s) // the kill costs one of 40 requests in the first phase
	expectCheck(t, Evaluate(rec), "latency/visitors/calm/p99", Invalid, "MostlyErrors")
}

func TestADelayThatWasNotThereAllTheTimeIsNone(t *testing.T) {
	rec := goodRecord(t, testScenario(scenarios.MeshIstio))
	for _, f := range rec.Faults {
		if f.Name == "slow" && f.Probe != nil && f.Probe.Stage == "during" && f.Probe.Connection == connFresh {
			f.Probe.Micros = 2_000
			break
		}
	}
	expectCheck(t, Evaluate(rec), "fault/slow", Invalid, "NoEffect")
}

func TestRecoveryBeginsWithARequestThatWasAnswered(t *testing.T) {
	rec := goodRecord(t, testScenario(scenarios.MeshIstio))
	tick := func(at, done int64) *evidence.Tick {
		return &evidence.Tick{AtMicros: at, Micros: 250_000, Done: done, Phase: "calm"}
	}
	x := index(rec, testScenario(scenarios.MeshIstio), []evidence.Trial{{Block: 1, Mesh: "istio"}})[evidence.Trial{Block: 1, Mesh: "istio"}]
	ticks := []*evidence.Tick{tick(0, 0), tick(250_000, 0), tick(500_000, 3), tick(750_000, 0), tick(1_000_000, 1)}
	at, ok := x.cleanFrom(&tally{}, &x.s.Spec.Traffic[0], ticks, 0, 1<<60, 0, "")
	if !ok || at != 500_000 {
		t.Errorf("recovered at %d µs (%v), want 500000: before that nobody asked", at, ok)
	}
}

func TestAPodThatNoForbiddenRequestMetIsNotProved(t *testing.T) {
	rec := goodRecord(t, testScenario(scenarios.MeshIstio))
	// Whatever one pod turned away, the other did.
	shift := func(series string) {
		end := map[string]*evidence.Scrape{}
		for _, s := range rec.Scrapes {
			if s.At.Service == "cart" && s.Window == "before/fresh" && s.Edge == "end" {
				end[s.At.Cluster] = s
			}
		}
		n := countIn(t, end["east"].Body, series)
		raiseAt(t, rec, end["east"], series, -n)
		raiseAt(t, rec, end["west"], series, n)
	}
	shift(envoyNoChain + `{listener_address="0.0.0.0_15006"}`)
	expectCheck(t, Evaluate(rec), "mtls/shop->cart", Invalid, "NotCovered")
}

func TestThePlanMeetsEveryPodOfAService(t *testing.T) {
	s := testScenario(scenarios.MeshIstio)
	s.Spec.Topology.Services[1].Replicas = 20
	for _, r := range NewPlan(s, StageBefore).Rounds {
		n := map[bool]int{}
		for _, a := range r.Asks {
			if a.To == "cart" && !a.Allowed {
				n[a.From == scenarios.OutsiderName] += a.Times
			}
		}
		for outside, n := range n {
			if n < cover*40 {
				t.Errorf("%s: 40 pods are asked %d times what is forbidden (from outside: %v), want %d", r.Name, n, outside, cover*40)
			}
		}
	}
}

func TestModelsMakeAResultModelled(t *testing.T) {
	rec := goodRecord(t, testScenario(scenarios.MeshIstio))
	rec.Manifest.Modelled, rec.Manifest.Models = false, []string{"the data planes"}
	if !Evaluate(rec).Modelled {
		t.Error("a record that lists models is said to be of real proxies")
	}
}

func TestABlockThatIsACopyOfAnotherProvesNothing(t *testing.T) {
	s := testScenario(scenarios.MeshIstio)
	rec := goodRecord(t, s)
	copied := *rec.Pods[0]
	copied.Trial.Block = 2
	rec.Pods = append(rec.Pods, &copied)
	expectCheck(t, Evaluate(rec), "run/whole", Invalid, "ForeignEvidence")
}

func expectPass(t *testing.T, res *Result, id string) {
	t.Helper()
	for _, c := range res.Checks {
		if c.ID == id {
			if c.Verdict != Pass {
				t.Fatalf("%s is %s (%s), want PASS", id, c.Verdict, c.Message)
			}
			return
		}
	}
	t.Fatalf("there is no check %s", id)
}
