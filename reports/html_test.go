package reports

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/verify"
)

func render(t *testing.T, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := HTML(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// elements lists the elements of a page in order.
func elements(t *testing.T, page string) []*html.Node {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	var out []*html.Node
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode {
			out = append(out, n)
		}
	}
	return out
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func text(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data)
		}
	}
	return b.String()
}

// pageNames are the pages that pageOf renders.
var pageNames = []string{"full", "blocks", "one", "four", "partial", "empty", "hostile", "evidence"}

func pageOf(t *testing.T, name string) string {
	t.Helper()
	switch name {
	case "full":
		return render(t, Build(fixture(t)))
	case "blocks":
		return render(t, Build(record(t, 2), result(2)))
	case "one":
		return render(t, Build(recordOf(t, twoMeshes[1:], 1), resultOf(twoMeshes[1:], 1)))
	case "four":
		return render(t, Build(recordOf(t, fourMeshes, 1), resultOf(fourMeshes, 1)))
	case "partial":
		rec, res := fixture(t)
		res.Verdict, res.Partial, res.Interrupted = verify.Invalid, true, true
		return render(t, Build(rec, res))
	case "empty":
		return render(t, Build(nil, nil))
	case "hostile":
		return render(t, Build(hostileRecord(t), hostileResult()))
	case "evidence":
		return render(t, Build(record(t, 1), &verify.Result{Verdict: verify.Error, Reason: "NoClusters"}))
	}
	t.Fatalf("there is no page %q", name)
	return ""
}

func pages(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, name := range pageNames {
		out[name] = pageOf(t, name)
	}
	return out
}

func TestEachPageIsBalancedNamesItsPartsOnceAndLoadsNothing(t *testing.T) {
	void := map[string]bool{"meta": true, "link": true, "br": true, "input": true}
	for _, name := range pageNames {
		t.Run(name, func(t *testing.T) {
			page := pageOf(t, name)
			balanced(t, page, void)
			ids, targets := map[string]bool{}, []string{}
			level, mains, h1 := 0, 0, 0
			for _, n := range elements(t, page) {
				if id := attr(n, "id"); id != "" {
					if ids[id] {
						t.Errorf("id %q is there twice", id)
					}
					ids[id] = true
				}
				for _, a := range n.Attr {
					switch {
					case strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "src" || a.Key == "srcset":
						t.Errorf("<%s> has %s=%q", n.Data, a.Key, a.Val)
					case a.Key == "href" && strings.HasPrefix(a.Val, "#"):
						targets = append(targets, a.Val[1:])
					case a.Key == "href" && a.Val != "data:,":
						t.Errorf("<%s> refers to %q", n.Data, a.Val)
					case a.Key == "aria-labelledby":
						targets = append(targets, strings.Fields(a.Val)...)
					}
				}
				switch n.Data {
				case "script", "img", "iframe", "object", "embed", "form", "base", "image", "use", "foreignobject":
					t.Errorf("the page has a <%s>", n.Data)
				case "main":
					mains++
				case "h1", "h2", "h3", "h4":
					l := int(n.Data[1] - '0')
					if l > level+1 {
						t.Errorf("heading %q goes from level %d to %d", text(n), level, l)
					}
					level = l
					if l == 1 {
						h1++
					}
				case "table":
					if n.FirstChild == nil || !strings.Contains(render1(t, n), "<caption>") {
						t.Error("a table has no caption")
					}
				case "th":
					if attr(n, "scope") == "" {
						t.Errorf("heading %q of a table has no scope", text(n))
					}
				}
			}
			for _, id := range targets {
				if !ids[id] {
					t.Errorf("something refers to #%s, which is not there", id)
				}
			}
			if mains != 1 || h1 != 1 {
				t.Errorf("%d main, %d h1", mains, h1)
			}
			style := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindStringSubmatch(page)
			if style == nil || regexp.MustCompile(`(?i)@import|url\(|@font-face`).MatchString(style[1]) {
				t.Error("the style sheet is missing or loads something")
			}
		})
	}
}

func render1(t *testing.T, n *html.Node) string {
	t.Helper()
	var b bytes.Buffer
	if err := html.Render(&b, n); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// balanced checks that every element that a page opens is closed in order, which html.Parse would mend in silence.
func balanced(t *testing.T, page string, void map[string]bool) {
	t.Helper()
	var stack []string
	z := html.NewTokenizer(strings.NewReader(page))
	for {
		switch z.Next() {
		case html.ErrorToken:
			if !errors.Is(z.Err(), io.EOF) {
				t.Fatal(z.Err())
			}
			if len(stack) > 0 {
				t.Errorf("left open: %v", stack)
			}
			return
		case html.StartTagToken:
			if name, _ := z.TagName(); !void[string(name)] {
				stack = append(stack, string(name))
			}
		case html.EndTagToken:
			name, _ := z.TagName()
			if len(stack) == 0 || stack[len(stack)-1] != string(name) {
				t.Fatalf("</%s> closes %v", name, stack[max(0, len(stack)-3):])
			}
			stack = stack[:len(stack)-1]
		}
	}
}

func TestEachChartIsThereIsXMLAndShowsSomething(t *testing.T) {
	page := pageOf(t, "full")
	charts := regexp.MustCompile(`(?s)<svg xmlns.*?</svg>`).FindAllString(page, -1)
	if len(charts) != 4 { // one of latency, three over time: both meshes, then each
		t.Fatalf("%d charts, want 4", len(charts))
	}
	for i, c := range charts {
		d := xml.NewDecoder(strings.NewReader(c))
		marks, title := 0, false
		for {
			tok, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("chart %d is not XML: %v", i, err)
			}
			if el, ok := tok.(xml.StartElement); ok {
				title = title || el.Name.Local == "title"
				for _, a := range el.Attr {
					if a.Name.Local == "class" && regexp.MustCompile(`^(line|mark|area)\b`).MatchString(a.Value) {
						marks++
					}
				}
			}
		}
		if marks < 8 || !title || !strings.Contains(c, `role="img"`) {
			t.Errorf("chart %d has %d marks, title %v", i, marks, title)
		}
	}
}

func TestTheVerdictComesFirstInWordsAndSaysThatItIsOfAModel(t *testing.T) {
	for name, want := range map[string][]string{
		"full":    {"FAIL (model)", "checkout-spike", "Data planes are modelled", "seed"},
		"partial": {"INVALID (model)", "PARTIAL", "interrupted"},
		"empty":   {"INVALID", "The record was not judged"},
	} {
		shown := pageOf(t, name)
		head, _, ok := strings.Cut(shown, "<main>")
		if !ok {
			t.Fatal("no main")
		}
		for _, w := range want {
			if !strings.Contains(head, w) {
				t.Errorf("%s: %q is not at the head of the page", name, w)
			}
		}
	}
	real := *result(1)
	real.Modelled = false
	if page := render(t, Build(nil, &real)); strings.Contains(page, "(model)") || strings.Contains(page, "are modelled") {
		t.Error("a run on real data planes is called modelled")
	}
}

func TestThePageShowsWhetherTheGeneratorMayHaveMadeTheFiguresAndHowSessionsWereBalanced(t *testing.T) {
	shown := pageOf(t, "full")
	for _, want := range []string{
		"The load generator itself, traffic buyers: some of these figures may be its own", "sent 1510 of 1600 requests of phase spike in time",
		"40 sessions on 3 pods: each by one pod", "40 sessions on 3 pods: 18 by one pod each, the others by up to 3",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	res := result(1)
	for i := range res.Phases {
		res.Phases[i].Sending.Verdict = verify.Pass
	}
	if shown = render(t, Build(nil, res)); !strings.Contains(shown, "nothing shows that it made these figures") || strings.Contains(shown, "may be its own") {
		t.Error("a generator that is not to blame is not said to be so")
	}
}

func TestAnEmptyPartOfThePageSaysWhy(t *testing.T) {
	var seen []string
	for _, n := range elements(t, pageOf(t, "empty")) {
		if attr(n, "class") == "empty" {
			seen = append(seen, text(n))
		}
	}
	if len(seen) != 8 { // meshes, checks, latency, time, policy, faults, findings, passed
		t.Errorf("%d parts say why they are empty: %q", len(seen), seen)
	}
}

const hostileText = `"><script>alert(1)</script><img src=x onerror=alert(1)></title></style><!--` + "\x00\x1b\xff" + `{{.}} javascript:alert(1) ]]>`

func hostileRecord(t *testing.T) *evidence.Record {
	t.Helper()
	m := manifest(1)
	m.Components = map[string]string{hostileText: hostileText}
	m.Models, m.Command = []string{hostileText}, []string{hostileText}
	m.RunID, m.Version, m.GoVersion, m.Driver = hostileText, hostileText, hostileText, hostileText
	m.Host.OS, m.Host.Kernel = hostileText, hostileText
	m.Order = [][]string{{hostileText}}
	meta, err := json.Marshal(map[string]any{"metadata": map[string]string{"name": hostileText, "description": hostileText}})
	if err != nil {
		t.Fatal(err)
	}
	m.Scenario = meta
	tr := evidence.Trial{Block: 1, Mesh: hostileText}
	return &evidence.Record{
		Manifest: m, Problems: []string{hostileText}, Root: hostileText, Sealed: true,
		Ticks: []*evidence.Tick{{Header: evidence.Header{Trial: tr}, Traffic: hostileText, Phase: hostileText, Micros: 1e6, Offered: 9, Sent: 9, Done: 9, P50Micros: 5, P99Micros: 9}},
	}
}

func hostileResult() *verify.Result {
	x, tr := hostileText, evidence.Trial{Block: 1, Mesh: hostileText}
	res := &verify.Result{
		Verdict: verify.Fail, Reason: x, Message: x, Modelled: true, Partial: true,
		Trials: []verify.Trial{{Trial: tr, Verdict: verify.Verdict(x), Reason: x, Message: x}},
		Cells:  []verify.Cell{{ID: x, Trial: tr, From: x, Cluster: x, To: x, Method: x, Path: x, Connection: x, Expected: x, Observed: "allowed", Status: x, Verdict: verify.Fail, Message: x}},
		Phases: []verify.Phase{{Trial: tr, Traffic: x, Phase: x, ForMicros: 1e6, Codes: map[string]int{x: 1}, Intended: map[string]int64{"p50": 3, x: 4}, Verdict: verify.Verdict(x)}},
		Faults: []verify.Fault{{Trial: tr, Name: x, Kind: x, Target: x, EndMicros: 5e5, Effect: x, Verdict: verify.Invalid}},
	}
	for _, v := range []verify.Verdict{verify.Pass, verify.Fail, verify.Gap, verify.Skipped, verify.Error, verify.Verdict(x)} {
		res.Checks = append(res.Checks, verify.Check{
			ID: x + string(v), Kind: x, Subject: x, Trial: tr, Verdict: v, Reason: x, Message: x, Observed: x, Limit: x,
			Witnesses: []verify.Witness{{Name: x, Verdict: v, Message: x, Used: []evidence.Ref{{Stream: evidence.Stream(x), Line: 1}}}},
		})
	}
	return res
}

func TestNothingFromARecordReachesThePageUnescaped(t *testing.T) {
	page := pageOf(t, "hostile")
	for _, bad := range []string{"<script", "<img", "onerror=alert(1)>", "</title></style>", "<!--", "\x00", "\x1b"} {
		if strings.Contains(strings.Replace(page, "<!DOCTYPE", "", 1), bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	if n := strings.Count(page, "&lt;script&gt;alert(1)"); n < 30 {
		t.Errorf("the hostile text is on the page %d times, want it everywhere that it was given", n)
	}
}

func TestASummaryHoldsNoMarkupOfARecord(t *testing.T) {
	got := string(summary(Build(hostileRecord(t), hostileResult())))
	if !onlyInCode(got) {
		t.Errorf("the summary holds markup:\n%s", got)
	}
}

// onlyInCode says that each line with a tag has it between backquotes.
func onlyInCode(s string) bool {
	code := regexp.MustCompile("`[^`]*`")
	return !regexp.MustCompile(`<[a-zA-Z!/]`).MatchString(code.ReplaceAllString(s, ""))
}

func TestManyChecksOfAKindAreTakenTogetherButNotOneThatIsWrong(t *testing.T) {
	tr := evidence.Trial{Block: 1, Mesh: "istio"}
	res := &verify.Result{Verdict: verify.Fail, Trials: []verify.Trial{{Trial: tr, Verdict: verify.Fail}}}
	for i := range 60 {
		v := verify.Pass
		if i == 41 {
			v = verify.Fail
		}
		s := "ask " + strings.Repeat("i", i+1)
		res.Checks = append(res.Checks, verify.Check{ID: "policy/" + s, Kind: verify.KindPolicy, Subject: s, Trial: tr, Verdict: v})
	}
	g := Build(nil, res).matrixGroups()[0]
	if len(g.Rows) != 2 || len(g.All) != 60 {
		t.Fatalf("%d rows of %d, want the wrong one and one for the rest", len(g.Rows), len(g.All))
	}
	if g.Rows[0].Cells[0].Verdict != verify.Fail || !strings.HasPrefix(g.Rows[1].Subject, "59 checks alike") {
		t.Errorf("rows are %q and %q", g.Rows[0].Subject, g.Rows[1].Subject)
	}
}

func TestThePolicyMatrixTellsGapsFromHolesAndMarksWhereMeshesDiffer(t *testing.T) {
	v := Build(nil, result(1)).policyView()
	if v.Asked != 10 || v.Differ != 1 || v.Gaps != 6 || v.Between != 0 {
		t.Errorf("asked %d, differ %d, gaps %d, between meshes %d; want 10, 1, 6, 0", v.Asked, v.Differ, v.Gaps, v.Between)
	}
	if len(v.Callers) != 4 || len(v.Full) != 40 {
		t.Errorf("%d callers, %d questions", len(v.Callers), len(v.Full))
	}
	// One cluster that answers otherwise makes the folded answer mixed, never allowed.
	tr := evidence.Trial{Block: 1, Mesh: "istio"}
	cell := verify.Cell{Trial: tr, From: "a", Cluster: "east", To: "b", Method: "GET", Path: "/", Expected: "allowed", Observed: "allowed", Verdict: verify.Pass}
	other := cell
	other.Cluster, other.Observed, other.Verdict = "west", "refused", verify.Fail
	v = Build(nil, &verify.Result{Cells: []verify.Cell{cell, other}, Trials: []verify.Trial{{Trial: tr}}}).policyView()
	if a := v.Callers[0].Lines[0]; !a.Off || a.Answers[0].Observed != "mixed" || a.Answers[0].Verdict != verify.Fail {
		t.Errorf("got %+v", a)
	}
}

func TestTokensAtTheEdgeAreShownByKindWithWhatEachMeshMadeOfThem(t *testing.T) {
	rec, res := fixture(t)
	r := Build(rec, res)
	lines := r.tokenLines()
	var got []string
	for _, l := range lines {
		for i, a := range l.Answers {
			got = append(got, strings.Join([]string{l.Words, l.Claims, l.Expected, l.Wanted, r.Meshes[i], a.Observed, a.Status(), a.Cause(), string(a.Verdict)}, "|"))
		}
	}
	want := []string{
		"good|role: customer|allowed|200|none|allowed|200||PASS",
		"good|role: customer|allowed|200|istio|allowed|200||PASS",
		"expired|role: customer|refused|401|none|refused|401|gateway: Jwt is expired|PASS",
		"expired|role: customer|refused|401|istio|refused|401|ingress proxy: jwt_authn_access_denied{Jwt_is_expired}|PASS",
		"no token||refused|403|none|refused|403|gateway: Jwt is expired|PASS",
		"no token||refused|403|istio|refused|403|ingress proxy: rbac_access_denied_matched_policy[none]|PASS",
		"good, but with another claim|role: guest|refused|403|none|allowed|200||GAP",
		"good, but with another claim|role: guest|refused|403|istio|refused|403|ingress proxy: rbac_access_denied_matched_policy[none]|PASS",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if p := render(t, r); !strings.Contains(p, `<section id="tokens"`) || !strings.Contains(p, `<a href="#tokens">`) || !strings.Contains(p, "jwt_authn_access_denied{Jwt_is_expired}") {
		t.Error("the page lacks the tokens")
	}
	res.Tokens = nil
	if p := render(t, Build(rec, res)); strings.Contains(p, "#tokens") || strings.Contains(p, `id="tokens"`) {
		t.Error("the page has a section for tokens that there are not")
	}
}

// TestOnlyADemonstratedGapIsNoDifferenceBetweenMeshes: a mesh that declares a gap and one that keeps the policy are as
// they were said to be; everything else that meshes do differently is marked.
func TestOnlyADemonstratedGapIsNoDifferenceBetweenMeshes(t *testing.T) {
	cell := func(mesh, observed string, v verify.Verdict) verify.Cell {
		return verify.Cell{
			Trial: evidence.Trial{Block: 1, Mesh: mesh}, From: "a", Cluster: "east", To: "b", Method: "GET", Path: "/",
			Expected: "refused", Observed: observed, Verdict: v,
		}
	}
	for _, c := range []struct {
		name              string
		cells             []verify.Cell
		gap, off, between bool
	}{
		{"a gap beside a refusal", []verify.Cell{cell("none", "allowed", verify.Gap), cell("istio", "refused", verify.Pass)}, true, false, false},
		{"a gap beside a hole", []verify.Cell{cell("none", "allowed", verify.Gap), cell("istio", "allowed", verify.Fail)}, true, true, false},
		{"a hole beside a refusal", []verify.Cell{cell("none", "allowed", verify.Fail), cell("istio", "refused", verify.Pass)}, false, true, true},
		{"a gap that could not be shown", []verify.Cell{cell("none", "other", verify.Invalid), cell("istio", "refused", verify.Pass)}, false, true, true},
		{"a PASS that is none", []verify.Cell{cell("none", "allowed", verify.Pass), cell("istio", "refused", verify.Pass)}, false, true, true},
		{"two refusals", []verify.Cell{cell("none", "refused", verify.Pass), cell("istio", "refused", verify.Pass)}, false, false, false},
	} {
		res := &verify.Result{Cells: c.cells}
		for _, x := range c.cells {
			res.Trials = append(res.Trials, verify.Trial{Trial: x.Trial})
		}
		l := Build(nil, res).policyView().Callers[0].Lines[0]
		if l.Gap != c.gap || l.Off != c.off || l.Between != c.between {
			t.Errorf("%s: gap %v, off %v, differ %v; want %v, %v, %v", c.name, l.Gap, l.Off, l.Between, c.gap, c.off, c.between)
		}
	}
}

func TestAQuestionThatCannotBeJudgedIsNeitherAsExpectedNorOtherwise(t *testing.T) {
	tr := evidence.Trial{Block: 1, Mesh: "linkerd"}
	cell := func(connection string, v verify.Verdict, observed string) verify.Cell {
		return verify.Cell{ID: connection, Trial: tr, From: "shop", To: "shop", Method: "GET", Path: "/", Connection: connection, Expected: "refused", Observed: observed, Verdict: v, Message: "why not"}
	}
	skipped, refused := cell("fresh", verify.Skipped, "unknown"), cell("established", verify.Pass, "refused")
	for name, c := range map[string]struct {
		cells    []verify.Cell
		unknown  int
		observed string
	}{
		"alone":             {[]verify.Cell{skipped}, 1, unjudged},
		"before one judged": {[]verify.Cell{skipped, refused}, 0, "refused"},
		"after one judged":  {[]verify.Cell{refused, skipped}, 0, "refused"},
	} {
		v := Build(nil, &verify.Result{Cells: c.cells, Trials: []verify.Trial{{Trial: tr}}}).policyView()
		a := v.Callers[0].Lines[0].Answers[0]
		if v.Differ != 0 || v.Between != 0 || v.Unknown != c.unknown || a.Observed != c.observed {
			t.Errorf("%s: %+v, %+v", name, v, a)
		}
	}
}
