package kind

import (
	"os"
	"testing"

	"github.com/meshproof/meshproof/clusters/conformance"
	"github.com/meshproof/meshproof/scenarios"
)

func TestKindClustersKeepThePromisesOfClustersWithoutAMesh(t *testing.T) {
	conformance.Run(t, RealProvider(t), scenarios.MeshEntry{Name: scenarios.MeshNone},
		conformance.Part{Name: "addresses of another's pods and Services are dropped", Test: dropsWhatIsSentToPodsAndServices})
}

func TestKindClustersKeepThePromisesOfClustersWithIstio(t *testing.T) {
	if os.Getenv(EnvKind) != "full" {
		t.Skipf("takes minutes more: set %s=full", EnvKind)
	}
	conformance.Run(t, RealProvider(t), scenarios.MeshEntry{Name: scenarios.MeshIstio})
}
