package linkerd

import (
	"cmp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8slabels "k8s.io/apimachinery/pkg/labels"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/clusters/linkerdapi"
	"github.com/meshproof/meshproof/scenarios"
)

// adminPort is where the proxy itself answers: metrics and the kubelet's probes.
const adminPort = 4191

// probePaths are those that the proxy's own container has probes for.
var probePaths = []string{"/live", "/ready"}

// config is what one proxy does, compiled from a Snapshot. It never changes.
type config struct {
	app, admin *portPolicy
	services   map[string]*service     // by every name of a Service, in lower case
	pods       map[address]destination // endpoints of its cluster by their own addresses, also earlier ones; where connections are captured
}

// service is what requests can be sent to: a Service, or one address that is none.
type service struct {
	proxy.Service
	fallback  string // "" for a Service; else the name of the default parent that metrics name in its place
	settings  serviceSettings
	endpoints []destination
}

// destination is an endpoint as the destination controller describes it.
type destination struct {
	proxy.Endpoint
	identity string // "": no identity, and so no TLS
	own      bool   // the pod itself: reached past every proxy, without TLS
	left     bool   // it is no endpoint any more, and remembered
	opaque   bool   // the port is marked so by a Server: no HTTP/2, and the far proxy reads no HTTP
}

// settings are Linkerd's objects.
type settings struct {
	servers  []*linkerdapi.Server
	routes   []httpRoute
	policies []*linkerdapi.AuthorizationPolicy
	limits   []*linkerdapi.HTTPLocalRateLimitPolicy
	authns   authentications
	services map[string]*corev1.Service // by namespace/name
}

// httpRoute is an HTTPRoute of either group.
type httpRoute struct {
	metav1.Object
	group string
	spec  *gateway.HTTPRouteSpec
}

func settingsOf(objs []clusters.Object) settings {
	s := settings{
		authns: authentications{
			mesh: map[string]*linkerdapi.MeshTLSAuthentication{}, network: map[string]*linkerdapi.NetworkAuthentication{},
		},
		services: map[string]*corev1.Service{},
	}
	for _, o := range objs {
		key := o.GetNamespace() + "/" + o.GetName()
		switch o := o.(type) {
		case *linkerdapi.Server:
			s.servers = append(s.servers, o)
		case *linkerdapi.HTTPRoute:
			s.routes = append(s.routes, httpRoute{o, linkerdapi.Group, &o.Spec})
		case *gateway.HTTPRoute:
			s.routes = append(s.routes, httpRoute{o, gateway.GroupName, &o.Spec})
		case *linkerdapi.AuthorizationPolicy:
			s.policies = append(s.policies, o)
		case *linkerdapi.HTTPLocalRateLimitPolicy:
			s.limits = append(s.limits, o)
		case *linkerdapi.MeshTLSAuthentication:
			s.authns.mesh[key] = o
		case *linkerdapi.NetworkAuthentication:
			s.authns.network[key] = o
		case *corev1.Service:
			s.services[key] = o
		}
	}
	slices.SortStableFunc(s.servers, proxy.OldestFirst)
	slices.SortStableFunc(s.routes, proxy.OldestFirst)
	slices.SortStableFunc(s.limits, proxy.OldestFirst)
	slices.SortStableFunc(s.policies, func(a, b *linkerdapi.AuthorizationPolicy) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

// compile reads a Snapshot for one pod.
func compile(snap *proxy.Snapshot, pod proxy.Pod) *config {
	set := settingsOf(snap.Objects)
	fallback := pod.Annotations[defaultPolicy]
	if fallback == "" {
		fallback = allUnauthenticated
	}
	c := &config{
		app:      set.port(pod, scenarios.WorkloadPort, fallback),
		admin:    set.port(pod, adminPort, fallback),
		services: map[string]*service{},
		pods:     map[address]destination{},
	}
	for _, svc := range snap.Services {
		s := &service{Service: svc}
		if o := set.services[svc.Namespace+"/"+svc.Name]; o != nil {
			s.settings, _ = readSettings(o.Annotations) // check refused what cannot be read
		}
		for _, ep := range svc.Endpoints {
			// What the proxy sends to its own pod's address stays on the loopback, which nothing captures.
			d := destination{Endpoint: ep, own: ep.UID != "" && ep.UID == pod.UID}
			if ep.Mesh == meshName && !d.own {
				d.identity = identityOf(ep.Namespace, ep.ServiceAccount)
				srv := set.serverOf(ep.Namespace, ep.Labels, scenarios.WorkloadPort)
				d.opaque = srv != nil && srv.Spec.ProxyProtocol == "opaque"
			}
			s.endpoints = append(s.endpoints, d)
		}
		if pod.Gateway != nil {
			for _, d := range s.endpoints {
				if d.Cluster == snap.Cluster { // no control plane knows another cluster's pods by their addresses
					c.pods[address{d.Cluster, d.Addr}] = d
				}
			}
		}
		for _, name := range hostNames(svc, pod.Namespace) {
			c.services[strings.ToLower(name)] = s
		}
	}
	return c
}

// hostNames are the names that resolve to a Service for a pod in a namespace.
func hostNames(svc proxy.Service, from string) []string {
	short := svc.Name + "." + svc.Namespace
	names := []string{short, short + ".svc", svc.Host}
	if svc.Namespace == from {
		names = append(names, svc.Name)
	}
	return names
}

// find returns the Service that a Host header names, or nil. A port in it does not matter.
func (c *config) find(host string) *service {
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host = host[:i]
	}
	return c.services[strings.ToLower(host)]
}

// serverOf finds the Server of a port; the oldest where there are several.
func (s *settings) serverOf(namespace string, podLabels map[string]string, port int) *linkerdapi.Server {
	for _, srv := range s.servers {
		if srv.Namespace == namespace && srv.Spec.Port.IntValue() == port && selectsPod(srv.Spec.PodSelector, podLabels) {
			return srv
		}
	}
	return nil
}

func selectsPod(selector *metav1.LabelSelector, podLabels map[string]string) bool {
	sel, err := metav1.LabelSelectorAsSelector(selector) // nil selects nothing
	return err == nil && sel.Matches(k8slabels.Set(podLabels))
}

// port resolves what holds for a port of a pod.
func (s *settings) port(pod proxy.Pod, port int, fallback string) *portPolicy {
	p := &portPolicy{port: intText(port)}
	srv := s.serverOf(pod.Namespace, pod.Labels, port)
	if srv == nil {
		p.server, p.authzs = byDefault(fallback), defaultAuthorizations(fallback)
	} else {
		p.server = meta{linkerdapi.Group, "server", srv.Name}
		switch srv.Spec.ProxyProtocol {
		case "HTTP/1":
			p.protocol = http1
		case "opaque":
			p.protocol = opaque
		}
		p.authzs = append(s.authorizations(srv.Namespace, func(ref linkerdapi.TargetRef) bool {
			return ref.Kind == "Namespace" || ref.Kind == "Server" && ref.Name == srv.Name
		}), defaultAuthorizations(srv.Spec.AccessPolicy)...)
		p.routes = s.routesOf(srv)
		p.limits = s.limitsOf(srv)
	}
	if len(p.routes) == 0 { // an attached route turns these off, and with them the probes
		if port == adminPort {
			p.routes = append(p.routes, probeRoute())
		}
		p.routes = append(p.routes, route{meta: byDefault("default"), rules: [][]routeMatch{{}}})
	}
	p.limiter = newLimiter(p.limits)
	return p
}

// probeRoute lets the kubelet's probes in, from every network as the chart's probeNetworks say.
func probeRoute() route {
	r := route{meta: byDefault("probe"), authzs: []authorization{{meta: byDefault("probe"), anyone: true}}}
	for _, path := range probePaths {
		r.rules = append(r.rules, []routeMatch{{method: "GET", path: path, exact: true}})
	}
	return r
}

// authorizations compiles the policies of a namespace with a target.
func (s *settings) authorizations(namespace string, target func(linkerdapi.TargetRef) bool) []authorization {
	var out []authorization
	for _, p := range s.policies {
		if p.Namespace != namespace || !target(p.Spec.TargetRef) {
			continue
		}
		if a, ok := s.authns.compile(p); ok {
			out = append(out, a)
		}
	}
	return out
}

// routesOf are the HTTPRoutes attached to a Server.
func (s *settings) routesOf(srv *linkerdapi.Server) []route {
	var out []route
	for _, r := range s.routes {
		if r.GetNamespace() != srv.Namespace || !slices.ContainsFunc(r.spec.ParentRefs, func(p gateway.ParentReference) bool {
			return isServer(p) && string(p.Name) == srv.Name
		}) {
			continue
		}
		c := route{meta: meta{r.group, "HTTPRoute", r.GetName()}}
		for _, rule := range r.spec.Rules {
			var ms []routeMatch
			for _, m := range rule.Matches {
				ms = append(ms, newMatch(m))
			}
			c.rules = append(c.rules, ms)
		}
		c.authzs = s.authorizations(srv.Namespace, func(ref linkerdapi.TargetRef) bool {
			return ref.Kind == "HTTPRoute" && ref.Group == r.group && ref.Name == r.GetName()
		})
		out = append(out, c)
	}
	return out
}

// isServer reports whether a parent is a Server. Linkerd wants the group, which is its own.
func isServer(p gateway.ParentReference) bool {
	return p.Kind != nil && *p.Kind == "Server" && p.Group != nil && *p.Group == linkerdapi.Group
}
