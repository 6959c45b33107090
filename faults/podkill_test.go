package faults

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

func dies(at time.Duration) Planned {
	return Planned{Replicas: 3, Ordinal: 1, Fault: scenarios.Fault{
		Name: "dies", Kind: scenarios.PodKill, By: scenarios.ByMeshproof, At: scenarios.Duration(at),
		Target: &scenarios.FaultTarget{Service: "cart", Cluster: "east"},
	}}
}

func TestAKilledPodIsSeenGoneAndReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		start, err := run(t, w, dies(2*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if m := w.messages(); m != "" {
			t.Fatalf("the fault failed: %s", m)
		}
		injected, reverted := w.of(evidence.FaultInjected)[0], w.of(evidence.FaultReverted)[0]
		if got := injected.T.Sub(start); got != 2*time.Second {
			t.Errorf("killed at %v, want 2s", got)
		}
		if injected.Target != "cart-1" || injected.UID != "uid-2" || w.cluster.reason != "pod-kill dies" {
			t.Errorf("killed %s (%s) for the reason %q; want cart-1 (uid-2) for pod-kill dies", injected.Target, injected.UID, w.cluster.reason)
		}
		if took := reverted.T.Sub(injected.T); took < 300*time.Millisecond || took > 300*time.Millisecond+2*podPause {
			t.Errorf("replaced after %v, want 300ms", took)
		}
		before, during, after := w.samples(stageBefore, ""), w.samples(stageDuring, ""), w.samples(stageAfter, "")
		if len(before) < MinSamples || len(during) < MinSamples || len(after) != MinSamples {
			t.Fatalf("%d samples before, %d during, %d after", len(before), len(during), len(after))
		}
		for _, s := range before {
			if !s.OK || s.UID != "uid-2" {
				t.Errorf("before: %+v", s)
			}
		}
		for i, s := range during {
			if s.OK || s.Error != "pod cart-1 is gone" || i == 0 && s.UID != "" || i == len(during)-1 && s.UID != "uid-5" {
				t.Errorf("during, sample %d: %+v", i, s)
			}
		}
		for _, s := range after {
			if s.OK || s.UID != "uid-5" {
				t.Errorf("after: %+v", s)
			}
		}
		w.before(t, "intend dies", "inject dies")
		w.before(t, "inject dies", "kill uid-2")
		w.before(t, "kill uid-2", "injected dies")
		w.before(t, "reverted dies", "settle dies")
		w.before(t, "active dies true", "active dies false")
	})
}

func TestAPodKillThatCameToNothingIsRecordedAsFailed(t *testing.T) {
	absent := dies(time.Second)
	absent.Target = &scenarios.FaultTarget{Service: "basket", Cluster: "east"}
	nowhere := dies(time.Second)
	nowhere.Target = &scenarios.FaultTarget{Service: "cart", Cluster: "north"}
	for name, tc := range map[string]struct {
		plan   Planned
		change func(*world)
		want   string
		killed bool
	}{
		"the pod does not die":     {dies(time.Second), func(w *world) { w.cluster.immortal = true }, "uid-2 still stands 5s after it was killed: the kill had no effect", true},
		"the kill is refused":      {dies(time.Second), func(w *world) { w.cluster.killFails = errors.New("forbidden") }, "killing pod cart-1: forbidden", false},
		"no replacement":           {dies(time.Second), func(w *world) { w.cluster.respawn = -1 }, "1m0s after it was killed, pod cart-1 is gone; 2 of 3 pods of cart@east are ready", true},
		"the pod is not ready":     {dies(time.Second), func(w *world) { w.cluster.pods[1].Ready = false }, "not injected: pod cart-1 is not ready", false},
		"pods cannot be listed":    {dies(time.Second), func(w *world) { w.cluster.listFails = func() error { return errors.New("refused") } }, "not injected: listing pods: refused", false},
		"there is no such service": {absent, func(*world) {}, "not injected: there is no pod of basket@east", false},
		"there is no such cluster": {nowhere, func(*world) {}, `there is no cluster "north"`, false},
		"the pod ended by itself": {dies(time.Second), func(w *world) {
			time.AfterFunc(1800*time.Millisecond, func() { _ = w.cluster.KillPod(context.Background(), "uid-2", "") })
		}, "not injected: pod cart-1 is gone", true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				tc.change(w)
				if _, err := run(t, w, tc.plan); err != nil {
					t.Fatal(err)
				}
				if m := w.messages(); !strings.Contains(m, tc.want) {
					t.Errorf("failures say %q, want %q", m, tc.want)
				}
				if len(w.of(evidence.FaultReverted)) != 0 {
					t.Errorf("it is recorded as reverted: %v", w.log)
				}
				intents, settled, kills := 0, 0, 0
				for _, s := range w.log {
					switch {
					case strings.HasPrefix(s, "intend"):
						intents++
					case strings.HasPrefix(s, "settle"):
						settled++
					case strings.HasPrefix(s, "kill"):
						kills++
					}
				}
				if intents != settled || (kills > 0) != tc.killed {
					t.Errorf("%d intents, %d settled, %d kills: %v", intents, settled, kills, w.log)
				}
				time.Sleep(time.Second) // what replaces pods ends
			})
		})
	}
}

func TestAPodThatDoesNotDieIsSeenStanding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.cluster.immortal = true
		if _, err := run(t, w, dies(time.Second)); err != nil {
			t.Fatal(err)
		}
		during := w.samples(stageDuring, "")
		if len(during) < MinSamples {
			t.Fatalf("%d samples during the fault", len(during))
		}
		for _, s := range during {
			if !s.OK || s.UID != "uid-2" {
				t.Errorf("a pod that stands was seen as %+v", s)
			}
		}
	})
}

func TestAListingThatFailsIsNotTakenForADeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		var zero time.Time
		w.cluster.listFails = func() error {
			if !zero.IsZero() && time.Since(zero) > 2*time.Second && time.Since(zero) < 4*time.Second {
				return errors.New("refused")
			}
			return nil
		}
		zero = time.Now().Add(time.Second)
		if _, err := run(t, w, dies(2*time.Second)); err != nil {
			t.Fatal(err)
		}
		if m := w.messages(); m != "" {
			t.Errorf("the fault failed: %s", m)
		}
		if took := w.of(evidence.FaultReverted)[0].T.Sub(zero); took < 4*time.Second {
			t.Errorf("taken for replaced at %v, while pods could not be listed", took)
		}
	})
}

func TestTwoKillsOfOneServiceEachWaitForTheWholeOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.cluster.respawn = 2 * time.Second
		first, second := dies(time.Second), dies(2*time.Second)
		first.Name, first.Ordinal = "first", 0
		if _, err := run(t, w, first, second); err != nil {
			t.Fatal(err)
		}
		if m := w.messages(); m != "" {
			t.Fatalf("a fault failed: %s", m)
		}
		// The first replacement is ready a second before the other: the service is not whole then.
		for _, r := range w.of(evidence.FaultReverted) {
			if d := r.T.Sub(w.of(evidence.FaultInjected)[0].T); d < 3*time.Second {
				t.Errorf("%s is recorded as reverted %v after the first kill, with a pod missing", r.Name, d)
			}
		}
	})
}

func TestWhenTheRunIsStoppedAPodKillSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.cluster.respawn = -1
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if err := Run(ctx, w.env(), []Planned{dies(time.Second)}, time.Now()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the context's", err)
		}
		w.before(t, "kill uid-2", "settle dies")
		w.before(t, "active dies true", "active dies false")
		if len(w.of(evidence.FaultReverted)) != 0 {
			t.Error("recorded as reverted without a replacement")
		}
	})
}
