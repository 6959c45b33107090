package runner

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
)

const (
	// usageEvery is how often it is recorded what containers use: as often as real clusters' kubelets look.
	usageEvery = time.Second
	// usageAfter is how much longer than the load: what was used up to its end is known from figures that are younger.
	usageAfter = 3 * time.Second
)

// meter records what the clusters' containers use, from before the load until after it.
// Clusters that cannot say it are left out: nothing is recorded of them.
func (r *run) meter(ctx context.Context, t evidence.Trial, fleet clusters.Fleet, start time.Time) error {
	var meters []clusters.Meter
	for _, c := range fleet.Clusters() {
		if m, ok := c.(clusters.Meter); ok {
			meters = append(meters, m)
		}
	}
	if len(meters) == 0 {
		return nil
	}
	end := start.Add(r.Scenario.LoadEnd().D() + usageAfter)
	tick := time.NewTicker(usageEvery)
	defer tick.Stop()
	for i := 1; ; i++ {
		var asking sync.WaitGroup
		said := make([][]evidence.Usage, len(meters))
		for k, m := range meters {
			asking.Go(func() { said[k] = m.Usage(ctx) })
		}
		asking.Wait()
		if ctx.Err() != nil {
			return nil // what was stopped has nothing to say
		}
		for _, u := range slices.Concat(said...) {
			u.Trial, u.Src, u.Sample = t, "usage", i
			if err := r.writer.Append(&u); err != nil {
				return fmt.Errorf("recording what containers use: %w", err)
			}
		}
		if time.Now().After(end) {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
