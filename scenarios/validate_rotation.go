package scenarios

import (
	"fmt"
	"slices"
)

// rotates checks a rotation of certificates.
func (v *validator) rotates(path string, f *Fault) {
	at := path + ".target"
	switch {
	case f.Target == nil:
		v.missing(at, "name the cluster whose certificates are about to change: {cluster: …}")
	case f.Kind == IssuerRotation:
		if v.d.positions.has(at + ".service") {
			v.problem(at+".service", "has no meaning for issuer-rotation: a cluster's issuer is that of all its services", "remove it")
		}
		v.rotatedCluster(at, f.Target)
	case f.Target.Service == "":
		v.rotatedCluster(at, f.Target)
	default:
		v.target(path, f, "")
	}
	if v.s.Spec.Identity.LeafLifetime == 0 && v.d.sound("spec.identity") {
		v.problem(path+".kind", "certificates hold as long as each mesh lets them, a day: none would be renewed under the load",
			"add spec.identity.leafLifetime: 8s")
	}
}

func (v *validator) rotatedCluster(path string, t *FaultTarget) {
	if t.Cluster == "" {
		v.missing(path+".cluster", "name the cluster whose certificates are about to change")
		return
	}
	refers(v, path+".cluster", "cluster", t.Cluster, v.clusters, clustersPath)
}

// rotation checks what is expected of a rotation: seen to its end, and by itself, so that what is dropped can be laid to it.
func (v *validator) rotation(seen map[string]string, path string, r ExpectRotation) {
	f := v.after(seen, path, "rotation", r.After, LeafRotation, IssuerRotation)
	if f == nil {
		return
	}
	end := f.At + r.Within
	v.seenWithin(path, "the rotation", end)
	if !v.d.known(faultsPath + "[]") {
		return
	}
	for i := range v.s.Spec.Faults {
		o := &v.s.Spec.Faults[i]
		if o == f || o.At >= end || o.At+o.For+v.lasts(o) <= f.At {
			continue
		}
		apart := o.Rotates() && o.Target != nil && f.Target != nil && o.Target.Cluster != f.Target.Cluster
		if !apart {
			v.problem(path+".within", fmt.Sprintf("%s is watched until %s, and %s begins at %s", r.After, end, o.Name, o.At),
				"which of them drops attempts, or changes certificates, could not be told; put one after the other")
		}
	}
}

// lasts is how long a rotation is watched for what is expected of it.
func (v *validator) lasts(f *Fault) Duration {
	for _, r := range v.s.Spec.Expect.Rotation {
		if r.After == f.Name {
			return r.Within
		}
	}
	return 0
}

// failover checks what is expected of the other clusters in an outage.
func (v *validator) failover(seen map[string]string, path string, e ExpectFailover) {
	f := v.after(seen, path, "failover", e.After, WorkloadOutage)
	if f == nil {
		return
	}
	v.seenWithin(path, "the beginning of the outage", f.At+e.Within)
	if f.Target == nil {
		return
	}
	s, ok := v.services[f.Target.Service]
	if !ok || !v.d.known(servicesPath+"[].clusters[]") {
		return
	}
	others := slices.DeleteFunc(slices.Clone(s.Clusters), func(c string) bool { return c == f.Target.Cluster })
	switch {
	case len(others) == 0:
		v.problem(path+".after", fmt.Sprintf("%s runs in %s alone: nobody could take over", s.Name, f.Target.Cluster), "let it run in another cluster too")
	case e.To == "":
		v.missing(path+".to", "name the cluster that takes over: "+oneOf(others))
	case !slices.Contains(others, e.To):
		v.problem(path+".to", fmt.Sprintf("%s cannot take over from %s in %s", quote(e.To), s.Name, f.Target.Cluster), "it also runs in "+oneOf(others))
	}
}

// after finds the fault that an expectation is about, of one of some kinds. It is nil where there is none.
func (v *validator) after(seen map[string]string, path, what, name string, kinds ...FaultKind) *Fault {
	if len(v.faults) == 0 {
		if v.d.known(faultsPath) {
			v.problem(path+".after", "there is no fault", "add "+faultsPath+", or remove this")
		}
		return nil
	}
	if !refers(v, path+".after", "fault", name, v.faults, faultsPath) {
		return nil
	}
	v.once(seen, path, what+" after "+name)
	f := v.faults[name]
	if f.Kind != "" && !slices.Contains(kinds, f.Kind) {
		var names []string
		for _, k := range kinds {
			names = append(names, string(k))
		}
		v.problem(path+".after", fmt.Sprintf("%s is of kind %s", name, f.Kind), what+" is of faults of kind "+oneOf(names))
		return nil
	}
	return f
}

// seenWithin refuses a time limit that ends after the load.
func (v *validator) seenWithin(path, what string, until Duration) {
	if end := v.s.LoadEnd(); until > end && v.timesKnown() && v.d.known(faultsPath+"[].at") {
		v.problem(path+".within", fmt.Sprintf("the load is over at %s, before %s has had its time (%s)", end, what, until),
			"send longer, begin earlier, or expect it sooner")
	}
}
