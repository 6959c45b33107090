package build

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	bolt "go.etcd.io/bbolt"

	"github.com/meshproof/meshproof/clusters/bundle"
)

// entries are the headers of a layer by path, and the contents of its files.
func entries(t *testing.T, l *layer) (map[string]*tar.Header, map[string][]byte) {
	t.Helper()
	r, err := l.Uncompressed()
	must(t, err)
	defer r.Close()
	headers, texts := map[string]*tar.Header{}, map[string][]byte{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return headers, texts
		}
		must(t, err)
		if headers[h.Name] != nil {
			t.Errorf("%s is in the layer twice", h.Name)
		}
		headers[h.Name] = h
		texts[h.Name], err = io.ReadAll(tr)
		must(t, err)
	}
}

func TestATreeBecomesALayerWithWhatItsFilesAre(t *testing.T) {
	root := t.TempDir()
	for _, d := range []string{"bin", "tmp", "var/log/deep", "etc"} {
		must(t, os.MkdirAll(filepath.Join(root, d), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(root, "bin/su"), []byte("x"), 0o644))
	must(t, os.Chmod(filepath.Join(root, "bin/su"), 0o755|os.ModeSetuid))
	must(t, os.Chmod(filepath.Join(root, "tmp"), 0o777|os.ModeSticky))
	must(t, os.Link(filepath.Join(root, "bin/su"), filepath.Join(root, "bin/zz")))
	must(t, os.Symlink("su", filepath.Join(root, "bin/link")))
	must(t, os.WriteFile(filepath.Join(root, "etc/hostname"), []byte("host"), 0o644))
	must(t, os.WriteFile(filepath.Join(root, "var/log/deep/a"), []byte("x"), 0o644))

	write := func() *layer {
		l, err := writeLayer(filepath.Join(t.TempDir(), "l"), func(w *layerWriter) error { return w.tree(root, never) })
		must(t, err)
		return l
	}
	l := write()
	headers, texts := entries(t, l)
	for name, want := range map[string]struct {
		kind byte
		mode int64
		link string
	}{
		"bin/":     {tar.TypeDir, 0o755, ""},
		"tmp/":     {tar.TypeDir, 0o1777, ""},
		"bin/su":   {tar.TypeReg, 0o4755, ""},
		"bin/zz":   {tar.TypeLink, 0o4755, "bin/su"},
		"bin/link": {tar.TypeSymlink, 0o777, "su"},
		"var/log/": {tar.TypeDir, 0o755, ""},
	} {
		h := headers[name]
		if h == nil {
			t.Errorf("%s is missing", name)
			continue
		}
		if h.Typeflag != want.kind || h.Mode != want.mode || h.Linkname != want.link || !h.ModTime.Equal(epoch) {
			t.Errorf("%s: type %c, mode %o, link %q, time %s", name, h.Typeflag, h.Mode, h.Linkname, h.ModTime)
		}
	}
	if string(texts["bin/su"]) != "x" {
		t.Errorf("bin/su holds %q", texts["bin/su"])
	}
	for _, name := range []string{"etc/hostname", "var/log/deep/", "var/log/deep/a"} {
		if headers[name] != nil {
			t.Errorf("%s is in the layer", name)
		}
	}
	if again := write(); again.sums != l.sums {
		t.Errorf("the same tree made another layer: %v, %v", again.sums, l.sums)
	}
	read, err := readLayer(l.path)
	must(t, err)
	if read.sums != l.sums {
		t.Errorf("read as %v, written as %v", read.sums, l.sums)
	}
}

// smallImage is an image of one file.
func smallImage(t *testing.T, text string) v1.Image {
	t.Helper()
	l, err := writeLayer(filepath.Join(t.TempDir(), "l"), func(w *layerWriter) error { return w.text("a", 0o644, []byte(text)) })
	must(t, err)
	img, err := assemble(v1.Config{Entrypoint: []string{"/a"}}, l)
	must(t, err)
	return img
}

func TestAnAssembledImageIsWhole(t *testing.T) {
	img := smallImage(t, "x")
	must(t, validate.Image(img))
	a, err := img.Digest()
	must(t, err)
	b, err := smallImage(t, "x").Digest()
	must(t, err)
	if a != b {
		t.Errorf("the same image has digests %s and %s", a, b)
	}
}

func TestAContentStoreHoldsItsImagesAndIsTheSameEachTime(t *testing.T) {
	one, two := smallImage(t, "one"), smallImage(t, "two")
	images := []tagged{{"registry.test/one:1", one}, {"registry.test/two:1", two}, {"registry.test/uno:1", one}}
	write := func() *layer {
		l, err := writeLayer(filepath.Join(t.TempDir(), "l"), func(w *layerWriter) error { return writeContentStore(w, images, t.TempDir()) })
		must(t, err)
		return l
	}
	l := write()
	_, texts := entries(t, l)
	if len(texts) != 2*3+1 {
		t.Errorf("%d files, want manifest, configuration and layer of two images, and the metadata", len(texts))
	}
	path := filepath.Join(t.TempDir(), "meta.db")
	must(t, os.WriteFile(path, texts[containerdMeta], 0o600))
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	must(t, err)
	defer db.Close()
	must(t, db.View(func(tx *bolt.Tx) error {
		ns := tx.Bucket([]byte("v1")).Bucket([]byte("k8s.io"))
		for _, i := range images {
			target := ns.Bucket([]byte("images")).Bucket([]byte(i.ref)).Bucket([]byte("target"))
			digest, err := i.image.Digest()
			must(t, err)
			manifest, err := i.image.RawManifest()
			must(t, err)
			if got := string(target.Get([]byte("digest"))); got != digest.String() {
				t.Errorf("%s: digest %s, want %s", i.ref, got, digest)
			}
			if !bytes.Equal(texts[containerdBlobs+"/"+digest.Hex], manifest) {
				t.Errorf("%s: its manifest is not among the blobs", i.ref)
			}
			blobs := ns.Bucket([]byte("content")).Bucket([]byte("blob"))
			labels := blobs.Bucket([]byte(digest.String())).Bucket([]byte("labels"))
			must(t, labels.ForEach(func(_, ref []byte) error {
				if blobs.Bucket(ref) == nil || texts[containerdBlobs+"/"+strings.TrimPrefix(string(ref), "sha256:")] == nil {
					t.Errorf("%s refers to %s, which is not there", i.ref, ref)
				}
				return nil
			}))
			if labels.Stats().KeyN != 2 {
				t.Errorf("%s: %d references, want configuration and layer", i.ref, labels.Stats().KeyN)
			}
		}
		return nil
	}))
	if again := write(); again.sums.DiffID != l.sums.DiffID {
		t.Error("the same images made another content store")
	}
}

func TestContainerdIsConfiguredForTheNode(t *testing.T) {
	in := "[plugins.cri]\n  sandbox_image = \"registry.k8s.io/pause:3.10\"\n  # restrict_oom_score_adj needs\n  restrict_oom_score_adj = false\n"
	want := "[plugins.cri]\n  sandbox_image = \"registry.k8s.io/pause:9\"\n  # restrict_oom_score_adj needs\n  restrict_oom_score_adj = true\n"
	got, err := containerdConfig([]byte(in), "registry.k8s.io/pause:9")
	must(t, err)
	if string(got) != want {
		t.Errorf("got\n%s", got)
	}
	if _, err := containerdConfig([]byte("sandbox_image = 1\n"), "x"); err == nil || !strings.Contains(err.Error(), "restrict_oom_score_adj") {
		t.Errorf("a configuration without a setting: %v", err)
	}
}

func TestTheRuntimeSpecificationLosesLimitsAndGainsKindsHook(t *testing.T) {
	got, err := baseSpec([]byte(`{"process":{"rlimits":[1],"cwd":"/"},"hooks":{"createContainer":[{"path":"/a"}]}}`))
	must(t, err)
	var spec struct {
		Process map[string]any
		Hooks   struct{ CreateContainer []struct{ Path string } }
	}
	must(t, json.Unmarshal(got, &spec))
	if _, ok := spec.Process["rlimits"]; ok || spec.Process["cwd"] != "/" || len(spec.Hooks.CreateContainer) != 2 {
		t.Errorf("got %s", got)
	}
	for _, bad := range []string{"", "[]", "{}"} {
		if _, err := baseSpec([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestAChartIsPackagedWithItsChanges(t *testing.T) {
	dir, crds := t.TempDir(), t.TempDir()
	write := func(path, text string) {
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(text), 0o644))
	}
	write(filepath.Join(dir, "Chart.yaml"), "apiVersion: v2\nname: gate\nversion: 0.0.0\n")
	write(filepath.Join(dir, "values.yaml"), "image:\n  tag: latest\n")
	write(filepath.Join(dir, "crds", "old.yaml"), "old")
	write(filepath.Join(crds, "new.yaml"), "new")
	c := chart{name: "gate", dir: dir, instead: map[string]string{"crds": crds}, edit: map[string][]replacement{
		"Chart.yaml": {{"version: 0.0.0", "version: 1.2.3"}}, "values.yaml": {{"tag: latest", "tag: mine"}},
	}}
	j := job{out: t.TempDir(), bundle: t.TempDir(), key: "k"}
	must(t, c.put(t.Context(), j, "test"))
	b, err := bundle.Open(j.bundle)
	must(t, err)
	p, err := b.Part("chart-gate")
	must(t, err)
	if p.Version != "1.2.3" || p.Inputs != "k" {
		t.Errorf("got %+v", p)
	}
	_, texts := entries(t, &layer{path: b.Path(p)})
	if string(texts["gate/values.yaml"]) != "image:\n  tag: mine\n" || string(texts["gate/crds/new.yaml"]) != "new" || texts["gate/crds/old.yaml"] != nil {
		t.Errorf("got %q", texts)
	}

	c.edit["values.yaml"] = []replacement{{"tag: stable", "tag: mine"}}
	if err := c.put(t.Context(), j, "test"); err == nil || !strings.Contains(err.Error(), "tag: stable") {
		t.Errorf("a line that is not there: %v", err)
	}
	c.edit = map[string][]replacement{"other.yaml": nil}
	if err := c.put(t.Context(), j, "test"); err == nil || !strings.Contains(err.Error(), "not in the chart") {
		t.Errorf("a file that is not there: %v", err)
	}
}
