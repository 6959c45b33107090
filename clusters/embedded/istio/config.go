package istio

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/scenarios"
)

// config is what one sidecar does, compiled from a Snapshot. It never changes.
type config struct {
	mode      mtlsMode
	authz     *authorizer
	tokens    []tokenRule          // issuers whose tokens are taken; none: tokens are not looked at
	own       service              // the Service that the pod stands behind
	hosts     map[string]*virtual  // by every name of a Service, in lower case
	upstreams map[string]*upstream // by Envoy's name of the cluster: "outbound|80|fresh|shop.app.svc.cluster.local"
}

// service names a Service in metrics.
type service struct{ host, name, namespace string }

// virtual is Envoy's virtual host: a Service and its routes.
type virtual struct {
	service service
	routes  []*route
}

// upstream is Envoy's cluster: the endpoints of a Service, or of a subset of it, and how they are reached.
type upstream struct {
	name    string
	service service // in metrics
	dest    destination
	sni     string
	// identities are the names that the endpoints' certificates may have; nil: any that lead to the root.
	identities []string
	endpoints  []endpoint
	balancer   *balancer // set when the proxy takes the configuration
	stats      *upstreamStats
}

type endpoint struct {
	proxy.Endpoint
	secure bool
}

// compile reads a Snapshot for one pod.
func compile(snap *proxy.Snapshot, pod proxy.Pod) *config {
	set := settingsOf(snap.Objects)
	c := &config{
		mode:      inboundModeOf(set.peerAuthentications, pod),
		authz:     newAuthorizer(set.authorizationPolicies, pod.Namespace, pod.Labels),
		own:       unknownService,
		hosts:     map[string]*virtual{},
		upstreams: map[string]*upstream{},
	}
	reg := registryOf(snap, set.serviceEntries, pod)
	for _, svc := range reg {
		for _, d := range destinationsOf(set.destinationRules, svc.Service, pod) {
			u := newUpstream(svc.Service, d, set)
			c.upstreams[u.name] = u
		}
	}
	for _, svc := range snap.Services {
		for _, ep := range svc.Endpoints {
			if ep.UID == pod.UID && ep.Cluster == pod.Cluster {
				c.own = service{svc.Host, svc.Name, svc.Namespace}
			}
		}
	}
	if c.own == unknownService {
		c.own = ownService(snap, pod)
	}
	for host, svc := range reg {
		_, real := snap.Services[host]
		v := &virtual{service: service{svc.Host, svc.Name, svc.Namespace}, routes: c.routesOf(reg, set, svc)}
		for _, name := range svc.names {
			name = strings.ToLower(name)
			if real || c.hosts[name] == nil { // a ServiceEntry takes no name from a Service, such as shop.app
				c.hosts[name] = v
			}
		}
	}
	return c
}

// unknownService stands in metrics for what is not known.
var unknownService = service{"unknown", "unknown", "unknown"}

// ownService is the Service of a pod that is not, or not yet, among its endpoints: that with the name that Meshproof
// gives it.
func ownService(snap *proxy.Snapshot, pod proxy.Pod) service {
	for _, svc := range snap.Services {
		if svc.Namespace == pod.Namespace && svc.Name == pod.Service {
			return service{svc.Host, svc.Name, svc.Namespace}
		}
	}
	return unknownService
}

func (c *config) routesOf(reg map[string]registered, set objects, svc registered) []*route {
	vs := virtualServiceFor(set.virtualServices, svc.Host)
	if vs == nil {
		return []*route{{targets: []weighted{{c.upstreams[upstreamName(svc.Port, "", svc.Host)], 1}}, weights: 1, retry: defaultRetries()}}
	}
	find := func(host, subset string) *upstream {
		host = fqdn(host, vs.Namespace)
		to, ok := reg[host]
		if !ok {
			return nil
		}
		return c.upstreams[upstreamName(to.Port, subset, host)]
	}
	var out []*route
	for _, r := range vs.Spec.GetHttp() {
		out = append(out, newRoute(r, find))
	}
	return out
}

func newUpstream(svc proxy.Service, d destination, set objects) *upstream {
	u := &upstream{
		name:       upstreamName(svc.Port, d.subset, svc.Host),
		service:    service{svc.Host, svc.Name, svc.Namespace},
		dest:       d,
		sni:        cmp.Or(d.sni, fmt.Sprintf("outbound_.%d_.%s_.%s", svc.Port, d.subset, svc.Host)),
		identities: slices.Clone(d.names),
	}
	known := map[string]bool{}
	for _, ep := range svc.Endpoints {
		if id := spiffeID(ep.Namespace, ep.ServiceAccount); len(d.names) == 0 && ep.ServiceAccount != "" && !known[id] {
			known[id] = true
			u.identities = append(u.identities, id)
		}
		if proxy.SelectsLabels(d.labels, ep.Labels) {
			u.endpoints = append(u.endpoints, endpoint{ep, d.secure(ep, set)})
		}
	}
	slices.Sort(u.identities)
	return u
}

// upstreamName is Envoy's name of a cluster.
func upstreamName(port int, subset, host string) string {
	return fmt.Sprintf("outbound|%d|%s|%s", port, subset, host)
}

func spiffeID(namespace, account string) string {
	return fmt.Sprintf("%s%s/ns/%s/sa/%s", spiffeScheme, scenarios.TrustDomain, namespace, account)
}

// virtualHost finds the routes for a Host header; a port in it does not matter.
func (c *config) virtualHost(host string) *virtual {
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host = host[:i]
	}
	if v, ok := c.hosts[host]; ok {
		return v
	}
	return c.hosts[strings.ToLower(host)]
}
