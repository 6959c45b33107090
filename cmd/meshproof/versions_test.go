package main

import (
	"io"
	"log"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"

	"github.com/meshproof/meshproof/clusters/bundle"
	"github.com/meshproof/meshproof/clusters/bundle/pull"
	"github.com/meshproof/meshproof/clusters/kind"
	"github.com/meshproof/meshproof/scenarios"
)

// istioRegistry serves on loopback what Istio publishes in a version: images without content, and charts.
func istioRegistry(t *testing.T, version string) pull.Sources {
	t.Helper()
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(s.Close)
	host := strings.TrimPrefix(s.URL, "http://")
	push := func(ref string, img v1.Image) {
		r, err := name.ParseReference(host + "/" + ref)
		if err == nil {
			err = remote.Write(r, img)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	file, err := empty.Image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", runtime.GOARCH
	img, err := mutate.ConfigFile(empty.Image, file)
	if err != nil {
		t.Fatal(err)
	}
	node := file.DeepCopy()
	node.Config.Entrypoint = []string{"/usr/local/bin/entrypoint", "/sbin/init"}
	nodes, err := mutate.ConfigFile(empty.Image, node)
	if err != nil {
		t.Fatal(err)
	}
	push("kind/node:v1", nodes)
	for _, n := range []string{"pilot", "proxyv2"} {
		push("istio/"+n+":"+version, img)
	}
	for _, n := range []string{"base", "istiod", "gateway"} {
		path, err := chartutil.Save(&chart.Chart{Metadata: &chart.Metadata{APIVersion: "v2", Name: n, Version: version}}, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		c := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), "application/vnd.cncf.helm.config.v1+json")
		if c, err = mutate.Append(c, mutate.Addendum{Layer: static.NewLayer(text, "application/vnd.cncf.helm.chart.content.v1.tar+gzip")}); err != nil {
			t.Fatal(err)
		}
		push("istio/charts/"+n+":"+version, c)
	}
	return pull.Sources{Nodes: host + "/kind/node:v1", Istio: host + "/istio/"}
}

func TestARunPullsWhatItsBundleLacksAndNothingElse(t *testing.T) {
	const version = "1.29.0"
	from, dir := istioRegistry(t, version), t.TempDir()
	asked := map[string]string{bundle.Istio: version}
	p := kind.New(kind.Config{Bundle: dir, Versions: asked})
	meshes := []scenarios.MeshName{scenarios.MeshNone, scenarios.MeshIstio}
	if got := missing(p, dir, meshes[:1], asked, from); len(got) != 1 || got[0] != from.Node() {
		t.Errorf("without a mesh: %v, want the image of nodes alone", got)
	}
	items := missing(p, dir, meshes, asked, from)
	if len(items) != 6 {
		t.Errorf("%d items: %v", len(items), items)
	}
	var said strings.Builder
	if err := fill(t.Context(), dir, items, &said); err != nil {
		t.Fatal(err)
	}
	if b, err := p.Build("istio"); err != nil || b.Flavor != "" || b.Components["chart-istiod"] != version {
		t.Errorf("with it, Istio is %+v, %v", b, err)
	}
	if got := missing(p, dir, meshes, asked, from); len(got) != 0 {
		t.Errorf("pulled again: %v", got)
	}
	other := map[string]string{bundle.Istio: "1.28.0"}
	if got := missing(kind.New(kind.Config{Bundle: dir, Versions: other}), dir, meshes, other, from); len(got) != 5 {
		t.Errorf("of another version: %v, want all of Istio", got)
	} else if err := fill(t.Context(), dir, got, &said); codeOf(err) != exitError || !strings.Contains(err.Error(), "1.28.0") {
		t.Errorf("a version that nobody published: %v", err)
	}
	if _, err := kind.New(kind.Config{Bundle: dir, Versions: other}).Build("istio"); err == nil || !strings.Contains(err.Error(), "in version "+version+", not in 1.28.0") {
		t.Errorf("a version that the bundle does not have: %v", err)
	}
}
