package e2e

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"
)

// What the log of a run says when its clusters are being made, and when load is about to flow.
const (
	logsMaking = "Starting control-plane"
	logsLoad   = `msg="step done" step="proving, before the load"`
)

const interrupted = 130 // exit code

func TestAnInterruptedRunEndsWithinAMinuteAndLeavesNothing(t *testing.T) {
	var all []features.Feature
	for _, when := range []struct{ name, file, logs string }{{"while clusters are made", scenario, logsMaking}, {"under load", small, logsLoad}} {
		all = append(all, features.New(when.name).
			Assess("it ends, and says so", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
				h := hostOf(ctx)
				h.file = when.file
				s := h.start(ctx, t)
				s.logs(t, when.logs)
				ids := h.journalled(t)
				if len(ids) != 1 {
					t.Fatalf("fleets in the journal: %q, want one", ids)
				}
				volumes := volumesOf(ctx, t, ids[0])
				if len(volumes) == 0 {
					t.Error("the clusters have no volumes: what becomes of these is not seen")
				}
				began := time.Now()
				s.signal(t, os.Interrupt)
				r := s.wait(t)
				if took := time.Since(began); took > time.Minute || r.code != interrupted {
					t.Errorf("it took %s to exit code %d, want 60s at most and %d\n%s", took, r.code, interrupted, r.stderr)
				} else {
					t.Logf("it took %s", took)
				}
				gone(ctx, t, volumes)
				return ctx
			}).Feature())
	}
	beside(t, all...)
}

// gone fails the test where a volume is there.
func gone(ctx context.Context, t *testing.T, volumes []string) {
	t.Helper()
	there := docker(ctx, t, "volume", "ls", "--quiet")
	for _, v := range volumes {
		if slices.Contains(there, v) {
			t.Errorf("left: volume %s of a node", v)
		}
	}
}

func TestASecondInterruptLeavesAtOnceAndCleanUndoesTheRest(t *testing.T) {
	beside(t, features.New("twice Ctrl-C under load").
		Assess("it exits at once with the journal intact", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			h := hostOf(ctx)
			h.file = small
			s := h.start(ctx, t)
			s.logs(t, logsLoad)
			before := h.journalled(t)
			s.signal(t, os.Interrupt)
			time.Sleep(100 * time.Millisecond) // two signals of one kind that are not taken yet are one
			began := time.Now()
			s.signal(t, os.Interrupt)
			r := s.wait(t)
			// Reverting faults and removing clusters takes longer than this.
			if took := time.Since(began); took > 5*time.Second || r.code != interrupted {
				t.Errorf("it took %s to exit code %d, want %d at once\n%s", took, r.code, interrupted, r.stderr)
			}
			if !strings.Contains(r.stderr, "meshproof clean") {
				t.Errorf("nothing says what to do:\n%s", r.stderr)
			}
			if after := h.journalled(t); len(before) != 1 || !slices.Equal(before, after) {
				t.Errorf("fleets in the journal: %q before, %q after, want one and the same", before, after)
			}
			return ctx
		}).
		Assess("clean removes what it left", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			h := hostOf(ctx)
			var volumes []string
			for _, id := range h.journalled(t) {
				if len(inDocker(ctx, t, id)) == 0 {
					t.Error("the run left nothing: there is nothing to clean")
				}
				volumes = append(volumes, volumesOf(ctx, t, id)...)
			}
			t.Log(h.clean(ctx, t))
			gone(ctx, t, volumes)
			return ctx
		}).Feature())
}
