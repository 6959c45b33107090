package kind_test

import (
	"os"
	"testing"

	"github.com/meshproof/meshproof/clusters/conformance"
	"github.com/meshproof/meshproof/clusters/kind"
	"github.com/meshproof/meshproof/scenarios"
)

func TestKindClustersKeepThePromisesOfClustersWithoutAMesh(t *testing.T) {
	conformance.Run(t, kind.RealProvider(t), scenarios.MeshEntry{Name: scenarios.MeshNone})
}

// It makes some twenty pairs of clusters with control planes, more than make test-kind has time for.
func TestKindClustersKeepThePromisesOfClustersWithIstio(t *testing.T) {
	if os.Getenv(kind.EnvKind) != "full" {
		t.Skipf("takes half an hour: set %s=full", kind.EnvKind)
	}
	conformance.Run(t, kind.RealProvider(t), scenarios.MeshEntry{Name: scenarios.MeshIstio})
}
