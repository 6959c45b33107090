package evidence

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var trial = Trial{Block: 1, Mesh: "istio"}

func write(t *testing.T, seal bool) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "evidence")
	w, err := Create(dir, Manifest{RunID: "x"})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for p := range 4 {
		wg.Go(func() {
			for i := range 25 {
				if err := w.Append(&Request{Header: Header{Trial: trial, Src: fmt.Sprintf("pod/%d", p)}, ID: fmt.Sprint(i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := w.EndTrial(trial); err != nil {
		t.Fatal(err)
	}
	if seal {
		err = w.Seal()
	} else {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func open(t *testing.T, dir string) *Record {
	t.Helper()
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestASealedRecordReadsWholeAndWithoutProblems(t *testing.T) {
	r := open(t, write(t, true))
	if !r.Sealed || len(r.Problems) > 0 || len(r.Gaps()) > 0 || len(r.Requests) != 100 {
		t.Fatalf("sealed %v, problems %v, gaps %v, requests %d", r.Sealed, r.Problems, r.Gaps(), len(r.Requests))
	}
	for i, q := range r.Requests {
		if want := (Ref{Requests, i + 1}); q.Ref() != want {
			t.Fatalf("ref %v, want %v", q.Ref(), want)
		}
	}
}

func TestARecordCutAnywhereReadsToItsLastWholeLineAndNeverWithoutAGap(t *testing.T) {
	dir := write(t, false)
	path := filepath.Join(dir, "requests-0001.jsonl")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := 0; cut < len(whole); cut += 97 {
		if err := os.WriteFile(path, whole[:cut], 0o644); err != nil {
			t.Fatal(err)
		}
		r := open(t, dir)
		if got, want := len(r.Requests), strings.Count(string(whole[:cut]), "\n"); got != want {
			t.Fatalf("cut at %d: %d records, want %d", cut, got, want)
		}
		if len(r.Gaps()) == 0 {
			t.Fatalf("cut at %d: the loss was not seen", cut)
		}
	}
}

func TestAMissingRecordIsSeenWhereverItWas(t *testing.T) {
	dir := write(t, false)
	for _, stream := range []string{"requests", "events"} {
		path := filepath.Join(dir, stream+"-0001.jsonl")
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.SplitAfter(string(whole), "\n")
		for i := range lines[:len(lines)-1] {
			left := strings.Join(append(append([]string{}, lines[:i]...), lines[i+1:]...), "")
			if err := os.WriteFile(path, []byte(left), 0o644); err != nil {
				t.Fatal(err)
			}
			if len(open(t, dir).Gaps()) == 0 {
				t.Fatalf("%s: line %d was taken out and nothing noticed", stream, i+1)
			}
		}
		if err := os.WriteFile(path, whole, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRecordsThatTheirProducerLostAreAGap(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "evidence")
	w, err := Create(dir, Manifest{RunID: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(&Event{Header: Header{Trial: trial, Src: "cluster/east"}, Kind: EventLost, Of: "pod/east/shop-1", Stream: Requests, Count: 3, Message: "cut off"}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.EndTrial(trial), w.Seal()); err != nil {
		t.Fatal(err)
	}
	gaps := open(t, dir).Gaps()
	if len(gaps) != 1 || gaps[0].Stream != Requests || gaps[0].Trial != trial || !strings.Contains(gaps[0].Message, "pod/east/shop-1 were lost on their way (3): cut off") {
		t.Errorf("gaps %v", gaps)
	}
}

func TestEveryChangeOfASealedRecordIsAProblem(t *testing.T) {
	changes := map[string]func(dir string) error{
		"a byte changed": func(dir string) error {
			p := filepath.Join(dir, "requests-0001.jsonl")
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			return os.WriteFile(p, []byte(strings.Replace(string(b), `"id":"7"`, `"id":"8"`, 1)), 0o644)
		},
		"a file removed": func(dir string) error { return os.Remove(filepath.Join(dir, "pods-0001.jsonl")) },
		"a file added": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "pods-0002.jsonl"), nil, 0o644)
		},
		"the manifest changed": func(dir string) error {
			p := filepath.Join(dir, manifestFile)
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			return os.WriteFile(p, []byte(strings.Replace(string(b), `"runID": "x"`, `"runID": "y"`, 1)), 0o644)
		},
		"the seal edited": func(dir string) error {
			p := filepath.Join(dir, sealFile)
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			return os.WriteFile(p, []byte(strings.Replace(string(b), `"sha256": "`, `"sha256": "0`, 1)), 0o644)
		},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			dir := write(t, true)
			if err := change(dir); err != nil {
				t.Fatal(err)
			}
			if r := open(t, dir); len(r.Problems) == 0 {
				t.Fatal("nothing noticed")
			}
		})
	}
}

func TestAnUnknownSchemaIsRefusedByName(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, manifestFile), []byte(`{"schemaVersion":"meshproof.evidence/v9"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "meshproof.evidence/v9") {
		t.Fatalf("got %v", err)
	}
}

func TestRoundKeepsSixDigits(t *testing.T) {
	for in, want := range map[float64]float64{0: 0, 1.0 / 3: 0.333333, 1234567: 1234570, 0.1 + 0.2: 0.3, -2.0000004: -2} {
		if got := Round(in); got != want {
			t.Errorf("Round(%v) = %v, want %v", in, got, want)
		}
	}
}

func FuzzOpenNeverPanics(f *testing.F) {
	f.Add([]byte(`{"trial":{"block":1,"mesh":"istio"},"src":"a","n":1}`+"\n"), []byte("{}"))
	f.Add([]byte("null\n[]\n\x00\n"), []byte(`{"files":[{"name":"../../etc/passwd"}]}`))
	f.Fuzz(func(t *testing.T, line, seal []byte) {
		dir := t.TempDir()
		for name, b := range map[string][]byte{
			manifestFile: []byte(`{"schemaVersion":"` + SchemaVersion + `"}`), sealFile: seal,
			"requests-0001.jsonl": line, "events-0001.jsonl": line, "probes-0001.jsonl": line,
		} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if r, err := Open(dir); err == nil {
			r.Gaps()
		}
	})
}
