package conformance

import (
	"errors"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/scenarios"
)

// acrossClusters is what must be the same whatever lies between the clusters, and between the nodes of each.
var acrossClusters = []part{
	{"a request reaches a service in its own cluster and in the other", sendAcross},
	{"the workload records what it received", workloadRecord},
	{"latency between clusters is felt, within a cluster there is none", latencyFelt},
	{"a delay is felt, and goes", delay},
	{"a partition holds, and heals", partition},
	{"the ingress answers, and a killed one is replaced", ingress},
}

// separate tries clusters that reach each other by gateways alone, or that there are no such clusters.
func separate(t *testing.T, p clusters.Provider, entry scenarios.MeshEntry, own []Part) {
	s := spec(entry.Name, &sink{})
	s.Nodes, s.Separate = map[string]int{"west": 2}, true
	if err := p.CheckTopology(s); err != nil {
		defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
		f, again := p.Create(t.Context(), s)
		why := clusters.ErrNotModelled
		if len(p.Models()) == 0 {
			why = clusters.ErrNotPossible
		}
		if f != nil || !errors.Is(err, why) || !errors.Is(again, why) {
			t.Errorf("CheckTopology says %v, Create %v, %v; both want %v", err, f, again, why)
		}
		if f != nil {
			_ = f.Close(t.Context())
		}
		return
	}
	parts := slices.Clone(acrossClusters)
	for _, o := range own {
		parts = append(parts, part{o.Name, func(t *testing.T, e *env) { o.Test(e.ctx, t, e.fleet) }})
	}
	shared(t, p, entry, s, parts)
}
