package meshes

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/scenarios"
)

// shown is everything that a cluster gets of a mesh, as YAML.
func shown(t *testing.T, m Mesh, s *scenarios.Scenario, b clusters.Build, cluster string) string {
	t.Helper()
	var out strings.Builder
	in := Install(m, scenarios.MeshEntry{}, s, b, cluster)
	for _, r := range in.Releases {
		text, err := yaml.Marshal(r.Values)
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString("# " + r.Chart + " as " + r.Namespace + "/" + r.Name + "\n---\n" + string(text))
	}
	objs, err := RenderFor(m, scenarios.MeshEntry{}, s, b, cluster)
	if err != nil {
		t.Fatal(err)
	}
	text, err := clusters.Encode(append(in.Objects, objs...))
	if err != nil {
		t.Fatal(err)
	}
	return out.String() + "---\n" + string(text)
}

func TestClustersAreJoinedByLinksWhereTheDriverHasThem(t *testing.T) {
	s := topology()
	got := shown(t, linkerd{}, s, clusters.Build{Links: true}, "east")
	path := filepath.Join("testdata", "linkerd-links.yaml")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("not as in %s (write it with -update):\n%s", path, d)
	}
}

func TestNothingIsLinkedWhereThereIsNoExtensionOrNothingToJoin(t *testing.T) {
	one := topology()
	one.Spec.Topology.Clusters = one.Spec.Topology.Clusters[:1]
	for i := range one.Spec.Topology.Services {
		one.Spec.Topology.Services[i].Clusters = []string{one.Spec.Topology.Clusters[0].Name}
	}
	for name, tt := range map[string]struct {
		mesh  Mesh
		s     *scenarios.Scenario
		build clusters.Build
	}{
		"without the extension": {linkerd{}, topology(), clusters.Build{}},
		"one cluster":           {linkerd{}, one, clusters.Build{Links: true}},
		"another mesh":          {istio{}, topology(), clusters.Build{Links: true}},
		"both meshes":           {layered{}, topology(), clusters.Build{Links: true}},
	} {
		if got := shown(t, tt.mesh, tt.s, tt.build, "east"); strings.Contains(got, "federated") || strings.Contains(got, "multicluster") {
			t.Errorf("%s: there are Links:\n%s", name, got)
		}
	}
}

func TestANameThatIsTooLongForAFederatedServiceIsRefused(t *testing.T) {
	s := topology()
	long := strings.Repeat("a", 54) // and -federated: 64
	s.Spec.Topology.Services[0].Name = long
	_, err := RenderFor(linkerd{}, scenarios.MeshEntry{}, s, clusters.Build{Links: true}, "east")
	if err == nil || !strings.Contains(err.Error(), long) || !strings.Contains(err.Error(), "shorter name") {
		t.Errorf("%v", err)
	}
}
