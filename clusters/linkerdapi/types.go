// Package linkerdapi has the kinds of the API group policy.linkerd.io, and Link
// of multicluster.linkerd.io, which no Go module of Linkerd's offers without its whole control plane, as far as
// Meshproof works with them: the fields are those of Linkerd 2.20's custom
// resource definitions.
package linkerdapi

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
)

// Group is the API group of every kind here.
const Group = "policy.linkerd.io"

// Server is a port of some pods, and what protocol it speaks.
type Server struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              ServerSpec `json:"spec"`
}

// ServerSpec is the specification of a Server.
type ServerSpec struct {
	PodSelector              *metav1.LabelSelector `json:"podSelector,omitempty"`
	ExternalWorkloadSelector *metav1.LabelSelector `json:"externalWorkloadSelector,omitempty"`
	// Port is a number, or the name of a container's port.
	Port intstr.IntOrString `json:"port"`
	// ProxyProtocol is unknown (the default), HTTP/1, HTTP/2, gRPC, opaque or TLS.
	ProxyProtocol string `json:"proxyProtocol,omitempty"`
	// AccessPolicy holds for what nothing authorizes; a default inbound policy's name. Default deny.
	AccessPolicy string `json:"accessPolicy,omitempty"`
}

// HTTPRoute is Linkerd's own HTTPRoute, from before the Gateway API's was stable. Their specifications agree.
type HTTPRoute struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              gateway.HTTPRouteSpec `json:"spec"`
}

// AuthorizationPolicy authorizes clients that meet all of its authentications.
type AuthorizationPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              AuthorizationPolicySpec `json:"spec"`
}

// AuthorizationPolicySpec is the specification of an AuthorizationPolicy.
type AuthorizationPolicySpec struct {
	// TargetRef is a Server, an HTTPRoute, or the Namespace that the policy stands in.
	TargetRef TargetRef `json:"targetRef"`
	// RequiredAuthenticationRefs must all be met. None: everybody meets them.
	RequiredAuthenticationRefs []TargetRef `json:"requiredAuthenticationRefs"`
}

// TargetRef names an object. Namespace is for authentications alone.
type TargetRef struct {
	Group     string `json:"group,omitempty"`
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
}

// MeshTLSAuthentication is met by a client with one of the identities.
type MeshTLSAuthentication struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              MeshTLSAuthenticationSpec `json:"spec"`
}

// MeshTLSAuthenticationSpec is the specification of a MeshTLSAuthentication.
type MeshTLSAuthenticationSpec struct {
	// Identities are names, "*", or "*." and a suffix.
	Identities []string `json:"identities,omitempty"`
	// IdentityRefs are ServiceAccounts or Namespaces.
	IdentityRefs []TargetRef `json:"identityRefs,omitempty"`
}

// NetworkAuthentication is met by a client with an address in one of the networks.
type NetworkAuthentication struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              NetworkAuthenticationSpec `json:"spec"`
}

// NetworkAuthenticationSpec is the specification of a NetworkAuthentication.
type NetworkAuthenticationSpec struct {
	Networks []Network `json:"networks"`
}

// Network is a network in CIDR notation, or one address.
type Network struct {
	CIDR   string   `json:"cidr"`
	Except []string `json:"except,omitempty"`
}

// HTTPLocalRateLimitPolicy limits the rate of requests to a Server, in each proxy for itself.
type HTTPLocalRateLimitPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              HTTPLocalRateLimitPolicySpec `json:"spec"`
}

// HTTPLocalRateLimitPolicySpec is the specification of an HTTPLocalRateLimitPolicy.
type HTTPLocalRateLimitPolicySpec struct {
	// TargetRef is a Server.
	TargetRef TargetRef `json:"targetRef"`
	// Total is for all clients together.
	Total *RateLimit `json:"total,omitempty"`
	// Identity is for each client by its identity; those without one share it.
	Identity *RateLimit `json:"identity,omitempty"`
	// Overrides take the place of Identity for some clients.
	Overrides []RateLimitOverride `json:"overrides,omitempty"`
}

// RateLimit is a rate that must be more than 0, and a burst of one second's worth.
type RateLimit struct {
	RequestsPerSecond uint32 `json:"requestsPerSecond"`
}

// RateLimitOverride is a limit that some clients share.
type RateLimitOverride struct {
	RequestsPerSecond uint32 `json:"requestsPerSecond"`
	// ClientRefs are ServiceAccounts.
	ClientRefs []TargetRef `json:"clientRefs"`
}

// DeepCopyObject implements runtime.Object.
func (s *Server) DeepCopyObject() runtime.Object {
	out := *s
	out.ObjectMeta = *s.ObjectMeta.DeepCopy()
	out.Spec.PodSelector = s.Spec.PodSelector.DeepCopy()
	out.Spec.ExternalWorkloadSelector = s.Spec.ExternalWorkloadSelector.DeepCopy()
	return &out
}

// DeepCopyObject implements runtime.Object.
func (r *HTTPRoute) DeepCopyObject() runtime.Object {
	out := *r
	out.ObjectMeta = *r.ObjectMeta.DeepCopy()
	out.Spec = *r.Spec.DeepCopy()
	return &out
}

// DeepCopyObject implements runtime.Object.
func (p *AuthorizationPolicy) DeepCopyObject() runtime.Object {
	out := *p
	out.ObjectMeta = *p.ObjectMeta.DeepCopy()
	out.Spec.RequiredAuthenticationRefs = copyOf(p.Spec.RequiredAuthenticationRefs)
	return &out
}

// DeepCopyObject implements runtime.Object.
func (a *MeshTLSAuthentication) DeepCopyObject() runtime.Object {
	out := *a
	out.ObjectMeta = *a.ObjectMeta.DeepCopy()
	out.Spec.Identities = copyOf(a.Spec.Identities)
	out.Spec.IdentityRefs = copyOf(a.Spec.IdentityRefs)
	return &out
}

// DeepCopyObject implements runtime.Object.
func (a *NetworkAuthentication) DeepCopyObject() runtime.Object {
	out := *a
	out.ObjectMeta = *a.ObjectMeta.DeepCopy()
	out.Spec.Networks = copyOf(a.Spec.Networks)
	for i := range out.Spec.Networks {
		out.Spec.Networks[i].Except = copyOf(a.Spec.Networks[i].Except)
	}
	return &out
}

// DeepCopyObject implements runtime.Object.
func (p *HTTPLocalRateLimitPolicy) DeepCopyObject() runtime.Object {
	out := *p
	out.ObjectMeta = *p.ObjectMeta.DeepCopy()
	for _, limit := range []**RateLimit{&out.Spec.Total, &out.Spec.Identity} {
		if *limit != nil {
			c := **limit
			*limit = &c
		}
	}
	out.Spec.Overrides = copyOf(p.Spec.Overrides)
	for i := range out.Spec.Overrides {
		out.Spec.Overrides[i].ClientRefs = copyOf(p.Spec.Overrides[i].ClientRefs)
	}
	return &out
}

// copyOf keeps nil and empty apart.
func copyOf[T any](s []T) []T {
	if s == nil {
		return nil
	}
	return append([]T{}, s...)
}
