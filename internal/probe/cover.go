package probe

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

// How many forbidden requests are sent at once to a service of which a pod has refused none: twice as many each time.
// Power of two choices over a load that counts requests under way sends some to a pod whose latency is estimated R times
// that of n others when about n·R are under way.
const (
	firstBurst = 16
	lastBurst  = 128
)

// cover repeats forbidden asks of workloads of the mesh for services of which some pod has refused none since start, as
// the metric pages say, until each has, or the largest burst was sent.
func (a *asker) cover(ctx context.Context, window string, asks []verify.Ask, start *pages) error {
	forbidden := map[string][]verify.Ask{}
	for _, k := range asks {
		if w, ok := a.env.Scenario.Workload(k.From); ok && w.Meshed && !k.Allowed {
			forbidden[k.To] = append(forbidden[k.To], k)
		}
	}
	turn := 0
	for size := firstBurst; size <= lastBurst; size *= 2 {
		now := newPages(a.env)
		// The window's name keeps these pages from being taken for some of the load's, which have none.
		if err := Observe(ctx, now.env(), window, ""); err != nil {
			return err
		}
		var more []verify.Ask
		for _, to := range slices.Sorted(maps.Keys(now.unmet(start))) {
			if n := len(forbidden[to]); n > 0 {
				k := forbidden[to][turn%n]
				k.Times = size
				more = append(more, k)
			}
		}
		if len(more) == 0 {
			return nil
		}
		turn++
		for _, k := range more { // one after the other: what counts is how many of one caller are under way
			if err := a.ask(ctx, []verify.Ask{k}, false, size); err != nil {
				return err
			}
		}
	}
	return nil
}

// pages keeps the metric pages of sidecars that pass by on their way into the record.
type pages struct {
	of Env

	mu   sync.Mutex
	last map[evidence.PodRef]string
}

func newPages(of Env) *pages { return &pages{of: of, last: map[evidence.PodRef]string{}} }

// env is the environment whose records are looked at.
func (p *pages) env() Env {
	env := p.of
	env.Sink = p
	return env
}

// Append implements evidence.Sink.
func (p *pages) Append(item evidence.Item) error {
	if s, ok := item.(*evidence.Scrape); ok && s.Error == "" && s.Proxy == "" {
		p.mu.Lock()
		p.last[s.At] = s.Body
		p.mu.Unlock()
	}
	return p.of.Sink.Append(item)
}

// unmet lists the services with a pod whose proxy has refused no workload of the mesh since start. Of a page that can't be
// read nothing is said here: whoever judges the record will say it.
func (p *pages) unmet(start *pages) map[string]bool {
	mesh := scenarios.MeshName(p.of.Trial.Mesh)
	out := map[string]bool{}
	for at, body := range p.last {
		before, err := verify.Refusals(mesh, start.last[at])
		if err != nil {
			continue
		}
		if now, err := verify.Refusals(mesh, body); err == nil && now == before {
			out[at.Service] = true
		}
	}
	return out
}
