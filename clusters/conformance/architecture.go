package conformance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/meshproof/meshproof/clusters"
)

// Modelled is the section of ARCHITECTURE.md that lists what is modelled and where a model deviates, for tests that hold
// a model to it. White space is one space each, so that sentences are found wherever their lines break.
func Modelled(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod in any folder above the test")
		}
		dir = up
	}
	text, err := os.ReadFile(filepath.Join(dir, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## What is modelled\n")
	if !ok {
		t.Fatal("ARCHITECTURE.md has no section What is modelled")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	return strings.Join(strings.Fields(section), " ")
}

// Unlike wants ARCHITECTURE.md to have a sentence about what a model does not do, and an object that would need it to be
// refused by check, if by nobody earlier. Either may be empty.
func Unlike(t testing.TB, sentence, object string, check func([]clusters.Object) error) {
	t.Helper()
	if !strings.Contains(Modelled(t), sentence) {
		t.Errorf("ARCHITECTURE.md does not say: %s", sentence)
	}
	if object == "" {
		return
	}
	var raw map[string]any
	if err := yaml.Unmarshal([]byte(object), &raw); err != nil {
		t.Fatal(err)
	}
	if o, err := clusters.Decode(raw); err == nil && check([]clusters.Object{o}) == nil {
		t.Errorf("it is taken:\n%s", object)
	}
}

// Lists wants the row of a kind in a table of Modelled to have exactly these fields, in backticks.
func Lists(t testing.TB, modelled, kind string, fields []string) {
	t.Helper()
	_, row, ok := strings.Cut(modelled, "| `"+kind+"` |")
	if !ok {
		t.Errorf("ARCHITECTURE.md's section What is modelled has no row for %s", kind)
		return
	}
	row, _, _ = strings.Cut(row, " |")
	listed := map[string]bool{}
	for i, part := range strings.Split(row, "`") {
		if i%2 == 1 {
			listed[part] = true
		}
	}
	for _, f := range fields {
		if !listed[f] {
			t.Errorf("ARCHITECTURE.md, row %s: %s is read, and not listed", kind, f)
		}
		delete(listed, f)
	}
	for f := range listed {
		t.Errorf("ARCHITECTURE.md, row %s: %s is listed, and not read", kind, f)
	}
}
