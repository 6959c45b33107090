package scenarios

import (
	"fmt"
	"slices"
)

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
		way := "through the ingress"
		if t.Inside() {
			way = "from " + t.From
			known = v.sender(path, t) && known
		}
		for j, r := range t.Requests {
			p := fmt.Sprintf("%s.requests[%d]", path, j)
			v.method(p+".method", r.Method)
			v.urlPath(p+".path", r.Path, false)
			if known {
				v.allowed(p, fmt.Sprintf("%s sends %s %s to %s %s", t.Name, r.Method, r.Path, t.To, way), t.From, t.To, r.Method, r.Path)
				if !t.Inside() {
					v.admitted(path, p, t, r)
				}
			}
		}
		v.profile(path+".profile.stages", &t.Profile)
	}
	v.unique(trafficPath, ".name", names)
}

// sender checks the service that sends a traffic, and reports whether it is one that can.
func (v *validator) sender(path string, t *Traffic) bool {
	if t.From == OutsiderName {
		v.problem(path+".from", "the outsider is who must always be refused", "name a service, or ingress")
		return false
	}
	senders := map[string]bool{IngressName: true}
	for name := range v.services {
		senders[name] = true
	}
	if !refers(v, path+".from", "service", t.From, senders, servicesPath) {
		return false
	}
	if t.From == t.To {
		v.problem(path+".from", fmt.Sprintf("%s would send to itself", t.From), "name another service, or ingress")
		return false
	}
	s := v.services[t.From]
	at := path + ".cluster"
	if v.d.positions.has(at) && v.clusters[t.Cluster] && !slices.Contains(s.Clusters, t.Cluster) && v.d.known(servicesPath+"[].clusters[]") {
		v.problem(at, fmt.Sprintf("%s does not run in %s, and is to send from there", s.Name, t.Cluster), "it runs in "+oneOf(s.Clusters))
	}
	return true
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
	if total := p.Length(); total > maxDuration {
		v.problem(path, "the stages together take longer than 24h", "at most 24h")
	}
}

// sends reports whether the stage sends anything at any time.
func (s *Stage) sends() bool {
	return s.Rate > 0 || s.To != nil && *s.To > 0 || s.Peak != nil && *s.Peak > 0
}

// Length is how long the profile takes. It can't overflow: no stage is longer than maxDuration, and a file has less
// than maxTokens of them.
func (p *Profile) Length() Duration {
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

// LoadEnd is when the last traffic ends, after the start of the load.
func (s *Scenario) LoadEnd() Duration {
	var end Duration
	for i := range s.Spec.Traffic {
		end = max(end, s.Spec.Traffic[i].Profile.Length())
	}
	return end
}
