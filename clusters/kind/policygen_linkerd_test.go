package kind_test

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	gatewayapi "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/linkerdapi"
	"github.com/meshproof/meshproof/internal/workload"
	"github.com/meshproof/meshproof/scenarios"
)

// linkerdCase is what Linkerd's own objects say about one service.
type linkerdCase struct {
	Server   *linkerdServer  `json:"server,omitempty"` // nil: none, so that the namespace's default policy holds
	Routes   []linkerdRoute  `json:"routes,omitempty"`
	Policies []linkerdPolicy `json:"policies,omitempty"`
	// Identities are MeshTLSAuthentications, case-0 and on.
	Identities []linkerdapi.MeshTLSAuthenticationSpec `json:"identities,omitempty"`
}

// linkerdServer is a Server of the workload's port.
type linkerdServer struct {
	Protocol string `json:"protocol,omitempty"`
	Access   string `json:"access,omitempty"`
}

// linkerdRoute is an HTTPRoute of the Server, by the matches of its rules.
type linkerdRoute struct {
	Rules [][]gatewayapi.HTTPRouteMatch `json:"rules"`
}

// linkerdPolicy is an AuthorizationPolicy.
type linkerdPolicy struct {
	Target string                 `json:"target"` // "Server", "Namespace", or a route's name
	Refs   []linkerdapi.TargetRef `json:"refs,omitempty"`
}

// What a case has at most.
const (
	maxRoutes     = 3
	maxIdentities = 2
)

// everywhere is a NetworkAuthentication that every client meets.
const everywhere = "everywhere"

func caseName(i int) string { return fmt.Sprint("case-", i) }

// routeGroup is the group of a route by its number: one set of objects replaces another under the same names.
func routeGroup(i int) string {
	if i == maxRoutes-1 {
		return linkerdapi.Group
	}
	return gatewayapi.GroupName
}

func (g *generator) linkerdCase() policyCase {
	c := &linkerdCase{}
	if g.chance(0.85) {
		c.Server = &linkerdServer{
			Protocol: g.pick("", "unknown", "HTTP/1", "HTTP/1", "HTTP/1", "HTTP/1", "opaque"),
			Access:   g.pick("", "deny", "deny", "all-unauthenticated", "all-authenticated", "cluster-authenticated", "cluster-unauthenticated", "audit"),
		}
	}
	for range g.IntN(maxRoutes + 1) {
		r := linkerdRoute{}
		for range 1 + g.IntN(2) {
			r.Rules = append(r.Rules, g.routeMatches())
		}
		c.Routes = append(c.Routes, r)
	}
	for range 1 + g.IntN(maxIdentities) {
		c.Identities = append(c.Identities, g.identities())
	}
	for range g.IntN(maxPolicies + 1) {
		c.Policies = append(c.Policies, g.linkerdPolicy(len(c.Routes), len(c.Identities)))
	}
	out := policyCase{Linkerd: c}
	for range 8 {
		a := g.ask()
		a.Token = "" // Linkerd reads none
		out.Asks = append(out.Asks, a)
	}
	return out
}

func (g *generator) routeMatches() (out []gatewayapi.HTTPRouteMatch) {
	for range g.IntN(3) {
		var m gatewayapi.HTTPRouteMatch
		if g.chance(0.8) {
			kind, value := gatewayapi.PathMatchPathPrefix, g.pick("/", "/items", "/items/", "/items/42", "/admin")
			if g.chance(0.4) {
				kind, value = gatewayapi.PathMatchExact, g.pick("/", "/items", "/items/42", "/admin", "/items/")
			}
			m.Path = &gatewayapi.HTTPPathMatch{Type: &kind, Value: &value}
		}
		if g.chance(0.4) {
			method := gatewayapi.HTTPMethod(g.pick("GET", "GET", "POST", "PUT", "DELETE"))
			m.Method = &method
		}
		if g.chance(0.25) {
			exact := gatewayapi.HeaderMatchExact
			m.Headers = []gatewayapi.HTTPHeaderMatch{{Type: &exact, Name: "X-Team", Value: g.pick("red", "blue", "redder")}}
		}
		out = append(out, m)
	}
	return out
}

func (g *generator) identities() linkerdapi.MeshTLSAuthenticationSpec {
	if g.chance(0.3) {
		return linkerdapi.MeshTLSAuthenticationSpec{IdentityRefs: []linkerdapi.TargetRef{g.pickRef(
			linkerdapi.TargetRef{Kind: "ServiceAccount", Name: "alpha", Namespace: "people"},
			linkerdapi.TargetRef{Kind: "ServiceAccount", Name: "beta", Namespace: "office"},
			linkerdapi.TargetRef{Kind: "ServiceAccount", Name: "alpha"},
			linkerdapi.TargetRef{Kind: "Namespace", Name: "people"},
			linkerdapi.TargetRef{Kind: "Namespace", Name: "office"},
		)}}
	}
	const domain = ".serviceaccount.identity.linkerd.cluster.local"
	return linkerdapi.MeshTLSAuthenticationSpec{Identities: g.some(2,
		"alpha.people"+domain, "beta.office"+domain, "alpha.office"+domain, "*", "*.people"+domain, "*.office"+domain,
		"*"+domain, "*.cluster.local", "*.elsewhere", "spiffe://cluster.local/ns/people/sa/alpha",
	)}
}

func (g *generator) pickRef(from ...linkerdapi.TargetRef) linkerdapi.TargetRef {
	return from[g.IntN(len(from))]
}

func (g *generator) linkerdPolicy(routes, identities int) linkerdPolicy {
	p := linkerdPolicy{Target: g.pick("Server", "Server", "Namespace")}
	if routes > 0 && g.chance(0.6) {
		p.Target = caseName(g.IntN(routes))
	}
	if g.chance(0.15) {
		p.Refs = append(p.Refs, linkerdapi.TargetRef{Group: linkerdapi.Group, Kind: "NetworkAuthentication", Name: everywhere})
	}
	switch n := g.IntN(10); {
	case n < 7:
		p.Refs = append(p.Refs, linkerdapi.TargetRef{Group: linkerdapi.Group, Kind: "MeshTLSAuthentication", Name: caseName(g.IntN(identities))})
	case n == 7:
		p.Refs = append(p.Refs, linkerdapi.TargetRef{Kind: "ServiceAccount", Name: "alpha", Namespace: "people"})
	case n == 8: // which is not there
		p.Refs = append(p.Refs, linkerdapi.TargetRef{Group: linkerdapi.Group, Kind: "MeshTLSAuthentication", Name: "nobody"})
	}
	return p
}

// objects are the case's for one service. What it does not have is there too, and is about nobody.
func (c *linkerdCase) objects(service string) []clusters.Object {
	meta := func(version, kind, name string) (metav1.TypeMeta, metav1.ObjectMeta) {
		return metav1.TypeMeta{APIVersion: version, Kind: kind}, metav1.ObjectMeta{Namespace: service, Name: name}
	}
	const own = linkerdapi.Group + "/"
	server := &linkerdapi.Server{}
	server.TypeMeta, server.ObjectMeta = meta(own+"v1beta3", "Server", "case")
	server.Spec = linkerdapi.ServerSpec{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{workload.LabelApp: "nobody"}}, Port: intstr.FromInt32(scenarios.WorkloadPort)}
	if c.Server != nil {
		server.Spec.PodSelector.MatchLabels[workload.LabelApp] = service
		server.Spec.ProxyProtocol, server.Spec.AccessPolicy = c.Server.Protocol, c.Server.Access
	}
	network := &linkerdapi.NetworkAuthentication{Spec: linkerdapi.NetworkAuthenticationSpec{Networks: []linkerdapi.Network{{CIDR: "0.0.0.0/0"}, {CIDR: "::/0"}}}}
	network.TypeMeta, network.ObjectMeta = meta(own+"v1alpha1", "NetworkAuthentication", everywhere)
	objs := []clusters.Object{server, network}
	for i := range maxIdentities {
		a := &linkerdapi.MeshTLSAuthentication{Spec: linkerdapi.MeshTLSAuthenticationSpec{Identities: []string{"nobody"}}}
		if i < len(c.Identities) {
			a.Spec = c.Identities[i]
		}
		a.TypeMeta, a.ObjectMeta = meta(own+"v1alpha1", "MeshTLSAuthentication", caseName(i))
		objs = append(objs, a)
	}
	for i := range maxPolicies {
		p := &linkerdapi.AuthorizationPolicy{}
		p.TypeMeta, p.ObjectMeta = meta(own+"v1alpha1", "AuthorizationPolicy", caseName(i))
		p.Spec.TargetRef = linkerdapi.TargetRef{Group: linkerdapi.Group, Kind: "Server", Name: "nobody"}
		p.Spec.RequiredAuthenticationRefs = []linkerdapi.TargetRef{}
		if i < len(c.Policies) {
			p.Spec.TargetRef = c.Policies[i].target(service)
			p.Spec.RequiredAuthenticationRefs = append(p.Spec.RequiredAuthenticationRefs, c.Policies[i].Refs...)
		}
		objs = append(objs, p)
	}
	for i := range maxRoutes {
		objs = append(objs, c.route(service, i))
	}
	return objs
}

func (p linkerdPolicy) target(service string) linkerdapi.TargetRef {
	switch p.Target {
	case "Server":
		return linkerdapi.TargetRef{Group: linkerdapi.Group, Kind: "Server", Name: "case"}
	case "Namespace":
		return linkerdapi.TargetRef{Kind: "Namespace", Name: service}
	}
	for i := range maxRoutes {
		if p.Target == caseName(i) {
			return linkerdapi.TargetRef{Group: routeGroup(i), Kind: "HTTPRoute", Name: p.Target}
		}
	}
	return linkerdapi.TargetRef{Group: linkerdapi.Group, Kind: "Server", Name: "nobody"}
}

func (c *linkerdCase) route(service string, i int) clusters.Object {
	group, kind, parent := gatewayapi.Group(linkerdapi.Group), gatewayapi.Kind("Server"), gatewayapi.ObjectName("nobody")
	spec := gatewayapi.HTTPRouteSpec{Rules: []gatewayapi.HTTPRouteRule{{}}}
	if i < len(c.Routes) {
		parent, spec.Rules = "case", nil
		for _, matches := range c.Routes[i].Rules {
			spec.Rules = append(spec.Rules, gatewayapi.HTTPRouteRule{Matches: matches})
		}
	}
	spec.ParentRefs = []gatewayapi.ParentReference{{Group: &group, Kind: &kind, Name: parent}}
	meta := metav1.ObjectMeta{Namespace: service, Name: caseName(i)}
	if routeGroup(i) == linkerdapi.Group {
		return &linkerdapi.HTTPRoute{TypeMeta: metav1.TypeMeta{APIVersion: linkerdapi.Group + "/v1beta3", Kind: "HTTPRoute"}, ObjectMeta: meta, Spec: spec}
	}
	return &gatewayapi.HTTPRoute{TypeMeta: metav1.TypeMeta{APIVersion: gatewayapi.GroupVersion.String(), Kind: "HTTPRoute"}, ObjectMeta: meta, Spec: spec}
}
