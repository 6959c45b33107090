package reports

import (
	"encoding/json"
	"encoding/xml"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/verify"
)

func TestAPassThatTheReportContradictsBecomesInvalid(t *testing.T) {
	tr := evidence.Trial{Block: 1, Mesh: "istio"}
	good := verify.Check{ID: "mtls/a", Kind: "mtls", Trial: tr, Verdict: verify.Pass}
	with := func(v verify.Verdict) []verify.Check {
		return []verify.Check{good, {ID: "mtls/b", Kind: "mtls", Trial: tr, Verdict: v}}
	}
	pass := []verify.Trial{{Trial: tr, Verdict: verify.Pass}}
	for name, c := range map[string]struct {
		res  verify.Result
		want verify.Verdict
	}{
		"all passed":             {verify.Result{Verdict: verify.Pass, Checks: []verify.Check{good}, Trials: pass}, verify.Pass},
		"a declared gap":         {verify.Result{Verdict: verify.Pass, Checks: with(verify.Gap), Trials: pass}, verify.Pass},
		"a skipped check":        {verify.Result{Verdict: verify.Pass, Checks: with(verify.Skipped), Trials: pass}, verify.Pass},
		"a failed check":         {verify.Result{Verdict: verify.Pass, Checks: with(verify.Fail), Trials: pass}, verify.Invalid},
		"an invalid check":       {verify.Result{Verdict: verify.Pass, Checks: with(verify.Invalid), Trials: pass}, verify.Invalid},
		"a check in error":       {verify.Result{Verdict: verify.Pass, Checks: with(verify.Error), Trials: pass}, verify.Invalid},
		"a check without a word": {verify.Result{Verdict: verify.Pass, Checks: with(""), Trials: pass}, verify.Invalid},
		"an odd word":            {verify.Result{Verdict: verify.Pass, Checks: with("OK"), Trials: pass}, verify.Invalid},
		"a failed trial":         {verify.Result{Verdict: verify.Pass, Checks: []verify.Check{good}, Trials: []verify.Trial{{Trial: tr, Verdict: verify.Fail}}}, verify.Invalid},
		"no check":               {verify.Result{Verdict: verify.Pass, Trials: pass}, verify.Invalid},
		"gaps alone":             {verify.Result{Verdict: verify.Pass, Checks: with(verify.Gap)[1:], Trials: pass}, verify.Invalid},
		"partial":                {verify.Result{Verdict: verify.Pass, Partial: true, Checks: []verify.Check{good}, Trials: pass}, verify.Invalid},
		"interrupted":            {verify.Result{Verdict: verify.Pass, Interrupted: true, Checks: []verify.Check{good}, Trials: pass}, verify.Invalid},
		"a verdict of no word":   {verify.Result{}, verify.Invalid},
		"a failed run stays so":  {verify.Result{Verdict: verify.Fail, Checks: with(verify.Fail), Trials: pass}, verify.Fail},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Build(&evidence.Record{Sealed: true}, &c.res); got.Verdict != c.want {
				t.Errorf("got %s (%s), want %s", got.Verdict, got.Message, c.want)
			}
		})
	}
	whole := verify.Result{Verdict: verify.Pass, Checks: []verify.Check{good}, Trials: pass}
	for name, rec := range map[string]*evidence.Record{
		"no record": nil, "no seal": {}, "a changed file": {Sealed: true, Problems: []string{"requests-0001.jsonl was changed"}},
	} {
		if got := Build(rec, &whole); got.Verdict != verify.Invalid {
			t.Errorf("%s: got %s", name, got.Verdict)
		}
	}
}

func TestTheMatrixShowsTheWorstBlockAndNeverPassesForABlockThatLacksTheCheck(t *testing.T) {
	check := func(block int, v verify.Verdict, observed string) verify.Check {
		return verify.Check{ID: "latency/x", Kind: "latency", Subject: "x", Trial: evidence.Trial{Block: block, Mesh: "istio"}, Verdict: v, Observed: observed}
	}
	trials := func(vs ...verify.Verdict) (out []verify.Trial) {
		for i, v := range vs {
			out = append(out, verify.Trial{Trial: evidence.Trial{Block: i + 1, Mesh: "istio"}, Verdict: v})
		}
		return out
	}
	p, f, g, s := verify.Pass, verify.Fail, verify.Gap, verify.Skipped
	for name, c := range map[string]struct {
		trials []verify.Trial
		checks []verify.Check
		want   RowCell
	}{
		"all pass":             {trials(p, p), []verify.Check{check(1, p, "1 ms"), check(2, p, "2 ms")}, RowCell{Verdict: p, Observed: "1 ms", Median: "1.5ms", Lowest: "1ms", Highest: "2ms", Blocks: 2, Of: 2}},
		"one fails":            {trials(p, f, p), []verify.Check{check(1, p, "1 ms"), check(2, f, "9 ms"), check(3, p, "2 ms")}, RowCell{Verdict: f, Observed: "9 ms", Median: "2ms", Lowest: "1ms", Highest: "9ms", Blocks: 1, Of: 3, Check: 1}},
		"one block lacks it":   {trials(p, p), []verify.Check{check(1, p, "1 ms")}, RowCell{Verdict: verify.Invalid, Observed: "not judged", Blocks: 1, Of: 2}},
		"a fail beats lacking": {trials(f, p), []verify.Check{check(1, f, "9 ms")}, RowCell{Verdict: f, Observed: "9 ms", Blocks: 1, Of: 2}},
		"a skipped block":      {trials(p, s), []verify.Check{check(1, p, "1 ms")}, RowCell{Verdict: p, Observed: "1 ms", Blocks: 1, Of: 2}},
		"over all blocks":      {trials(p, p), []verify.Check{check(0, p, "1 ms")}, RowCell{Verdict: p, Observed: "1 ms", Blocks: 1, Of: 1}},
		"a gap beats a pass":   {trials(p, p), []verify.Check{check(1, p, "1 ms"), check(2, g, "")}, RowCell{Verdict: g, Blocks: 1, Of: 2, Check: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			r := Build(nil, &verify.Result{Trials: c.trials, Checks: c.checks})
			c.want.Mesh = "istio"
			if got := r.Matrix[0].Cells[0]; got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestACheckOverAllBlocksShowsOnTheCardInJUnitAndInTheSummary(t *testing.T) {
	trial := func(mesh string, block int) verify.Trial {
		return verify.Trial{Trial: evidence.Trial{Block: block, Mesh: mesh}, Verdict: verify.Pass, Message: "all proved"}
	}
	over := func(mesh string, v verify.Verdict) verify.Check {
		return verify.Check{ID: "errors/a/over-none", Kind: verify.KindErrors, Trial: evidence.Trial{Mesh: mesh}, Verdict: v, Reason: "R", Message: "between 7% and 9%"}
	}
	r := Build(nil, &verify.Result{
		Verdict: verify.Fail, Trials: []verify.Trial{trial("istio", 1), trial("linkerd", 1), trial("istio", 2), trial("linkerd", 2)},
		Checks: []verify.Check{over("istio", verify.Fail), over("linkerd", verify.Skipped)},
	})
	cards := r.cards()
	if c := cards[0]; c.Verdict != verify.Fail || c.Blocks != "over all blocks" || c.Message != "errors/a/over-none: between 7% and 9%" {
		t.Errorf("istio's card says %+v", c)
	}
	if c := cards[1]; c.Verdict != verify.Pass || c.Blocks != "in 2 of 2 blocks" {
		t.Errorf("linkerd's card says %+v", c)
	}
	doc, err := junit(r)
	if err != nil {
		t.Fatal(err)
	}
	var got junitSuites
	if err := xml.Unmarshal(doc, &got); err != nil {
		t.Fatal(err)
	}
	failed, skipped := "", ""
	for _, s := range got.Suites {
		for _, c := range s.Cases {
			if c.Name == "errors/a/over-none" && c.Failure != nil {
				failed = s.Name
			}
			if c.Name == "errors/a/over-none" && c.Skipped != nil {
				skipped = s.Name
			}
		}
	}
	if !strings.HasSuffix(failed, "istio / over all blocks") || !strings.HasSuffix(skipped, "linkerd / over all blocks") {
		t.Errorf("failed in suite %q, skipped in %q:\n%s", failed, skipped, doc)
	}
	if s := string(summary(r)); !strings.Contains(s, "(istio, over all blocks)") {
		t.Errorf("the summary does not say that it is over all blocks:\n%s", s)
	}
}

func TestABuildThatIsNotTheMeshProjectsOwnIsNeverCalledByTheMeshsBareName(t *testing.T) {
	rec := record(t, 2)
	rec.Manifest.Flavors = map[string]string{"istio": "upstream Envoy"}
	res := verify.Evaluate(rec)
	r := Build(rec, res)
	const name = "istio (upstream Envoy)"
	if !slices.Contains(r.Meshes, name) || slices.Contains(r.Meshes, "istio") {
		t.Errorf("meshes %q", r.Meshes)
	}
	bare := regexp.MustCompile(`"(mesh|order)":\s*\[?\s*"istio"`)
	doc, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if at := bare.FindIndex(doc); at != nil {
		t.Errorf("report.json says %q", doc[at[0]:min(at[1]+80, len(doc))])
	}
	if res.Verdict == verify.Pass || strings.HasPrefix(res.Message, "istio:") {
		t.Errorf("the run's verdict: %s %s", res.Verdict, res.Message)
	}
	without := Build(record(t, 2), verify.Evaluate(record(t, 2)))
	if len(without.Checks) != len(r.Checks) || len(without.Matrix) != len(r.Matrix) {
		t.Error("the report has other checks for its name")
	}
}

func TestAnErrorRateThatIsNoNumberIsNotZero(t *testing.T) {
	r := Build(nil, &verify.Result{Phases: []verify.Phase{{ErrorRate: math.NaN()}, {ErrorRate: 0.0123456789}}})
	if r.Phases[0].ErrorRate != nil {
		t.Errorf("got %v, want nothing", *r.Phases[0].ErrorRate)
	}
	if got := *r.Phases[1].ErrorRate; got != 0.0123457 {
		t.Errorf("got %v, want it rounded by the one rule", got)
	}
}

func TestEvidenceIsShownFromDissentingWitnessesFirstAndAtMostTen(t *testing.T) {
	rec, res := fixture(t)
	r := Build(rec, res)
	var hole *Check
	for i := range r.Checks {
		if r.Checks[i].Verdict == verify.Fail && r.Checks[i].Kind == verify.KindPolicy {
			hole = &r.Checks[i]
		}
	}
	if hole == nil {
		t.Fatal("the fixture has no failed policy check")
	}
	if hole.EvidenceCount != 9 || len(hole.Evidence) != 9 {
		t.Errorf("%d of %d records", len(hole.Evidence), hole.EvidenceCount)
	}
	if got := hole.Evidence[0]; got.Ref != "requests:1" || !strings.Contains(string(got.Record), `"id":"istio-0"`) {
		t.Errorf("first is %s: %s", got.Ref, got.Record)
	}
	if got := hole.Evidence[8]; got.Ref != "probes:9999" || got.Record != nil {
		t.Errorf("a record that is not there reads %s: %s", got.Ref, got.Record)
	}
	var many []evidence.Ref
	for i := range 400 {
		many = append(many, evidence.Ref{Stream: evidence.Requests, Line: i + 1})
	}
	refs, total := choose(verify.Check{Used: many})
	if len(refs) != maxExcerpts || total != 400 {
		t.Errorf("%d of %d records", len(refs), total)
	}
}

func TestAnExcerptKeepsItsOrderAndLosesItsSecrets(t *testing.T) {
	key := "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----"
	token := "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
	for name, c := range map[string]struct{ in, want string }{
		"order and numbers":   {`{"z":1,"a":[1.50,true,null],"m":{"y":"x"}}`, `{"z":1,"a":[1.50,true,null],"m":{"y":"x"}}`},
		"long text":           {`{"a":"` + strings.Repeat("x", 400) + `"}`, `{"a":"` + strings.Repeat("x", 300) + `… (400 characters in all)"}`},
		"long list":           {`[` + strings.Repeat("1,", 41) + `1]`, `[` + strings.Repeat("1,", 40) + `"… and 2 more"]`},
		"private key":         {mustJSON(map[string]string{"m": "x " + key + " y"}), `{"m":"x ` + removed + ` y"}`},
		"private key cut off": {mustJSON(map[string]string{"m": key[:40]}), `{"m":"` + removed + `"}`},
		"token":               {mustJSON([]string{"got " + token}), `["got ` + removed + `"]`},
		"token cut off":       {mustJSON([]string{"got " + token[:len(token)-12]}), `["got ` + removed + `"]`},
		"bearer":              {`["Bearer abcdefghijklmnopqrstuvwx"]`, `["` + removed + `"]`},
		"a header":            {`{"Authorization":["Basic eDp5"],"b":1}`, `{"Authorization":"` + removed + `","b":1}`},
		"a secret as key":     {mustJSON(map[string]int{token: 1}), `{"` + removed + `":1}`},
		"prose stays":         {`["the bearer of bad news"]`, `["the bearer of bad news"]`},
	} {
		t.Run(name, func(t *testing.T) {
			got := string(shorten([]byte(c.in)))
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if !json.Valid([]byte(got)) {
				t.Error("not JSON any more")
			}
		})
	}
}

func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func FuzzShorten(f *testing.F) {
	for _, s := range []string{`{}`, `[1,{"a":"b"}]`, `{"token":[`, "\xff", `"x`, `{"a":1}{"b":2}`, `nul`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out := shorten(in)
		if out != nil && !json.Valid(out) {
			t.Errorf("%q became %q, which is not JSON", in, out)
		}
		if json.Valid(in) && out == nil {
			t.Errorf("%q is JSON and was lost", in)
		}
		_ = spaced(out)
	})
}

func TestLongSeriesAreMergedWithoutLosingCountsOrPeaks(t *testing.T) {
	var in []Slice
	var offered, errs, peak int64
	for i := range int64(5000) {
		s := Slice{AtMicros: i * 250000, Micros: 250000, Offered: i % 90, Sent: i % 80, Done: i % 90, Errors: i % 7, P99Micros: (i * 7919) % 100003}
		offered, errs, peak = offered+s.Offered, errs+s.Errors, max(peak, s.P99Micros)
		in = append(in, s)
	}
	out := mergeTo(in, maxSlices)
	if len(out) > maxSlices {
		t.Errorf("%d slices are left", len(out))
	}
	at := int64(0)
	for _, s := range out {
		if s.AtMicros != at {
			t.Fatalf("a slice starts at %d, want %d", s.AtMicros, at)
		}
		at += s.Micros
		offered, errs = offered-s.Offered, errs-s.Errors
		if s.P99Micros == peak {
			peak = 0
		}
	}
	if offered != 0 || errs != 0 || peak != 0 || at != 5000*250000 {
		t.Errorf("lost: %d offered, %d errors, peak %d, end %d", offered, errs, peak, at)
	}
}
