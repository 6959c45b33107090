package build

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
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

// build compiles the programs into out. Go fetches the modules and checks them against the description's go.sum.
func (d description) build(ctx context.Context, b goBuild, out string, log io.Writer) error {
	dir, err := os.MkdirTemp("", "meshproof-"+d.name+"-")
	if err != nil {
		return fmt.Errorf("making a place for the build description: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := d.write(dir); err != nil {
		return err
	}
	cgo := "0"
	if b.cgo {
		cgo = "1"
	}
	link := "-s -w"
	for _, v := range b.vars {
		link += " -X " + v
	}
	tool := command{dir: dir, env: []string{"CGO_ENABLED=" + cgo, "GOWORK=off"}, log: log}
	for _, p := range b.programs {
		// One by one: go names what it builds together by the last part of the package's path, which may be "v3".
		err := tool.run(ctx, "go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", link,
			"-o", filepath.Join(out, p.file), p.pkg)
		if err != nil {
			return err
		}
	}
	return nil
}

// moduleDir fetches a module of the description and returns the folder of its files, which must not be changed.
func (d description) moduleDir(ctx context.Context, module string, log io.Writer) (string, error) {
	dir, err := os.MkdirTemp("", "meshproof-"+d.name+"-")
	if err != nil {
		return "", fmt.Errorf("making a place for the build description: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := d.write(dir); err != nil {
		return "", err
	}
	text, err := command{dir: dir, env: []string{"GOWORK=off"}, log: log}.output(ctx, "go", "mod", "download", "-json", module)
	if err != nil {
		return "", err
	}
	var got struct{ Dir, Error string }
	if err := json.Unmarshal(text, &got); err != nil || got.Dir == "" {
		return "", fmt.Errorf("go mod download %s: unexpected answer %q: %w", module, text, err)
	}
	return got.Dir, nil
}

// compiler names the Go that builds, as "go version" does.
func compiler(ctx context.Context) (string, error) {
	text, err := command{env: []string{"GOWORK=off"}}.output(ctx, "go", "env", "GOVERSION")
	return strings.TrimSpace(string(text)), err
}
