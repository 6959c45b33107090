package istio

import (
	"cmp"
	"slices"
	"strings"

	networking "istio.io/client-go/pkg/apis/networking/v1"
	security "istio.io/client-go/pkg/apis/security/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshproof/meshproof/clusters"
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
		}
	}
	slices.SortStableFunc(out.peerAuthentications, oldestFirst)
	slices.SortStableFunc(out.authorizationPolicies, oldestFirst)
	slices.SortStableFunc(out.requestAuthentications, oldestFirst)
	slices.SortStableFunc(out.virtualServices, oldestFirst)
	slices.SortStableFunc(out.destinationRules, oldestFirst)
	return out
}

// oldestFirst is istiod's order: by creation, then by name, then by namespace.
func oldestFirst[T metav1.Object](a, b T) int {
	ta, tb := a.GetCreationTimestamp(), b.GetCreationTimestamp()
	return cmp.Or(ta.Compare(tb.Time), cmp.Compare(a.GetName(), b.GetName()), cmp.Compare(a.GetNamespace(), b.GetNamespace()))
}

// selectsLabels reports whether every wanted label is there. No wanted label selects everything.
func selectsLabels(want, have map[string]string) bool {
	for k, v := range want {
		if got, ok := have[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// fqdn resolves the name of a host in a setting: a name without a dot is a Service in the setting's own namespace.
func fqdn(host, namespace string) string {
	if strings.Contains(host, ".") {
		return host
	}
	return host + "." + namespace + ".svc." + scenarios.TrustDomain
}
