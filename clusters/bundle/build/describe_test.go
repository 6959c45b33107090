package build

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

// all are the embedded descriptions.
func all(t *testing.T) []description {
	t.Helper()
	entries, err := descriptions.ReadDir("descriptions")
	must(t, err)
	var out []description
	for _, e := range entries {
		d, err := describe(e.Name())
		must(t, err)
		out = append(out, d)
	}
	if len(out) < 5 {
		t.Fatalf("only %d descriptions were found", len(out))
	}
	return out
}

// TestDescriptionsAreComplete holds each go.sum to its go.mod: what is required, or stands for it, has its digest, so
// that a build trusts no server and works where the checksum database does not know a module.
func TestDescriptionsAreComplete(t *testing.T) {
	for _, d := range all(t) {
		t.Run(d.name, func(t *testing.T) {
			mod, err := modfile.Parse(d.name+"/go.mod", []byte(d.files["go.mod"]), nil)
			must(t, err)
			if mod.Module.Mod.Path != "meshproof.invalid/"+d.name {
				t.Errorf("the module is %s", mod.Module.Mod.Path)
			}
			sums := map[string]bool{}
			for line := range strings.Lines(d.files["go.sum"]) {
				f := strings.Fields(line)
				if len(f) != 3 || !strings.HasPrefix(f[2], "h1:") {
					t.Fatalf("go.sum: %q", line)
				}
				sums[f[0]+" "+f[1]] = true
			}
			replaced := map[string]string{}
			for _, r := range mod.Replace {
				if r.New.Version == "" {
					t.Errorf("%s is replaced by a folder", r.Old.Path)
				}
				replaced[r.Old.Path] = r.New.Path + " " + r.New.Version
			}
			for _, r := range mod.Require {
				if !semver.IsValid(r.Mod.Version) {
					t.Errorf("%s: version %q is no pinned version", r.Mod.Path, r.Mod.Version)
				}
				want := r.Mod.Path + " " + r.Mod.Version
				if by, ok := replaced[r.Mod.Path]; ok {
					want = by
				}
				if !sums[want+"/go.mod"] {
					t.Errorf("go.sum has no line for %s/go.mod", want)
				}
				if !r.Indirect && !sums[want] {
					t.Errorf("go.sum has no line for %s", want)
				}
			}
			for path := range d.files {
				if strings.HasSuffix(path, ".in") {
					t.Errorf("%s keeps its suffix", path)
				}
			}
		})
	}
}

func TestVersionsInTheCodeAreThoseOfTheDescriptions(t *testing.T) {
	for _, c := range []struct{ description, module, want string }{
		{"kubernetes", "k8s.io/kubernetes", kubernetesVersion},
		{"istio", istioModule, "eed52ebb66ad"},
		{"chaos-mesh", chaosModule, "47411975a8cb"},
		{"chaos-mesh", chaosModule + "/api", "d70b66ad97ac"},
		{"kind", "sigs.k8s.io/kind", kindVersion(t)},
	} {
		d, err := describe(c.description)
		must(t, err)
		if got := d.version(c.module); !strings.HasSuffix(got, c.want) || got == "" {
			t.Errorf("%s: the description has %s %q, want %q", c.description, c.module, got, c.want)
		}
	}
	d, err := describe("kubernetes")
	must(t, err)
	staging := "v0" + strings.TrimPrefix(kubernetesVersion, "v1")
	if got := d.version("k8s.io/apiserver"); got != staging {
		t.Errorf("Kubernetes %s goes with its libraries' %s, the description has %s", kubernetesVersion, staging, got)
	}
}

// kindVersion is the version of kind that drives the nodes: its files must make them.
func kindVersion(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../../go.mod")
	must(t, err)
	mod, err := modfile.Parse("go.mod", b, nil)
	must(t, err)
	for _, r := range mod.Require {
		if r.Mod.Path == "sigs.k8s.io/kind" {
			return r.Mod.Version
		}
	}
	t.Fatal("go.mod does not require sigs.k8s.io/kind")
	return ""
}

func TestTheCatalogueHolds(t *testing.T) {
	steps, err := catalogue("go1.2.3")
	must(t, err)
	first, err := keys(steps)
	must(t, err)
	parts := map[string]string{}
	for _, s := range steps {
		if s.about == "" || s.make == nil {
			t.Errorf("%s says nothing or does nothing", s.name)
		}
		for _, p := range s.parts {
			if by, twice := parts[p]; twice {
				t.Errorf("part %s is made by %s and %s", p, by, s.name)
			}
			parts[p] = s.name
		}
	}
	if parts["node"] != "node" {
		t.Errorf("the parts are %v, and node is not among them", parts)
	}
	steps, err = catalogue("go1.2.4")
	must(t, err)
	second, err := keys(steps)
	must(t, err)
	for _, s := range steps {
		compiled := s.compiles
		for _, n := range s.needs {
			compiled = compiled || first[n] != second[n]
		}
		if got := first[s.name] != second[s.name]; got != compiled {
			t.Errorf("%s: another compiler changes its key: %t, want %t", s.name, got, compiled)
		}
	}
}

// TestADescriptionBuilds builds the smallest one, which has no dependencies, with the real compiler.
func TestADescriptionBuilds(t *testing.T) {
	d, err := describe("pause")
	must(t, err)
	var log bytes.Buffer
	j := job{out: t.TempDir(), tmp: t.TempDir(), log: &log}
	t.Setenv("GOFLAGS", "-tags=nonsense -o=/dev/null") // a user's own, which must not matter
	if err := d.build(t.Context(), goBuild{programs: []program{{".", "file"}}}, j); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	if st, err := os.Stat(filepath.Join(j.out, "file")); err != nil || st.Mode().Perm()&0o100 == 0 {
		t.Errorf("no program: %v", err)
	}
	if left, err := os.ReadDir(j.out); err != nil || len(left) != 1 {
		t.Errorf("beside the program there are %v, %v", left, err)
	}
	err = d.build(t.Context(), goBuild{programs: []program{{"./nothing", "x"}}}, j)
	if err == nil || !strings.Contains(err.Error(), "go build") {
		t.Errorf("a package that is not there: %v", err)
	}
}

func TestAProgramHasTheNameThatGoGivesIt(t *testing.T) {
	for pkg, want := range map[string]string{
		".": "coredns", "./pause": "pause", "go.etcd.io/etcd/server/v3": "server", "k8s.io/kubernetes/cmd/kubelet": "kubelet",
	} {
		if got := (program{pkg: pkg}).built("meshproof.invalid/coredns"); got != want {
			t.Errorf("%s: %s, want %s", pkg, got, want)
		}
	}
}

func TestAToolThatIsNotThereIsNamedWithTheRemedy(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for tool := range install {
		err := command{}.run(t.Context(), tool)
		if err == nil || !strings.Contains(err.Error(), tool+" is not installed: install") {
			t.Errorf("%s: got %v", tool, err)
		}
	}
}

func TestBuildingARootFileSystemNeedsRoot(t *testing.T) {
	if os.Geteuid() == 0 || runtime.GOOS != "linux" {
		t.Skip("this is root")
	}
	err := rootFS{}.make(t.Context(), job{out: t.TempDir(), log: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "needs root") {
		t.Errorf("got %v", err)
	}
}
