package scenarios

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
