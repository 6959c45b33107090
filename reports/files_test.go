package reports

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/verify"
)

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAReportIsRenderedTheSameEachTime(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	for _, dir := range []string{a, b} {
		rec, res := fixture(t)
		if err := Write(dir, Build(rec, res)); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{HTMLFile, JSONFile, JUnitFile, SummaryFile} {
		if !bytes.Equal(read(t, a, f), read(t, b, f)) {
			t.Errorf("%s differs between two builds of the same record", f)
		}
	}
	golden(t, "report.json", read(t, a, JSONFile))
	golden(t, "junit.xml", read(t, a, JUnitFile))
	golden(t, "summary.md", read(t, a, SummaryFile))
	if dir := os.Getenv("MESHPROOF_REPORT_DIR"); dir != "" { // to look at the page of the fixture
		if err := os.WriteFile(filepath.Join(dir, HTMLFile), read(t, a, HTMLFile), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWritingReplacesAnOlderReportAndLeavesNoOtherFile(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{HTMLFile, JSONFile, JUnitFile, SummaryFile} {
		if err := os.WriteFile(filepath.Join(dir, f), []byte("older"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Write(dir, Build(fixture(t))); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 4 {
		t.Errorf("the folder holds %d entries, want the four files alone: %v", len(entries), entries)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o644 || info.Size() < 100 {
			t.Errorf("%s has mode %v and %d bytes", e.Name(), info.Mode().Perm(), info.Size())
		}
	}
}

func TestWritingIntoAMissingFolderSaysWhich(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "missing")
	err := Write(dir, Build(fixture(t)))
	if err == nil || !strings.Contains(err.Error(), dir) {
		t.Fatalf("got %v, want an error that names %s", err, dir)
	}
}

func TestReportJSONValidatesAgainstThePublishedSchema(t *testing.T) {
	raw, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("report.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("report.json")
	if err != nil {
		t.Fatal(err)
	}
	rec, res := fixture(t)
	for name, r := range map[string]*Report{
		"full": Build(rec, res), "empty": Build(nil, nil), "no evidence": Build(&evidence.Record{}, res), "blocks": Build(record(t, 2), result(2)),
	} {
		b, err := encode(r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := s.Validate(v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	bad, err := jsonschema.UnmarshalJSON(strings.NewReader(`{"verdict":"FINE"}`))
	if err != nil {
		t.Fatal(err)
	}
	if s.Validate(bad) == nil {
		t.Error("the schema accepts a document that is no report")
	}
}

func TestEveryFieldOfTheSchemaIsDescribed(t *testing.T) {
	raw, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Defs map[string]struct {
			Description string
			Properties  map[string]struct{ Description string }
		} `json:"$defs"`
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	if len(s.Defs) < 10 {
		t.Fatalf("the schema has %d types", len(s.Defs))
	}
	for name, d := range s.Defs {
		if name == "Host" {
			continue // of package evidence, whose source is not here
		}
		if d.Description == "" {
			t.Errorf("%s has no description", name)
		}
		for f, p := range d.Properties {
			if p.Description == "" {
				t.Errorf("%s.%s has no description", name, f)
			}
		}
	}
}

func TestReportJSONReadsBackAsTheSameReport(t *testing.T) {
	want, err := encode(Build(fixture(t)))
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	d := json.NewDecoder(bytes.NewReader(want))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		t.Fatal(err)
	}
	got, err := encode(&r)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("a report that was read differs from the one that was written")
	}
}

func TestJUnitCountsWhatItHoldsAndIsNeverGreenForARunThatIsNot(t *testing.T) {
	rec, res := fixture(t)
	noChecks := &verify.Result{Verdict: verify.Invalid, Reason: "NothingProved", Message: "no check passed"}
	for name, c := range map[string]struct {
		r                         *Report
		failures, errors, skipped int
	}{
		// run FAIL; trial none INVALID, istio FAIL; checks 2 FAIL, 1 INVALID, 4 GAP
		"full":         {Build(rec, res), 4, 2, 4},
		"no checks":    {Build(rec, noChecks), 0, 1, 0},
		"nothing":      {Build(nil, nil), 0, 1, 0},
		"odd verdict":  {Build(rec, &verify.Result{Verdict: "FINE"}), 0, 1, 0},
		"hollow claim": {Build(rec, &verify.Result{Verdict: verify.Pass}), 0, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := junit(c.r)
			if err != nil {
				t.Fatal(err)
			}
			var doc junitSuites
			if err := xml.Unmarshal(b, &doc); err != nil {
				t.Fatal(err)
			}
			var tests, failures, errs, skipped int
			for _, s := range doc.Suites {
				var f, e, k int
				for _, tc := range s.Cases {
					f, e, k = f+one(tc.Failure), e+one(tc.Error), k+one(tc.Skipped)
				}
				if s.Tests != len(s.Cases) || s.Failures != f || s.Errors != e || s.Skipped != k {
					t.Errorf("suite %s says %d/%d/%d/%d and holds %d/%d/%d/%d", s.Name, s.Tests, s.Failures, s.Errors, s.Skipped, len(s.Cases), f, e, k)
				}
				tests, failures, errs, skipped = tests+len(s.Cases), failures+f, errs+e, skipped+k
			}
			if doc.Tests != tests || failures != c.failures || errs != c.errors || skipped != c.skipped {
				t.Errorf("%d tests (%d said), %d failures, %d errors, %d skipped; want %d, %d, %d", tests, doc.Tests, failures, errs, skipped, c.failures, c.errors, c.skipped)
			}
		})
	}
}

func one(d *junitDetail) int {
	if d == nil {
		return 0
	}
	return 1
}

func TestASummaryOfAHugeRunStaysShortAndShowsEachFailureFirst(t *testing.T) {
	res := &verify.Result{Verdict: verify.Fail, Reason: "X"}
	tr := evidence.Trial{Block: 1, Mesh: "istio"}
	for i := range 500 {
		v := verify.Pass
		if i == 480 {
			v = verify.Fail
		}
		id := "policy/" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + strings.Repeat("y", i/26)
		res.Checks = append(res.Checks, verify.Check{ID: id, Kind: verify.KindPolicy, Subject: id, Trial: tr, Verdict: v, Message: "seen"})
	}
	res.Trials = []verify.Trial{{Trial: tr, Verdict: verify.Fail}}
	got := string(summary(Build(nil, res)))
	if n := strings.Count(got, "\n"); n > 40 {
		t.Errorf("the summary has %d lines", n)
	}
	if !strings.Contains(got, "**FAIL** |") || !strings.Contains(got, "499 more checks not shown") {
		t.Errorf("the failure or the count of what is left out is missing:\n%s", got)
	}
}
