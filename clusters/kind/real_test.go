package kind

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/meshproof/meshproof/clusters/bundle"
)

// envKind is set where tests may make real clusters: they want Docker, a bundle and a quarter of an hour.
const envKind = "MESHPROOF_TEST_KIND"

// RealProvider is a provider for tests on real clusters. It skips the test where it may not make any.
func RealProvider(t *testing.T) *Provider {
	t.Helper()
	if os.Getenv(envKind) == "" {
		t.Skipf("makes real clusters: set %s=1, or use make test-kind", envKind)
	}
	if os.Getenv(AgentEnv) == "" {
		agent := filepath.Join(t.TempDir(), agentName)
		build := exec.CommandContext(t.Context(), "go", "build", "-o", agent, "../../cmd/meshproof-agent")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Setenv(AgentEnv, agent)
	}
	dir, err := bundle.DefaultDir()
	if err != nil {
		t.Fatal(err)
	}
	return New(Config{NodeImage: FromBundle(dir), State: t.TempDir()})
}
