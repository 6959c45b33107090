package istio

import (
	securityapi "istio.io/api/security/v1beta1"
	security "istio.io/client-go/pkg/apis/security/v1"

	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/scenarios"
)

// mtlsMode is what a workload's port accepts.
type mtlsMode int

// The modes. Without any PeerAuthentication a port is permissive.
const (
	permissive mtlsMode = iota // plaintext and mutual TLS
	strict                     // mutual TLS alone
	disabled                   // plaintext alone
)

// inboundModeOf is the mode of the pod's own port. A gateway has an HTTP listener that no PeerAuthentication is about.
func inboundModeOf(policies []*security.PeerAuthentication, pod proxy.Pod) mtlsMode {
	if pod.Gateway != nil {
		return disabled
	}
	return mtlsModeOf(policies, pod.Namespace, pod.Labels, scenarios.WorkloadPort)
}

// mtlsModeOf resolves the mode of a workload's port from PeerAuthentications, oldest first: that with a selector in the
// workload's namespace, else that of the namespace, else that of the root namespace. A mode that is unset is inherited.
// Ports are set one by one only where there is a selector. A selector in the root namespace selects nothing.
func mtlsModeOf(policies []*security.PeerAuthentication, namespace string, labels map[string]string, port uint32) mtlsMode {
	var mesh, ns, workload *securityapi.PeerAuthentication
	for _, p := range policies {
		selector := p.Spec.GetSelector().GetMatchLabels()
		switch {
		case p.Namespace == rootNamespace && len(selector) == 0:
			mesh = older(mesh, &p.Spec)
		case p.Namespace == rootNamespace || p.Namespace != namespace:
		case len(selector) == 0:
			ns = older(ns, &p.Spec)
		case proxy.SelectsLabels(selector, labels):
			workload = older(workload, &p.Spec)
		}
	}
	mode := permissive
	for _, p := range []*securityapi.PeerAuthentication{mesh, ns, workload} {
		mode = inherit(p.GetMtls(), mode)
	}
	return inherit(workload.GetPortLevelMtls()[port], mode)
}

func older(first, next *securityapi.PeerAuthentication) *securityapi.PeerAuthentication {
	if first != nil {
		return first
	}
	return next
}

func inherit(m *securityapi.PeerAuthentication_MutualTLS, parent mtlsMode) mtlsMode {
	switch m.GetMode() {
	case securityapi.PeerAuthentication_MutualTLS_STRICT:
		return strict
	case securityapi.PeerAuthentication_MutualTLS_PERMISSIVE:
		return permissive
	case securityapi.PeerAuthentication_MutualTLS_DISABLE:
		return disabled
	default:
		return parent
	}
}
