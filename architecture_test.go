package meshproof_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/meshproof/meshproof/"

// importTable reads the table of ARCHITECTURE.md's section "Imports".
func importTable(t *testing.T) map[string][]string {
	t.Helper()
	b, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(b), "\n## Imports\n")
	if !ok {
		t.Fatal("ARCHITECTURE.md has no section Imports")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	code := regexp.MustCompile("`([^`]+)`")
	table := map[string][]string{}
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) != 4 {
			continue
		}
		name := code.FindStringSubmatch(cells[1])
		if name == nil {
			continue
		}
		table[name[1]] = []string{}
		for _, m := range code.FindAllStringSubmatch(cells[2], -1) {
			table[name[1]] = append(table[name[1]], m[1])
		}
	}
	return table
}

// imports reads which packages of this module each package imports, outside of tests.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	got := map[string][]string{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); n != "." && (strings.HasPrefix(n, ".") || n == "testdata" || n == "out") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(path))
		if got[pkg] == nil {
			got[pkg] = []string{}
		}
		for _, i := range f.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			if p, ok := strings.CutPrefix(p, module); ok && !slices.Contains(got[pkg], p) {
				got[pkg] = append(got[pkg], p)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestTheCodeKeepsToTheImportTable(t *testing.T) {
	table, got := importTable(t), imports(t)
	if len(table) == 0 || len(got) == 0 {
		t.Fatal("nothing was read")
	}
	for pkg, deps := range got {
		allowed, ok := table[pkg]
		if !ok {
			t.Errorf("%s is not in ARCHITECTURE.md's import table", pkg)
			continue
		}
		for _, d := range deps {
			if !slices.Contains(allowed, d) {
				t.Errorf("%s imports %s, which ARCHITECTURE.md's import table does not allow", pkg, d)
			}
		}
		for _, a := range allowed {
			if !slices.Contains(deps, a) {
				t.Errorf("%s is allowed to import %s and does not: take it out of the table", pkg, a)
			}
		}
	}
	for pkg := range table {
		if _, ok := got[pkg]; !ok {
			t.Errorf("ARCHITECTURE.md's import table names %s, which is not there", pkg)
		}
	}
}

func TestEachDirectDependencyHasALineOfReason(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	reasons, err := os.ReadFile("CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	direct := regexp.MustCompile(`(?m)^(?:require )?\s*([a-z0-9][^\s()]*\.[^\s()]*/?[^\s]*) v[^\s]+$`)
	found := 0
	for _, m := range direct.FindAllStringSubmatch(string(mod), -1) {
		found++
		if !strings.Contains(string(reasons), "`"+m[1]+"`") {
			t.Errorf("CONTRIBUTING.md has no line of reason for %s", m[1])
		}
	}
	if found == 0 {
		t.Error("no direct dependency was found in go.mod")
	}
}
