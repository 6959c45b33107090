package kind

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/google/uuid"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	gatewayapi "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/linkerdapi"
	"github.com/meshproof/meshproof/scenarios"
)

// lacking says which proxies do not have what was applied. Nothing in Linkerd tells whether a proxy has its newest policy,
// so that is tried out (enforcing). The endpoints that a proxy balances over are in its metrics.
func (l linkerd) lacking(ctx context.Context, c *cluster) ([]string, error) {
	if err := c.noteSkipped(ctx); err != nil {
		return nil, err
	}
	c.f.mu.Lock()
	settings := c.versions(l)
	known := maps.Equal(settings, c.enforced)
	c.f.mu.Unlock()
	if !known {
		if lacking, err := l.enforcing(ctx, c); err != nil || len(lacking) > 0 {
			return lacking, err
		}
		c.f.mu.Lock()
		c.enforced = settings
		c.f.mu.Unlock()
	}
	if l.linked {
		if lacking, err := c.lackingFederated(ctx); err != nil || len(lacking) > 0 {
			return lacking, err
		}
	}
	return l.balancing(ctx, c)
}

// barrierName names the objects by which policy is tried out.
const barrierName = "meshproof-barrier"

// enforcing waits until every proxy has the policy that was applied. After all of that a route is applied to the Servers,
// with its authorization, for one path that nobody else asks for, and everybody who asks for that path is redirected by
// the proxy itself. The policy controller reads each kind in the order in which objects changed, and tells a proxy all
// about a Server at once: so a proxy that redirects has everything older, too. Then the route is taken away, and every
// proxy must have lost it: it would stand beside the routes of the scenario.
//
// The proxies are asked through the API server, past the workload: what is redirected never gets there, and what is not
// redirected has no route (404) or no authorization (403).
func (l linkerd) enforcing(ctx context.Context, c *cluster) ([]string, error) {
	guarded, err := c.guarded(ctx)
	if err != nil || len(guarded) == 0 {
		return nil, err
	}
	mark := uuid.NewString()
	for _, ns := range slices.Sorted(maps.Keys(guarded)) {
		for _, obj := range policyBarrier(ns, guarded[ns].servers, mark) {
			said, err := fields(obj) // without the empty status that a route's type writes
			if err == nil {
				err = c.applyOwn(ctx, said)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	redirecting := func(want bool) func(context.Context) ([]string, error) {
		return func(ctx context.Context) (lacking []string, err error) {
			for _, ns := range slices.Sorted(maps.Keys(guarded)) {
				for _, pod := range guarded[ns].pods {
					does, err := c.redirects(ctx, ns, pod, mark)
					switch {
					case err != nil:
						return nil, err
					case does != want:
						lacking = append(lacking, fmt.Sprintf("the proxy of pod %s in cluster %s has not got its newest policy", pod, c.name))
					}
				}
			}
			return lacking, nil
		}
	}
	err = c.until(ctx, redirecting(true))
	for _, ns := range slices.Sorted(maps.Keys(guarded)) {
		for _, obj := range policyBarrier(ns, guarded[ns].servers, mark) {
			err = errors.Join(err, c.removeOwn(ctx, obj))
		}
	}
	if err != nil {
		return nil, err
	}
	return nil, c.until(ctx, redirecting(false))
}

// guard is what of a namespace is guarded by policy on the workloads' port.
type guard struct {
	servers []string
	pods    []string // with a proxy of Linkerd's, and ready
}

// guarded finds the Servers of the workloads' port that let nobody in by themselves, and the pods that they hold for, by
// namespace.
func (c *cluster) guarded(ctx context.Context) (map[string]*guard, error) {
	list, err := c.dynamic.Resource(schema.GroupVersionResource{Group: linkerdapi.Group, Version: "v1beta3", Resource: "servers"}).
		Namespace(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the Servers of cluster %s: %w", c.name, err)
	}
	out := map[string]*guard{}
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	for i := range list.Items {
		s, err := serverOf(&list.Items[i])
		if err != nil {
			return nil, fmt.Errorf("the Server %s/%s of cluster %s: %w", list.Items[i].GetNamespace(), list.Items[i].GetName(), c.name, err)
		}
		selector, err := metav1.LabelSelectorAsSelector(s.Spec.PodSelector)
		if err != nil || s.Spec.Port.IntValue() != scenarios.WorkloadPort || !refuses(s.Spec.AccessPolicy) || !readsHTTP(s.Spec.ProxyProtocol) {
			continue // Linkerd, too, takes no notice of what it cannot read
		}
		g := guard{servers: []string{s.Name}}
		for _, p := range c.pods {
			if p.ready && p.ref.Namespace == s.Namespace && selector.Matches(labels.Set(p.obj.Labels)) && has(p.public(), linkerdSidecar) {
				g.pods = append(g.pods, p.ref.Pod)
			}
		}
		if len(g.pods) == 0 {
			continue
		}
		if out[s.Namespace] == nil {
			out[s.Namespace] = &guard{}
		}
		out[s.Namespace].servers = append(out[s.Namespace].servers, g.servers...)
		out[s.Namespace].pods = append(out[s.Namespace].pods, g.pods...)
	}
	for _, g := range out {
		slices.Sort(g.pods)
		slices.Sort(g.servers)
	}
	return out, nil
}

func serverOf(u *unstructured.Unstructured) (*linkerdapi.Server, error) {
	s := &linkerdapi.Server{}
	return s, runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, s)
}

// refuses reports whether a Server refuses plaintext that no policy authorizes. One that does not could let the barrier's
// requests through to the workload.
func refuses(accessPolicy string) bool {
	return accessPolicy == "" || accessPolicy == "deny" || accessPolicy == "all-authenticated" || accessPolicy == "cluster-authenticated"
}

// readsHTTP reports whether a proxy looks for HTTP at a port of that protocol. Routes mean nothing to it at any other.
func readsHTTP(protocol string) bool {
	return protocol == "" || protocol == "unknown" || protocol == "HTTP/1" || protocol == "HTTP/2"
}

// barrierPath is asked for by nobody else.
func barrierPath(mark string) string { return "/" + barrierName + "/" + mark }

// policyBarrier is a route for one path to Servers of a namespace, with an authorization of everybody, on which the proxy
// itself answers.
func policyBarrier(namespace string, servers []string, mark string) []clusters.Object {
	meta := metav1.ObjectMeta{Namespace: namespace, Name: barrierName}
	at := func(version, kind string) metav1.TypeMeta {
		return metav1.TypeMeta{APIVersion: linkerdapi.Group + "/" + version, Kind: kind}
	}
	group, kind := gatewayapi.Group(linkerdapi.Group), gatewayapi.Kind("Server")
	exact, replace, path, code := gatewayapi.PathMatchExact, gatewayapi.FullPathHTTPPathModifier, barrierPath(mark), http.StatusFound
	route := &gatewayapi.HTTPRoute{TypeMeta: metav1.TypeMeta{APIVersion: gatewayapi.GroupVersion.String(), Kind: "HTTPRoute"}, ObjectMeta: meta}
	for _, s := range servers {
		route.Spec.ParentRefs = append(route.Spec.ParentRefs, gatewayapi.ParentReference{Group: &group, Kind: &kind, Name: gatewayapi.ObjectName(s)})
	}
	route.Spec.Rules = []gatewayapi.HTTPRouteRule{{
		Matches: []gatewayapi.HTTPRouteMatch{{Path: &gatewayapi.HTTPPathMatch{Type: &exact, Value: &path}}},
		Filters: []gatewayapi.HTTPRouteFilter{{
			Type: gatewayapi.HTTPRouteFilterRequestRedirect,
			RequestRedirect: &gatewayapi.HTTPRequestRedirectFilter{
				StatusCode: &code, Path: &gatewayapi.HTTPPathModifier{Type: replace, ReplaceFullPath: new("/" + barrierName)},
			},
		}},
	}}
	return []clusters.Object{
		&linkerdapi.NetworkAuthentication{
			TypeMeta: at("v1alpha1", "NetworkAuthentication"), ObjectMeta: meta,
			Spec: linkerdapi.NetworkAuthenticationSpec{Networks: []linkerdapi.Network{{CIDR: "0.0.0.0/0"}, {CIDR: "::/0"}}},
		},
		&linkerdapi.AuthorizationPolicy{
			TypeMeta: at("v1alpha1", "AuthorizationPolicy"), ObjectMeta: meta,
			Spec: linkerdapi.AuthorizationPolicySpec{
				TargetRef:                  linkerdapi.TargetRef{Group: gatewayapi.GroupName, Kind: "HTTPRoute", Name: barrierName},
				RequiredAuthenticationRefs: []linkerdapi.TargetRef{{Group: linkerdapi.Group, Kind: "NetworkAuthentication", Name: barrierName}},
			},
		},
		route,
	}
}

// redirects reports whether the proxy of a pod redirects who asks for the barrier's path.
func (c *cluster) redirects(ctx context.Context, namespace, pod, mark string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	url := c.client.CoreV1().RESTClient().Get().Namespace(namespace).Resource("pods").
		Name(pod + ":" + strconv.Itoa(scenarios.WorkloadPort)).SubResource("proxy").Suffix(barrierPath(mark)).URL()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url.String(), nil)
	if err != nil {
		return false, err
	}
	client := &http.Client{Transport: c.transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		return false, fmt.Errorf("asking the proxy of pod %s in cluster %s: %w", pod, c.name, err)
	}
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode == http.StatusFound, errors.Join(err, res.Body.Close())
}

// removeOwn deletes an object of the driver's own.
func (c *cluster) removeOwn(ctx context.Context, obj clusters.Object) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	gvk := obj.GetObjectKind().GroupVersionKind()
	mapping, err := c.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err == nil {
		err = c.dynamic.Resource(mapping.Resource).Namespace(obj.GetNamespace()).Delete(ctx, obj.GetName(), metav1.DeleteOptions{})
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("removing %s %s from cluster %s: %w", gvk.Kind, nameOf(obj), c.name, err)
	}
	return nil
}

// balancing says which proxies balance a Service over another number of endpoints than it has in all clusters. A proxy
// learns of a Service when it first sends to it, and forgets it after some seconds without a request: what it does not
// know it will ask for anew.
func (l linkerd) balancing(ctx context.Context, c *cluster) ([]string, error) {
	c.f.mu.Lock()
	want := map[string]int{}
	for key := range c.services {
		n := len(c.inside(key).addresses)
		for _, o := range c.shared(key) {
			n += len(o.outside(key).addresses)
		}
		if l.linked {
			key += linkerdapi.FederatedSuffix
		}
		want[key] = n
	}
	var pods []*pod
	for _, p := range c.pods {
		if p.ready && has(p.public(), linkerdSidecar) {
			pods = append(pods, p)
		}
	}
	c.f.mu.Unlock()
	var lacking []string
	for _, p := range pods {
		body, err := c.page(ctx, p.ref.Namespace, p.ref.Pod, l.proxies()[0])
		if err != nil {
			return nil, err
		}
		have, err := balancedOver(body)
		if err != nil {
			return nil, fmt.Errorf("the metrics of pod %s in cluster %s: %w", p.ref.Pod, c.name, err)
		}
		for _, key := range slices.Sorted(maps.Keys(have)) {
			if n, ours := want[key]; ours && n != have[key] {
				lacking = append(lacking, fmt.Sprintf("the proxy of pod %s in cluster %s balances %s over %d pods, want %d", p.ref.Pod, c.name, key, have[key], n))
			}
		}
	}
	slices.Sort(lacking)
	return lacking, nil
}

// balancerEndpoints is the gauge of linkerd2-proxy that counts the endpoints of a balancer.
const balancerEndpoints = "outbound_http_balancer_p2c_endpoints"

// balancedOver reads over how many endpoints a proxy balances each Service (namespace/name) that it knows. A balancer that
// is dropped leaves its gauge at 0 (linkerd2-proxy, linkerd/pool/p2c), so that 0 says nothing.
func balancedOver(page []byte) (map[string]int, error) {
	var lines bytes.Buffer // the rest of the page is long, and not read
	for line := range bytes.Lines(page) {
		if bytes.HasPrefix(line, []byte(balancerEndpoints+"{")) {
			lines.Write(line)
		}
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(&lines)
	if err != nil {
		return nil, fmt.Errorf("reading them: %w", err)
	}
	out := map[string]int{}
	for _, m := range families[balancerEndpoints].GetMetric() {
		at := map[string]string{}
		for _, l := range m.GetLabel() {
			at[l.GetName()] = l.GetValue()
		}
		if n := int(m.GetUntyped().GetValue()); n > 0 && at["backend_kind"] == "Service" {
			out[at["backend_namespace"]+"/"+at["backend_name"]] = n
		}
	}
	return out, nil
}
