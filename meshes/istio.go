package meshes

import (
	"slices"

	networkingapi "istio.io/api/networking/v1alpha3"
	securityapi "istio.io/api/security/v1beta1"
	typeapi "istio.io/api/type/v1beta1"
	networking "istio.io/client-go/pkg/apis/networking/v1"
	security "istio.io/client-go/pkg/apis/security/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/internal/workload"
	"github.com/meshproof/meshproof/scenarios"
)

// istio is Istio with sidecars: mutual TLS in STRICT mode, policy as AuthorizationPolicies, and a route for proof traffic
// on which no proxy retries and, where asked for, no connection is used twice.
type istio struct{}

const (
	istioNamespace = "istio-system" // Istio's root namespace: what stands there holds for the whole mesh
	freshSubset    = "fresh"
)

// Name implements Mesh.
func (istio) Name() scenarios.MeshName { return scenarios.MeshIstio }

// Gaps implements Mesh.
func (istio) Gaps() []scenarios.Gap { return nil }

// Objects implements Mesh.
func (istio) Objects(s *scenarios.Scenario, _ scenarios.MeshEntry, cluster string) ([]clusters.Object, error) {
	objs, err := workloadObjects(s, cluster, func(w scenarios.Workload) map[string]string {
		if w.Meshed {
			return map[string]string{"istio-injection": "enabled"}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	istioLeaves(s, objs)
	settings := slices.Concat(istioAuthentication(), istioTokens(s), istioAuthorization(s), istioTraffic(s))
	objs = beforeServices(objs, settings)
	return slices.Insert(objs, 0, clusters.Object(workload.Namespace(istioNamespace, nil))), nil
}

// istioAuthentication asks for mutual TLS everywhere, except that the ingress also takes plaintext: it is the one
// workload that is entered from outside, where nobody has the mesh's certificates.
func istioAuthentication() []clusters.Object {
	mtls := func(namespace, name string, mode securityapi.PeerAuthentication_MutualTLS_Mode) *security.PeerAuthentication {
		p := &security.PeerAuthentication{
			TypeMeta:   metav1.TypeMeta{APIVersion: "security.istio.io/v1", Kind: "PeerAuthentication"},
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		}
		p.Spec.Mtls = &securityapi.PeerAuthentication_MutualTLS{Mode: mode}
		return p
	}
	ingress := mtls(scenarios.IngressNamespace, scenarios.IngressName, securityapi.PeerAuthentication_MutualTLS_PERMISSIVE)
	ingress.Spec.Selector = selectWorkload(scenarios.IngressName)
	return []clusters.Object{mtls(istioNamespace, "default", securityapi.PeerAuthentication_MutualTLS_STRICT), ingress}
}

// istioAuthorization translates the portable policy: nothing is allowed in the services' namespaces but what one policy
// per service says. A policy with default allow needs no object: without any AuthorizationPolicy everything is allowed.
func istioAuthorization(s *scenarios.Scenario) []clusters.Object {
	if s.Spec.Policy.Default != scenarios.DefaultDeny {
		return istioEdge(s)
	}
	var nothing, rules []clusters.Object
	closed := map[string]bool{}
	for _, to := range s.Workloads() {
		if to.Service == nil {
			continue
		}
		if !closed[to.Namespace] {
			closed[to.Namespace] = true
			nothing = append(nothing, authorizationPolicy(to.Namespace, "allow-nothing"))
		}
		p := authorizationPolicy(to.Namespace, "to-"+to.Name)
		p.Spec.Selector = selectWorkload(to.Name)
		for _, r := range s.Spec.Policy.Allow {
			if from, ok := s.Workload(r.From); ok && r.To == to.Name {
				p.Spec.Rules = append(p.Spec.Rules, istioRule(from, r))
			}
		}
		if len(p.Spec.Rules) > 0 { // where nobody is allowed, allow-nothing says it
			rules = append(rules, p)
		}
	}
	// The ingress is entered from outside, whatever else stands in its namespace.
	return slices.Concat(nothing, rules, istioEdge(s))
}

func istioRule(from scenarios.Workload, r scenarios.Rule) *securityapi.Rule {
	rule := &securityapi.Rule{From: []*securityapi.Rule_From{{Source: &securityapi.Source{
		// Istio's principals are SPIFFE IDs without their scheme.
		Principals: []string{from.SPIFFEID()[len("spiffe://"):]},
	}}}}
	if len(r.Methods)+len(r.Paths) > 0 {
		rule.To = []*securityapi.Rule_To{{Operation: &securityapi.Operation{
			Methods: slices.Clone(r.Methods), Paths: slices.Clone(r.Paths),
		}}}
	}
	return rule
}

// istioTraffic makes the routes of every service. Proof traffic is never retried, and goes to the subset fresh where it
// asks for a connection of its own; everything else keeps Istio's defaults.
func istioTraffic(s *scenarios.Scenario) []clusters.Object {
	var out []clusters.Object
	for _, w := range s.Workloads() {
		if w.Service == nil {
			continue
		}
		out = append(out, virtualService(w, w.Namespace, w.Host(), true), destinationRule(w.Namespace, w.Name, w.Host()))
	}
	return out
}

// virtualService leads what is sent to a workload to a host in the registry.
func virtualService(w scenarios.Workload, namespace, to string, retries bool) *networking.VirtualService {
	exact := func(v string) *networkingapi.StringMatch {
		return &networkingapi.StringMatch{MatchType: &networkingapi.StringMatch_Exact{Exact: v}}
	}
	route := func(name, subset string, headers map[string]*networkingapi.StringMatch) *networkingapi.HTTPRoute {
		r := &networkingapi.HTTPRoute{Name: name, Route: []*networkingapi.HTTPRouteDestination{{
			Destination: &networkingapi.Destination{Host: to, Subset: subset},
		}}}
		if headers != nil {
			r.Match = []*networkingapi.HTTPMatchRequest{{Headers: headers}}
		}
		if headers != nil || !retries {
			r.Retries = &networkingapi.HTTPRetry{Attempts: 0} // written as {}: present, and 0 attempts
		}
		return r
	}
	v := &networking.VirtualService{
		TypeMeta:   metav1.TypeMeta{APIVersion: "networking.istio.io/v1", Kind: "VirtualService"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: w.Name},
	}
	v.Spec.Hosts = []string{w.Host()}
	v.Spec.Http = []*networkingapi.HTTPRoute{
		route("proof-fresh", freshSubset, map[string]*networkingapi.StringMatch{
			scenarios.HeaderProof: exact("1"), scenarios.HeaderConnection: exact("fresh"),
		}),
		route("proof", "", map[string]*networkingapi.StringMatch{scenarios.HeaderProof: exact("1")}),
		route("default", "", nil),
	}
	return v
}

func destinationRule(namespace, name, host string) *networking.DestinationRule {
	d := &networking.DestinationRule{
		TypeMeta:   metav1.TypeMeta{APIVersion: "networking.istio.io/v1", Kind: "DestinationRule"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
	}
	d.Spec.Host = host
	d.Spec.Subsets = []*networkingapi.Subset{{
		Name: freshSubset,
		TrafficPolicy: &networkingapi.TrafficPolicy{ConnectionPool: &networkingapi.ConnectionPoolSettings{
			Http: &networkingapi.ConnectionPoolSettings_HTTPSettings{MaxRequestsPerConnection: 1},
		}},
	}}
	return d
}

func authorizationPolicy(namespace, name string) *security.AuthorizationPolicy {
	return &security.AuthorizationPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: "security.istio.io/v1", Kind: "AuthorizationPolicy"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
	}
}

func selectWorkload(name string) *typeapi.WorkloadSelector {
	return &typeapi.WorkloadSelector{MatchLabels: map[string]string{workload.LabelApp: name}}
}
