package meshes

import (
	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/scenarios"
)

// linker is a mesh that has an extension of its own to join clusters, which a driver may have or not.
type linker interface {
	// linked adds the extension to what one cluster's control plane is installed from.
	linked(s *scenarios.Scenario, cluster string, in clusters.Installation) clusters.Installation
	// united adds to what a cluster gets what makes one name reach the pods of all clusters.
	united(s *scenarios.Scenario, objs []clusters.Object) ([]clusters.Object, error)
}

// linkerOf finds the mesh's means to join the scenario's clusters; nil where there are none, or there is nothing to join.
func linkerOf(m Mesh, s *scenarios.Scenario, b clusters.Build) linker {
	l, ok := m.(linker)
	if !ok || !b.Links || len(s.Spec.Topology.Clusters) < 2 {
		return nil
	}
	return l
}

// Install is what the control plane of one cluster is installed from, in the build of the mesh that a driver has.
func Install(m Mesh, entry scenarios.MeshEntry, s *scenarios.Scenario, b clusters.Build, cluster string) clusters.Installation {
	in := m.Install(s, entry, b.Flavor, cluster)
	if l := linkerOf(m, s, b); l != nil {
		return l.linked(s, cluster, in)
	}
	return in
}

// RenderFor is Render for the build of the mesh that a driver has: where clusters are joined by the mesh's own extension, with
// the objects that this takes.
func RenderFor(m Mesh, entry scenarios.MeshEntry, s *scenarios.Scenario, b clusters.Build, cluster string) ([]clusters.Object, error) {
	objs, err := Render(m, entry, s, cluster)
	if l := linkerOf(m, s, b); err == nil && l != nil {
		if objs, err = l.united(s, objs); err == nil {
			clusters.Sort(objs)
		}
	}
	return objs, err
}
