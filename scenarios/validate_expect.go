package scenarios

import "fmt"

func (v *validator) expect() {
	e := &v.s.Spec.Expect
	if e.MTLS == nil && e.Policy == nil && len(e.Latency)+len(e.Errors)+len(e.Recovery)+len(e.Rotation)+len(e.Failover) == 0 && v.d.sound("spec.expect") {
		v.problem("spec.expect", "expects nothing: no run could fail", "add mtls, policy, latency, errors, recovery, rotation or failover")
	}
	if e.MTLS != nil && !e.MTLS.Everywhere {
		v.problem("spec.expect.mtls.everywhere", "must be true", "leave mtls out to expect nothing of it")
	}
	if e.Policy != nil && v.s.Spec.Policy.Default == DefaultAllow && v.rulesKnown() {
		v.problem("spec.expect.policy", "the matrix is empty of refusals: the policy refuses nothing, so nothing is proved", "give spec.policy rules, or leave this out")
	}
	seen := map[string]string{}
	for i, l := range e.Latency {
		path := fmt.Sprintf("spec.expect.latency[%d]", i)
		v.budget(seen, path, kindLatency, l.Traffic, l.Phase, l.P50+l.P90+l.P99 > 0 || l.OverBaseline == nil, l.OverBaseline != nil)
		v.quantiles(path, l)
		if o := l.OverBaseline; o != nil {
			v.baseline(path+".overBaseline", o.Mesh)
			if o.P50 == 0 && o.P90 == 0 && o.P99 == 0 && v.d.sound(path+".overBaseline") {
				v.problem(path+".overBaseline", "has no quantile", "add p50, p90 or p99")
			}
		}
	}
	for i, x := range e.Errors {
		path := fmt.Sprintf("spec.expect.errors[%d]", i)
		v.budget(seen, path, "errors", x.Traffic, x.Phase, x.Rate != nil || x.OverBaseline == nil, x.OverBaseline != nil)
		if x.Rate == nil && x.OverBaseline == nil && v.d.sound(path) {
			v.problem(path, "has no budget", "add rate, or overBaseline")
		}
		if x.Rate != nil {
			v.failing(path+".rate", *x.Rate)
		}
		if o := x.OverBaseline; o != nil {
			v.baseline(path+".overBaseline", o.Mesh)
			v.failing(path+".overBaseline.rate", o.Rate)
		}
	}
	for i, r := range e.Recovery {
		v.recovery(seen, fmt.Sprintf("spec.expect.recovery[%d]", i), r)
	}
	for i, r := range e.Rotation {
		v.rotation(seen, fmt.Sprintf("spec.expect.rotation[%d]", i), r)
	}
	for i, f := range e.Failover {
		v.failover(seen, fmt.Sprintf("spec.expect.failover[%d]", i), f)
	}
}

// failing checks a share of requests that may fail.
func (v *validator) failing(path string, share float64) {
	if share == 1 {
		v.problem(path, "is 1: it lets every request fail, so it expects nothing", "give a share below 1")
	}
}

// baseline checks that there are a baseline mesh and another one to hold against it.
func (v *validator) baseline(path string, mesh MeshName) {
	meshes := make(map[string]MeshEntry, len(v.s.Spec.Meshes))
	for _, m := range v.s.Spec.Meshes {
		meshes[string(m.Name)] = m
	}
	if refers(v, path+".mesh", "mesh", string(mesh), meshes, "spec.meshes") && len(meshes) == 1 && v.d.named("spec.meshes") {
		v.problem(path+".mesh", fmt.Sprintf("%s is the only mesh of the scenario: there is none to hold against it", mesh), "add another under spec.meshes, or remove overBaseline")
	}
}

const kindLatency = "latency"

// budget checks which traffic and phase a budget is for, and what it is about: absolute figures, figures over those of a
// baseline, or both.
func (v *validator) budget(seen map[string]string, path, kind, traffic, phase string, absolute, relative bool) {
	if len(v.traffic) == 0 {
		if v.d.known(trafficPath) {
			v.problem(path+".traffic", "there is no traffic", "add "+trafficPath+", or remove this")
		}
		return
	}
	if !refers(v, path+".traffic", "traffic", traffic, v.traffic, trafficPath) {
		return
	}
	if kind == kindLatency && v.traffic[traffic].Profile.Closed() {
		v.problem(path+".traffic", traffic+" is a closed loop, whose users ask less when the service is slow: its latency hides how long others would have waited (coordinated omission)",
			"give it a rate instead of users, or remove this")
		return
	}
	if absolute {
		v.once(seen, path, kind+" of "+traffic+" "+phase)
	}
	if relative {
		v.once(seen, path+".overBaseline", kind+" over a baseline of "+traffic+" "+phase)
	}
	if phase == "" {
		return
	}
	t := v.traffic[traffic]
	phases := make(map[string]*Stage, len(t.Profile.Stages))
	for i := range t.Profile.Stages {
		phases[t.Profile.Stages[i].Name] = &t.Profile.Stages[i]
	}
	if refers(v, path+".phase", "phase of "+traffic, phase, phases, trafficPath+"[].profile.stages") && !phases[phase].sends() && v.ratesKnown() {
		v.problem(path+".phase", fmt.Sprintf("the phase %s sends nothing that could be measured", phase), "choose another phase, or give it a rate")
	}
}

// once refuses a second budget for the same thing.
func (v *validator) once(seen map[string]string, path, what string) {
	if first, twice := seen[what]; twice {
		v.problem(path, "is for the same as "+first, "keep one of them")
		return
	}
	seen[what] = path
}

func (v *validator) quantiles(path string, l ExpectLatency) {
	if l.P50 == 0 && l.P90 == 0 && l.P99 == 0 && l.OverBaseline == nil && v.d.sound(path) {
		v.problem(path, "has no quantile", "add p50, p90, p99 or overBaseline")
	}
	lower, name := Duration(0), ""
	for _, q := range []struct {
		name  string
		value Duration
	}{{"p50", l.P50}, {"p90", l.P90}, {"p99", l.P99}} {
		if q.value == 0 {
			continue
		}
		if q.value < lower {
			v.problem(path+"."+q.name, fmt.Sprintf("%s is below %s (%s)", q.value, name, lower), "a higher quantile is never smaller")
		}
		lower, name = q.value, q.name
	}
}

func (v *validator) recovery(seen map[string]string, path string, r ExpectRecovery) {
	if len(v.faults) == 0 {
		if v.d.known(faultsPath) {
			v.problem(path+".after", "there is no fault to recover from", "add "+faultsPath+", or remove this")
		}
		return
	}
	if !refers(v, path+".after", "fault", r.After, v.faults, faultsPath) {
		return
	}
	v.once(seen, path, "recovery after "+r.After)
	f := v.faults[r.After]
	if f.Rotates() {
		v.problem(path+".after", fmt.Sprintf("%s breaks nothing that could recover", r.After), "write spec.expect.rotation: [{after: …, within: …}]")
		return
	}
	if end := v.s.LoadEnd(); f.At+f.For < end && f.At+f.For+r.Within > end && v.timesKnown() && v.d.known(faultsPath+"[].at", faultsPath+"[].for") {
		v.problem(path+".within", fmt.Sprintf("%s after the fault, at %s, the load is over (%s): whether it recovered could not be seen", r.Within, f.At+f.For+r.Within, end),
			"send longer, break earlier, or expect it sooner")
	}
}
