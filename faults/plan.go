package faults

import (
	"encoding/binary"
	"hash/fnv"
	"strings"
	"time"

	"github.com/meshproof/meshproof/scenarios"
)

// Planned is a fault with everything that the seed decides.
type Planned struct {
	scenarios.Fault // with its defaults filled in

	// Of faults in pods, and of rotations.
	Namespace string   // of the service
	Replicas  int      // that the service has in the cluster
	Ordinal   int      // which of its pods a pod-kill ends, from 0 in the order of their creation
	Services  []string // whose certificates a rotation changes
	// Within is how long a rotation is watched.
	Within time.Duration

	Latency time.Duration // one way, between the clusters, without the fault
}

// Plan draws what the seed decides about the faults of a scenario with its defaults filled in. It is the same for the
// same scenario and seed, whatever the mesh. Each fault draws by itself: a new one changes no other.
func Plan(s *scenarios.Scenario, seed int64) []Planned {
	plan := make([]Planned, 0, len(s.Spec.Faults))
	for _, f := range s.Spec.Faults {
		p := Planned{Fault: f, Latency: s.Spec.Topology.Network.Latency.D()}
		if f.Target != nil {
			if w, ok := s.Workload(f.Target.Service); ok {
				p.Replicas, p.Namespace = w.Replicas, w.Namespace
			}
			p.Replicas = max(p.Replicas, 1)
			p.Ordinal = draw(seed, f.Name, p.Replicas)
		}
		if f.Rotates() {
			p.Services, p.Within = f.RotatedServices(s), watched(s, f.Name)
		}
		plan = append(plan, p)
	}
	return plan
}

// watched is how long a rotation is watched: for what is expected of it, or until every certificate must have been
// renewed.
func watched(s *scenarios.Scenario, fault string) time.Duration {
	for _, e := range s.Spec.Expect.Rotation {
		if e.After == fault {
			return e.Within.D()
		}
	}
	return s.Spec.Identity.LeafLifetime.D() + RotationSlack
}

// target is how evidence names what the fault hits.
func (p Planned) target() string {
	switch {
	case p.Target == nil:
		return strings.Join(p.Between, "|")
	case p.Target.Service == "":
		return p.Target.Cluster
	}
	return p.Target.Service + "@" + p.Target.Cluster
}

// draw picks one of n from seed and name: the 64-bit FNV-1a hash of both.
func draw(seed int64, name string, n int) int {
	h := fnv.New64a()
	_ = binary.Write(h, binary.LittleEndian, seed) // a hash takes everything
	_, _ = h.Write([]byte(name))
	x := h.Sum64()
	return int((x ^ x>>32) % uint64(n))
}
