package verify

import (
	"testing"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// shift moves a step of a fault, or what its probe saw at a stage, in time.
func shift(rec *evidence.Record, fault, what string, by time.Duration) {
	for _, f := range rec.Faults {
		if f.Name == fault && (f.Action == what || f.Probe != nil && f.Probe.Stage == what) {
			f.T = f.T.Add(by)
		}
	}
}

func TestAFaultWhoseStepsAreNotInTheirOrderIsNotBelieved(t *testing.T) {
	spoil(t, scenarios.MeshIstio, []mutation{
		{"a fault that was reverted before its end", func(_ *testing.T, rec *evidence.Record) {
			shift(rec, "slow", evidence.FaultReverted, -500*time.Millisecond)
		}, "fault/slow", Invalid, "OutOfOrder"},
		{"a replacement that was there before the kill", func(_ *testing.T, rec *evidence.Record) {
			shift(rec, "cart-dies", evidence.FaultReverted, -time.Second)
		}, "fault/cart-dies", Invalid, "OutOfOrder"},
		{"an effect that was over before the fault was", func(_ *testing.T, rec *evidence.Record) {
			shift(rec, "cut", "after", -time.Second)
		}, "fault/cut", Invalid, "OutOfOrder"},
	})
}

func TestPodsThatAppearDuringAnOutageAndEndForItDoNotSpoilIt(t *testing.T) {
	grown := func(ready bool) *evidence.Record {
		rec := goodRecord(t, rotationScenario(scenarios.MeshIstio))
		var inject *evidence.Fault
		for _, f := range rec.Faults {
			if f.Name == "gone" && f.Action == evidence.FaultInject {
				inject = f
			}
		}
		for _, e := range rec.Events {
			if e.Message != "workload-outage gone" {
				continue
			}
			extra := *e
			extra.Message, extra.At.UID, extra.At.Pod = "", "uid-extra", "cart-extra"
			src := func(kind, message string, at time.Duration) {
				v := extra
				v.Kind, v.Message, v.T = kind, message, inject.T.Add(at)
				for _, end := range rec.Events {
					if end.Kind == evidence.EventProducerEnd && end.Of == v.Src && end.Stream == evidence.Events && end.Trial == v.Trial {
						end.Count++
						v.N = end.Count
					}
				}
				rec.Events = append(rec.Events, &v)
			}
			at := 3 * time.Millisecond
			if !ready {
				at = -3 * time.Millisecond
			}
			src(evidence.EventPodCreated, "", at)
			src(evidence.EventPodEnded, e.Message, 9*time.Millisecond)
			break
		}
		return rec
	}
	expectPass(t, Evaluate(grown(true)), "fault/gone")
	expectPass(t, Evaluate(grown(true)), "run/whole")
	expectCheck(t, Evaluate(grown(false)), "fault/gone", Invalid, "NoEffect") // it was there before
}
