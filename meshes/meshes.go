// Package meshes knows the meshes: how a namespace is brought into one, and
// how the portable policy of a scenario becomes the mesh's own Kubernetes
// objects. What a mesh cannot express is a gap, never an approximation.
package meshes

import (
	"fmt"
	"strings"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/scenarios"
)

// Mesh is one way of running services.
type Mesh interface {
	// Name is the mesh's name in scenarios.
	Name() scenarios.MeshName
	// Gaps is what the mesh cannot do.
	Gaps() []scenarios.Gap
	// Objects renders all that one cluster needs for the scenario under the mesh's entry in it, without the entry's own
	// objects, in the order of application: namespaces, service
	// accounts, the mesh's policy and traffic settings, Services, Deployments.
	Objects(s *scenarios.Scenario, entry scenarios.MeshEntry, cluster string) ([]clusters.Object, error)
	// Install is what the control plane of one cluster is installed from for the scenario under the mesh's entry in it, in
	// a flavor of the mesh (clusters.Build).
	Install(s *scenarios.Scenario, entry scenarios.MeshEntry, flavor, cluster string) clusters.Installation
}

// All lists the meshes that this version knows.
func All() []Mesh { return []Mesh{none{}, istio{}, linkerd{}, layered{}} }

// ByName finds a mesh.
func ByName(name scenarios.MeshName) (Mesh, error) {
	for _, m := range All() {
		if m.Name() == name {
			return m, nil
		}
	}
	var known []string
	for _, m := range All() {
		known = append(known, string(m.Name()))
	}
	if later := scenarios.ReservedMesh(string(name)); later != "" {
		return nil, fmt.Errorf("mesh %q is not in this version: %s: use %s", name, later, strings.Join(known, " or "))
	}
	return nil, fmt.Errorf("mesh %q is not known: use %s", name, strings.Join(known, " or "))
}
