package meshes

import (
	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/scenarios"
)

// none is the absence of a mesh: the same workloads, called directly. It is the baseline of every comparison.
type none struct{}

// Name implements Mesh.
func (none) Name() scenarios.MeshName { return scenarios.MeshNone }

// Gaps implements Mesh.
func (none) Gaps() []scenarios.Gap { return []scenarios.Gap{scenarios.GapMTLS, scenarios.GapPolicy} }

// Objects implements Mesh.
func (none) Objects(s *scenarios.Scenario, _ scenarios.MeshEntry, cluster string) ([]clusters.Object, error) {
	return workloadObjects(s, cluster, nil)
}

// Install implements Mesh: there is nothing to install.
func (none) Install(*scenarios.Scenario, scenarios.MeshEntry, string, string) clusters.Installation {
	return clusters.Installation{}
}
