package scenarios

import (
	"cmp"
	"fmt"
	"slices"
)

const faultsPath = "spec.faults"

func (v *validator) breaks() {
	if len(v.s.Spec.Faults) == 0 {
		return
	}
	if len(v.s.Spec.Traffic) == 0 && v.d.known(trafficPath) {
		v.problem(faultsPath, "there is no traffic, and faults are counted from its start", "add "+trafficPath+", or remove the faults")
	}
	names := make([]string, len(v.s.Spec.Faults))
	links := map[[2]string][]int{}
	for i := range v.s.Spec.Faults {
		f := &v.s.Spec.Faults[i]
		names[i] = f.Name
		path := fmt.Sprintf("%s[%d]", faultsPath, i)
		v.label(path+".name", f.Name)
		switch f.Kind {
		case PodKill:
			v.podKill(path, f)
		case WorkloadOutage:
			v.outage(path, f)
		case LeafRotation, IssuerRotation:
			v.rotates(path, f)
		case NetworkDelay, Partition:
			if v.linkFault(path, f) {
				link := [2]string{min(f.Between[0], f.Between[1]), max(f.Between[0], f.Between[1])}
				links[link] = append(links[link], i)
			}
		}
		v.faultTime(path, f)
	}
	v.unique(faultsPath, ".name", names)
	for _, on := range links {
		v.apart(on)
	}
}

func (v *validator) podKill(path string, f *Fault) {
	if v.target(path, f, "name the service whose pod dies: {service: …}") {
		v.spares(path+".target", f.Target)
	}
	for _, field := range []string{"between", "delay", "for"} {
		v.superfluous(path, field, "pod-kill")
	}
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
	if v.d.positions.has(at) && refers(v, at, "cluster", f.Target.Cluster, v.clusters, clustersPath) {
		s := v.services[f.Target.Service]
		if !slices.Contains(s.Clusters, f.Target.Cluster) && v.d.known(servicesPath+"[].clusters[]") {
			v.problem(at, fmt.Sprintf("%s does not run in %s", s.Name, f.Target.Cluster), "it runs in "+oneOf(s.Clusters))
			return false
		}
	}
	return true
}

// spares refuses a victim whose pods send load: what a generator measures ends with it.
func (v *validator) spares(path string, target *FaultTarget) {
	if !v.d.known(trafficPath+"[].from", trafficPath+"[].cluster") {
		return
	}
	for i := range v.s.Spec.Traffic {
		if t := &v.s.Spec.Traffic[i]; t.From == target.Service && t.Cluster == target.Cluster {
			v.problem(path, fmt.Sprintf("%s in %s sends traffic %s, whose generator would die with its pod", t.From, t.Cluster, t.Name),
				"send the traffic from a service of its own, or kill another service")
			return
		}
	}
}

// linkFault reports whether the fault is on a link between two clusters.
func (v *validator) linkFault(path string, f *Fault) bool {
	v.superfluous(path, "target", string(f.Kind))
	if f.Kind == Partition {
		v.superfluous(path, "delay", string(f.Kind))
	} else if f.Delay == 0 {
		v.missing(path+".delay", "say how much longer a packet takes: 40ms")
	} else if f.Delay > maxLatency {
		v.problem(path+".delay", f.Delay.String()+" is too long", "at most "+maxLatency.String())
	}
	if f.For == 0 {
		v.missing(path+".for", "say how long it lasts: 2s")
	}
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
	end := v.loadEnd()
	switch {
	case f.At >= end:
		v.problem(path+".at", fmt.Sprintf("%s is not before the end of the load (%s)", f.At, end), "nothing would be sent to show it; begin earlier, or send longer")
	case f.At+f.For > end:
		v.problem(path+".for", fmt.Sprintf("the fault lasts until %s, beyond the end of the load (%s)", f.At+f.For, end), "nothing would be sent to show it; end earlier, or send longer")
	}
}

// apart refuses faults on one link that overlap in time: neither's effect could be told from the other's.
func (v *validator) apart(on []int) {
	slices.SortFunc(on, func(a, b int) int {
		return cmp.Or(cmp.Compare(v.s.Spec.Faults[a].At, v.s.Spec.Faults[b].At), cmp.Compare(a, b))
	})
	longest := on[0] // of those so far, the one that ends last
	for _, i := range on[1:] {
		f, before := &v.s.Spec.Faults[i], &v.s.Spec.Faults[longest]
		path := fmt.Sprintf("%s[%d]", faultsPath, i)
		if f.At < before.At+before.For && v.d.sound(path) && v.d.sound(fmt.Sprintf("%s[%d]", faultsPath, longest)) {
			v.problem(path+".at", fmt.Sprintf("begins at %s, while %s on the same link lasts until %s", f.At, before.Name, before.At+before.For),
				"two faults on one link can't be told apart; put one after the other")
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
