package verify

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// layeredDialect is Linkerd inside, behind a gateway of Istio's. Between pods everything is said in Linkerd's words; at
// the ingress an Envoy checks users' tokens and logs each request in Istio's.
type layeredDialect struct {
	linkerdDialect
	gateway   scenarios.LayeredGateway
	balancing scenarios.LayeredBalancing
}

const (
	// gatewayContainer is Envoy's in the gateway pod. It is not named istio-proxy: Linkerd's injector would skip the pod.
	gatewayContainer = "gateway"

	// reasonNotMeshed is a gateway that should have Linkerd's proxy beside its Envoy, and has not.
	reasonNotMeshed = "GatewayNotMeshed"
)

// newLayeredDialect is the dialect of mesh layered as it is built; what is left open has the language's defaults.
func newLayeredDialect(l *scenarios.Layered) (dialect, error) {
	d := layeredDialect{gateway: scenarios.GatewayMeshed, balancing: scenarios.BalancingService}
	if l == nil {
		return d, nil
	}
	switch l.Gateway {
	case "", scenarios.GatewayMeshed, scenarios.GatewayDirect:
	default:
		return nil, fmt.Errorf("this version cannot judge mesh layered with a gateway that is %q", l.Gateway)
	}
	switch l.Balancing {
	case "", scenarios.BalancingService, scenarios.BalancingEndpoint:
	default:
		return nil, fmt.Errorf("this version cannot judge mesh layered with balancing by %q", l.Balancing)
	}
	if l.Gateway != "" {
		d.gateway = l.Gateway
	}
	if l.Balancing != "" {
		d.balancing = l.Balancing
	}
	return d, nil
}

func (d layeredDialect) traits() traits {
	t := d.linkerdDialect.traits()
	t.guardsEdge = true
	return t
}

// identity of a gateway that has no proxy of Linkerd is the one that Istio gave it.
func (d layeredDialect) identity(w scenarios.Workload) string {
	if w.Name == scenarios.IngressName && d.gateway == scenarios.GatewayDirect {
		return w.SPIFFEID()
	}
	return d.linkerdDialect.identity(w)
}

// access reads what the gateway's Envoy writes. Linkerd's proxies write nothing.
func (layeredDialect) access(l json.RawMessage) (accessLine, error) { return istioDialect{}.access(l) }

// sidecars wants of the gateway one Envoy under its own name, and Linkerd's proxy beside it or not, as it is built.
func (d layeredDialect) sidecars(p *evidence.Pod) (reason, wrong string) {
	if p.At.Service != scenarios.IngressName {
		return d.linkerdDialect.sidecars(p)
	}
	const istio = "istio-proxy"
	stock := howMany(p.Containers, istio)+howMany(p.InitContainers, istio, "istio-init", "istio-validation") > 0
	proxies := howMany(p.Containers, linkerdProxy) + howMany(p.InitContainers, linkerdProxy)
	switch envoys := howMany(p.Containers, gatewayContainer); {
	case d.gateway == scenarios.GatewayMeshed && proxies == 0 && stock:
		return reasonNotMeshed, "is a stock gateway of Istio's, which Linkerd's injector skips without a word to its owner, so it has no linkerd-proxy and is outside of the mesh: " +
			"name its Envoy container otherwise than istio-proxy, and give the pod no injection template of Istio's, the annotation sidecar.istio.io/inject: \"false\", and linkerd.io/inject: enabled"
	case d.gateway == scenarios.GatewayMeshed && proxies == 0:
		return reasonNotMeshed, "has no linkerd-proxy, so it is outside of the mesh: give it the annotation linkerd.io/inject: enabled, and an image whose name does not begin with gcr.io/istio-release/proxyv2:, which Linkerd's injector skips"
	case envoys != 1:
		return reasonSidecars, fmt.Sprintf("has %d containers named %s, want 1: Istio's policy for the edge is enforced there", envoys, gatewayContainer)
	case d.gateway == scenarios.GatewayMeshed:
		return wantSidecar(p, linkerdProxy, linkerdInit, linkerdValidator, gatewayContainer)
	}
	if f := foreignSidecars(p, gatewayContainer); len(f) > 0 {
		return reasonSidecars, fmt.Sprintf("has %s, and a direct gateway has nothing beside the workload and %s", strings.Join(f, ", "), gatewayContainer)
	}
	return "", ""
}
