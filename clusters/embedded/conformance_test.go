package embedded_test

import (
	"testing"

	"github.com/meshproof/meshproof/clusters/conformance"
	"github.com/meshproof/meshproof/clusters/embedded"
	"github.com/meshproof/meshproof/clusters/embedded/istio"
	"github.com/meshproof/meshproof/clusters/embedded/layered"
	"github.com/meshproof/meshproof/clusters/embedded/linkerd"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/scenarios"
)

func TestEmbeddedClustersKeepThePromisesOfClustersWithoutAMesh(t *testing.T) {
	conformance.Run(t, embedded.New(nil), scenarios.MeshEntry{Name: scenarios.MeshNone})
}

func TestEmbeddedClustersKeepThePromisesOfClustersWithIstio(t *testing.T) {
	conformance.Run(t, embedded.New(map[string]proxy.Factory{"istio": istio.Factory()}), scenarios.MeshEntry{Name: scenarios.MeshIstio})
}

func TestEmbeddedClustersKeepThePromisesOfClustersWithLinkerd(t *testing.T) {
	conformance.Run(t, embedded.New(map[string]proxy.Factory{"linkerd": linkerd.Factory()}), scenarios.MeshEntry{Name: scenarios.MeshLinkerd})
}

func TestEmbeddedClustersKeepThePromisesOfClustersWithALayeredMesh(t *testing.T) {
	for name, how := range map[string]scenarios.Layered{
		"gateway meshed, Linkerd balances": {Gateway: scenarios.GatewayMeshed, Balancing: scenarios.BalancingService},
		"gateway meshed, Envoy balances":   {Gateway: scenarios.GatewayMeshed, Balancing: scenarios.BalancingEndpoint},
		"gateway direct":                   {Gateway: scenarios.GatewayDirect},
	} {
		t.Run(name, func(t *testing.T) {
			conformance.Run(t, embedded.New(map[string]proxy.Factory{"layered": layered.Factory()}), scenarios.MeshEntry{
				Name: scenarios.MeshLayered, Layered: &how,
			})
		})
	}
}
