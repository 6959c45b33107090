package kind_test

import (
	"testing"

	"github.com/meshproof/meshproof/clusters/conformance"
	"github.com/meshproof/meshproof/clusters/kind"
	"github.com/meshproof/meshproof/scenarios"
)

func TestKindClustersKeepThePromisesOfClustersWithoutAMesh(t *testing.T) {
	conformance.Run(t, kind.RealProvider(t), scenarios.MeshEntry{Name: scenarios.MeshNone})
}
