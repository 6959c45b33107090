package scenarios

import "fmt"

const trafficPath = "spec.traffic"

func (v *validator) loads() {
	names := make([]string, len(v.s.Spec.Traffic))
	for i := range v.s.Spec.Traffic {
		t := &v.s.Spec.Traffic[i]
		names[i] = t.Name
		path := fmt.Sprintf("%s[%d]", trafficPath, i)
		v.label(path+".name", t.Name)
		if v.d.positions.has(path + ".cluster") {
			refers(v, path+".cluster", "cluster", t.Cluster, v.clusters, clustersPath)
		}
		v.token(path, t)
		known := refers(v, path+".to", "service", t.To, v.services, servicesPath)
		for j, r := range t.Requests {
			p := fmt.Sprintf("%s.requests[%d]", path, j)
			v.method(p+".method", r.Method)
			v.urlPath(p+".path", r.Path, false)
			if known {
				v.allowed(p, fmt.Sprintf("%s sends %s %s to %s through the ingress", t.Name, r.Method, r.Path, t.To), IngressName, t.To, r.Method, r.Path)
				v.admitted(path, p, t, r)
			}
		}
		v.profile(path+".profile.stages", &t.Profile)
	}
	v.unique(trafficPath, ".name", names)
}

func (v *validator) profile(path string, p *Profile) {
	names := make([]string, len(p.Stages))
	sends := false
	for i := range p.Stages {
		s := &p.Stages[i]
		names[i] = s.Name
		at := fmt.Sprintf("%s[%d]", path, i)
		v.label(at+".name", s.Name)
		if s.To != nil && s.Peak != nil {
			v.problem(at+".peak", "a stage is a ramp (to) or a spike (peak), not both", "remove one, or make two stages of it")
		}
		if s.Peak != nil && *s.Peak < s.Rate {
			v.problem(at+".peak", fmt.Sprintf("%s is below rate (%s)", plain(*s.Peak), plain(s.Rate)), "a spike rises; for a rate that falls use to")
		}
		sends = sends || s.sends()
	}
	v.unique(path, ".name", names)
	if !sends && len(p.Stages) > 0 && v.d.sound(path) {
		v.problem(path, "every rate is 0: nothing would be sent", "give at least one stage a rate above 0")
	}
	if total := p.length(); total > maxDuration {
		v.problem(path, "the stages together take longer than 24h", "at most 24h")
	}
}

// sends reports whether the stage sends anything at any time.
func (s *Stage) sends() bool {
	return s.Rate > 0 || s.To != nil && *s.To > 0 || s.Peak != nil && *s.Peak > 0
}

// length is how long the profile takes. It can't overflow: no stage is longer than maxDuration, and a file has less
// than maxTokens of them.
func (p *Profile) length() Duration {
	var total Duration
	for _, s := range p.Stages {
		total += s.For
	}
	return total
}

// timesKnown reports whether the length of every stage could be read.
func (v *validator) timesKnown() bool { return v.d.known(trafficPath + "[].profile.stages[].for") }

// ratesKnown reports whether every rate could be read.
func (v *validator) ratesKnown() bool {
	const stage = trafficPath + "[].profile.stages[]"
	return v.d.known(stage+".rate", stage+".to", stage+".peak")
}

// loadEnd is when the last traffic ends, after the start of the load.
func (v *validator) loadEnd() Duration {
	var end Duration
	for i := range v.s.Spec.Traffic {
		end = max(end, v.s.Spec.Traffic[i].Profile.length())
	}
	return end
}
