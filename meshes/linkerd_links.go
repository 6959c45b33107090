package meshes

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/linkerdapi"
	"github.com/meshproof/meshproof/scenarios"
)

var _ linker = linkerd{}

// linked adds Linkerd's multicluster extension, with a service mirror and a Link for each of the other clusters. Pods reach
// those of other clusters themselves, so there is no gateway. Each cluster reads another by an account of its own there, with
// the rights that the chart gives it.
func (linkerd) linked(s *scenarios.Scenario, cluster string, in clusters.Installation) clusters.Installation {
	var mirrors []any
	var accounts []string
	for _, c := range s.Spec.Topology.Clusters {
		if c.Name == cluster {
			continue
		}
		mirrors = append(mirrors, values{"link": values{"ref": values{"name": c.Name}}, "gateway": values{"enabled": false}})
		accounts = append(accounts, linkerdapi.LinkAccount(c.Name))
		in.Objects = append(in.Objects, link(c.Name))
	}
	in.Releases = append(in.Releases, clusters.Release{
		Name: linkerdapi.LinksChart, Namespace: linkerdapi.LinksNamespace, Chart: linkerdapi.LinksChart, Values: values{
			"gateway":                        values{"enabled": false},
			"controllers":                    mirrors,
			"remoteMirrorServiceAccountName": strings.Join(accounts, ","),
			// It would label the namespace, by one more image.
			"createNamespaceMetadataJob": false,
		},
	})
	return in
}

// link has the service mirror for a cluster unite the members of federated Services there with those of the same name here.
func link(to string) *linkerdapi.Link {
	l := &linkerdapi.Link{
		TypeMeta:   metav1.TypeMeta{APIVersion: linkerdapi.LinkGroup + "/v1alpha3", Kind: "Link"},
		ObjectMeta: metav1.ObjectMeta{Namespace: linkerdapi.LinksNamespace, Name: to},
	}
	l.Spec = linkerdapi.LinkSpec{
		TargetClusterName: to, TargetClusterDomain: scenarios.TrustDomain, TargetClusterLinkerdNamespace: linkerdNamespace,
		ClusterCredentialsSecret: linkerdapi.LinkCredentials(to),
		FederatedServiceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{linkerdapi.FederatedLabel: linkerdapi.FederatedMember}},
	}
	return l
}

// united makes every service a member of a federated Service, and lets what is sent to the service go there by a route: so
// callers keep its name, as in other meshes.
func (linkerd) united(s *scenarios.Scenario, objs []clusters.Object) ([]clusters.Object, error) {
	var routes []clusters.Object
	for _, o := range objs {
		svc, ok := o.(*corev1.Service)
		if !ok {
			continue
		}
		if w, ok := s.Workload(svc.Name); !ok || w.Service == nil || w.Namespace != svc.Namespace {
			continue
		}
		if n := len(svc.Name + linkerdapi.FederatedSuffix); n > validation.DNS1035LabelMaxLength {
			return nil, fmt.Errorf("service %s: Linkerd unites clusters by a Service of that name and %s, which is longer than %d characters: use a shorter name",
				svc.Name, linkerdapi.FederatedSuffix, validation.DNS1035LabelMaxLength)
		}
		if svc.Labels == nil {
			svc.Labels = map[string]string{}
		}
		svc.Labels[linkerdapi.FederatedLabel] = linkerdapi.FederatedMember
		routes = append(routes, federatedRoute(svc))
	}
	return append(objs, routes...), nil
}

// federatedRoute leads what is sent to a Service to the federated one.
func federatedRoute(svc *corev1.Service) *gateway.HTTPRoute {
	group, kind, port := gateway.Group(""), gateway.Kind("Service"), gateway.PortNumber(scenarios.ServicePort)
	r := &gateway.HTTPRoute{
		TypeMeta: metav1.TypeMeta{APIVersion: gateway.GroupVersion.String(), Kind: "HTTPRoute"},
		// No service's name has a dot, so this is no route of its policy.
		ObjectMeta: metav1.ObjectMeta{Namespace: svc.Namespace, Name: svc.Name + ".federated"},
	}
	r.Spec.ParentRefs = []gateway.ParentReference{{Group: &group, Kind: &kind, Name: gateway.ObjectName(svc.Name), Port: &port}}
	r.Spec.Rules = []gateway.HTTPRouteRule{{BackendRefs: []gateway.HTTPBackendRef{{BackendRef: gateway.BackendRef{
		BackendObjectReference: gateway.BackendObjectReference{Group: &group, Kind: &kind, Name: gateway.ObjectName(svc.Name + linkerdapi.FederatedSuffix), Port: &port},
	}}}}}
	return r
}
