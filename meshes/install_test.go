package meshes

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/meshproof/meshproof/clusters"
	embedded "github.com/meshproof/meshproof/clusters/embedded/istio"
	"github.com/meshproof/meshproof/scenarios"
)

func TestMeshesAreInstalledWithTheseValues(t *testing.T) {
	apart := &scenarios.Scenario{}
	apart.Spec.Topology.Network.Kind = scenarios.NetworkSeparate
	flat := &scenarios.Scenario{}
	short := &scenarios.Scenario{}
	short.Spec.Identity.LeafLifetime = scenarios.Duration(6 * time.Second)
	for name, in := range map[string]clusters.Installation{
		"istio-values-stock":          istio{}.Install(flat, scenarios.MeshEntry{}, "", "east"),
		"istio-values-upstream-envoy": istio{}.Install(flat, scenarios.MeshEntry{}, clusters.FlavorUpstreamEnvoy, "east"),
		"istio-values-separate":       istio{}.Install(apart, scenarios.MeshEntry{}, "", "east"),
		"layered-values":              layered{}.Install(flat, scenarios.MeshEntry{}, clusters.FlavorUpstreamEnvoy, "east"),
		"linkerd-values":              linkerd{}.Install(flat, scenarios.MeshEntry{}, "", "east"),
		"linkerd-values-leaves":       linkerd{}.Install(short, scenarios.MeshEntry{}, "", "east"),
	} {
		t.Run(name, func(t *testing.T) {
			var got strings.Builder
			for _, r := range in.Releases {
				text, err := yaml.Marshal(r.Values)
				if err != nil {
					t.Fatal(err)
				}
				got.WriteString("# " + r.Chart + " as " + r.Namespace + "/" + r.Name + "\n---\n" + string(text))
			}
			text, err := clusters.Encode(in.Objects)
			if err != nil {
				t.Fatal(err)
			}
			got.WriteString("# beside the charts\n---\n" + string(text))
			path := filepath.Join("testdata", name+".yaml")
			if *update {
				if err := os.WriteFile(path, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got.String()); d != "" {
				t.Errorf("not as in %s (write it with -update):\n%s", path, d)
			}
		})
	}
}

func TestAModelRefusesWhatOnlyRealProxiesLog(t *testing.T) {
	err := embedded.Factory().Check(istio{}.Install(&scenarios.Scenario{}, scenarios.MeshEntry{}, "", "east").Objects)
	if !errors.Is(err, clusters.ErrNotModelled) || !strings.Contains(err.Error(), "Telemetry") {
		t.Errorf("an object that no model interprets: %v", err)
	}
}

func TestEachClusterHasAControlPlaneOfItsOwnName(t *testing.T) {
	a, b := istio{}.Install(&scenarios.Scenario{}, scenarios.MeshEntry{}, "", "east"), istio{}.Install(&scenarios.Scenario{}, scenarios.MeshEntry{}, "", "west")
	name := func(in clusters.Installation) any {
		return in.Releases[1].Values["global"].(values)["multiCluster"].(values)["clusterName"]
	}
	if name(a) != "east" || name(b) != "west" {
		t.Errorf("istiod's clusters are %v and %v", name(a), name(b))
	}
	if in := (none{}).Install(&scenarios.Scenario{}, scenarios.MeshEntry{}, "", "east"); len(in.Releases)+len(in.Objects) != 0 {
		t.Errorf("no mesh is installed from %v", in)
	}
}
