package istio

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/clusters/embedded/proxy"
)

const (
	meshName      = "istio"
	rootNamespace = "istio-system"
	proxyName     = "istio-proxy"
	injectKey     = "sidecar.istio.io/inject" // label, or the older annotation
	configKey     = "proxy.istio.io/config"
)

// Factory is the modelled sidecar and its injector. The sidecar is a native one: it stands among the init containers.
func Factory() proxy.Factory {
	return proxy.Factory{
		Inject: inject,
		Check:  check,
		Start: func(pod proxy.Pod, world proxy.World, first *proxy.Snapshot) (proxy.Proxy, error) {
			return start(pod, world, first)
		},
	}
}

func inject(namespace, pod proxy.Meta, _ corev1.PodSpec) proxy.Injection {
	if !selects(namespace, pod) {
		return proxy.Injection{}
	}
	return proxy.Injection{Mesh: meshName, InitContainers: []string{"istio-init", proxyName}}
}

// selects is the decision of the injector's webhook selectors and of its policy "enabled". A namespace that says
// "disabled" has no webhook; one that says nothing has one for pods that ask by label.
func selects(namespace, pod proxy.Meta) bool {
	label, labelled := pod.Labels[injectKey]
	switch namespace.Labels["istio-injection"] {
	case "enabled":
	case "disabled":
		return false
	default:
		return label == "true"
	}
	if !labelled {
		label = pod.Annotations[injectKey]
	}
	return label != "false" // anything that is neither "true" nor "false" falls back to the policy
}
