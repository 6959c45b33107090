package meshes

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/linkerdapi"
	"github.com/meshproof/meshproof/internal/workload"
	"github.com/meshproof/meshproof/scenarios"
)

// linkerd is Linkerd: mutual TLS between its proxies, policy as Servers, HTTPRoutes and AuthorizationPolicies. Retries
// are off unless a Service asks for them, and none does, so that proof traffic needs no route of its own.
type linkerd struct{}

const (
	linkerdInject    = "linkerd.io/inject"
	linkerdDefault   = "config.linkerd.io/default-inbound-policy"
	linkerdAdmin     = "linkerd-admin" // Server of the proxies' own port, and that port's name in pods
	linkerdPort      = 4191
	allAuthenticated = "all-authenticated" // every client with a certificate of the mesh
	linkerdWrite     = linkerdapi.Group + "/"
)

// Name implements Mesh.
func (linkerd) Name() scenarios.MeshName { return scenarios.MeshLinkerd }

// Gaps implements Mesh.
func (linkerd) Gaps() []scenarios.Gap { return []scenarios.Gap{scenarios.GapEdgeClaims} }

// Install implements Mesh: a control plane in each cluster, all of which trust one root.
func (linkerd) Install(s *scenarios.Scenario, _ scenarios.MeshEntry, _, _ string) clusters.Installation {
	return clusters.Installation{Releases: linkerdReleases(s)}
}

// Objects implements Mesh.
func (linkerd) Objects(s *scenarios.Scenario, _ scenarios.MeshEntry, cluster string) ([]clusters.Object, error) {
	objs, err := workloadObjects(s, cluster, nil)
	if err != nil {
		return nil, err
	}
	settings, err := linkerdSettings(s, objs, scenarios.Workload.LinkerdID)
	if err != nil {
		return nil, err
	}
	return beforeServices(objs, settings), nil
}

// linkerdSettings brings the namespaces among objs into Linkerd, and makes its policy. identity is what services see of a
// caller.
func linkerdSettings(s *scenarios.Scenario, objs []clusters.Object, identity func(scenarios.Workload) string) ([]clusters.Object, error) {
	policy := defaultInbound(s)
	var settings []clusters.Object
	for _, o := range objs {
		ns, ok := o.(*corev1.Namespace)
		if !ok {
			continue
		}
		meshed, services := residents(s, ns.Name)
		if !meshed {
			continue
		}
		ns.Annotations = map[string]string{linkerdInject: "enabled"}
		if services && policy != "" {
			ns.Annotations[linkerdDefault] = policy
			settings = append(settings, openAdmin(ns.Name))
		}
	}
	if s.Spec.Policy.Default == scenarios.DefaultDeny {
		for _, w := range s.Workloads() {
			if w.Service == nil {
				continue
			}
			guard, err := linkerdGuard(s, w, identity)
			if err != nil {
				return nil, err
			}
			settings = append(settings, guard...)
		}
	}
	return settings, nil
}

// defaultInbound is the default inbound policy of the services' namespaces; "" leaves Linkerd's own, which lets everybody
// in. The ingress keeps that too: it is entered from outside, where nobody has the mesh's certificates.
func defaultInbound(s *scenarios.Scenario) string {
	switch {
	case s.Spec.Policy.Default == scenarios.DefaultDeny:
		return "deny"
	case s.Spec.Expect.MTLS != nil && s.Spec.Expect.MTLS.Everywhere:
		return allAuthenticated
	}
	return ""
}

// residents says what stands in a namespace.
func residents(s *scenarios.Scenario, namespace string) (meshed, services bool) {
	for _, w := range s.Workloads() {
		if w.Namespace == namespace {
			meshed = meshed || w.Meshed
			services = services || w.Service != nil
		}
	}
	return meshed, services
}

// openAdmin lets everybody read the proxies' metrics: the default policy would hold for that port as well. No route is
// attached to it, since one would turn off the authorization of the kubelet's probes.
func openAdmin(namespace string) *linkerdapi.Server {
	return server(namespace, linkerdAdmin, &metav1.LabelSelector{}, linkerdPort, "all-unauthenticated")
}

func server(namespace, name string, pods *metav1.LabelSelector, port int32, access string) *linkerdapi.Server {
	return &linkerdapi.Server{
		TypeMeta:   metav1.TypeMeta{APIVersion: linkerdWrite + "v1beta3", Kind: "Server"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: linkerdapi.ServerSpec{
			PodSelector: pods, Port: intstr.FromInt32(port), ProxyProtocol: "HTTP/1", AccessPolicy: access,
		},
	}
}

// linkerdGuard closes a service, except for what the policy allows: one route, with its authorization, for each set of
// callers that may ask for the same.
func linkerdGuard(s *scenarios.Scenario, w scenarios.Workload, identity func(scenarios.Workload) string) ([]clusters.Object, error) {
	pods := &metav1.LabelSelector{MatchLabels: map[string]string{workload.LabelApp: w.Name}}
	// A service called as the admin Server is would otherwise take its place; no service's name has a dot.
	name := w.Name + ".http"
	out := []clusters.Object{server(w.Namespace, name, pods, scenarios.WorkloadPort, "deny")}
	grants, err := grantsOf(s, w)
	if err != nil {
		return nil, err
	}
	for i, g := range grants {
		if len(g.matches) > maxMatches {
			return nil, fmt.Errorf("the rules for service %s come to %d matches of one HTTPRoute rule, where the Gateway API allows %d: use fewer methods or paths", w.Name, len(g.matches), maxMatches)
		}
		routeName := fmt.Sprintf("%s.%03d", w.Name, i+1) // among routes of the same age the first by name is taken
		out = append(out, httpRoute(w.Namespace, routeName, name, g.matches))
		if len(g.callers) > 0 {
			var ids []string
			for _, c := range g.callers {
				ids = append(ids, identity(c))
			}
			route := linkerdapi.TargetRef{Group: gateway.GroupName, Kind: "HTTPRoute", Name: routeName}
			out = append(out, meshTLS(w.Namespace, routeName, ids...), authorize(w.Namespace, routeName, route))
		}
	}
	return out, nil
}

// maxMatches is the Gateway API's limit for one rule.
const maxMatches = 64

func httpRoute(namespace, name, parent string, matches []gateway.HTTPRouteMatch) *gateway.HTTPRoute {
	group, kind := gateway.Group(linkerdapi.Group), gateway.Kind("Server")
	r := &gateway.HTTPRoute{
		TypeMeta:   metav1.TypeMeta{APIVersion: gateway.GroupVersion.String(), Kind: "HTTPRoute"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
	}
	r.Spec.ParentRefs = []gateway.ParentReference{{Group: &group, Kind: &kind, Name: gateway.ObjectName(parent)}}
	r.Spec.Rules = []gateway.HTTPRouteRule{{Matches: matches}}
	return r
}

func meshTLS(namespace, name string, identities ...string) *linkerdapi.MeshTLSAuthentication {
	a := &linkerdapi.MeshTLSAuthentication{
		TypeMeta:   metav1.TypeMeta{APIVersion: linkerdWrite + "v1alpha1", Kind: "MeshTLSAuthentication"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
	}
	a.Spec.Identities = slices.Sorted(slices.Values(identities))
	return a
}

// authorize lets those in at a target who meet the authentication of the policy's own name.
func authorize(namespace, name string, target linkerdapi.TargetRef) *linkerdapi.AuthorizationPolicy {
	return &linkerdapi.AuthorizationPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: linkerdWrite + "v1alpha1", Kind: "AuthorizationPolicy"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: linkerdapi.AuthorizationPolicySpec{
			TargetRef: target,
			RequiredAuthenticationRefs: []linkerdapi.TargetRef{
				{Group: linkerdapi.Group, Kind: "MeshTLSAuthentication", Name: name},
			},
		},
	}
}
