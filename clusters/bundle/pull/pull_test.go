package pull

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"go.uber.org/goleak"

	"github.com/meshproof/meshproof/clusters/bundle"
	"github.com/meshproof/meshproof/clusters/bundle/internal/charttest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"), // idle connections of Helm's and the registry's clients
		goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"),
	)
}

// aRegistry serves an empty image registry on loopback.
func aRegistry(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(registry.New())
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// image is a random image for a platform.
func image(t *testing.T, arch string) v1.Image {
	t.Helper()
	img, err := random.Image(512, 2)
	must(t, err)
	c, err := img.ConfigFile()
	must(t, err)
	c = c.DeepCopy()
	c.OS, c.Architecture = "linux", arch
	img, err = mutate.ConfigFile(img, c)
	must(t, err)
	return img
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func push(t *testing.T, ref string, img remote.Taggable) {
	t.Helper()
	r, err := name.ParseReference(ref)
	must(t, err)
	switch it := img.(type) {
	case v1.Image:
		must(t, remote.Write(r, it))
	case v1.ImageIndex:
		must(t, remote.WriteIndex(r, it))
	default:
		t.Fatalf("a %T", img)
	}
}

func TestAnImageIsPulledOnceAndForThisArchitecture(t *testing.T) {
	host, dir := aRegistry(t), t.TempDir()
	ours, other := image(t, runtime.GOARCH), image(t, "s390x")
	index := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: other, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}}},
		mutate.IndexAddendum{Add: ours, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}}},
	)
	ref := host + "/linkerd/proxy:edge-1.2.3"
	push(t, ref, index)
	digest, err := index.Digest()
	must(t, err)
	for i, want := range []struct {
		ref   string
		fresh bool
	}{{ref, true}, {ref, false}, {ref + "@" + digest.String(), false}} {
		p, fresh, err := Pull(t.Context(), dir, Item{Ref: want.ref})
		must(t, err)
		id, err := ours.ConfigName()
		must(t, err)
		if fresh != want.fresh || p.Name != "linkerd-proxy" || p.Version != "edge-1.2.3" || p.Refs[0] != ref || p.ImageID != id.String() {
			t.Errorf("pull %d: fresh %t, part %+v", i, fresh, p)
		}
	}
	b, err := bundle.Open(dir)
	must(t, err)
	must(t, b.Verify(t.Context()))
	path := filepath.Join(dir, "images", "linkerd-proxy.tar")
	must(t, os.Truncate(path, 10))
	if _, fresh, err := Pull(t.Context(), dir, Item{Ref: ref}); err != nil || !fresh {
		t.Errorf("a part that was truncated: fresh %t, %v", fresh, err)
	}
	must(t, b.Verify(t.Context()))
}

func TestPullingAnImageSaysWhatIsWrong(t *testing.T) {
	host := aRegistry(t)
	push(t, host+"/foreign:1", image(t, "s390x"))
	push(t, host+"/ours:1", image(t, runtime.GOARCH))
	cases := []struct{ name, ref, want string }{
		{"not there", host + "/nothing:1", "NAME_UNKNOWN"},
		{"for another machine", host + "/foreign:1", "s390x"},
		{"without a tag", host + "/ours@sha256:" + strings.Repeat("0", 64), "MANIFEST_UNKNOWN"},
		{"no reference", "UPPER CASE", "could not parse"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := Pull(t.Context(), t.TempDir(), Item{Ref: c.ref})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.ref) {
				t.Errorf("got %v, want %q and the reference in it", err, c.want)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := Pull(ctx, t.TempDir(), Item{Ref: host + "/ours:1"}); !errors.Is(err, context.Canceled) {
		t.Errorf("after a stop: %v", err)
	}
}

// chartRepository serves a chart repository with one chart, "gate" 1.2.3, whose index says digest.
func chartRepository(t *testing.T, chart []byte, digest string) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/charts/index.yaml", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "apiVersion: v1\nentries:\n  gate:\n  - {apiVersion: v2, name: gate, version: 1.2.3, digest: %q, urls: [files/gate-1.2.3.tgz]}\n", digest)
	})
	mux.HandleFunc("/charts/files/gate-1.2.3.tgz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(chart)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL + "/charts"
}

func TestAChartIsPulledFromARepository(t *testing.T) {
	chart := charttest.Packaged(t, "gate", "1.2.3")
	sum := sha256.Sum256(chart)
	address, dir := chartRepository(t, chart, hex.EncodeToString(sum[:])), t.TempDir()
	p, fresh, err := Pull(t.Context(), dir, Item{Repo: address, Ref: "gate:1.2.3"})
	must(t, err)
	if p.Name != "chart-gate" || p.Kind != bundle.Chart || p.Version != "1.2.3" || !fresh {
		t.Errorf("got %+v", p)
	}
	b, err := bundle.Open(dir)
	must(t, err)
	must(t, b.Verify(t.Context()))
	if got, err := os.ReadFile(b.Path(p)); err != nil || !bytes.Equal(got, chart) {
		t.Errorf("the chart changed on its way: %v", err)
	}
}

func TestPullingAChartSaysWhatIsWrong(t *testing.T) {
	chart := charttest.Packaged(t, "gate", "1.2.3")
	sum := sha256.Sum256(chart)
	good := chartRepository(t, chart, hex.EncodeToString(sum[:]))
	tampered := chartRepository(t, append(bytes.Clone(chart), 0), hex.EncodeToString(sum[:]))
	garbage := chartRepository(t, []byte("hello"), "")
	cases := []struct{ name, repo, ref, want string }{
		{"no such version", good, "gate:9.9.9", "no chart gate of version 9.9.9"},
		{"no such chart", good, "door:1.2.3", "no chart door"},
		{"no version", good, "gate", "NAME:VERSION"},
		{"another digest than the index says", tampered, "gate:1.2.3", "index says"},
		{"not a chart", garbage, "gate:1.2.3", "not a packaged chart"},
		{"no repository", good + "/none", "gate:1.2.3", "404"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			_, _, err := Pull(t.Context(), dir, Item{Repo: c.repo, Ref: c.ref})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
			if _, err := bundle.Open(dir); !errors.Is(err, bundle.ErrNoBundle) {
				t.Errorf("something was put into the bundle: %v", err)
			}
		})
	}
}

func TestAChartIsPulledFromARegistry(t *testing.T) {
	host, dir := aRegistry(t), t.TempDir()
	chart := charttest.Packaged(t, "gate", "1.2.3")
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, "application/vnd.cncf.helm.config.v1+json")
	img, err := mutate.Append(img, mutate.Addendum{Layer: static.NewLayer(chart, "application/vnd.cncf.helm.chart.content.v1.tar+gzip")})
	must(t, err)
	push(t, host+"/charts/gate:1.2.3", img)
	p, _, err := Pull(t.Context(), dir, Item{Ref: "oci://" + host + "/charts/gate:1.2.3"})
	must(t, err)
	if p.Name != "chart-gate" || p.Version != "1.2.3" {
		t.Errorf("got %+v", p)
	}
	if _, _, err := Pull(t.Context(), dir, Item{Ref: "oci://" + host + "/charts/gate:9.9.9"}); err == nil {
		t.Error("a version that is not there was pulled")
	}
}

func TestWhatEverythingNamesCanBeRead(t *testing.T) {
	seen := map[string]bool{}
	for _, it := range Public().Everything(nil) {
		key := it.Part + it.Ref
		if seen[key] {
			t.Errorf("%s is there twice", it.Ref)
		}
		seen[key] = true
		if it.Repo != "" || strings.HasPrefix(it.Ref, "oci://") {
			continue
		}
		if _, err := name.ParseReference(it.Ref, name.StrictValidation); err != nil {
			t.Error(err)
		}
	}
}

// pushChart puts a chart into a registry as Helm does.
func pushChart(t *testing.T, ref string, chart []byte) {
	t.Helper()
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), "application/vnd.cncf.helm.config.v1+json")
	img, err := mutate.Append(img, mutate.Addendum{Layer: static.NewLayer(chart, "application/vnd.cncf.helm.chart.content.v1.tar+gzip")})
	must(t, err)
	push(t, ref, img)
}

func TestAProjectIsPulledInTheVersionThatIsAskedForBesideOthers(t *testing.T) {
	host, dir := aRegistry(t), t.TempDir()
	from := Sources{Istio: host + "/istio/"}
	for _, version := range []string{bundle.Pinned()[bundle.Istio], "1.29.0"} {
		for _, name := range []string{"pilot", "proxyv2"} {
			push(t, host+"/istio/"+name+":"+version, image(t, runtime.GOARCH))
		}
		for _, name := range []string{"base", "istiod", "gateway"} {
			pushChart(t, host+"/istio/charts/"+name+":"+version, charttest.Packaged(t, name, version))
		}
	}
	for _, version := range []string{"", "1.29.0"} {
		for _, it := range from.Of(bundle.Istio, version) {
			_, _, err := Pull(t.Context(), dir, it)
			must(t, err)
		}
	}
	b, err := bundle.Open(dir)
	must(t, err)
	must(t, b.Verify(t.Context()))
	for _, name := range []string{"pilot", "proxyv2", "chart-base", "chart-istiod", "chart-gateway"} {
		parts, err := b.Named(name)
		must(t, err)
		for version, want := range map[string]string{"": bundle.Pinned()[bundle.Istio], "1.29.0": "1.29.0"} {
			if got, err := bundle.Choose(bundle.Istio, version, [][]bundle.Part{parts}); err != nil || got[0].Version != want {
				t.Errorf("%s asked for in version %q: %+v, %v", name, version, got, err)
			}
		}
	}
	if _, _, err := Pull(t.Context(), dir, from.Of(bundle.Istio, "1.0.0")[0]); err == nil {
		t.Error("a version that nobody published was pulled")
	}
}

func TestLinkerdsChartsAndImagesAreOfOneRelease(t *testing.T) {
	var refs []string
	for _, it := range Public().Of(bundle.Linkerd, "edge-26.5.1") {
		refs = append(refs, it.Ref)
	}
	want := "cr.l5d.io/linkerd/controller:edge-26.5.1 cr.l5d.io/linkerd/proxy:edge-26.5.1 linkerd-crds:2026.5.1 linkerd-control-plane:2026.5.1 linkerd-multicluster:2026.5.1"
	if got := strings.Join(refs, " "); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
