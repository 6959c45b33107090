package linkerd

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/clusters/embedded/proxy/relay"
	"github.com/meshproof/meshproof/clusters/linkerdapi"
	"github.com/meshproof/meshproof/scenarios"
)

const (
	useReal      = "the embedded driver's Linkerd does not interpret it; leave it out, or run on a driver with real proxies"
	byController = "Linkerd's own validation refuses it"
)

// check refuses every object, and every field of one, that the model would have to pass over, and what Linkerd's own
// validation would refuse. All refusals come at once.
func check(objs []clusters.Object) error {
	var all []error
	for _, o := range objs {
		all = append(all, checkObject(o)...)
	}
	return errors.Join(append(all, checkTogether(objs)...)...)
}

// report collects what is refused of one object.
type report struct{ proxy.Report }

func newReport(o clusters.Object) *report { return &report{proxy.Report{Object: proxy.NameOf(o)}} }

func checkObject(o clusters.Object) []error {
	if proxy.IsNil(o) {
		return []error{fmt.Errorf("an object is nil: %w", clusters.ErrNotModelled)}
	}
	r := newReport(o)
	known := map[string]bool{}
	switch o := o.(type) {
	case *linkerdapi.Server:
		r.server(o)
	case *linkerdapi.HTTPRoute:
		r.route(o.Namespace, &o.Spec)
	case *gateway.HTTPRoute:
		r.route(o.Namespace, &o.Spec)
	case *linkerdapi.AuthorizationPolicy:
		r.authorizationPolicy(o)
	case *linkerdapi.MeshTLSAuthentication:
		r.meshTLS(o)
	case *linkerdapi.NetworkAuthentication:
		r.network(o)
	case *linkerdapi.HTTPLocalRateLimitPolicy:
		r.rateLimit(o)
	case *corev1.Namespace:
		known = injection
		r.injection("metadata", o.Annotations)
	case *appsv1.Deployment:
		const path = "spec.template.metadata"
		r.Metadata(path, o.Spec.Template.Labels, o.Spec.Template.Annotations, "linkerd.io", podInjection, useReal)
		r.injection(path, o.Spec.Template.Annotations)
		r.skipped(path, o.Spec.Template.Annotations)
		if o.Spec.Template.Spec.HostNetwork {
			r.Refuse("spec.template.spec.hostNetwork", "such a pod gets no proxy; %s", useReal)
		}
	case *corev1.Service:
		for k := range readers {
			known[k] = true
		}
		_, bad := readSettings(o.Annotations)
		for _, b := range bad {
			r.Refuse("metadata.annotations["+b.key+"]", "%v", b.err)
		}
	case *corev1.ServiceAccount:
	default:
		r.Refuse("kind", "%s", useReal)
	}
	r.Metadata("metadata", o.GetLabels(), o.GetAnnotations(), "linkerd.io", known, useReal)
	return r.Errs
}

// Annotations that the model reads: of namespaces and pods, and of pods.
var (
	injection    = map[string]bool{injectKey: true, defaultPolicy: true}
	podInjection = map[string]bool{injectKey: true, defaultPolicy: true, SkipInbound: true}
)

func (r *report) injection(path string, annotations map[string]string) {
	if v, ok := annotations[injectKey]; ok && v != "enabled" && v != "disabled" {
		r.Refuse(path+".annotations["+injectKey+"]", "%q is neither enabled nor disabled; %s", v, useReal)
	}
	if v, ok := annotations[defaultPolicy]; ok && !slices.Contains(policyNames, v) {
		r.Refuse(path+".annotations["+defaultPolicy+"]", "%q is none of %s", v, strings.Join(policyNames, ", "))
	}
}

// skipped takes ports that are nobody's here: those of a gateway's own listeners, which the driver enters past Linkerd's
// proxy anyway.
func (r *report) skipped(path string, annotations map[string]string) {
	text, ok := annotations[SkipInbound]
	if !ok {
		return
	}
	path += ".annotations[" + SkipInbound + "]"
	ports, err := portRanges(text)
	if err != nil {
		r.Refuse(path, "%v", err)
	}
	for _, p := range []int{scenarios.WorkloadPort, adminPort} {
		if ports.contain(p) {
			r.Refuse(path, "port %d would be reached past the proxy; %s", p, useReal)
		}
	}
}

// SkipsInbound reports whether a pod's annotations keep Linkerd's proxy from capturing what comes in at a port.
func SkipsInbound(annotations map[string]string, port int) bool {
	ports, err := portRanges(annotations[SkipInbound])
	return err == nil && ports.contain(port)
}

// ranges are ranges of ports, both ends included.
type ranges [][2]int

func (rs ranges) contain(port int) bool {
	return slices.ContainsFunc(rs, func(r [2]int) bool { return r[0] <= port && port <= r[1] })
}

// portRanges reads ports and ranges of them, such as 8443,15000-15099.
func portRanges(text string) (ranges, error) {
	var out ranges
	for _, part := range strings.Split(text, ",") {
		from, to, ranged := strings.Cut(strings.TrimSpace(part), "-")
		if !ranged {
			to = from
		}
		a, errA := strconv.ParseUint(from, 10, 16)
		b, errB := strconv.ParseUint(to, 10, 16)
		if errA != nil || errB != nil || a == 0 || b < a {
			return nil, fmt.Errorf("%q is neither a port nor a range of ports", part)
		}
		out = append(out, [2]int{int(a), int(b)})
	}
	return out, nil
}

func (r *report) server(s *linkerdapi.Server) {
	if s.Spec.ExternalWorkloadSelector != nil {
		r.Refuse("spec.externalWorkloadSelector", "%s", useReal)
	}
	if s.Spec.PodSelector == nil {
		r.Refuse("spec.podSelector", "it is missing; {} selects every pod of the namespace")
	} else if _, err := metav1.LabelSelectorAsSelector(s.Spec.PodSelector); err != nil {
		r.Refuse("spec.podSelector", "%v; %s", err, byController)
	}
	if port := s.Spec.Port.IntValue(); port != scenarios.WorkloadPort && port != adminPort {
		r.Refuse("spec.port", "%s: the model knows the ports %d, the workloads', and %d, the proxies' own, by number",
			s.Spec.Port.String(), scenarios.WorkloadPort, adminPort)
	}
	switch p := s.Spec.ProxyProtocol; p {
	case "", "unknown", "HTTP/1":
	case "opaque":
		if s.Spec.Port.IntValue() == adminPort {
			r.Refuse("spec.proxyProtocol", "port %d speaks HTTP", adminPort)
		}
	default:
		r.Refuse("spec.proxyProtocol", "%q: the model knows unknown, HTTP/1 and opaque; %s", p, useReal)
	}
	if p := s.Spec.AccessPolicy; p != "" && !slices.Contains(policyNames, p) {
		r.Refuse("spec.accessPolicy", "%q is none of %s; %s", p, strings.Join(policyNames, ", "), byController)
	}
}

// routeFields are the fields of an HTTPRoute that the model reads, from spec on.
var routeFields = []string{
	"parentRefs[].group", "parentRefs[].kind", "parentRefs[].namespace", "parentRefs[].name",
	"rules[].name", "rules[].matches[].method", "rules[].matches[].path.type", "rules[].matches[].path.value",
	"rules[].matches[].headers[].type", "rules[].matches[].headers[].name", "rules[].matches[].headers[].value",
}

func (r *report) route(namespace string, spec *gateway.HTTPRouteSpec) {
	r.fields(spec, routeFields)
	if len(spec.ParentRefs) == 0 {
		r.Refuse("spec.parentRefs", "there is none: the route holds for nothing")
	}
	for i, p := range spec.ParentRefs {
		at := fmt.Sprintf("spec.parentRefs[%d]", i)
		if !isServer(p) {
			r.Refuse(at, "it is no Server of group %s; %s", linkerdapi.Group, useReal)
		}
		if p.Namespace != nil && string(*p.Namespace) != namespace {
			r.Refuse(at+".namespace", "a Server must stand in the route's own namespace; %s", byController)
		}
	}
	if len(spec.Rules) == 0 {
		r.Refuse("spec.rules", "there is none: write [{matches: []}] for every request")
	}
	for i, rule := range spec.Rules {
		for j, m := range rule.Matches {
			r.match(fmt.Sprintf("spec.rules[%d].matches[%d]", i, j), m)
		}
	}
}

// methods that the Gateway API knows.
var methods = []string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}

func (r *report) match(path string, m gateway.HTTPRouteMatch) {
	if m.Method != nil && !slices.Contains(methods, string(*m.Method)) {
		r.Refuse(path+".method", "%q is none of %s; %s", *m.Method, strings.Join(methods, ", "), byController)
	}
	seen := map[string]bool{}
	for i, h := range m.Headers {
		at, name := fmt.Sprintf("%s.headers[%d]", path, i), http.CanonicalHeaderKey(string(h.Name))
		if h.Type != nil && *h.Type != gateway.HeaderMatchExact {
			r.Refuse(at+".type", "%q: the model knows Exact; %s", *h.Type, useReal)
		}
		switch {
		case h.Name == "" || !isTokens(string(h.Name)):
			r.Refuse(at+".name", "%q is no name of a header; %s", h.Name, byController)
		case !relay.Passable(name, nil):
			r.Refuse(at+".name", "%s ends at the proxy, and what it then sees of it is not modelled", name)
		case seen[name]:
			r.Refuse(at+".name", "%s is there already, and the second one would have no effect by the Gateway API's rules", name)
		}
		seen[name] = true
	}
	if m.Path == nil {
		return
	}
	if t := m.Path.Type; t != nil && *t != gateway.PathMatchExact && *t != gateway.PathMatchPathPrefix {
		r.Refuse(path+".path.type", "%q: the model knows Exact and PathPrefix; %s", *t, useReal)
	}
	if v := m.Path.Value; v != nil && !strings.HasPrefix(*v, "/") {
		r.Refuse(path+".path.value", "%q does not begin with a slash; %s", *v, byController)
	}
}

func (r *report) authorizationPolicy(p *linkerdapi.AuthorizationPolicy) {
	t := p.Spec.TargetRef
	switch {
	case t.Name == "":
		r.Refuse("spec.targetRef.name", "it is missing; %s", byController)
	case t.Namespace != "":
		r.Refuse("spec.targetRef.namespace", "a target stands in the policy's own namespace; %s", byController)
	case t.Kind == "Server" && t.Group == linkerdapi.Group:
	case t.Kind == "HTTPRoute" && (t.Group == linkerdapi.Group || t.Group == gateway.GroupName):
	case t.Kind == "Namespace" && (t.Group == "" || t.Group == "core"):
		if t.Name != p.Namespace {
			r.Refuse("spec.targetRef.name", "%q is not the policy's own namespace; %s", t.Name, byController)
		}
	default:
		r.Refuse("spec.targetRef", "%s of group %q is no Server, HTTPRoute or Namespace; %s", t.Kind, t.Group, useReal)
	}
	identities, networks := 0, 0
	for i, ref := range p.Spec.RequiredAuthenticationRefs {
		at := fmt.Sprintf("spec.requiredAuthenticationRefs[%d]", i)
		switch {
		case ref.Name == "":
			r.Refuse(at+".name", "it is missing; %s", byController)
		case ref.Kind == "MeshTLSAuthentication" && ref.Group == linkerdapi.Group, ref.Kind == "ServiceAccount" && (ref.Group == "" || ref.Group == "core"):
			identities++
		case ref.Kind == "NetworkAuthentication" && ref.Group == linkerdapi.Group:
			networks++
		default:
			r.Refuse(at, "%s of group %q is no MeshTLSAuthentication, NetworkAuthentication or ServiceAccount; %s", ref.Kind, ref.Group, useReal)
		}
	}
	if identities > 1 || networks > 1 {
		r.Refuse("spec.requiredAuthenticationRefs", "a policy may ask for one identity and one network at most; %s", byController)
	}
}

func (r *report) meshTLS(a *linkerdapi.MeshTLSAuthentication) {
	if (len(a.Spec.Identities) == 0) == (len(a.Spec.IdentityRefs) == 0) {
		r.Refuse("spec", "it wants identities or identityRefs, and not both; %s", byController)
	}
	for i, id := range a.Spec.Identities {
		if !validIdentity(id) {
			r.Refuse(fmt.Sprintf("spec.identities[%d]", i), "%q is neither a SPIFFE ID nor a DNS name in lower case; %s", id, byController)
		}
	}
	for i, ref := range a.Spec.IdentityRefs {
		if ref.Group != "" && ref.Group != "core" || ref.Kind != "ServiceAccount" && ref.Kind != "Namespace" || ref.Name == "" {
			r.Refuse(fmt.Sprintf("spec.identityRefs[%d]", i), "it is no ServiceAccount and no Namespace; %s", byController)
		}
		if ref.Kind == "Namespace" && ref.Namespace != "" {
			r.Refuse(fmt.Sprintf("spec.identityRefs[%d].namespace", i), "a Namespace stands in none; %s", byController)
		}
	}
}

// The identities that Linkerd's own validation takes (policy-controller/runtime/src/validation.rs).
var (
	dnsIdentity    = regexp.MustCompile(`^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	spiffeIdentity = regexp.MustCompile(`^spiffe://[a-z0-9._-]+(/[a-zA-Z0-9._-]+)*$`)
	dotSegment     = regexp.MustCompile(`/\.\.?(/|$)`)
)

func validIdentity(id string) bool {
	if rest, ok := strings.CutPrefix(id, "spiffe://"); ok {
		return spiffeIdentity.MatchString(id) && !dotSegment.MatchString(rest)
	}
	return dnsIdentity.MatchString(id)
}

// network takes networks of every address alone: all pods have the same one here.
func (r *report) network(a *linkerdapi.NetworkAuthentication) {
	for i, n := range a.Spec.Networks {
		at := fmt.Sprintf("spec.networks[%d]", i)
		p, err := netip.ParsePrefix(n.CIDR)
		if err != nil || p.Bits() != 0 || len(n.Except) > 0 {
			r.Refuse(at, "pods share one address here, so that %s without exceptions is all that can be told apart; %s", "0.0.0.0/0 or ::/0", useReal)
		}
	}
	if !slices.ContainsFunc(a.Spec.Networks, func(n linkerdapi.Network) bool { return n.CIDR == "0.0.0.0/0" }) {
		r.Refuse("spec.networks", "0.0.0.0/0 is not among them, so that no pod has such an address")
	}
}

func (r *report) rateLimit(p *linkerdapi.HTTPLocalRateLimitPolicy) {
	spec := p.Spec
	switch t := spec.TargetRef; {
	case t.Kind != "Server" || t.Group != linkerdapi.Group:
		r.Refuse("spec.targetRef", "%s of group %q is no Server of group %s; %s", t.Kind, t.Group, linkerdapi.Group, byController)
	case t.Name == "":
		r.Refuse("spec.targetRef.name", "it is missing; %s", byController)
	case t.Namespace != "":
		r.Refuse("spec.targetRef.namespace", "a Server stands in the policy's own namespace; %s", byController)
	}
	rate := func(at string, n uint32) {
		switch {
		case n == 0:
			r.Refuse(at+".requestsPerSecond", "it must be more than 0; %s", byController)
		case spec.Total != nil && n > spec.Total.RequestsPerSecond:
			r.Refuse(at+".requestsPerSecond", "%d is more than the total of %d; %s", n, spec.Total.RequestsPerSecond, byController)
		}
	}
	if spec.Total != nil {
		rate("spec.total", spec.Total.RequestsPerSecond)
	}
	if spec.Identity != nil {
		rate("spec.identity", spec.Identity.RequestsPerSecond)
	}
	for i, o := range spec.Overrides {
		at := fmt.Sprintf("spec.overrides[%d]", i)
		rate(at, o.RequestsPerSecond)
		for j, c := range o.ClientRefs {
			if c.Kind != "ServiceAccount" || c.Group != "" && c.Group != "core" || c.Name == "" {
				r.Refuse(fmt.Sprintf("%s.clientRefs[%d]", at, j), "it is no ServiceAccount; %s", byController)
			}
		}
	}
}

// fields refuses what is set under spec and not in the list.
func (r *report) fields(spec any, allowed []string) {
	data, err := json.Marshal(spec)
	var m map[string]any
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		r.Refuse("spec", "%v", err)
		return
	}
	r.walk("spec", "", m, allowed)
}

func (r *report) walk(at, pattern string, v any, allowed []string) {
	if slices.Contains(allowed, pattern) {
		return
	}
	switch v := v.(type) {
	case nil:
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			r.walk(at+"."+k, strings.TrimPrefix(pattern+"."+k, "."), v[k], allowed)
		}
	case []any:
		for i, child := range v {
			r.walk(fmt.Sprintf("%s[%d]", at, i), pattern+"[]", child, allowed)
		}
	default:
		r.Refuse(at, "%s", useReal)
	}
}

// checkTogether refuses what only several objects together make ambiguous: two Servers for one port of a pod, and two
// limits on the rate of one Server.
func checkTogether(objs []clusters.Object) []error {
	set := settingsOf(slices.DeleteFunc(slices.Clone(objs), proxy.IsNil))
	var errs []error
	limited := map[string]string{}
	for _, l := range set.limits {
		key := l.Namespace + "/" + l.Spec.TargetRef.Name
		if other, ok := limited[key]; ok {
			r := newReport(l)
			r.Refuse("spec.targetRef", "HTTPLocalRateLimitPolicy %s has Server %s already, and Linkerd accepts the older one alone", other, l.Spec.TargetRef.Name)
			errs = append(errs, r.Errs...)
			continue
		}
		limited[key] = l.Name
	}
	for _, o := range objs {
		d, ok := o.(*appsv1.Deployment)
		if !ok || proxy.IsNil(o) {
			continue
		}
		taken := map[int]string{}
		for _, s := range set.servers {
			port := s.Spec.Port.IntValue()
			if s.Namespace != d.Namespace || !selectsPod(s.Spec.PodSelector, d.Spec.Template.Labels) {
				continue
			}
			if other, ok := taken[port]; ok {
				r := newReport(s)
				r.Refuse("spec.podSelector", "Server %s selects port %d of Deployment %s too, and which of them Linkerd takes is not defined", other, port, d.Name)
				errs = append(errs, r.Errs...)
				continue
			}
			taken[port] = s.Name
		}
	}
	return errs
}
