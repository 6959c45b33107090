package kind_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/meshproof/meshproof/clusters/bundle"
	"github.com/meshproof/meshproof/clusters/conformance"
	"github.com/meshproof/meshproof/clusters/kind"
	"github.com/meshproof/meshproof/scenarios"
)

// envKind is set where tests may make real clusters: they want Docker, a bundle and a quarter of an hour.
const envKind = "MESHPROOF_TEST_KIND"

func TestKindClustersKeepThePromisesOfClustersWithoutAMesh(t *testing.T) {
	if os.Getenv(envKind) == "" {
		t.Skipf("makes real clusters: set %s=1, or use make test-kind", envKind)
	}
	if os.Getenv(kind.AgentEnv) == "" {
		agent := filepath.Join(t.TempDir(), "meshproof-agent")
		build := exec.CommandContext(t.Context(), "go", "build", "-o", agent, "../../cmd/meshproof-agent")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Setenv(kind.AgentEnv, agent)
	}
	dir, err := bundle.DefaultDir()
	if err != nil {
		t.Fatal(err)
	}
	conformance.Run(t, kind.New(kind.Config{NodeImage: kind.FromBundle(dir), State: t.TempDir()}), scenarios.MeshEntry{Name: scenarios.MeshNone})
}
