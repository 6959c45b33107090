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

func slow(at, lasts, delay time.Duration) Planned {
	return Planned{Latency: time.Millisecond, Fault: scenarios.Fault{
		Name: "slow", Kind: scenarios.NetworkDelay, By: scenarios.ByMeshproof, At: scenarios.Duration(at), For: scenarios.Duration(lasts),
		Delay: scenarios.Duration(delay), Between: []string{"east", "west"},
	}}
}

func cut(at, lasts time.Duration) Planned {
	p := slow(at, lasts, 0)
	p.Name, p.Kind = "cut", scenarios.Partition
	return p
}

// run runs a plan a second before its zero, and returns the zero.
func run(t *testing.T, w *world, plan ...Planned) (time.Time, error) {
	t.Helper()
	start := time.Now().Add(time.Second)
	err := Run(t.Context(), w.env(), plan, start)
	if w.link.open != 0 {
		t.Errorf("%d effect probes were left open", w.link.open)
	}
	return start, err
}

func TestAFaultOfALinkIsInjectedOnScheduleSeenAndReverted(t *testing.T) {
	for name, p := range map[string]Planned{
		"delay":                        slow(2*time.Second, 2*time.Second, 40*time.Millisecond),
		"long delay":                   slow(2*time.Second, 3*time.Second, 200*time.Millisecond),
		"delay of about a third of it": slow(2*time.Second, 5*time.Second, 400*time.Millisecond),
		"partition":                    cut(2*time.Second, 2*time.Second),
		"short partition":              cut(2*time.Second, 600*time.Millisecond),
		"partition at the start":       cut(0, 2*time.Second),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				start, err := run(t, w, p)
				if err != nil {
					t.Fatal(err)
				}
				if m := w.messages(); m != "" {
					t.Fatalf("the fault failed: %s", m)
				}
				from, to := w.of(evidence.FaultInjected)[0].T, w.of(evidence.FaultRevert)[0].T
				if got := from.Sub(start); got != p.At.D() {
					t.Errorf("injected at %v, want %v", got, p.At)
				}
				if got := to.Sub(from); got != p.For.D() {
					t.Errorf("it lasted %v, want %v", got, p.For)
				}
				for _, c := range []string{fresh, established} {
					before, during, after := w.samples(stageBefore, c), w.samples(stageDuring, c), w.samples(stageAfter, c)
					if len(before) < MinSamples || len(during) < MinSamples || len(after) < clearInARow {
						t.Errorf("%s: %d samples before, %d during, %d after", c, len(before), len(during), len(after))
					}
					for _, s := range before {
						if !s.OK || s.Micros > 4000 {
							t.Errorf("%s: before: %+v", c, s)
						}
					}
					for _, s := range during {
						if p.Kind == scenarios.Partition && (s.OK || s.Error != "timeout" || s.Micros < minAttempt.Microseconds()) ||
							p.Kind == scenarios.NetworkDelay && (!s.OK || s.Micros < 2*p.Delay.D().Microseconds()) {
							t.Errorf("%s: during: %+v", c, s)
						}
					}
					if s := after[len(after)-1]; !s.OK || s.Micros > 4000 {
						t.Errorf("%s: the last sample is %+v, want one that sees nothing of the fault", c, s)
					}
				}
				for _, r := range w.of(evidence.FaultProbe) {
					began := r.T.Add(-time.Duration(r.Probe.Micros) * time.Microsecond)
					if inside := !began.Before(from) && !r.T.After(to); inside != (r.Probe.Stage == stageDuring) && began != to && r.T != from {
						t.Errorf("a sample of stage %q spans %v to %v; the fault %v to %v", r.Probe.Stage, began, r.T, from, to)
					}
					if r.Src != "faults" || r.Trial.Mesh != "istio" || r.Name != p.Name || r.Kind != string(p.Kind) || r.Target != "east|west" {
						t.Errorf("a sample's head is %+v", r)
					}
				}
				w.before(t, "intend "+p.Name, "inject "+p.Name)
				w.before(t, "inject "+p.Name, "do")
				w.before(t, "do", "injected "+p.Name)
				w.before(t, "injected "+p.Name, "revert "+p.Name)
				w.before(t, "revert "+p.Name, "undo")
				w.before(t, "undo", "reverted "+p.Name)
				w.before(t, "reverted "+p.Name, "settle "+p.Name)
				w.before(t, "active "+p.Name+" true", "active "+p.Name+" false")
				if w.link.changes != 0 {
					t.Errorf("%d changes are left", w.link.changes)
				}
			})
		})
	}
}

func TestAnInjectorThatDoesNothingIsGivenAwayByItsSamples(t *testing.T) {
	for name, p := range map[string]Planned{
		"delay": slow(time.Second, time.Second, 40*time.Millisecond), "partition": cut(time.Second, 2*time.Second),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.link.noEffect = true
				if _, err := run(t, w, p); err != nil {
					t.Fatal(err)
				}
				if len(w.of(evidence.FaultInjected)) != 1 {
					t.Error("the injector's word is missing")
				}
				during := w.samples(stageDuring, "")
				if len(during) < 2*MinSamples {
					t.Fatalf("%d samples during the fault", len(during))
				}
				for _, s := range during {
					if !s.OK || s.Micros > 4000 {
						t.Errorf("a link without a fault was seen as %+v", s)
					}
				}
			})
		})
	}
}

func TestAFaultThatCannotBeMeasuredIsNotInjected(t *testing.T) {
	other := slow(time.Second, time.Second, 40*time.Millisecond)
	other.Between[1] = "north"
	unknown := cut(time.Second, time.Second)
	unknown.Kind = "earthquake"
	for name, tc := range map[string]struct {
		plan   Planned
		change func(*world)
		want   string
	}{
		"probe does not open": {cut(time.Second, time.Second), func(w *world) { w.link.probeFails = errors.New("no pod outsider") }, "effect probe cannot be opened: no pod outsider"},
		"link is down before": {cut(time.Second, time.Second), func(w *world) { w.link.cut = true }, "could not be measured before: 0 of 5 samples on fresh connections, the last error was: timeout"},
		"no such cluster":     {other, func(*world) {}, `there is no cluster "north"`},
		"no such kind":        {unknown, func(*world) {}, `no fault of kind "earthquake"`},
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
				for _, s := range w.log {
					if s == "do" || strings.HasPrefix(s, "intend") || strings.HasPrefix(s, "active") {
						t.Errorf("something was changed: %v", w.log)
					}
				}
			})
		})
	}
}

func TestAFaultTooShortToBeSeenIsRevertedAndRecordedAsFailed(t *testing.T) {
	for name, p := range map[string]Planned{
		"partition": cut(time.Second, 200*time.Millisecond), "delay": slow(time.Second, time.Second, 2*time.Second),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				if _, err := run(t, w, p); err != nil {
					t.Fatal(err)
				}
				if m := w.messages(); !strings.Contains(m, "its effect cannot be told: 0 of 5 samples on fresh connections") || !strings.Contains(m, "longer than "+p.For.String()) {
					t.Errorf("failures say %q", m)
				}
				w.before(t, "undo", "settle "+p.Name)
			})
		})
	}
}

func TestAFaultAtTheVeryStartWaitsForItsBaseline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		start := time.Now()
		if err := Run(t.Context(), w.env(), []Planned{cut(0, 2*time.Second)}, start); err != nil {
			t.Fatal(err)
		}
		late := w.of(evidence.FaultInjected)[0].T.Sub(start)
		if late <= 0 || late > BaselineLimit || len(w.samples(stageBefore, fresh)) < MinSamples || w.messages() != "" {
			t.Errorf("injected %v late after %d samples; failures: %q", late, len(w.samples(stageBefore, fresh)), w.messages())
		}
	})
}

func TestARevertThatFailsIsAnErrorAndLeavesTheJournalOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.link.revertFails = errors.New("tc: device busy")
		_, err := run(t, w, cut(time.Second, 2*time.Second))
		if err == nil || !strings.Contains(err.Error(), `fault "cut": reverting: tc: device busy`) {
			t.Errorf("error %v", err)
		}
		if len(w.of(evidence.FaultReverted)) != 0 || !strings.Contains(w.messages(), "reverting: tc: device busy") {
			t.Errorf("log %v; failures %q", w.log, w.messages())
		}
		for _, s := range w.log {
			if strings.HasPrefix(s, "settle") || s == "active cut false" {
				t.Errorf("a fault that still stands was closed: %v", w.log)
			}
		}
	})
}

func TestAFaultThatCannotBeRevertedEndsTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.link.revertFails = errors.New("tc: device busy")
		later := dies(time.Hour)
		began := time.Now()
		if _, err := run(t, w, cut(time.Second, 2*time.Second), later); err == nil || errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want that of the revert", err)
		}
		if took := time.Since(began); took > time.Minute || len(w.cluster.pods) != 4 {
			t.Errorf("Run went on for %v: %v", took, w.log)
		}
	})
}

func TestAnInjectionThatFailsIsRecordedAndLeavesTheJournalOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.link.injectFails = errors.New("sch_netem is not loaded")
		if _, err := run(t, w, slow(time.Second, time.Second, 40*time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if w.messages() != "injecting: sch_netem is not loaded" || len(w.of(evidence.FaultInjected)) != 0 {
			t.Errorf("failures %q, log %v", w.messages(), w.log)
		}
		for _, s := range w.log {
			if strings.HasPrefix(s, "settle") || strings.HasPrefix(s, "active") {
				t.Errorf("log %v", w.log)
			}
		}
	})
}

func TestAFaultThatIsNotPossibleHereIsSkippedAndSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.link.injectFails = fmt.Errorf("%w: the kernel has no packet queue", clusters.ErrNotPossible)
		if _, err := run(t, w, slow(time.Second, time.Second, 40*time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		skipped := w.of(evidence.FaultSkipped)
		if len(skipped) != 1 || !strings.Contains(skipped[0].Message, "no packet queue") || len(w.of(evidence.FaultFailed)) != 0 {
			t.Errorf("skipped %v, log %v", skipped, w.log)
		}
		if last := w.log[len(w.log)-1]; !strings.HasPrefix(last, "settle") {
			t.Errorf("log %v", w.log)
		}
	})
}

func TestAJournalThatCannotBeWrittenStopsTheFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.journalFails = errors.New("read-only file system")
		plan := []Planned{cut(time.Second, 2*time.Second), dies(time.Second)}
		_, err := run(t, w, plan...)
		if err == nil || !strings.Contains(err.Error(), "not injected, because the journal could not be written: read-only file system") {
			t.Errorf("error %v", err)
		}
		for _, s := range w.log {
			if s == "do" || strings.HasPrefix(s, "kill") {
				t.Errorf("something was changed: %v", w.log)
			}
		}
	})
}

func TestARecordThatCannotBeWrittenRevertsEveryFault(t *testing.T) {
	for _, action := range []string{evidence.FaultInject, evidence.FaultInjected, evidence.FaultProbe, evidence.FaultRevert, evidence.FaultReverted} {
		t.Run(action, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.sinkFails = action
				_, err := run(t, w, cut(time.Second, 2*time.Second), slow(2*time.Second, 2*time.Second, 40*time.Millisecond))
				if err == nil || !strings.Contains(err.Error(), "no space left on device") {
					t.Errorf("error %v", err)
				}
				if w.link.changes != 0 {
					t.Errorf("%d changes are left: %v", w.link.changes, w.log)
				}
				if n := strings.Count(strings.Join(w.log, "\n"), "intend "); n != strings.Count(strings.Join(w.log, "\n"), "settle ") {
					t.Errorf("not each of %d intents is settled: %v", n, w.log)
				}
			})
		})
	}
}

func TestWhenTheRunIsStoppedEveryActiveFaultIsReverted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		plan := []Planned{
			cut(time.Second, time.Minute),
			slow(1500*time.Millisecond, time.Minute, 40*time.Millisecond), // its baseline fails: the link is cut
			cut(time.Hour, time.Minute),
		}
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		began := time.Now()
		err := Run(ctx, w.env(), plan, began)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the context's", err)
		}
		if took := time.Since(began); took > 4*time.Second+RevertLimit {
			t.Errorf("Run took %v", took)
		}
		if w.link.changes != 0 || w.link.open != 0 {
			t.Errorf("%d changes and %d probes are left", w.link.changes, w.link.open)
		}
		w.before(t, "undo", "reverted cut")
		w.before(t, "reverted cut", "settle cut")
		if n := len(w.samples(stageAfter, "")); n != 0 {
			t.Errorf("%d samples were made after the stop", n)
		}
		if got := w.of(evidence.FaultInject); len(got) != 1 {
			t.Errorf("%d faults were injected, want 1", len(got))
		}
	})
}

func TestSamplesGoOnUntilTheEffectIsGone(t *testing.T) {
	for name, tc := range map[string]struct {
		heals, want time.Duration
	}{
		"healing slowly": {3 * time.Second, 3 * time.Second},
		"never healing":  {time.Hour, ClearLimit},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.link.heals = tc.heals
				if _, err := run(t, w, slow(time.Second, time.Second, 20*time.Millisecond)); err != nil {
					t.Fatal(err)
				}
				reverted := w.of(evidence.FaultReverted)[0].T
				all := w.of(evidence.FaultProbe)
				if took := all[len(all)-1].T.Sub(reverted); took < tc.want-time.Second || took > tc.want+time.Second {
					t.Errorf("the last sample came %v after the revert, want about %v", took, tc.want)
				}
				after := w.samples(stageAfter, established)
				if clear := after[len(after)-1].Micros <= 3000; clear != (tc.heals < ClearLimit) {
					t.Errorf("the last sample is %+v", after[len(after)-1])
				}
			})
		})
	}
}

func TestTwiceAsManySamplesAsItTakesFitIntoAFault(t *testing.T) {
	for _, c := range []struct {
		sample, lasts time.Duration
		want          int
	}{
		{250 * time.Millisecond, 100 * time.Millisecond, 10}, // not even one fits: each lane may still have one
		{250 * time.Millisecond, 500 * time.Millisecond, 10}, // a second one of each lane would be cut off
		{250 * time.Millisecond, time.Second, 4},
		{164 * time.Millisecond, time.Second, 3},
		{164 * time.Millisecond, 10 * time.Second, 1},
		{4 * time.Second, time.Minute, 1},
	} {
		k := linkKind{sample: c.sample}
		n := k.lanes(c.lasts)
		inOne := max(1, int(c.lasts/(c.sample+pauseOf(c.lasts))))
		if n != c.want || n*inOne < 2*MinSamples {
			t.Errorf("%s of samples of %s: %d lanes of %d, want %d", c.lasts, c.sample, n, inOne, c.want)
		}
	}
}
