package verify

import (
	"strings"
	"testing"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// turnAmbient puts a sign of ambient mode into a trial, in the place of another event of it that nothing else needs.
func turnAmbient(rec *evidence.Record, trial evidence.Trial) {
	e := &evidence.Event{
		Header: evidence.Header{Trial: trial, Src: "cluster/east", N: 1000, T: rec.Manifest.Started}, Kind: evidence.EventAmbient,
		Name: "DaemonSet/istio-system/ztunnel", At: evidence.PodRef{Cluster: "east"}, Message: "DaemonSet istio-system/ztunnel is its proxy on the nodes",
	}
	rec.Events = append(rec.Events, e)
}

func TestAmbientModeOnAClusterIsInvalidAndNotAMissingSidecar(t *testing.T) {
	for _, mesh := range []scenarios.MeshName{scenarios.MeshIstio, scenarios.MeshNone} {
		rec := goodRecord(t, testScenario(mesh, map[scenarios.MeshName][]scenarios.Gap{scenarios.MeshNone: {scenarios.GapMTLS, scenarios.GapPolicy}}[mesh]...))
		for _, p := range rec.Pods { // as pods are there: without a sidecar
			p.Containers, p.InitContainers = []string{workloadContainer}, nil
		}
		if mesh == scenarios.MeshIstio {
			if res := Evaluate(rec); res.Verdict != Fail {
				t.Fatalf("without a sign of ambient mode: %s %s", res.Verdict, res.Message)
			}
		}
		turnAmbient(rec, evidence.Trial{Block: 1, Mesh: string(mesh)})
		res := Evaluate(rec)
		if res.Verdict != Invalid || len(res.Checks) != 1 || !strings.Contains(res.Message, "cluster east is in Istio's ambient mode") {
			t.Errorf("%s: %s %s, %d checks: %s", mesh, res.Verdict, res.Reason, len(res.Checks), res.Message)
		}
	}
}
