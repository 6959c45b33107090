package linkerd

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/clusters/embedded/proxy"
)

const (
	meshName       = "linkerd"
	controlPlane   = "linkerd" // namespace of the control plane, part of every identity
	injectKey      = "linkerd.io/inject"
	defaultPolicy  = "config.linkerd.io/default-inbound-policy"
	sidecarExists  = "pod has a sidecar injected already"
	proxyContainer = "linkerd-proxy"
	initContainer  = "linkerd-init"
)

// SkipInbound is the annotation of pods that lists the ports whose connections reach the pod past Linkerd's proxy.
const SkipInbound = "config.linkerd.io/skip-inbound-ports"

// Factory is the modelled proxy and its injector. The proxy is a native sidecar, which is the default since Linkerd 2.20.
func Factory() proxy.Factory {
	return proxy.Factory{
		Inject: inject,
		Check:  check,
		Start: func(pod proxy.Pod, world proxy.World, first *proxy.Snapshot) (proxy.Proxy, error) {
			return start(pod, world, first, time.Now)
		},
	}
}

func inject(namespace, pod proxy.Meta, spec corev1.PodSpec) proxy.Injection {
	if !selects(namespace, pod) {
		return proxy.Injection{}
	}
	if why := skips(spec); why != "" {
		return proxy.Injection{Skipped: why}
	}
	return proxy.Injection{
		Mesh: meshName, InitContainers: []string{initContainer, proxyContainer}, Annotations: annotates(namespace, pod),
	}
}

// selects is the injector's rule: what the pod says, else what its namespace says.
func selects(namespace, pod proxy.Meta) bool {
	said, ok := pod.Annotations[injectKey]
	if !ok {
		said = namespace.Annotations[injectKey]
	}
	return said == "enabled"
}

// Images by whose beginning the injector knows sidecars and the containers that prepare them.
var (
	sidecarImages = []string{"cr.l5d.io/linkerd/proxy:", "gcr.io/istio-release/proxyv2:"}
	initImages    = []string{"cr.l5d.io/linkerd/proxy-init:", "gcr.io/istio-release/proxy_init:"}
)

// skips finds a sidecar in the pod's own specification: Linkerd's, or Istio's, which gateways have.
func skips(spec corev1.PodSpec) string {
	found := func(cs []corev1.Container, images []string, names ...string) bool {
		for _, c := range cs {
			for _, i := range images {
				if strings.HasPrefix(c.Image, i) {
					return true
				}
			}
			for _, n := range names {
				if c.Name == n {
					return true
				}
			}
		}
		return false
	}
	if found(spec.InitContainers, sidecarImages, proxyContainer, "istio-proxy") ||
		found(spec.Containers, sidecarImages, proxyContainer, "istio-proxy") ||
		found(spec.InitContainers, initImages, initContainer, "istio-init") {
		return sidecarExists
	}
	return ""
}

// annotates fixes the default inbound policy in the pod: what the namespace says later does not reach it.
func annotates(namespace, pod proxy.Meta) map[string]string {
	if _, ok := pod.Annotations[defaultPolicy]; ok {
		return nil
	}
	if p, ok := namespace.Annotations[defaultPolicy]; ok {
		return map[string]string{defaultPolicy: p}
	}
	return nil
}
