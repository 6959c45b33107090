package faults

import (
	"encoding/binary"
	"hash/fnv"
	"time"

	"github.com/meshproof/meshproof/scenarios"
)

// Planned is a fault with everything that the seed decides.
type Planned struct {
	Name string
	Kind scenarios.FaultKind
	At   time.Duration // after the start of the load

	// Of pod-kill.
	Service  string
	Cluster  string
	Replicas int // that the service has in the cluster
	Ordinal  int // which of its pods dies, from 0 in the order of their creation

	// Of network-delay and partition.
	Between [2]string
	Delay   time.Duration
	For     time.Duration
	Latency time.Duration // one way, between the clusters, without the fault
}

// Plan draws what the seed decides about the faults of a scenario with its defaults filled in. It is the same for the
// same scenario and seed, whatever the mesh. Each fault draws by itself: a new one changes no other.
func Plan(s *scenarios.Scenario, seed int64) []Planned {
	plan := make([]Planned, 0, len(s.Spec.Faults))
	for _, f := range s.Spec.Faults {
		p := Planned{
			Name: f.Name, Kind: f.Kind, At: f.At.D(), For: f.For.D(), Delay: f.Delay.D(),
			Latency: s.Spec.Topology.Network.Latency.D(),
		}
		copy(p.Between[:], f.Between)
		if f.Target != nil {
			p.Service, p.Cluster = f.Target.Service, f.Target.Cluster
			if w, ok := s.Workload(p.Service); ok {
				p.Replicas = w.Replicas
				if p.Cluster == "" && len(w.Clusters) > 0 {
					p.Cluster = w.Clusters[0]
				}
			}
			p.Replicas = max(p.Replicas, 1)
			p.Ordinal = draw(seed, f.Name, p.Replicas)
		}
		plan = append(plan, p)
	}
	return plan
}

// target is how evidence names what the fault hits.
func (p Planned) target() string {
	if p.Kind == scenarios.PodKill {
		return p.Service + "@" + p.Cluster
	}
	return p.Between[0] + "|" + p.Between[1]
}

// draw picks one of n from seed and name: the 64-bit FNV-1a hash of both.
func draw(seed int64, name string, n int) int {
	h := fnv.New64a()
	_ = binary.Write(h, binary.LittleEndian, seed) // a hash takes everything
	_, _ = h.Write([]byte(name))
	x := h.Sum64()
	return int((x ^ x>>32) % uint64(n))
}
