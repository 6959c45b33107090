package bundle

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// filled is a bundle with one image "web" of the returned content, and one chart "gate".
func filled(t *testing.T) (*Bundle, v1.Image) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "bundle")
	img, err := random.Image(1024, 2)
	if err != nil {
		t.Fatal(err)
	}
	p := Part{Name: "web", Kind: Image, Version: "1.2", Source: "test", Refs: []string{"example.test/web:1.2", "example.test/web:latest"}}
	if _, err := PutImage(t.Context(), dir, p, img); err != nil {
		t.Fatal(err)
	}
	chart := Part{Name: "gate", Kind: Chart, Version: "0.1.0", Source: "test", File: "charts/gate-0.1.0.tgz"}
	if _, err := Put(t.Context(), dir, chart, text("not really a chart")); err != nil {
		t.Fatal(err)
	}
	b, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return b, img
}

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

func TestAnImageComesOutOfABundleAsItWentIn(t *testing.T) {
	b, img := filled(t)
	if err := b.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	p, err := b.Image("example.test/web:latest")
	if err != nil {
		t.Fatal(err)
	}
	want, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "web" || p.ImageID != want.String() {
		t.Errorf("got part %q with image ID %s, want web with %s", p.Name, p.ImageID, want)
	}
	for _, ref := range p.Refs {
		got, err := tarball.ImageFromPath(b.Path(p), tag(t, ref))
		if err != nil {
			t.Fatal(err)
		}
		if id, err := got.ConfigName(); err != nil || id != want {
			t.Errorf("%s: image ID %s, %v, want %s", ref, id, err, want)
		}
	}
}

func TestVerifyNamesThePartThatIsWrong(t *testing.T) {
	cases := []struct {
		name   string
		damage func(t *testing.T, path string)
		want   []string
	}{
		{"missing", func(t *testing.T, path string) { must(t, os.Remove(path)) }, []string{`part "web"`, "missing"}},
		{"truncated", func(t *testing.T, path string) { must(t, os.Truncate(path, 100)) }, []string{`part "web"`, "truncated: 100 of"}},
		{"longer", func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			must(t, err)
			must(t, os.WriteFile(path, append(b, 0), 0o644))
		}, []string{`part "web"`, "wrong size"}},
		{"changed", func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			must(t, err)
			b[len(b)/2] ^= 1
			must(t, os.WriteFile(path, b, 0o644))
		}, []string{`part "web"`, "wrong digest"}},
		{"a folder", func(t *testing.T, path string) {
			must(t, os.Remove(path))
			must(t, os.Mkdir(path, 0o755))
		}, []string{`part "web"`, "not a regular file"}},
		{"a stranger", func(t *testing.T, path string) {
			must(t, os.WriteFile(filepath.Join(filepath.Dir(path), "other.tar"), []byte("x"), 0o644))
		}, []string{"other.tar", "does not know"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b, _ := filled(t)
			p, err := b.Part("web")
			must(t, err)
			c.damage(t, b.Path(p))
			err = b.Verify(t.Context())
			if err == nil {
				t.Fatal("verified")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
			if strings.Contains(err.Error(), `part "gate"`) {
				t.Errorf("%q names a part that is whole", err)
			}
		})
	}
}

func TestABundleMayLieBehindASymbolicLink(t *testing.T) {
	b, _ := filled(t)
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(b.Dir(), link))
	linked, err := Open(link)
	must(t, err)
	must(t, linked.Verify(t.Context()))
	stranger := filepath.Join(link, "images", "other.tar")
	must(t, os.WriteFile(stranger, []byte("x"), 0o644))
	if err := linked.Verify(t.Context()); err == nil || !strings.Contains(err.Error(), stranger+": the manifest does not know") {
		t.Errorf("got %v, want the stranger", err)
	}
}

func TestVerifyEndsWithItsContext(t *testing.T) {
	b, _ := filled(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Verify(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}

func TestAPartThatIsPutAgainReplacesItsOwnVersionAndWhatIsBuiltEveryOther(t *testing.T) {
	put := func(dir string, p Part) *Bundle {
		t.Helper()
		_, err := Put(t.Context(), dir, p, text("another"))
		must(t, err)
		b, err := Open(dir)
		must(t, err)
		must(t, b.Verify(t.Context())) // a file left over would be a stranger
		return b
	}
	chart := func(version, file, inputs string) Part {
		return Part{Name: "gate", Kind: Chart, Version: version, Source: "test", Inputs: inputs, File: file}
	}
	files := func(b *Bundle) (list []string) {
		parts, err := b.Named("gate")
		must(t, err)
		for _, p := range parts {
			list = append(list, p.File)
		}
		return list
	}
	old, _ := filled(t)
	for _, step := range []struct {
		put  Part
		want []string
	}{
		{chart("0.1.0", "charts/gate.tgz", ""), []string{"charts/gate.tgz"}}, // its file has another name now
		{chart("0.2.0", "charts/gate.tgz", ""), []string{"charts/gate.tgz", "charts/gate-0.2.0.tgz"}},
		{chart("0.2.0", "charts/gate.tgz", ""), []string{"charts/gate.tgz", "charts/gate-0.2.0.tgz"}},
		{chart("0.3.0", "charts/built.tgz", "a"), []string{"charts/gate.tgz", "charts/gate-0.2.0.tgz", "charts/built.tgz"}},
		{chart("0.4.0", "charts/built.tgz", "b"), []string{"charts/gate.tgz", "charts/gate-0.2.0.tgz", "charts/built.tgz"}},
	} {
		b := put(old.Dir(), step.put)
		if got := files(b); !slices.Equal(got, step.want) {
			t.Errorf("after %s: %q, want %q", step.put.Version, got, step.want)
		}
		if step.put.Inputs == "" {
			continue
		}
		if p, err := b.Part("gate"); err != nil || p.Version != step.put.Version {
			t.Errorf("of several, the part is %+v, %v, want what was built", p, err)
		}
	}
}

func TestAPartWhoseContentFailsLeavesTheBundleAsItWas(t *testing.T) {
	b, _ := filled(t)
	full := errors.New("disk full")
	_, err := Put(t.Context(), b.Dir(), Part{Name: "gate", Kind: Chart, Version: "2", Source: "test", File: "charts/gate-0.1.0.tgz"},
		func(w io.Writer) error { return errors.Join(text("half")(w), full) })
	if !errors.Is(err, full) || !strings.Contains(err.Error(), `"gate"`) {
		t.Errorf("got %v, want the failure and the part's name", err)
	}
	must(t, b.Verify(t.Context()))
}

func TestPutRefusesWhatWouldNotOpen(t *testing.T) {
	b, _ := filled(t)
	good := Part{Name: "x", Kind: Chart, Version: "1", Source: "test", File: "charts/x.tgz"}
	cases := map[string]func(*Part){
		"outside":        func(p *Part) { p.File = "../x.tgz" },
		"bad name":       func(p *Part) { p.Name = "X y" },
		"no version":     func(p *Part) { p.Version = "" },
		"no source":      func(p *Part) { p.Source = "" },
		"bad kind":       func(p *Part) { p.Kind = "rpm" },
		"no refs":        func(p *Part) { p.Kind = Image },
		"other's file":   func(p *Part) { p.File = "charts/gate-0.1.0.tgz" },
		"chart with ref": func(p *Part) { p.Refs = []string{"a/b:c"} },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			p := good
			change(&p)
			if _, err := Put(t.Context(), b.Dir(), p, text("x")); err == nil {
				t.Error("put")
			}
			must(t, b.Verify(t.Context()))
		})
	}
}

func TestOpenSaysWhereThereIsNoBundle(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir); !errors.Is(err, ErrNoBundle) || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v", err)
	}
}

func TestOpenRefusesABadManifest(t *testing.T) {
	part := func(fields string) string {
		return `{"schemaVersion":1,"parts":[{"name":"a","kind":"chart","version":"1","source":"s","file":"f.tgz","sha256":"` +
			strings.Repeat("0", 64) + `","size":1` + fields + `}]}`
	}
	cases := []struct{ name, text, want string }{
		{"empty", "", "not a manifest"},
		{"newer", `{"schemaVersion":2,"parts":[]}`, "schemaVersion is 2"},
		{"unknown field", part(`,"colour":"red"`), "colour"},
		{"path that leads out", part(`,"file":"../../etc/passwd"`), "no path inside"},
		{"absolute path", part(`,"file":"/etc/passwd"`), "no path inside"},
		{"the manifest itself", part(`,"file":"manifest.json"`), "no path inside"},
		{"bad digest", part(`,"sha256":"abc"`), "no SHA-256"},
		{"image without references", part(`,"kind":"image","imageID":"sha256:` + strings.Repeat("0", 64) + `"`), "at least one reference"},
		{"bad reference", part(`,"kind":"image","refs":["UPPER"],"imageID":"sha256:` + strings.Repeat("0", 64) + `"`), "refs"},
		{"negative size", part(`,"size":-1`), "size"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, os.WriteFile(filepath.Join(dir, manifestFile), []byte(c.text), 0o644))
			if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
	twice := strings.Replace(part(""), "}]}", "}", 1)
	twice += "," + strings.SplitN(part(""), "[", 2)[1]
	if _, err := parse([]byte(twice)); err == nil || !strings.Contains(err.Error(), "second part") {
		t.Errorf("two parts of one name: got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":1,"parts":[]}`))
	f.Add([]byte(`{"schemaVersion":1,"parts":[{"name":"a","kind":"image","version":"1","source":"s","refs":["a/b:c"],"file":"f","size":1}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parse(b)
		if err != nil {
			return
		}
		for _, p := range m.Parts {
			if err := p.validate(); err != nil {
				t.Errorf("parsed a part that does not hold: %v", err)
			}
		}
	})
}
