package istio

import (
	networkingapi "istio.io/api/networking/v1alpha3"
	networking "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/scenarios"
)

// destination is what a DestinationRule says about a service, or about one of its subsets, with defaults filled in.
type destination struct {
	subset      string
	labels      map[string]string // of the subset's endpoints
	balancing   balancing
	maxRequests int      // on one connection; 0: no limit
	tls         tlsRule  // of connections to the endpoints
	sni         string   // of a DestinationRule; "": Istio's own name of the upstream
	names       []string // of a DestinationRule: what a server must be called, any of them; nil: as its service accounts
}

// tlsRule says when connections use mutual TLS.
type tlsRule int

// The rules.
const (
	tlsAuto tlsRule = iota // where the endpoint has a sidecar that takes it
	tlsOff
	tlsAlways
)

// balancing is a load balancing algorithm.
type balancing int

// The algorithms.
const (
	leastRequest balancing = iota // Istio's default
	roundRobin
	random
)

// destinationsOf is what a client's DestinationRule says about a service. The first result is the service as a whole.
func destinationsOf(rules []*networking.DestinationRule, svc proxy.Service, client proxy.Pod) []destination {
	rule := destinationRuleFor(rules, svc, client)
	top := rule.GetTrafficPolicy()
	out := []destination{newDestination("", nil, top)}
	for _, s := range rule.GetSubsets() {
		out = append(out, newDestination(s.GetName(), s.GetLabels(), top, s.GetTrafficPolicy()))
	}
	return out
}

// destinationRuleFor finds the DestinationRule that a client uses for a service: one in the client's own namespace, else
// one in the service's, else one in the root namespace. The first of these that has a rule for the host decides. In it
// a rule whose workloadSelector selects the client comes before one without; a selector selects in its own namespace
// alone, and a rule whose selector does not select the client is none.
func destinationRuleFor(rules []*networking.DestinationRule, svc proxy.Service, client proxy.Pod) *networkingapi.DestinationRule {
	for _, ns := range []string{client.Namespace, svc.Namespace, rootNamespace} {
		var forAll *networkingapi.DestinationRule
		found := false
		for _, r := range rules {
			if r.Namespace != ns || fqdn(r.Spec.GetHost(), ns) != svc.Host {
				continue
			}
			found = true
			selector := r.Spec.GetWorkloadSelector()
			switch {
			case selector == nil && forAll == nil:
				forAll = &r.Spec
			case selector != nil && ns == client.Namespace && proxy.SelectsLabels(selector.GetMatchLabels(), client.Labels):
				return &r.Spec
			}
		}
		if found {
			return forAll
		}
	}
	return nil
}

// newDestination lays traffic policies one over the other; a part that a later one sets replaces the earlier part as a
// whole.
func newDestination(subset string, labels map[string]string, policies ...*networkingapi.TrafficPolicy) destination {
	d := destination{subset: subset, labels: labels}
	for _, p := range policies {
		if lb := p.GetLoadBalancer(); lb != nil {
			d.balancing = balancingOf(lb.GetSimple())
		}
		if pool := p.GetConnectionPool(); pool != nil {
			d.maxRequests = int(pool.GetHttp().GetMaxRequestsPerConnection())
		}
		if t := p.GetTls(); t != nil {
			d.tls, d.sni, d.names = tlsOff, "", nil // mode DISABLE is the mode of an empty tls
			if t.GetMode() == networkingapi.ClientTLSSettings_ISTIO_MUTUAL {
				d.tls, d.sni, d.names = tlsAlways, t.GetSni(), t.GetSubjectAltNames()
			}
		}
	}
	return d
}

func balancingOf(lb networkingapi.LoadBalancerSettings_SimpleLB) balancing {
	switch lb {
	case networkingapi.LoadBalancerSettings_ROUND_ROBIN:
		return roundRobin
	case networkingapi.LoadBalancerSettings_RANDOM:
		return random
	default:
		return leastRequest
	}
}

// secure decides whether connections to an endpoint use mutual TLS: what the DestinationRule says, else whether the
// endpoint has a sidecar whose PeerAuthentication takes it.
func (d destination) secure(ep proxy.Endpoint, set objects) bool {
	switch d.tls {
	case tlsOff:
		return false
	case tlsAlways:
		return true
	default:
		return ep.Mesh == meshName && mtlsModeOf(set.peerAuthentications, ep.Namespace, ep.Labels, scenarios.WorkloadPort) != disabled
	}
}
