package faults

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

func aborts(at, lasts time.Duration) Planned {
	return Planned{Fault: scenarios.Fault{
		Name: "aborts", Kind: scenarios.MeshAbort, Share: 0.5, Status: 503, At: scenarios.Duration(at), For: scenarios.Duration(lasts),
		Target: &scenarios.FaultTarget{Service: "cart", Cluster: "east"},
	}}
}

// meshEnv is an environment whose mesh makes faults.
func meshEnv(w *world) Env {
	s := scenario()
	s.Spec.Topology.Services = append(s.Spec.Topology.Services, scenarios.Service{
		Name: "shop", Clusters: []string{"east"}, Replicas: 1, Calls: []scenarios.Call{{To: "cart", Method: "GET", Path: "/carts/1"}},
	})
	e := w.env()
	e.Mesh = &Mesh{Scenario: s, Faulty: func(scenarios.Fault) (with, without clusters.Object, err error) { return faulty, well, nil }}
	return e
}

func TestAFaultOfTheMeshIsMadeBySettingsSeenByACallerAndTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		if err := Run(t.Context(), meshEnv(w), []Planned{aborts(2*time.Second, 3*time.Second)}, time.Now()); err != nil {
			t.Fatal(err)
		}
		if m := w.messages(); m != "" {
			t.Fatalf("the fault failed: %s", m)
		}
		w.before(t, "intend aborts", "apply faulty")
		w.before(t, "apply faulty", "apply well")
		w.before(t, "apply well", "settle aborts")
		hit := func(stage string) (n, of int) {
			for _, s := range w.samples(stage, "") {
				if of++; s.Value == 503 {
					n++
				}
			}
			return n, of
		}
		if n, of := hit(stageBefore); n != 0 || of < MinSamples {
			t.Errorf("%d of %d were hit before", n, of)
		}
		if n, of := hit(stageDuring); n < enoughHits/2 || n > of*2/3 {
			t.Errorf("%d of %d were hit during", n, of)
		}
		if n, of := hit(stageAfter); n != 0 || of < 6 {
			t.Errorf("%d of %d were hit after", n, of)
		}
		for _, r := range w.records {
			if r.By != "istio" {
				t.Errorf("%s is by %q", r.Action, r.By)
			}
		}
	})
}

func TestAFaultThatTheMeshCannotMakeIsSkipped(t *testing.T) {
	for name, change := range map[string]func(*Env){
		"no mesh": func(e *Env) { e.Mesh = nil },
		"Linkerd": func(e *Env) {
			e.Mesh.Faulty = func(scenarios.Fault) (with, without clusters.Object, err error) {
				return nil, nil, fmt.Errorf("%w: Linkerd injects no faults", clusters.ErrNotPossible)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				e := meshEnv(w)
				change(&e)
				if err := Run(t.Context(), e, []Planned{aborts(2*time.Second, 3*time.Second)}, time.Now()); err != nil {
					t.Fatal(err)
				}
				if len(w.records) != 1 || w.records[0].Action != evidence.FaultSkipped {
					t.Errorf("records %+v", w.records)
				}
			})
		})
	}
}

func TestASettingThatIsRefusedIsTakenBackAndSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		first := true
		w.cluster.applies = func() error {
			if first {
				first = false
				return errors.New("admission webhook: no")
			}
			return nil
		}
		if err := Run(t.Context(), meshEnv(w), []Planned{aborts(2*time.Second, 3*time.Second)}, time.Now()); err != nil {
			t.Fatal(err)
		}
		if m := w.messages(); !strings.Contains(m, "injecting: admission webhook: no") {
			t.Errorf("failures say %q", m)
		}
		w.before(t, "intend aborts", "apply well")
	})
}
