package conformance

import (
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/scenarios"
)

// acrossClusters is what must be the same whatever lies between the clusters, and between the nodes of each.
func acrossClusters(t *testing.T, e *env) {
	for _, tt := range []struct {
		name string
		test func(*testing.T, *env)
	}{
		{"a request reaches a service in its own cluster and in the other", sendAcross},
		{"the workload records what it received", workloadRecord},
		{"latency between clusters is felt, within a cluster there is none", latencyFelt},
		{"a delay is felt, and goes", delay},
		{"a partition holds, and heals", partition},
		{"the ingress answers, and a killed one is replaced", ingress},
	} {
		t.Run(tt.name, func(t *testing.T) {
			own := *e
			own.t = t
			defer func() { e.ids = own.ids }() // no ID is used twice
			tt.test(t, &own)
		})
	}
}

// severalNodes gives both clusters two nodes: the pods of shop then stand on both.
func severalNodes(t *testing.T, p clusters.Provider, entry scenarios.MeshEntry) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s := spec(entry.Name, &sink{})
	s.Nodes = map[string]int{"east": 2, "west": 2}
	e := newEnv(t, p, entry, s)
	defer e.close()
	if len(p.Models()) > 0 {
		sendAcross(t, e) // models have no nodes that could make any other difference
		return
	}
	acrossClusters(t, e)
}

func separate(t *testing.T, p clusters.Provider, entry scenarios.MeshEntry) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s := spec(entry.Name, &sink{})
	s.Nodes, s.Separate = map[string]int{"west": 2}, true
	if err := p.CheckTopology(s); err != nil {
		f, again := p.Create(t.Context(), s)
		if f != nil || !errors.Is(err, clusters.ErrNotModelled) || !errors.Is(again, clusters.ErrNotModelled) {
			t.Errorf("CheckTopology says %v, Create %v, %v; both want ErrNotModelled", err, f, again)
		}
		if f != nil {
			_ = f.Close(t.Context())
		}
		return
	}
	e := newEnv(t, p, entry, s)
	defer e.close()
	acrossClusters(t, e)
}
