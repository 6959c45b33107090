package verify

import (
	"testing"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

func TestAProbeThatTimesOutNowAndThenDoesNotMakeALineSick(t *testing.T) {
	for _, c := range []struct {
		ok, failed int
		well       bool
	}{{3, 0, true}, {4, 1, true}, {8, 2, true}, {3, 1, false}, {2, 0, false}, {8, 3, false}, {0, 0, false}, {0, 5, false}} {
		var list []*evidence.Fault
		for i := range c.ok + c.failed {
			list = append(list, &evidence.Fault{Probe: &evidence.FaultSample{OK: i < c.ok, Error: "timeout"}})
		}
		ok, why := answered(list)
		if (why == "") != c.well || len(ok) != c.ok {
			t.Errorf("%d answered and %d not: %d, %q", c.ok, c.failed, len(ok), why)
		}
	}
}

func TestALineThatOftenGaveNoAnswerShowsNoEffect(t *testing.T) {
	for _, c := range []struct{ fault, stage, reason string }{
		{"slow", "before", "NotWellBefore"}, {"cut", "before", "NotWellBefore"}, {"slow", "during", "NoEffect"},
	} {
		rec := goodRecord(t, testScenario(scenarios.MeshIstio))
		for _, f := range rec.Faults {
			if f.Name == c.fault && f.Probe != nil && f.Probe.Stage == c.stage && f.Probe.Connection == connEstablished {
				f.Probe.OK, f.Probe.Error = false, "timeout"
				break
			}
		}
		expectCheck(t, Evaluate(rec), "fault/"+c.fault, Invalid, c.reason)
	}
}
