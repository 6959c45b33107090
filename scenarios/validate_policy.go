package scenarios

import (
	"fmt"
	"strings"
)

const allowPath = "spec.policy.allow"

func (v *validator) policy() {
	p := &v.s.Spec.Policy
	if p.Default == DefaultAllow && len(p.Allow) > 0 {
		v.problem("spec.policy.default", "allow leaves the rules under "+allowPath+" without effect", "write deny, or remove the rules")
	}
	callers := map[string]bool{IngressName: true}
	for name := range v.services {
		callers[name] = true
	}
	callable := map[string]bool{}
	for i, r := range p.Allow {
		path := fmt.Sprintf("%s[%d]", allowPath, i)
		if r.From == OutsiderName {
			v.problem(path+".from", "the outsider is who must always be refused", "name a service, or ingress")
		} else {
			refers(v, path+".from", "service", r.From, callers, servicesPath)
		}
		if r.To == IngressName {
			v.problem(path+".to", "nobody calls the ingress but the traffic", "name a service")
		} else {
			refers(v, path+".to", "service", r.To, v.services, servicesPath)
		}
		callable[r.To] = true
		for j, m := range r.Methods {
			v.method(fmt.Sprintf("%s.methods[%d]", path, j), m)
		}
		v.unique(path+".methods", "", r.Methods)
		for j, u := range r.Paths {
			v.urlPath(fmt.Sprintf("%s.paths[%d]", path, j), u, true)
		}
		v.unique(path+".paths", "", r.Paths)
		v.ruleClaims(path, r)
	}
	if p.Default != DefaultDeny || !v.rulesKnown() {
		return
	}
	for i, s := range v.s.Spec.Topology.Services {
		named := s.Name != "" && s.Name != IngressName && s.Name != OutsiderName
		if named && !callable[s.Name] {
			v.problem(fmt.Sprintf("%s[%d]", servicesPath, i), fmt.Sprintf("the policy lets nobody call %s, and a refusal can't be proved without an authorised twin", s.Name),
				fmt.Sprintf("add a rule under %s: {from: …, to: %s}", allowPath, s.Name))
		}
	}
}

// allowed checks that the policy allows a request that the scenario itself makes. request says which it is.
func (v *validator) allowed(path, request, from, to, method, url string) {
	if !v.rulesKnown() || !v.d.sound(path) || v.s.Spec.Policy.Allows(from, to, method, url) {
		return
	}
	v.problem(path, request+", which the policy does not allow: every such request would be refused",
		fmt.Sprintf("add a rule under %s: {from: %s, to: %s, methods: [%s], paths: [%s]}", allowPath, from, to, method, strings.TrimSpace(url)))
}

// rulesKnown reports whether every rule could be read.
func (v *validator) rulesKnown() bool {
	const rule = allowPath + "[]"
	return v.d.known("spec.policy.default", rule+".from", rule+".to", rule+".methods[]", rule+".paths[]", rule+".claims")
}
