package scenarios

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzParse checks that whatever comes is a scenario that survives being written, or a list of problems with a place
// in the file and no word of the program's inside.
func FuzzParse(f *testing.F) {
	f.Add([]byte(base))
	for _, r := range rules() {
		doc := base
		for i := 0; i+1 < len(r.change); i += 2 {
			doc = strings.Replace(doc, r.change[i], r.change[i+1], 1)
		}
		f.Add([]byte(doc))
	}
	for _, h := range hostile() {
		if len(h.doc) < 10_000 {
			f.Add([]byte(h.doc))
		}
	}
	for _, pattern := range []string{"library/*.yaml", "testdata/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("no seeds in %s: %v", pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	sch := compiledSchema(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse("s.yaml", data)
		if err != nil {
			var e *Errors
			if !errors.As(err, &e) || len(e.Problems) == 0 {
				t.Fatalf("not a list of problems: %v", err)
			}
			problemText(t, err)
			return
		}
		roundTrip(t, s)
		if err := sch.Validate(plainOf(t, data)); err != nil {
			t.Errorf("the schema refuses what Parse accepts: %v", err)
		}
	})
}

// FuzzText checks that any text in a scenario survives being written and read.
func FuzzText(f *testing.F) {
	for _, s := range []string{"a", "yes", "1e3", "- a: b #c", "a\nb\n\n", "\u0085\u2028\ufeff", "\x7f\x00\x1b", "é漢🜚", `"\'`, "<<", "0o7"} {
		f.Add(s)
	}
	base, err := Parse("base.yaml", []byte(base))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if text == "" || !utf8.ValidString(text) || len(text) > 1000 {
			t.Skip() // the loader refuses them
		}
		s := *base
		s.Metadata.Description = text
		s.Spec.Meshes = []MeshEntry{{Name: MeshNone}, {Name: MeshIstio, Objects: []map[string]any{{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "x"},
			text + "!": []any{text, map[string]any{text: text}},
		}}}}
		roundTrip(t, &s)
	})
}
