package embedded

import (
	"fmt"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/scenarios"
)

// CheckLoad implements clusters.Provider.
func (p *Provider) CheckLoad(mesh string, tr scenarios.Traffic, workers int) error {
	if _, err := p.factory(mesh); err != nil {
		return err
	}
	if workers > 1 && tr.Inside() {
		return fmt.Errorf("traffic %s is sent by a pod of %s, and the pods of the embedded driver are parts of this process, whose network no other process shares: %d workers are %w; leave --workers out, or use --driver kind",
			tr.Name, tr.From, workers, clusters.ErrNotPossible)
	}
	if tr.Protocol != scenarios.ProtocolHTTP2 {
		return nil
	}
	switch {
	case mesh == meshNone, mesh == string(scenarios.MeshLinkerd) && !tr.Inside():
		return nil
	case tr.Inside():
		return fmt.Errorf("traffic %s in HTTP/2 is %w in mesh %s on the embedded driver: the models of its proxies take HTTP/1.1 from workloads; use protocol http1, --driver kind, or --mesh %s",
			tr.Name, clusters.ErrNotModelled, mesh, meshNone)
	}
	return fmt.Errorf("traffic %s in HTTP/2 is %w in mesh %s on the embedded driver: Istio's proxy stands before the ingress, and its model takes HTTP/1.1; use protocol http1, --driver kind, or --mesh %s,%s",
		tr.Name, clusters.ErrNotModelled, mesh, meshNone, scenarios.MeshLinkerd)
}
