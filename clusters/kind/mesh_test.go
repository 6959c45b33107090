package kind

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/bundle"
)

// bundleWith makes a bundle of these charts, and of images by their references.
func bundleWith(t *testing.T, charts []string, refs ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range charts {
		file, err := chartutil.Save(&chart.Chart{Metadata: &chart.Metadata{APIVersion: "v2", Name: name, Version: "1.31.0"}}, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bundle.PutChart(t.Context(), dir, "test", "", opener(file)); err != nil {
			t.Fatal(err)
		}
	}
	for i, ref := range refs {
		p := bundle.Part{Name: fmt.Sprintf("image-%d", i), Kind: bundle.Image, Version: "1.31.0", Source: "test", Refs: []string{ref}}
		if _, err := bundle.PutImage(t.Context(), dir, p, empty.Image); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestAMeshIsBuiltFromWhatTheBundleHasAndNothingIsStartedWithoutIt(t *testing.T) {
	all := []string{"base", "istiod", "gateway"}
	for _, tt := range []struct {
		name   string
		bundle string
		mesh   string
		flavor string
		want   []string // in the error
	}{
		{"no mesh needs no bundle", t.TempDir(), "none", "", nil},
		{"images built from packages", bundleWith(t, all, "docker.io/meshproof/pilot:1.31.0", "docker.io/meshproof/proxyv2:1.31.0"), "istio", clusters.FlavorUpstreamEnvoy, nil},
		{"Istio's own images", bundleWith(t, all, "docker.io/istio/pilot:1.30.3", "docker.io/istio/proxyv2:1.30.3"), "istio", "", nil},
		{"no bundle", t.TempDir(), "istio", "", []string{"no bundle", "meshproof bundle build"}},
		{"parts are missing", bundleWith(t, []string{"base"}, "docker.io/istio/pilot:1.30.3", "docker.io/istio/proxyv2-debug:1.30.3"), "istio", "", []string{"chart-istiod", "image proxyv2", "meshproof bundle build"}},
		{"a mesh that the driver does not know", t.TempDir(), "consul", "", []string{"--driver embedded", "consul"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := New(Config{Bundle: tt.bundle})
			b, err := p.Build(tt.mesh)
			if (err == nil) != (tt.want == nil) || b.Flavor != tt.flavor {
				t.Fatalf("Build = %+v, %v", b, err)
			}
			if err == nil && tt.mesh != meshNone && (b.Components["chart-istiod"] != "1.31.0" || len(b.Components) != 5) {
				t.Errorf("components %v", b.Components)
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%v does not say %q", err, w)
				}
			}
			if tt.want == nil {
				return
			}
			if _, again := p.examine(t.Context(), 1, tt.mesh); again == nil || again.Error() != err.Error() {
				t.Errorf("before a run: %v, want the same", again)
			}
		})
	}
}

func TestValuesLieOverOthersMapByMap(t *testing.T) {
	below := map[string]any{"a": 1, "m": map[string]any{"x": 1, "y": 1}, "n": map[string]any{"x": 1}}
	above := map[string]any{"b": 2, "m": map[string]any{"y": 2}, "n": 3}
	got := over(below, above)
	want := map[string]any{"a": 1, "b": 2, "m": map[string]any{"x": 1, "y": 2}, "n": 3}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]any{"x": 1, "y": 1}, below["m"]); d != "" {
		t.Errorf("what lay below was changed: %s", d)
	}
	if d := cmp.Diff(map[string]any{"b": 2}, over(nil, map[string]any{"b": 2})); d != "" {
		t.Error(d)
	}
}
