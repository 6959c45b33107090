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

	// Of pod-kill and workload-outage, and the cluster of rotations.
	Service   string
	Namespace string
	Cluster   string
	Replicas  int // that the service has in the cluster
	Ordinal   int // pod-kill: which of its pods dies, from 0 in the order of their creation

	// Of rotations.
	Services []string      // whose certificates change
	Within   time.Duration // how long they are watched

	// Of network-delay and partition.
	Between [2]string
	Delay   time.Duration
	For     time.Duration // also of workload-outage
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
				p.Replicas, p.Namespace = w.Replicas, w.Namespace
				if p.Cluster == "" && len(w.Clusters) > 0 {
					p.Cluster = w.Clusters[0]
				}
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
	case p.Service != "":
		return p.Service + "@" + p.Cluster
	case p.Cluster != "":
		return p.Cluster
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
