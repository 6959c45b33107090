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
			v.headers(p+".headers", r.Headers)
			v.body(p, r)
			if known {
				v.allowed(p, fmt.Sprintf("%s sends %s %s to %s %s", t.Name, r.Method, r.Path, t.To, way), t.From, t.To, r.Method, r.Path)
				if !t.Inside() {
					v.admitted(path, p, t, r)
				}
			}
		}
		v.profile(path+".profile", &t.Profile)
		v.protocol(path, t)
		v.sessions(path, t)
		for j, st := range t.Profile.Stages {
			if st.Users > t.MaxInFlight && v.d.sound(path+".maxInFlight") {
				v.problem(fmt.Sprintf("%s.profile.stages[%d].users", path, j), fmt.Sprintf("%d users have more requests under way than maxInFlight (%d)", st.Users, t.MaxInFlight), "raise maxInFlight, or take fewer users")
			}
		}
	}
	v.unique(trafficPath, ".name", names)
}

// sessions refuses sessions that could not each have a connection.
func (v *validator) sessions(path string, t *Traffic) {
	switch path += ".sessions"; {
	case t.Sessions == 0 || !v.d.sound(path):
	case t.Profile.Closed():
		v.problem(path, "the users of a closed loop are sessions already", "remove it, or take a profile with a rate")
	case t.Protocol == ProtocolHTTP2:
		v.problem(path, "sessions have connections of their own, and are sent in http1 alone", "use http1, or remove it")
	case t.Sessions > t.MaxInFlight:
		v.problem(path, fmt.Sprintf("%d sessions have more connections than maxInFlight (%d)", t.Sessions, t.MaxInFlight), "raise maxInFlight, or take fewer sessions")
	}
}

// protocol refuses what is not sent in HTTP/2.
func (v *validator) protocol(path string, t *Traffic) {
	if t.Protocol == ProtocolHTTP2 && t.Profile.Closed() {
		v.problem(path+".protocol", "the users of a closed loop each have a connection to themselves, and HTTP/2 shares them", "use http1, or a profile with a rate")
	}
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

// timesKnown reports whether the length of every stage could be read.
func (v *validator) timesKnown() bool { return v.d.known(trafficPath + "[].profile.stages[].for") }

// LoadEnd is when the last traffic ends, after the start of the load.
func (s *Scenario) LoadEnd() Duration {
	var end Duration
	for i := range s.Spec.Traffic {
		end = max(end, s.Spec.Traffic[i].Profile.Length())
	}
	return end
}
