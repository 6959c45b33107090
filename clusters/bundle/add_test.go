package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/meshproof/meshproof/clusters/bundle/internal/charttest"
)

// image is a random image for an architecture, with an entry point.
func image(t *testing.T, arch string, entrypoint ...string) v1.Image {
	t.Helper()
	img, err := random.Image(2048, 2)
	must(t, err)
	c, err := img.ConfigFile()
	must(t, err)
	c = c.DeepCopy()
	c.OS, c.Architecture, c.Config.Entrypoint = "linux", arch, entrypoint
	img, err = mutate.ConfigFile(img, c)
	must(t, err)
	return img
}

// saved is an archive of "docker save" of images by reference.
func saved(t *testing.T, images map[string]v1.Image) string {
	t.Helper()
	refs := map[name.Reference]v1.Image{}
	for r, img := range images {
		refs[*tag(t, r)] = img
	}
	path := filepath.Join(t.TempDir(), "saved.tar")
	must(t, tarball.MultiRefWriteToFile(path, refs))
	return path
}

// laidOut is a folder with an OCI image layout: an index of two architectures under a reference, and an image without a
// name.
func laidOut(t *testing.T, ref string, ours v1.Image) string {
	t.Helper()
	dir := t.TempDir()
	path, err := layout.Write(dir, empty.Index)
	must(t, err)
	other := image(t, "s390x")
	index := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: other, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}}},
		mutate.IndexAddendum{Add: ours, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}}},
	)
	must(t, path.AppendIndex(index, layout.WithAnnotations(map[string]string{nameAnnotations[0]: ref, nameAnnotations[1]: "1.0"})))
	must(t, path.AppendImage(other))
	return dir
}

// packed is a folder as tar.
func packed(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "layout.tar")
	f, err := os.Create(path)
	must(t, err)
	w := tar.NewWriter(f)
	must(t, w.AddFS(os.DirFS(dir)))
	must(t, w.Close())
	must(t, f.Close())
	return path
}

// gzipped is a file, zipped.
func gzipped(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, err = z.Write(b)
	must(t, err)
	must(t, z.Close())
	path += ".gz"
	must(t, os.WriteFile(path, zipped.Bytes(), 0o644))
	return path
}

func TestWhatAUserBringsIsAdded(t *testing.T) {
	one, two, node := image(t, runtime.GOARCH), image(t, runtime.GOARCH), image(t, runtime.GOARCH, nodeEntrypoint...)
	chart := filepath.Join(t.TempDir(), "any-name.tgz")
	must(t, os.WriteFile(chart, charttest.Packaged(t, "linkerd-crds", "2026.6.3"), 0o644))
	id := func(img v1.Image) string {
		h, err := img.ConfigName()
		must(t, err)
		return h.String()
	}
	layoutDir := laidOut(t, "cr.test/linkerd/proxy:edge-1", one)
	cases := []struct {
		name, path string
		want       map[string]Part // by name
	}{
		{"docker save of two", saved(t, map[string]v1.Image{"cr.test/linkerd/proxy:edge-1": one, "istio/pilot:1.30.3": two}), map[string]Part{
			"linkerd-proxy": {Kind: Image, Version: "edge-1", Refs: []string{"cr.test/linkerd/proxy:edge-1"}, ImageID: id(one)},
			"istio-pilot":   {Kind: Image, Version: "1.30.3", Refs: []string{"docker.io/istio/pilot:1.30.3"}, ImageID: id(two)},
		}},
		{"a node image", saved(t, map[string]v1.Image{"kindest/node:v1.35.1": node}), map[string]Part{
			"node": {Kind: NodeImage, Version: "v1.35.1", Refs: []string{"docker.io/kindest/node:v1.35.1"}, ImageID: id(node)},
		}},
		{"layout folder", layoutDir, map[string]Part{
			"linkerd-proxy": {Kind: Image, Version: "edge-1", Refs: []string{"cr.test/linkerd/proxy:edge-1"}, ImageID: id(one)},
		}},
		{"layout tar", packed(t, layoutDir), map[string]Part{
			"linkerd-proxy": {Kind: Image, Version: "edge-1", Refs: []string{"cr.test/linkerd/proxy:edge-1"}, ImageID: id(one)},
		}},
		{"zipped layout", gzipped(t, packed(t, layoutDir)), map[string]Part{
			"linkerd-proxy": {Kind: Image, Version: "edge-1", Refs: []string{"cr.test/linkerd/proxy:edge-1"}, ImageID: id(one)},
		}},
		{"zipped docker save", gzipped(t, saved(t, map[string]v1.Image{"istio/pilot:1.30.3": two})), map[string]Part{
			"istio-pilot": {Kind: Image, Version: "1.30.3", Refs: []string{"docker.io/istio/pilot:1.30.3"}, ImageID: id(two)},
		}},
		{"chart", chart, map[string]Part{"chart-linkerd-crds": {Kind: Chart, Version: "2026.6.3"}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			parts, err := Add(t.Context(), dir, c.path)
			must(t, err)
			if len(parts) != len(c.want) {
				t.Errorf("%d parts, want %d", len(parts), len(c.want))
			}
			for _, p := range parts {
				w := c.want[p.Name]
				if p.Kind != w.Kind || p.Version != w.Version || strings.Join(p.Refs, " ") != strings.Join(w.Refs, " ") || p.ImageID != w.ImageID {
					t.Errorf("got %+v, want %+v", p, w)
				}
				if p.Source != "file "+filepath.Base(c.path) {
					t.Errorf("%s: source %q", p.Name, p.Source)
				}
			}
			b, err := Open(dir)
			must(t, err)
			must(t, b.Verify(t.Context()))
		})
	}
}

func TestTwoNamesOfOneImageAreOnePart(t *testing.T) {
	img := image(t, runtime.GOARCH)
	parts, err := Add(t.Context(), t.TempDir(), saved(t, map[string]v1.Image{"web:1": img, "web:latest": img}))
	must(t, err)
	if len(parts) != 1 || len(parts[0].Refs) != 2 {
		t.Errorf("got %+v", parts)
	}
}

func TestWhatIsNoGoodIsNotAdded(t *testing.T) {
	write := func(b []byte) string {
		path := filepath.Join(t.TempDir(), "file")
		must(t, os.WriteFile(path, b, 0o644))
		return path
	}
	read := func(path string) []byte {
		b, err := os.ReadFile(path)
		must(t, err)
		return b
	}
	img := image(t, runtime.GOARCH)
	good := read(saved(t, map[string]v1.Image{"web:1": img}))
	damaged := bytes.Clone(good)
	layers, err := img.Layers()
	must(t, err)
	r, err := layers[0].Compressed()
	must(t, err)
	content := new(bytes.Buffer)
	_, err = content.ReadFrom(r)
	must(t, err)
	at := bytes.Index(damaged, content.Bytes())
	if at < 0 {
		t.Fatal("the layer is not in the archive as it is")
	}
	damaged[at+content.Len()/2] ^= 0xff
	nameless := t.TempDir()
	p, err := layout.Write(nameless, empty.Index)
	must(t, err)
	must(t, p.AppendImage(img))
	zipped := read(gzipped(t, saved(t, map[string]v1.Image{"web:1": img})))
	missing := laidOut(t, "cr.test/proxy:1", img)
	must(t, filepath.WalkDir(filepath.Join(missing, "blobs"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if i, ierr := d.Info(); ierr == nil && i.Size() > 1500 { // a layer
				return os.Remove(path)
			}
		}
		return err
	}))

	cases := []struct{ name, path, want string }{
		{"not there", filepath.Join(t.TempDir(), "nothing"), "no such file"},
		{"empty", write(nil), "neither a chart"},
		{"text", write([]byte("hello")), "neither a chart"},
		{"truncated archive", write(good[:len(good)/2]), "unexpected EOF"},
		{"a damaged layer", write(damaged), "damaged"},
		{"a layout without a layer", missing, "no such file"},
		{"for another machine", saved(t, map[string]v1.Image{"web:1": image(t, "s390x")}), "s390x"},
		{"no names", nameless, "no image with a name"},
		{"a folder of something else", t.TempDir(), "not an OCI image layout"},
		{"a truncated zipped archive", write(zipped[:len(zipped)/2]), "truncated"},
		{"a zipped text", gzipped(t, write([]byte("hello"))), "no archive of images"},
		{"two images of one name", saved(t, map[string]v1.Image{"a/web:1": image(t, runtime.GOARCH), "a/web:2": img}), "two images"},
		{"a chart without Chart.yaml", write(charttest.Archive(t, map[string]string{"x/values.yaml": ""})), "no Chart.yaml"},
		{"a chart whose Chart.yaml is deeper", write(charttest.Archive(t, map[string]string{"x/charts/y/Chart.yaml": "name: y"})), "no Chart.yaml"},
		{"a chart without a version", write(charttest.Archive(t, map[string]string{"x/Chart.yaml": "apiVersion: v2\nname: x\n"})), "lacks"},
		{"a chart whose name leads out", write(charttest.Archive(t, map[string]string{"x/Chart.yaml": "apiVersion: v2\nname: ../../x\nversion: 1.0.0\n"})), "name"},
		{"a chart that is no YAML", write(charttest.Archive(t, map[string]string{"x/Chart.yaml": "\t{"})), "Chart.yaml"},
		{"a truncated chart", write(charttest.Packaged(t, "x", "1")[:60]), "truncated"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			_, err := Add(t.Context(), dir, c.path)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.path) {
				t.Errorf("got %v, want %q and the file's name in it", err, c.want)
			}
			if _, err := Open(dir); !errors.Is(err, ErrNoBundle) {
				t.Errorf("something was added: %v", err)
			}
		})
	}
}

func TestAddingEndsWithItsContext(t *testing.T) {
	path := saved(t, map[string]v1.Image{"web:1": image(t, runtime.GOARCH)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	if _, err := Add(ctx, dir, path); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAnArchiveCannotLeadOutOfItsFolder(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	must(t, w.WriteHeader(&tar.Header{Name: "../out", Size: 1, Mode: 0o644}))
	_, err := w.Write([]byte("x"))
	must(t, err)
	must(t, w.Close())
	path := filepath.Join(t.TempDir(), "evil.tar")
	must(t, os.WriteFile(path, b.Bytes(), 0o644))
	parent := t.TempDir()
	dir := filepath.Join(parent, "in")
	must(t, os.Mkdir(dir, 0o755))
	if err := untar(t.Context(), path, dir); err == nil {
		t.Error("unpacked")
	}
	if _, err := os.Stat(filepath.Join(parent, "out")); err == nil {
		t.Error("a file was written outside")
	}
}

func TestAnImageIsFoundByTheNamesThatRuntimesComplete(t *testing.T) {
	dir := t.TempDir()
	_, err := Add(t.Context(), dir, saved(t, map[string]v1.Image{"library/web:latest": image(t, runtime.GOARCH)}))
	must(t, err)
	b, err := Open(dir)
	must(t, err)
	for _, ref := range []string{"web", "web:latest", "docker.io/library/web", "library/web:latest"} {
		if p, err := b.Image(ref); err != nil || p.Name != "library-web" {
			t.Errorf("%s: %+v, %v", ref, p, err)
		}
	}
	for _, ref := range []string{"web:2", "other.test/web", "NOT A NAME"} {
		if _, err := b.Image(ref); err == nil || !strings.Contains(err.Error(), ref) {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

func FuzzReadChart(f *testing.F) {
	f.Add(charttest.Packaged(f, "gate", "1.0.0"))
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := ReadChart(bytes.NewReader(b))
		if err == nil && (!partName.MatchString(info.Name) || info.Version == "") {
			t.Errorf("a chart with name %q and version %q", info.Name, info.Version)
		}
	})
}
