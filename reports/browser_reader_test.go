package reports

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// heardNode is one node of the tree that Chromium gives to screen readers.
type heardNode struct {
	role, name, description string
	level                   int
	under                   []*heardNode
}

// tree is what a screen reader gets of the page that is shown.
func tree(t *testing.T, ctx context.Context) *heardNode {
	t.Helper()
	got, err := chromedp.Call(ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	if err != nil {
		t.Fatalf("reading the accessibility tree: %v", err)
	}
	byID := map[accessibility.NodeID]*accessibility.Node{}
	for _, n := range got.Nodes {
		byID[n.NodeID] = n
	}
	var build func(n *accessibility.Node) []*heardNode
	build = func(n *accessibility.Node) []*heardNode {
		var under []*heardNode
		for _, id := range n.ChildIDs {
			if c := byID[id]; c != nil {
				under = append(under, build(c)...)
			}
		}
		if n.Ignored {
			return under
		}
		h := &heardNode{role: word(t, n.Role), name: word(t, n.Name), description: word(t, n.Description), under: under}
		for _, p := range n.Properties {
			if p.Name == "level" {
				if err := json.Unmarshal(p.Value.Value, &h.level); err != nil {
					t.Fatal(err)
				}
			}
		}
		return []*heardNode{h}
	}
	roots := build(got.Nodes[0])
	if len(roots) != 1 {
		t.Fatalf("%d roots", len(roots))
	}
	return roots[0]
}

func word(t *testing.T, v *accessibility.Value) string {
	t.Helper()
	if v == nil || len(v.Value) == 0 {
		return ""
	}
	var s any
	if err := json.Unmarshal(v.Value, &s); err != nil {
		t.Fatal(err)
	}
	text, _ := s.(string)
	return text
}

// all lists the nodes of a role in reading order.
func (h *heardNode) all(role string) (out []*heardNode) {
	if h.role == role {
		out = append(out, h)
	}
	for _, u := range h.under {
		out = append(out, u.all(role)...)
	}
	return out
}

// text is what is read of the node.
func (h *heardNode) text() string {
	if len(h.under) == 0 || h.role == "StaticText" { // whose lines follow as boxes
		return h.name
	}
	var parts []string
	for _, u := range h.under {
		parts = append(parts, u.text())
	}
	return strings.Join(parts, " ")
}

func TestAScreenReaderFindsLandmarksHeadingsTablesAndChartsByName(t *testing.T) {
	ctx := browser(t)
	for _, name := range []string{"one", "four", "blocks", "empty", "hostile"} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			open(t, ctx, name, pageOf(t, name), "light", 1200)
			ask[bool](t, ctx, `(() => { for (const d of document.querySelectorAll('details')) d.open = true; return true })()`)
			root := tree(t, ctx)
			if root.name == "" || ask[string](t, ctx, "document.documentElement.lang") != "en" {
				t.Error("the page has no title or no language")
			}
			for _, landmark := range []string{"banner", "navigation", "main", "contentinfo"} {
				if got := root.all(landmark); len(got) != 1 {
					t.Errorf("%d of landmark %s, want 1", len(got), landmark)
				}
			}
			headings(t, root)
			names(t, root)
			for _, tab := range root.all("table") {
				if tab.name == "" || len(tab.all("columnheader")) < 2 || (len(tab.all("rowheader")) == 0 && len(tab.all("cell")) > 0) {
					t.Errorf("table %q has %d column headers, %d row headers", tab.name, len(tab.all("columnheader")), len(tab.all("rowheader")))
				}
			}
			if n := len(root.all("LayoutTable")); n > 0 {
				t.Errorf("%d tables are read as layout", n)
			}
			charts := root.all("image")
			if want := strings.Count(pageOf(t, name), `role="img"`); len(charts) != want {
				t.Errorf("%d charts are read, want %d", len(charts), want)
			}
			for _, c := range charts {
				if c.name == "" || len(c.description) < 20 {
					t.Errorf("a chart is read as %q, %q", c.name, c.description)
				}
			}
		})
	}
}

func headings(t *testing.T, root *heardNode) {
	t.Helper()
	level, first := 0, 0
	for _, h := range root.all("heading") {
		if h.name == "" || h.level > level+1 {
			t.Errorf("heading %q of level %d comes after level %d", h.name, h.level, level)
		}
		level = h.level
		if h.level == 1 {
			first++
		}
	}
	if first != 1 {
		t.Errorf("%d headings of level 1", first)
	}
}

// names holds what can be operated or jumped to against having a name, regions one that no other has.
func names(t *testing.T, root *heardNode) {
	t.Helper()
	seen := map[string]bool{}
	for _, r := range root.all("region") {
		if r.name == "" || seen[r.name] {
			t.Errorf("a region is called %q, which is nothing or another's name", r.name)
		}
		seen[r.name] = true
	}
	for _, role := range []string{"link", "checkbox", "radio", "DisclosureTriangle", "group"} {
		for _, n := range root.all(role) {
			if role != "group" && strings.TrimSpace(n.name+n.text()) == "" {
				t.Errorf("a %s has no name", role)
			}
		}
	}
}

func TestAScreenReaderHearsEachVerdictAndWhatDiffers(t *testing.T) {
	ctx := browser(t)
	open(t, ctx, "four", pageOf(t, "four"), "light", 1200)
	root := tree(t, ctx)
	i := slices.IndexFunc(root.all("table"), func(h *heardNode) bool { return strings.HasPrefix(h.name, "Verdict of every check") })
	if i < 0 {
		t.Fatal("there is no table of checks")
	}
	rows := map[string]string{}
	for _, r := range root.all("table")[i].all("row") {
		if heads := r.all("rowheader"); len(heads) == 1 {
			var cells []string
			for _, c := range r.all("cell") {
				cells = append(cells, strings.Join(strings.Fields(c.text()), " "))
			}
			rows[strings.Join(strings.Fields(heads[0].text()), " ")] = strings.Join(cells, " | ")
		}
	}
	for head, want := range map[string]string{
		"shop→cart verdicts differ":                     "GAP plaintext unlike most | PASS 24 of 24 | PASS 24 of 24 | PASS 24 of 24",
		"buyers spike p99 limit 250 ms verdicts differ": "PASS 198 ms | FAIL 312 ms unlike most | PASS 233 ms | PASS 293 ms",
		"buyers · spike · over-none limit 2%":           "no such check | SKIPPED over all blocks not judged, 6 blocks needed: run again with --blocks 6 | SKIPPED over all blocks not judged, 6 blocks needed: run again with --blocks 6 | SKIPPED over all blocks not judged, 6 blocks needed: run again with --blocks 6",
		"cart-pod-dies limit 3 s verdicts differ":       "INVALID unlike most | PASS 1.2 s | PASS 1 s | PASS 601 ms",
	} {
		if rows[head] != want {
			t.Errorf("%s is read as %q, want %q (of %d rows)", head, rows[head], want, len(rows))
		}
	}
	// Whatever has the colour of a verdict says it in words.
	if mute := ask[[]string](t, ctx, `[...document.querySelectorAll('.badge, .cv, .verdict .word')].filter(e => !/PASS|FAIL|INVALID|ERROR|GAP|SKIPPED/.test(e.textContent)).map(e => e.outerHTML)`); len(mute) > 0 {
		t.Errorf("verdicts by colour alone: %q", mute)
	}
	// aria-label counts only on what has a role (WAI-ARIA 1.2, section 5.2.8.6), and there is no other aria than these.
	if bad := ask[[]string](t, ctx, `[...document.querySelectorAll('*')].flatMap(e => [...e.attributes].filter(a => a.name.startsWith('aria-') && !(
		(a.name === 'aria-hidden' && a.value === 'true' && !e.querySelector('a, input, summary, [tabindex]')) ||
		(a.name === 'aria-label' && (e.hasAttribute('role') || ['NAV', 'UL'].includes(e.tagName))) ||
		(['aria-labelledby', 'aria-describedby'].includes(a.name) && (e.hasAttribute('role') || e.tagName === 'SECTION') && a.value.split(' ').every(id => document.getElementById(id))))).map(a => e.tagName + ' ' + a.name + '=' + a.value))`); len(bad) > 0 {
		t.Errorf("aria that says nothing: %q", bad)
	}
}

func TestAPrintedPageHoldsEverythingWithinThePaper(t *testing.T) {
	ctx := browser(t)
	for _, name := range []string{"one", "four", "blocks"} {
		// A filter that is set on the screen must not leave rows out on paper.
		open(t, ctx, name, strings.Replace(pageOf(t, name), `id="checks-differ"`, `id="checks-differ" checked`, 1), "dark", 688)
		if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"}); err != nil {
			t.Fatal(err)
		}
		type paper struct {
			Wide   []string `json:"wide"`
			Hidden []string `json:"hidden"`
			Nav    bool     `json:"nav"`
		}
		// 688 px is A4 without its margins; closed details print closed, apart from those that hold checks.
		got := ask[paper](t, ctx, `(() => {
		  const wide = [], hidden = [];
		  for (const e of document.querySelectorAll('main table, main .chart, main p, main pre')) if (e.checkVisibility({contentVisibilityAuto: true}) && e.getBoundingClientRect().right > 690) wide.push(e.getBoundingClientRect().right + ' ' + e.outerHTML.slice(0, 80));
		  for (const e of document.querySelectorAll('.matrix tr, .check .body, .all tr')) if (!e.checkVisibility({contentVisibilityAuto: true}) || e.getBoundingClientRect().height < 1) hidden.push(e.outerHTML.slice(0, 80));
		  return {wide, hidden, nav: document.querySelector('nav').checkVisibility()};
		})()`)
		if len(got.Wide) > 0 || len(got.Hidden) > 0 || got.Nav {
			t.Errorf("%s: too wide: %q; not on paper: %d %q; navigation printed: %v", name, got.Wide, len(got.Hidden), got.Hidden[:min(3, len(got.Hidden))], got.Nav)
		}
		pdf, err := chromedp.Run(ctx, chromedp.PrintToPDF())
		if err != nil || !bytes.HasPrefix(pdf, []byte("%PDF-")) || len(pdf) < 20000 {
			t.Errorf("%s: printing gave %d bytes: %v", name, len(pdf), err)
		}
		if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{}); err != nil {
			t.Fatal(err)
		}
	}
}
