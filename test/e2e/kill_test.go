package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"
)

// TestWhatAKilledRunLeftIsCleaned kills runs at random moments: MESHPROOF_KILLS says how many, MESHPROOF_KILL_SEED repeats
// the moments of an earlier test.
func TestWhatAKilledRunLeftIsCleaned(t *testing.T) {
	kills := number(t, "MESHPROOF_KILLS", 2)
	seed := number(t, "MESHPROOF_KILL_SEED", time.Now().UnixNano())
	t.Logf("MESHPROOF_KILL_SEED=%d", seed)
	draw := rand.New(rand.NewPCG(uint64(seed), 0))
	var all []features.Feature
	for i := range kills {
		// One moment in each slice of a run: of two, one is likely to be when clusters are made.
		share := (float64(i) + draw.Float64()) / float64(kills)
		all = append(all, features.New(fmt.Sprintf("killed at %.0f %% of a run", 100*share)).
			Assess("clean removes what it left and touches nothing else", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
				h := hostOf(ctx)
				h.early = true
				long := whole
				if i%2 == 0 { // the others leave what two clusters leave
					h.file, long = small, whole*2/3
				}
				s := h.start(ctx, t)
				select {
				case <-time.After(time.Duration(share * float64(long))):
				case <-s.done:
					t.Log("it had ended before")
				}
				s.signal(t, os.Kill)
				s.wait(t)
				var volumes []string
				var near []*others
				for _, id := range h.journalled(t) {
					volumes = append(volumes, volumesOf(ctx, t, id)...)
					// Whoever looks for the beginning of a name alone would take these, too.
					near = append(near, newOthers(t, "meshproof-"+id+"0", "io.meshproof.fleet="+id+"0"))
				}
				t.Log(h.clean(ctx, t))
				gone(ctx, t, volumes)
				for _, o := range near {
					o.untouched(ctx, t)
				}
				return ctx
			}).Feature())
	}
	beside(t, all...)
}

// number reads one from the environment.
func number(t *testing.T, name string, otherwise int64) int64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}
