package faults

import (
	"context"
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

// toolWorld is a world in whose clusters Chaos Mesh stands.
type toolWorld struct {
	*world
	not     error // why faults are not possible
	fails   error // of injections
	forced  bool  // the tool must be made to forget
	lasts   bool  // the effect stays after the revert
	blind   bool  // it says yes and does nothing
	pods    []clusters.Pod
	value   int64 // that pods are read at
	hit     int64 // under the fault
	reverts int
}

func (w *toolWorld) env() Env {
	e := w.world.env()
	e.Fleet = w
	return e
}

func (w *toolWorld) Injector(scenarios.Fault) (string, error) { return "chaos-mesh 2.9", w.not }

func (w *toolWorld) Inject(ctx context.Context, f scenarios.Fault, pods []clusters.Pod) (func(context.Context) error, error) {
	if w.fails != nil {
		return nil, w.fails
	}
	w.say("inject by tool")
	w.pods = pods
	time.Sleep(2 * time.Second) // it takes its time
	set := func(on bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.blind || !on && w.lasts {
			return
		}
		w.link.cut = on && f.Kind == scenarios.Partition
		w.value = 0
		if on {
			w.value = w.hit
		}
	}
	set(true)
	if f.Kind == scenarios.PodKill {
		if err := w.cluster.KillPod(ctx, pods[0].UID, "by tool"); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context) error {
		if d, ok := ctx.Deadline(); !ok || time.Until(d) > ToolRevertLimit {
			return errors.New("the revert has no limit")
		}
		w.say("revert by tool")
		w.reverts++
		set(false)
		if w.forced {
			return fmt.Errorf("%w: it hung", clusters.ErrForced)
		}
		return nil
	}, nil
}

func (w *toolWorld) Read(context.Context, scenarios.Fault, clusters.Pod) (int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.value, nil
}

func byTool(p Planned) Planned {
	p.By = scenarios.ByChaosMesh
	return p
}

func early(at, lasts time.Duration) Planned {
	return Planned{Fault: scenarios.Fault{
		Name: "early", Kind: scenarios.ClockSkew, By: scenarios.ByChaosMesh, Ahead: scenarios.Duration(10 * time.Minute),
		Target: &scenarios.FaultTarget{Service: "cart", Cluster: "east"}, At: scenarios.Duration(at), For: scenarios.Duration(lasts),
	}}
}

func TestAFaultByAToolIsInjectedSeenAndRevertedAndTheRecordSaysByWhom(t *testing.T) {
	for name, p := range map[string]Planned{
		"partition":   byTool(cut(2*time.Second, 3*time.Second)),
		"in pods":     early(2*time.Second, 3*time.Second),
		"pod-kill":    byTool(dies(2 * time.Second)),
		"own faults":  slow(2*time.Second, 2*time.Second, 40*time.Millisecond),
		"own killing": dies(2 * time.Second),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &toolWorld{world: newWorld(), hit: (10 * time.Minute).Microseconds()}
				start := time.Now().Add(time.Second)
				if err := Run(t.Context(), w.env(), []Planned{p}, start); err != nil {
					t.Fatal(err)
				}
				if m := w.messages(); m != "" {
					t.Fatalf("the fault failed: %s", m)
				}
				want := "chaos-mesh 2.9"
				if p.By == scenarios.ByMeshproof {
					want = "meshproof"
				}
				for _, r := range w.records {
					if r.By != want {
						t.Errorf("%s is by %q, want %q", r.Action, r.By, want)
					}
				}
				if at := w.of(evidence.FaultInject)[0].T.Sub(start); at != p.At.D() {
					t.Errorf("told to inject at %s, want %s", at, p.At)
				}
				if p.By == scenarios.ByChaosMesh && w.reverts != 1 {
					t.Errorf("%d reverts", w.reverts)
				}
				if p.Kind == scenarios.ClockSkew {
					if len(w.pods) != 3 {
						t.Errorf("hit %v, want all pods of cart", w.pods)
					}
					for _, pod := range w.pods {
						for _, stage := range []string{stageBefore, stageDuring, stageAfter} {
							n := 0
							for _, s := range w.samples(stage, "") {
								if s.UID == pod.UID && s.OK && s.Value == map[bool]int64{true: w.hit}[stage == stageDuring] {
									n++
								}
							}
							if n < clearInARow {
								t.Errorf("pod %s was read %d times %s the fault", pod.Pod, n, stage)
							}
						}
					}
				}
				time.Sleep(time.Second) // what replaces pods ends
			})
		})
	}
}

func TestAFaultThatIsKnownToBeImpossibleIsSkippedAtOnceWithTheReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &toolWorld{world: newWorld(), not: fmt.Errorf("%w: the kernel has no sch_netem", clusters.ErrNotPossible)}
		began := time.Now()
		if err := Run(t.Context(), w.env(), []Planned{byTool(cut(time.Hour, time.Second)), early(time.Hour, time.Second)}, began); err != nil {
			t.Fatal(err)
		}
		skipped := w.of(evidence.FaultSkipped)
		if len(skipped) != 2 || len(w.records) != 2 || time.Since(began) != 0 {
			t.Errorf("records %+v after %s", w.records, time.Since(began))
		}
		for _, r := range skipped {
			if !strings.Contains(r.Message, "the kernel has no sch_netem") {
				t.Errorf("reason %q", r.Message)
			}
		}
	})
}

func TestWithoutTheToolADriverMakesItsOwnFaultsItselfAndSkipsOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		if _, err := run(t, w, byTool(cut(2*time.Second, 2*time.Second)), early(2*time.Second, 2*time.Second)); err != nil {
			t.Fatal(err)
		}
		if got := w.of(evidence.FaultInjected); len(got) != 1 || got[0].Name != "cut" || got[0].By != "meshproof" {
			t.Errorf("injected %+v", got)
		}
		if got := w.of(evidence.FaultSkipped); len(got) != 1 || got[0].Name != "early" || !strings.Contains(got[0].Message, "use --driver kind") {
			t.Errorf("skipped %+v", got)
		}
	})
}

func TestAToolThatWasMadeToForgetIsAnErrorOnlyWhereTheEffectStays(t *testing.T) {
	for name, lasts := range map[string]bool{"the effect is gone": false, "the effect stays": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &toolWorld{world: newWorld(), forced: true, lasts: lasts}
				err := Run(t.Context(), w.env(), []Planned{byTool(cut(2*time.Second, 3*time.Second))}, time.Now())
				if (err != nil) != lasts {
					t.Errorf("error %v", err)
				}
				if lasts && (!errors.Is(err, clusters.ErrForced) || !strings.Contains(w.messages(), "its effect is still there")) {
					t.Errorf("error %v, messages %q", err, w.messages())
				}
				if got := w.of(evidence.FaultReverted); len(got) != 1 || !strings.Contains(got[0].Message, "it hung") {
					t.Errorf("the record does not say that it was forced: %+v", got)
				}
			})
		})
	}
}

func TestAnInjectionThatFailsIsRecordedAndWhatMayBeLeftOfItIsLookedFor(t *testing.T) {
	for name, tc := range map[string]struct {
		err   error
		cut   bool // all the same
		fails bool
	}{
		"it fails":                        {errors.New("webhook: timeout"), false, false},
		"it fails and had to be forced":   {fmt.Errorf("%w: it hung", clusters.ErrForced), false, false},
		"it fails and its effect remains": {fmt.Errorf("%w: it hung", clusters.ErrForced), true, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &toolWorld{world: newWorld(), fails: tc.err}
				if tc.cut {
					time.AfterFunc(1990*time.Millisecond, func() {
						w.mu.Lock()
						defer w.mu.Unlock()
						w.link.cut = true
					})
				}
				err := Run(t.Context(), w.env(), []Planned{byTool(cut(2*time.Second, 3*time.Second))}, time.Now())
				if (err != nil) != tc.fails {
					t.Errorf("error %v", err)
				}
				if m := w.messages(); !strings.Contains(m, "injecting: "+tc.err.Error()) {
					t.Errorf("failures say %q", m)
				}
			})
		})
	}
}

func TestToolsAreChaosMeshWithOnlyWhatIsNeeded(t *testing.T) {
	s := scenario()
	if got := Tools(s); got != nil {
		t.Errorf("without a fault by Chaos Mesh: %v", got)
	}
	s.Spec.Faults = append(s.Spec.Faults, byTool(cut(0, time.Second)).Fault)
	dns := func() any { return Tools(s)[0].Values["dnsServer"].(map[string]any)["create"] }
	if got := Tools(s); len(got) != 1 || got[0].Chart != "chaos-mesh" || dns() != false {
		t.Errorf("tools %v", got)
	}
	nameless := early(0, time.Second).Fault
	nameless.Kind = scenarios.DNSError
	s.Spec.Faults = append(s.Spec.Faults, nameless)
	if dns() != true {
		t.Error("its name server is left out where names are not to resolve")
	}
}
