package verify

import (
	"encoding/json"
	"testing"

	"github.com/meshproof/meshproof/scenarios"
)

func TestPoissonArrivalsAreThoseThatTheSeedDraws(t *testing.T) {
	s := testScenario(scenarios.MeshIstio)
	s.Spec.Traffic[0].Profile.Arrivals = scenarios.ArrivalsPoisson
	rec := goodRecord(t, s)
	expectPass(t, Evaluate(rec), "load/visitors/calm")
	expectPass(t, Evaluate(rec), "latency/visitors/rough/p99")
	rec.Manifest.Seed = 1
	res := Evaluate(rec)
	expectCheck(t, res, "load/visitors/calm", Invalid, "WrongLoad")
	expectCheck(t, res, "latency/visitors/rough/p99", Invalid, "WrongLoad")
}

// closedScenario has users in place of rates.
func closedScenario() *scenarios.Scenario {
	s := testScenario(scenarios.MeshIstio)
	for i := range s.Spec.Traffic[0].Profile.Stages {
		st := &s.Spec.Traffic[0].Profile.Stages[i]
		*st = scenarios.Stage{Name: st.Name, Users: 3, For: st.For}
	}
	s.Spec.Expect.Latency = nil
	return s
}

func TestAClosedLoopHasNoPlanAndNoLatencyFromIntendedTimes(t *testing.T) {
	rec := goodRecord(t, closedScenario())
	res := Evaluate(rec)
	expectPass(t, res, "load/visitors/calm")
	expectPass(t, res, "errors/visitors/rough")
	for _, p := range res.Phases {
		if p.Intended != nil || p.Service == nil {
			t.Errorf("%+v", p)
		}
	}
	for _, c := range res.Checks {
		if c.Kind == KindLatency {
			t.Errorf("%+v", c)
		}
	}
}

func TestAClosedLoopWhoseUsersDidNotAllAskIsNotThisLoad(t *testing.T) {
	rec := goodRecord(t, closedScenario())
	more := closedScenario()
	more.Spec.Traffic[0].Profile.Stages[0].Users = 61 // 60 requests are recorded
	doc, err := json.Marshal(more)
	must(t, err)
	rec.Manifest.Scenario = doc
	expectCheck(t, Evaluate(rec), "load/visitors/calm", Invalid, "WrongLoad")
}

func TestAClosedLoopWhoseWorkerCameLateIsNotThisLoad(t *testing.T) {
	rec := goodRecord(t, closedScenario())
	g := &rec.Phases[0].Generators[0]
	g.Micros = rec.Phases[0].ForMicros - maxLateMicros - 1
	expectCheck(t, Evaluate(rec), "load/visitors/calm", Invalid, "WrongLoad")
	g.Micros++
	expectPass(t, Evaluate(rec), "load/visitors/calm")
}
