package istio

import (
	"slices"
	"strings"

	networking "istio.io/client-go/pkg/apis/networking/v1"
	security "istio.io/client-go/pkg/apis/security/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/scenarios"
)

// objects are Istio's settings, each kind from the oldest to the newest: where two of them conflict, istiod takes the
// older one.
type objects struct {
	peerAuthentications    []*security.PeerAuthentication
	authorizationPolicies  []*security.AuthorizationPolicy
	requestAuthentications []*security.RequestAuthentication
	virtualServices        []*networking.VirtualService
	destinationRules       []*networking.DestinationRule
	serviceEntries         []*networking.ServiceEntry
}

func settingsOf(objs []clusters.Object) objects {
	var out objects
	for _, o := range objs {
		switch o := o.(type) {
		case *security.PeerAuthentication:
			out.peerAuthentications = append(out.peerAuthentications, o)
		case *security.AuthorizationPolicy:
			out.authorizationPolicies = append(out.authorizationPolicies, o)
		case *security.RequestAuthentication:
			out.requestAuthentications = append(out.requestAuthentications, o)
		case *networking.VirtualService:
			out.virtualServices = append(out.virtualServices, o)
		case *networking.DestinationRule:
			out.destinationRules = append(out.destinationRules, o)
		case *networking.ServiceEntry:
			out.serviceEntries = append(out.serviceEntries, o)
		}
	}
	slices.SortStableFunc(out.peerAuthentications, proxy.OldestFirst)
	slices.SortStableFunc(out.authorizationPolicies, proxy.OldestFirst)
	slices.SortStableFunc(out.requestAuthentications, proxy.OldestFirst)
	slices.SortStableFunc(out.virtualServices, proxy.OldestFirst)
	slices.SortStableFunc(out.destinationRules, proxy.OldestFirst)
	slices.SortStableFunc(out.serviceEntries, proxy.OldestFirst)
	return out
}

// fqdn resolves the name of a host in a setting: a name without a dot is a Service in the setting's own namespace.
func fqdn(host, namespace string) string {
	if strings.Contains(host, ".") {
		return host
	}
	return host + "." + namespace + ".svc." + scenarios.TrustDomain
}
