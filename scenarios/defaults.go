package scenarios

import "fmt"

// Default fills in what was left out, as the comments of the types say. It may be called again without effect. It
// leaves alone what it can't decide, such as the cluster of a traffic to a service that does not exist.
func (s *Scenario) Default() {
	orElse(&s.Spec.Blocks, 1)
	for i := range s.Spec.Meshes {
		s.Spec.Meshes[i].setDefaults()
	}
	s.Spec.Topology.setDefaults()
	if s.Spec.Identity.Issuer != nil {
		orElse(&s.Spec.Identity.Issuer.Kind, IssuerOIDC)
	}
	if s.Spec.Policy.Default == "" {
		s.Spec.Policy.Default = DefaultAllow
		if len(s.Spec.Policy.Allow) > 0 {
			s.Spec.Policy.Default = DefaultDeny
		}
	}
	first := map[string]string{} // service: the first cluster that it runs in
	for _, v := range s.Spec.Topology.Services {
		if _, twice := first[v.Name]; !twice && len(v.Clusters) > 0 {
			first[v.Name] = v.Clusters[0]
		}
	}
	for i := range s.Spec.Traffic {
		t := &s.Spec.Traffic[i]
		orElse(&t.From, IngressName)
		if t.Inside() {
			orElse(&t.Cluster, first[t.From])
		}
		orElse(&t.Cluster, first[t.To])
		t.setDefaults()
	}
	for i := range s.Spec.Faults {
		if t := s.Spec.Faults[i].Target; t != nil {
			orElse(&t.Cluster, first[t.Service])
		}
		s.Spec.Faults[i].setDefaults()
	}
	s.Spec.failoverDefaults()
}

func (f *Fault) setDefaults() {
	switch f.Kind {
	case PodKill, NetworkDelay, Partition:
		orElse(&f.By, ByMeshproof)
	case MeshAbort:
		orElse(&f.Status, 503)
		orElse(&f.Share, 1)
	case MeshDelay:
		orElse(&f.Share, 1)
	case CPUStress:
		orElse(&f.Workers, 1)
		orElse(&f.By, ByChaosMesh)
	case NetworkLoss, NetworkBandwidth, MemoryStress, ClockSkew, DNSError:
		orElse(&f.By, ByChaosMesh)
	}
}

// failoverDefaults lets a failover go to the other cluster of a service that runs in two.
func (s *Spec) failoverDefaults() {
	for i := range s.Expect.Failover {
		e := &s.Expect.Failover[i]
		for _, f := range s.Faults {
			if f.Name != e.After || f.Target == nil {
				continue
			}
			for _, v := range s.Topology.Services {
				if v.Name != f.Target.Service || len(v.Clusters) != 2 {
					continue
				}
				for _, c := range v.Clusters {
					if c != f.Target.Cluster {
						orElse(&e.To, c)
					}
				}
			}
		}
	}
}

func (m *MeshEntry) setDefaults() {
	if m.Name != MeshLayered {
		return
	}
	if m.Layered == nil {
		m.Layered = new(Layered)
	}
	orElse(&m.Layered.Gateway, GatewayMeshed)
	if m.Layered.Gateway == GatewayMeshed {
		orElse(&m.Layered.Balancing, BalancingService)
	}
}

func (t *Topology) setDefaults() {
	for i := range t.Clusters {
		orElse(&t.Clusters[i].Nodes, 1)
	}
	orElse(&t.Network.Kind, NetworkFlat)
	orElse(&t.Network.Latency, Duration(1e6))
	for i := range t.Services {
		v := &t.Services[i]
		orElse(&v.Namespace, "app")
		orElse(&v.Replicas, 1)
		if len(v.Clusters) == 0 {
			for _, c := range t.Clusters {
				v.Clusters = append(v.Clusters, c.Name)
			}
		}
		orElse(&v.Latency.P99, v.Latency.P50)
		for j := range v.Calls {
			c := &v.Calls[j]
			if c.Share == nil {
				all := 1.0
				c.Share = &all
			}
			orElse(&c.Method, "GET")
			orElse(&c.Path, "/")
		}
	}
}

func (t *Traffic) setDefaults() {
	orElse(&t.Timeout, Duration(5e9))
	orElse(&t.MaxInFlight, 10_000)
	orElse(&t.Protocol, ProtocolHTTP1)
	orElse(&t.Connections, ConnectionsReuse)
	if len(t.Requests) == 0 {
		t.Requests = []RequestKind{{}}
	}
	for i := range t.Requests {
		r := &t.Requests[i]
		orElse(&r.Method, "GET")
		orElse(&r.Path, "/")
		orElse(&r.Weight, 1)
		if r.Body != nil {
			orElse(&r.Body.Type, "text/plain")
		}
	}
	t.Profile.Default()
}

// Default fills in what was left out of a profile.
func (p *Profile) Default() {
	orElse(&p.Arrivals, ArrivalsEven)
	for i := range p.Stages {
		s := &p.Stages[i]
		orElse(&s.Name, fmt.Sprintf("stage-%d", i+1))
		if r := s.Replay; r != nil {
			orElse(&r.Scale, 1)
			if n := len(r.Seconds); n > 0 {
				orElse(&s.For, min(secondsOf(r.Seconds[n-1]), maxDuration+1)) // too long is said in validation
			}
		}
		if s.Think != nil {
			orElse(&s.Think.Distribution, Fixed)
		}
	}
}

// orElse sets *p where it is zero.
func orElse[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}
