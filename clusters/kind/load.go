package kind

import (
	"fmt"

	"github.com/meshproof/meshproof/scenarios"
)

// CheckLoad implements clusters.Provider. HTTP/2 was seen to get through without a mesh and through Istio's proxies, which
// take it from who sends it and go on in HTTP/1.1.
func (p *Provider) CheckLoad(mesh string, tr scenarios.Traffic, _ int) error {
	if _, err := meshOf(mesh); err != nil {
		return err
	}
	if tr.Protocol == scenarios.ProtocolHTTP2 && mesh != meshNone && mesh != string(scenarios.MeshIstio) {
		return fmt.Errorf("traffic %s in HTTP/2 is not in this version for mesh %s: Linkerd's proxies are told (Server, proxyProtocol) that services speak HTTP/1; use protocol http1, or --mesh %s,%s",
			tr.Name, mesh, meshNone, scenarios.MeshIstio)
	}
	return nil
}
