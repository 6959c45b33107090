package layered

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/clusters/embedded/istio"
	"github.com/meshproof/meshproof/clusters/embedded/linkerd"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
)

// Factory is Linkerd's injector and proxy, with Istio's gateway where a pod's template has one.
func Factory() proxy.Factory {
	inside := linkerd.Factory()
	return proxy.Factory{
		Inject:  inside.Inject,
		Gateway: isGateway,
		Check:   check,
		Start: func(pod proxy.Pod, world proxy.World, first *proxy.Snapshot) (proxy.Proxy, error) {
			if pod.Gateway == nil {
				return inside.Start(pod, world, first)
			}
			return startGateway(pod, world, first)
		},
	}
}

// isGateway knows Istio's gateway by its image, whatever registry it comes from. Its name decides nothing here, and much
// in Linkerd's injector.
func isGateway(c corev1.Container) bool {
	name := c.Image[strings.LastIndexByte(c.Image, '/')+1:]
	return name == "proxyv2" || strings.HasPrefix(name, "proxyv2:") || strings.HasPrefix(name, "proxyv2@")
}

// gateway is the proxies of a pod with Istio's gateway.
type gateway struct {
	envoy   proxy.Proxy
	linkerd proxy.Proxy // nil where Linkerd's injector put none
	app     string
}

var (
	_ proxy.Proxy = (*gateway)(nil)
	_ proxy.Edge  = (*gateway)(nil)
)

func startGateway(pod proxy.Pod, world proxy.World, first *proxy.Snapshot) (*gateway, error) {
	g := &gateway{app: pod.AppAddr}
	var err error
	if pod.Mesh != "" {
		if g.linkerd, world, err = linkerd.StartGateway(pod, world, first); err != nil {
			return nil, err
		}
	}
	if g.envoy, err = istio.StartGateway(pod, world, first); err != nil {
		if g.linkerd != nil {
			g.linkerd.Kill()
		}
		return nil, err
	}
	return g, nil
}

// Inbound implements proxy.Proxy. The workload's own port is Linkerd's, or nobody's: the gateway has one of its own.
func (g *gateway) Inbound() string {
	if g.linkerd != nil {
		return g.linkerd.Inbound()
	}
	return g.app
}

// Outbound implements proxy.Proxy.
func (g *gateway) Outbound() string { return g.envoy.Outbound() }

// Edge implements proxy.Edge.
func (g *gateway) Edge() string { return g.envoy.Inbound() }

// Pages implements proxy.Proxy.
func (g *gateway) Pages() []proxy.Page {
	pages := g.envoy.Pages()
	if g.linkerd != nil {
		pages = append(g.linkerd.Pages(), pages...)
	}
	return pages
}

// Update implements proxy.Proxy. Linkerd's proxy knows of an endpoint before the gateway can call it.
func (g *gateway) Update(s *proxy.Snapshot) {
	if g.linkerd != nil {
		g.linkerd.Update(s)
	}
	g.envoy.Update(s)
}

// Kill implements proxy.Proxy.
func (g *gateway) Kill() {
	g.envoy.Kill()
	if g.linkerd != nil {
		g.linkerd.Kill()
	}
}
