package verify

import (
	"fmt"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// layeredScenario is testScenario for mesh layered, with its gateway built in one way.
func layeredScenario(gateway scenarios.LayeredGateway, balancing scenarios.LayeredBalancing) *scenarios.Scenario {
	s := testScenario(scenarios.MeshLayered)
	s.Spec.Meshes[0].Layered = &scenarios.Layered{Gateway: gateway, Balancing: balancing}
	return s
}

// layeredEdgeScenario is the same with users' tokens at the edge.
func layeredEdgeScenario(gateway scenarios.LayeredGateway, balancing scenarios.LayeredBalancing) *scenarios.Scenario {
	s := edgeScenario(scenarios.MeshLayered)
	s.Spec.Meshes[0].Layered = &scenarios.Layered{Gateway: gateway, Balancing: balancing}
	return s
}

func (b *builder) layered() bool { return b.trial.Mesh == "layered" }

func (b *builder) isGateway(w scenarios.Workload) bool {
	return b.layered() && w.Name == scenarios.IngressName
}

func (b *builder) directGateway(w scenarios.Workload) bool {
	return b.isGateway(w) && b.s.Spec.Meshes[0].Layered.Gateway == scenarios.GatewayDirect
}

// l5dID is the name under which a workload is known to Linkerd's proxies.
func (b *builder) l5dID(w scenarios.Workload) string {
	if b.directGateway(w) {
		return w.SPIFFEID()
	}
	return l5dID(w)
}

// gatewayPod gives a gateway pod its containers.
func (b *builder) gatewayPod(inv *evidence.Pod, p *simPod) {
	if !b.isGateway(p.w) {
		return
	}
	inv.Containers = append(inv.Containers, "gateway")
	if b.directGateway(p.w) {
		inv.InitContainers = nil
	}
}

// gatewayPage is the page of the gateway's Envoy, a process of its own.
func (b *builder) gatewayPage(window, edge string, p *simPod) {
	if !b.isGateway(p.w) {
		return
	}
	b.put(&evidence.Scrape{
		Header: b.head("probe"), At: p.PodRef, Window: window, Edge: edge, Proxy: "gateway", Body: fmt.Sprintf(
			"# TYPE istio_agent_process_start_time_seconds gauge\nistio_agent_process_start_time_seconds %v\n# TYPE istio_requests_total counter\n%s %d\n",
			p.start+0.5, `istio_requests_total{reporter="source",response_code="200",connection_security_policy="unknown"}`, p.envoy),
	})
}

// sentTo is a series of what a proxy of Linkerd's sent, by what it balanced it over.
func sentTo(kind, name string) string {
	return fmt.Sprintf(`outbound_http_route_backend_requests_total{parent_group="",parent_kind=%q,parent_namespace="app",parent_name=%q,parent_port="80"}`, kind, name)
}

// departs counts a request at the gateway that it leaves.
func (b *builder) departs(from *simPod, to string) {
	if !b.isGateway(from.w) {
		return
	}
	from.envoy++
	switch b.s.Spec.Meshes[0].Layered.Balancing {
	case scenarios.BalancingService:
		from.counts[sentTo("Service", to)]++
	case scenarios.BalancingEndpoint:
		from.counts[sentTo("default", "endpoint")]++
	}
}
