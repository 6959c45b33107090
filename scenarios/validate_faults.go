package scenarios

import (
	"cmp"
	"fmt"
	"slices"
)

const faultsPath = "spec.faults"

// faultFields are the fields that a kind of fault has beside name, kind, by, at and for. Every other one is refused.
var faultFields = map[FaultKind][]string{
	PodKill:          {"target"},
	NetworkDelay:     {"between", "delay"},
	NetworkLoss:      {"between", "share"},
	Partition:        {"between"},
	NetworkBandwidth: {"target", "bitsPerSecond"},
	CPUStress:        {"target", "workers"},
	MemoryStress:     {"target", "memoryMiB"},
	ClockSkew:        {"target", "ahead"},
	DNSError:         {"target"},
	MeshAbort:        {"target", "share", "status"},
	MeshDelay:        {"target", "share", "delay"},
	WorkloadOutage:   {"target"},
	LeafRotation:     {"target"},
	IssuerRotation:   {"target"},
}

// Between reports whether faults of the kind are between two clusters; others are in pods.
func (k FaultKind) Between() bool { return slices.Contains(faultFields[k], "between") }

// ByMesh reports whether faults of the kind are made by a mesh's own proxies.
func (k FaultKind) ByMesh() bool { return k == MeshAbort || k == MeshDelay }

// minAhead is the least that a clock may be off: less could be the host's own.
const minAhead = Duration(5e9)

func (v *validator) breaks() {
	if len(v.s.Spec.Faults) == 0 {
		return
	}
	if len(v.s.Spec.Traffic) == 0 && v.d.known(trafficPath) {
		v.problem(faultsPath, "there is no traffic, and faults are counted from its start", "add "+trafficPath+", or remove the faults")
	}
	names := make([]string, len(v.s.Spec.Faults))
	places := map[string][]int{} // faults whose effects could not be told apart
	for i := range v.s.Spec.Faults {
		f := &v.s.Spec.Faults[i]
		names[i] = f.Name
		path := fmt.Sprintf("%s[%d]", faultsPath, i)
		v.label(path+".name", f.Name)
		if fields, ok := faultFields[f.Kind]; ok {
			v.faultFields(path, f, fields)
			lasts := false // in a place that is known
			switch {
			case f.Rotates():
				v.rotates(path, f)
			case f.Kind.Between():
				lasts = v.linkFault(path, f)
			default:
				lasts = v.podFault(path, f) && f.Kind != PodKill
			}
			if lasts {
				places[f.place()] = append(places[f.place()], i)
			}
		}
		v.faultTime(path, f)
	}
	v.unique(faultsPath, ".name", names)
	for _, place := range places {
		v.apart(place)
	}
}

// place is what two faults at one time must not share.
func (f *Fault) place() string {
	if f.Kind.Between() {
		return "link " + min(f.Between[0], f.Between[1]) + " " + max(f.Between[0], f.Between[1])
	}
	return string(f.Kind) + " " + f.Target.Service + " " + f.Target.Cluster
}

// faultFields refuses what this kind of fault has no use for, and asks for what it needs.
func (v *validator) faultFields(path string, f *Fault, fields []string) {
	for _, field := range []string{"target", "between", "delay", "share", "bitsPerSecond", "workers", "memoryMiB", "ahead", "status"} {
		if !slices.Contains(fields, field) {
			v.superfluous(path, field, string(f.Kind))
		}
	}
	if f.Kind == PodKill || f.Rotates() {
		v.superfluous(path, "for", string(f.Kind))
	} else if f.For == 0 {
		v.missing(path+".for", "say how long it lasts: 2s")
	}
	if f.Kind.ByMesh() || f.Kind == WorkloadOutage || f.Rotates() {
		v.superfluous(path, "by", string(f.Kind))
	} else if f.By == ByMeshproof && f.Kind != PodKill && f.Kind != NetworkDelay && f.Kind != Partition {
		v.problem(path+".by", "meshproof has no means of its own for "+string(f.Kind), "write chaos-mesh, or leave it out")
	}
	has := func(field string) bool { return slices.Contains(fields, field) }
	switch {
	case f.Kind == MeshDelay && f.Delay == 0:
		v.missing(path+".delay", "say how long a request is held back: 200ms")
	case has("delay") && f.Delay == 0:
		v.missing(path+".delay", "say how much longer a packet takes: 40ms")
	case has("delay") && f.Delay > maxLatency:
		v.problem(path+".delay", f.Delay.String()+" is too long", "at most "+maxLatency.String())
	case has("share") && f.Share == 0:
		v.missing(path+".share", "say which share of the packets is lost: 0.2")
	case has("bitsPerSecond") && f.BitsPerSecond == 0:
		v.missing(path+".bitsPerSecond", "say what a pod sends at most: 1000000")
	case has("memoryMiB") && f.MemoryMiB == 0:
		v.missing(path+".memoryMiB", "say how much is taken in each pod: 128")
	case has("ahead") && f.Ahead == 0:
		v.missing(path+".ahead", "say by how much the clocks are ahead: 10m")
	case has("ahead") && f.Ahead < minAhead:
		v.problem(path+".ahead", f.Ahead.String()+" is too little to be told from a busy machine", "at least "+minAhead.String())
	}
}

// podFault reports whether the fault is in pods of a service.
func (v *validator) podFault(path string, f *Fault) bool {
	hint := "name the service whose pods it hits: {service: …}"
	switch f.Kind {
	case PodKill:
		hint = "name the service whose pod dies: {service: …}"
	case WorkloadOutage:
		hint = "name the service whose pods die: {service: …, cluster: …}"
	}
	if !v.target(path, f, hint) {
		return false
	}
	if f.Kind.ByMesh() {
		return v.calledIn(path+".target", f)
	}
	v.spares(path+".target", f)
	return true
}

// target checks the service, and the cluster of it, that a fault is about.
func (v *validator) target(path string, f *Fault, hint string) bool {
	switch {
	case f.Target == nil:
		v.missing(path+".target", hint)
		return false
	case f.Target.Service == "":
		v.missing(path+".target.service", hint)
		return false
	case !refers(v, path+".target.service", "service", f.Target.Service, v.services, servicesPath):
		return false
	}
	at := path + ".target.cluster"
	if !v.d.positions.has(at) {
		return true
	}
	if !refers(v, at, "cluster", f.Target.Cluster, v.clusters, clustersPath) {
		return false
	}
	s := v.services[f.Target.Service]
	if !f.Kind.ByMesh() && !slices.Contains(s.Clusters, f.Target.Cluster) && v.d.known(servicesPath+"[].clusters[]") {
		v.problem(at, fmt.Sprintf("%s does not run in %s", s.Name, f.Target.Cluster), "it runs in "+oneOf(s.Clusters))
		return false
	}
	return true
}

// calledIn refuses a fault of the mesh where nobody calls the target.
func (v *validator) calledIn(path string, f *Fault) bool {
	if !v.d.known(servicesPath+"[].calls", servicesPath+"[].clusters[]", trafficPath+"[].to", trafficPath+"[].cluster") {
		return false
	}
	for _, svc := range v.services {
		for _, c := range svc.Calls {
			if _, ok := v.services[c.To]; !ok {
				return false // it may be the target, misspelt: that is said elsewhere
			}
		}
	}
	if _, _, ok := v.s.CallOf(f); !ok {
		v.problem(path, fmt.Sprintf("nobody in %s calls %s, so nobody's proxy could show the fault", f.Target.Cluster, f.Target.Service),
			"name a service that another one there calls, or that traffic goes to")
		return false
	}
	return true
}

// CallOf finds a caller of a mesh fault's target in the fault's cluster, and what it asks for: a service that calls it, or
// else the ingress, with what traffic asks for.
func (s *Scenario) CallOf(f *Fault) (from Workload, call Call, ok bool) {
	for _, w := range s.Workloads() {
		if w.Service == nil || !slices.Contains(w.Clusters, f.Target.Cluster) {
			continue
		}
		for _, c := range w.Service.Calls {
			if c.To == f.Target.Service {
				return w, c, true
			}
		}
	}
	for _, t := range s.Spec.Traffic {
		if t.Inside() || t.To != f.Target.Service || t.Cluster != f.Target.Cluster || len(t.Requests) == 0 {
			continue
		}
		from, ok = s.Workload(IngressName)
		return from, Call{To: t.To, Method: t.Requests[0].Method, Path: t.Requests[0].Path}, ok
	}
	return Workload{}, Call{}, false
}

// spares refuses a victim whose pods send load: what a generator measures ends with it, or is the fault's.
func (v *validator) spares(path string, f *Fault) {
	if !v.d.known(trafficPath+"[].from", trafficPath+"[].cluster") {
		return
	}
	for i := range v.s.Spec.Traffic {
		t := &v.s.Spec.Traffic[i]
		if t.From != f.Target.Service || t.Cluster != f.Target.Cluster {
			continue
		}
		if f.Kind == PodKill || f.Kind == WorkloadOutage {
			v.problem(path, fmt.Sprintf("%s in %s sends traffic %s, whose generator would die with its pod", t.From, t.Cluster, t.Name),
				"send the traffic from a service of its own, or kill another service")
		} else {
			v.problem(path, fmt.Sprintf("%s in %s sends traffic %s, whose generator would be hit and measure itself", t.From, t.Cluster, t.Name),
				"send the traffic from a service of its own, or hit another service")
		}
		return
	}
}

// linkFault reports whether the fault is on a link between two clusters.
func (v *validator) linkFault(path string, f *Fault) bool {
	at := path + ".between"
	if len(v.s.Spec.Topology.Clusters) < 2 && v.d.known(clustersPath) {
		v.problem(path+".kind", string(f.Kind)+" is between two clusters, and there is only one", "add a cluster under "+clustersPath)
		return false
	}
	if len(f.Between) == 0 {
		v.missing(at, "name the two clusters: [east, west]")
		return false
	}
	if len(f.Between) != 2 {
		v.problem(at, fmt.Sprintf("has %d clusters and not two", len(f.Between)), "name the two clusters between which it is")
		return false
	}
	ok := true
	for j, c := range f.Between {
		ok = refers(v, fmt.Sprintf("%s[%d]", at, j), "cluster", c, v.clusters, clustersPath) && ok
	}
	if ok && f.Between[0] == f.Between[1] {
		v.problem(at, fmt.Sprintf("is %s twice: a cluster has no link to itself", f.Between[0]), "name two clusters")
		ok = false
	}
	return ok
}

// faultTime checks that the fault begins and ends within the load.
func (v *validator) faultTime(path string, f *Fault) {
	if len(v.s.Spec.Traffic) == 0 || !v.timesKnown() || !v.d.sound(path+".at") || !v.d.sound(path+".for") {
		return
	}
	end := v.s.LoadEnd()
	switch {
	case f.At >= end:
		v.problem(path+".at", fmt.Sprintf("%s is not before the end of the load (%s)", f.At, end), "nothing would be sent to show it; begin earlier, or send longer")
	case f.At+f.For > end:
		v.problem(path+".for", fmt.Sprintf("the fault lasts until %s, beyond the end of the load (%s)", f.At+f.For, end), "nothing would be sent to show it; end earlier, or send longer")
	}
}

// apart refuses faults in one place that overlap in time: neither's effect could be told from the other's.
func (v *validator) apart(on []int) {
	slices.SortFunc(on, func(a, b int) int {
		return cmp.Or(cmp.Compare(v.s.Spec.Faults[a].At, v.s.Spec.Faults[b].At), cmp.Compare(a, b))
	})
	longest := on[0] // of those so far, the one that ends last
	for _, i := range on[1:] {
		f, before := &v.s.Spec.Faults[i], &v.s.Spec.Faults[longest]
		path := fmt.Sprintf("%s[%d]", faultsPath, i)
		if f.At < before.At+before.For && v.d.sound(path) && v.d.sound(fmt.Sprintf("%s[%d]", faultsPath, longest)) {
			place := "link"
			if !f.Kind.Between() {
				place = "target"
			}
			v.problem(path+".at", fmt.Sprintf("begins at %s, while %s on the same %s lasts until %s", f.At, before.Name, place, before.At+before.For),
				fmt.Sprintf("two faults on one %s can't be told apart; put one after the other", place))
		}
		if f.At+f.For > before.At+before.For {
			longest = i
		}
	}
}

// missing is a problem for a field that this kind of fault needs.
func (v *validator) missing(path, hint string) {
	if v.d.sound(path) {
		v.problem(path, "is missing", hint)
	}
}

// superfluous refuses a field that this kind of fault has no use for.
func (v *validator) superfluous(path, field, kind string) {
	if p := path + "." + field; v.d.positions.has(p) {
		v.problem(p, "has no meaning for "+kind, "remove it")
	}
}
