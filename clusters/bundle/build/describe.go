package build

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

//go:embed descriptions
var descriptions embed.FS

// description is a Go module that says what is built and from which versions: go.mod, go.sum and at times a main
// package of its own.
type description struct {
	name  string
	files map[string]string // by path inside the module
}

// describe finds an embedded description.
func describe(name string) (description, error) {
	d := description{name: name, files: map[string]string{}}
	root := "descriptions/" + name
	err := fs.WalkDir(descriptions, root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := descriptions.ReadFile(path)
		if err != nil {
			return err
		}
		d.files[strings.TrimSuffix(strings.TrimPrefix(path, root+"/"), ".in")] = string(b)
		return nil
	})
	if err != nil {
		return description{}, fmt.Errorf("reading the build description of %s: %w", name, err)
	}
	return d, nil
}

// version is the version that go.mod requires, or replaces, of a module; "" when it does neither.
func (d description) version(module string) string {
	mod := d.files["go.mod"]
	for _, form := range []string{`(?m)=> %s (v\S+)`, `(?m)^(?:require)?\s*%s (v\S+)`} {
		if m := regexp.MustCompile(fmt.Sprintf(form, regexp.QuoteMeta(module))).FindStringSubmatch(mod); m != nil {
			return m[1]
		}
	}
	return ""
}

// goos is what programs are compiled for: this machine.
const goos = runtime.GOOS + "/" + runtime.GOARCH

// inputs are what a build of the description depends on, with the compiler and the machine that it is for.
func (d description) inputs(compiler string) []string {
	in := []string{compiler, goos}
	for _, path := range sorted(d.files) {
		in = append(in, path, d.files[path])
	}
	return in
}

// write lays the module into dir.
func (d description) write(dir string) error {
	for path, text := range d.files {
		to := filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return fmt.Errorf("writing the build description of %s: %w", d.name, err)
		}
		if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
			return fmt.Errorf("writing the build description of %s: %w", d.name, err)
		}
	}
	return nil
}

// program is a main package and the file that it becomes.
type program struct {
	pkg  string
	file string
}

// built is the name that go gives to the program: the last part of its package's path that is no version.
func (p program) built(module string) string {
	full := path.Join(module, p.pkg)
	if !strings.HasPrefix(p.pkg, ".") {
		full = p.pkg
	}
	if name := path.Base(full); !majorVersion.MatchString(name) {
		return name
	}
	return path.Base(path.Dir(full))
}

var majorVersion = regexp.MustCompile(`^v[0-9]+$`)

// goBuild says how programs are built.
type goBuild struct {
	programs []program
	vars     []string // of the linker's -X, each "package.name=value"
	cgo      bool
}

// inputs are all that the build depends on beside its description.
func (b goBuild) inputs() []string {
	return []string{fmt.Sprintf("%q %q %t", b.programs, b.vars, b.cgo)}
}

// goEnv keeps what users set for their own builds from changing these.
var goEnv = []string{"GOWORK=off", "GOFLAGS=-mod=readonly", "GOAMD64=v1", "GOARM64=v8.0"}

// build compiles the programs into the job's folder. Go fetches the modules and checks them against the description's
// go.sum.
func (d description) build(ctx context.Context, b goBuild, j job) error {
	dir := filepath.Join(j.tmp, "module")
	if err := d.write(dir); err != nil {
		return err
	}
	cgo := "CGO_ENABLED=0"
	if b.cgo {
		cgo = "CGO_ENABLED=1"
	}
	link := "-s -w"
	for _, v := range b.vars {
		link += " -X " + v
	}
	bin := filepath.Join(j.tmp, "bin")
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", link, "-o", bin + string(filepath.Separator)}
	for _, p := range b.programs {
		args = append(args, p.pkg)
	}
	tool := command{dir: dir, env: append([]string{cgo, "TMPDIR=" + j.tmp}, goEnv...), log: j.log}
	if err := tool.run(ctx, "go", args...); err != nil {
		return err
	}
	for _, p := range b.programs {
		from := filepath.Join(bin, p.built("meshproof.invalid/"+d.name))
		if err := os.Rename(from, filepath.Join(j.out, p.file)); err != nil {
			return fmt.Errorf("keeping the program of %s: %w", p.pkg, err)
		}
	}
	return nil
}

// moduleDir fetches a module of the description and returns the folder of its files, which must not be changed.
func (d description) moduleDir(ctx context.Context, module string, j job) (string, error) {
	dir := filepath.Join(j.tmp, "module")
	if err := d.write(dir); err != nil {
		return "", err
	}
	text, failed := command{dir: dir, env: goEnv, log: j.log}.output(ctx, "go", "mod", "download", "-json", module)
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	var got struct{ Dir, Error string } // also where it fails
	err := json.Unmarshal(text, &got)
	switch {
	case got.Error != "":
		return "", fmt.Errorf("go mod download: %s", got.Error)
	case failed != nil:
		return "", failed
	case err != nil || got.Dir == "":
		return "", fmt.Errorf("go mod download %s: unexpected answer %q: %w", module, text, err)
	}
	return got.Dir, nil
}

// compiler names the Go that builds, as "go version" does.
func compiler(ctx context.Context) (string, error) {
	// Not in the user's folder, whose go.mod may ask for another one.
	text, err := command{dir: os.TempDir(), env: goEnv}.output(ctx, "go", "env", "GOVERSION")
	return strings.TrimSpace(string(text)), err
}
