package reports

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// watchFocus notes what gets the focus, and what is wrong about how it shows: an outline of 2 px at least that stands
// out from the background by 3:1 (WCAG 2.2, success criteria 2.4.7 and 1.4.11).
const watchFocus = `(() => {
  const rgb = s => (s.match(/[\d.]+/g) || [0,0,0,0]).map(Number);
  const lum = c => { const f = c.slice(0,3).map(v => { v /= 255; return v <= 0.04045 ? v/12.92 : Math.pow((v+0.055)/1.055, 2.4) }); return 0.2126*f[0]+0.7152*f[1]+0.0722*f[2] };
  const back = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c } return [255,255,255] };
  const can = e => e.checkVisibility({contentVisibilityAuto: true, visibilityProperty: true}) && !(e.type === 'radio' && !e.checked);
  const all = [...document.querySelectorAll('a[href], summary, input, button, select, textarea, [tabindex="0"]')].filter(can);
  window.watched = {want: all.length, got: 0, hidden: []};
  const seen = new Set();
  document.addEventListener('focusin', ev => {
    const e = ev.target, s = getComputedStyle(e), r = e.getBoundingClientRect();
    if (seen.has(e)) return;
    seen.add(e);
    if (all.includes(e)) window.watched.got++;
    const a = lum(rgb(s.outlineColor)), b = lum(back(e.parentElement));
    const stands = (Math.max(a,b)+0.05) / (Math.min(a,b)+0.05);
    if (s.outlineStyle === 'none' || parseFloat(s.outlineWidth) < 2 || stands < 3 || r.right <= 0 || r.width < 1)
      window.watched.hidden.push(e.outerHTML.slice(0, 90));
  });
  return all.length;
})()`

func TestEverythingThatCanBeOperatedIsReachedByTabAndShowsIt(t *testing.T) {
	ctx := browser(t)
	for _, name := range []string{"one", "four"} {
		for _, scheme := range []string{"light", "dark"} {
			t.Run(name+", "+scheme, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
				defer cancel()
				open(t, ctx, name, pageOf(t, name), scheme, 1200)
				n := ask[int](t, ctx, watchFocus)
				if n < 20 {
					t.Fatalf("only %d things to operate are found", n)
				}
				if err := chromedp.Do(ctx, chromedp.KeyEvent(kb.Tab)); err != nil {
					t.Fatal(err)
				}
				if first := ask[string](t, ctx, `document.activeElement.className`); first != "skip" {
					t.Errorf("the first Tab reaches %q, want the link that skips", first)
				}
				for range n {
					if err := chromedp.Do(ctx, chromedp.KeyEvent(kb.Tab)); err != nil {
						t.Fatal(err)
					}
				}
				w := ask[struct {
					Want   int      `json:"want"`
					Got    int      `json:"got"`
					Hidden []string `json:"hidden"`
				}](t, ctx, `window.watched`)
				if w.Got != w.Want {
					t.Errorf("Tab reaches %d of %d things", w.Got, w.Want)
				}
				if len(w.Hidden) > 0 {
					t.Errorf("the focus does not show on %q", w.Hidden)
				}
			})
		}
	}
}

func press(t *testing.T, ctx context.Context, focus, key string) {
	t.Helper()
	ask[bool](t, ctx, fmt.Sprintf("(() => { const e = document.querySelector(%q); e.focus(); return document.activeElement === e })()", focus))
	if err := chromedp.Do(ctx, chromedp.KeyEvent(key)); err != nil {
		t.Fatal(err)
	}
}

func TestTheSkipLinkLeadsToTheComparison(t *testing.T) {
	ctx := browser(t)
	open(t, ctx, "four", pageOf(t, "four"), "light", 1200)
	press(t, ctx, ".skip", kb.Enter)
	if top := ask[float64](t, ctx, `document.querySelector('#meshes').getBoundingClientRect().top`); top < -5 || top > 40 {
		t.Errorf("the comparison stands at %v px", top)
	}
}

func TestDetailsOpenAndCloseByEnterAndBySpace(t *testing.T) {
	ctx := browser(t)
	open(t, ctx, "four", pageOf(t, "four"), "light", 1200)
	n := ask[int](t, ctx, `(() => { const all = [...document.querySelectorAll('details')]; all.forEach((d, i) => { for (let p = d; p; p = p.parentElement.closest('details')) p.open = p !== d || p.open; d.querySelector('summary').id = 'sum-' + i }); return all.length })()`)
	if n < 8 {
		t.Fatalf("%d details", n)
	}
	for i := range n {
		focus := fmt.Sprintf("#sum-%d", i)
		if visible := ask[bool](t, ctx, fmt.Sprintf("document.querySelector(%q).checkVisibility({contentVisibilityAuto: true})", focus)); !visible {
			continue // in another that is closed; its like is tested
		}
		for _, key := range []string{kb.Enter, " "} {
			was := ask[bool](t, ctx, fmt.Sprintf("document.querySelector(%q).parentElement.open", focus))
			press(t, ctx, focus, key)
			if is := ask[bool](t, ctx, fmt.Sprintf("document.querySelector(%q).parentElement.open", focus)); is == was {
				t.Errorf("%s does not answer to key %q", focus, key)
			}
		}
	}
}

func TestAVerdictLeadsToItsCheckEvenInAFold(t *testing.T) {
	ctx := browser(t)
	for _, class := range []string{"pass", "fail", "gap", "skipped"} {
		open(t, ctx, "four", pageOf(t, "four"), "light", 1200)
		ask[bool](t, ctx, fmt.Sprintf("(() => { document.querySelector('.matrix a.cell:has(.v-%s)').id = 'the-cell'; return true })()", class))
		press(t, ctx, "#the-cell", kb.Enter)
		seen, err := chromedp.Run(ctx, chromedp.Poll[bool](`(() => { const e = document.querySelector(':target'); if (!e) return false; const r = e.getBoundingClientRect(); return e.checkVisibility({contentVisibilityAuto: true}) && r.top > -5 && r.top < 800 })()`, chromedp.WithPollingTimeout(10*time.Second)))
		if err != nil || !seen {
			t.Errorf("the check of a %s verdict is not shown: %v", class, err)
		}
	}
}

// shown counts rows of a table that are to be seen, by the filter's classes.
const shown = `(table => { const n = {}; for (const tr of document.querySelectorAll(table + ' tbody tr:not(.group)')) if (tr.checkVisibility()) { const c = ['off', 'gapped', 'same'].find(c => tr.classList.contains(c)) || 'differs'; n[c] = (n[c] || 0) + 1 } return n })`

func TestFiltersLeaveOnlyWhatDiffersAndWorkByKeyboard(t *testing.T) {
	ctx := browser(t)
	open(t, ctx, "four", pageOf(t, "four"), "light", 1200)
	count := func(table string) map[string]int { return ask[map[string]int](t, ctx, shown+"('"+table+"')") }
	number := func(label string) int {
		return ask[int](t, ctx, fmt.Sprintf(`Number(document.querySelector('label[for=%s]').textContent.match(/\((\d+)/)[1])`, label))
	}
	before := count(".matrix")
	if before["same"] == 0 || before["differs"] != number("checks-differ") {
		t.Fatalf("rows of checks: %v, the filter says %d differ", before, number("checks-differ"))
	}
	press(t, ctx, "#checks-differ", " ")
	if after := count(".matrix"); after["same"] != 0 || after["differs"] != before["differs"] {
		t.Errorf("filtered rows of checks: %v, before %v", after, before)
	}
	if empty := ask[int](t, ctx, `[...document.querySelectorAll('.matrix tbody')].filter(b => b.checkVisibility() && ![...b.querySelectorAll('tr:not(.group)')].some(r => r.checkVisibility())).length`); empty != 0 {
		t.Errorf("%d headings stand over nothing", empty)
	}
	press(t, ctx, "#checks-differ", " ")
	if after := count(".matrix"); after["same"] != before["same"] {
		t.Errorf("the filter does not let go: %v, before %v", after, before)
	}

	all := count(".policy")
	if all["same"] == 0 || all["gapped"] == 0 || all["off"] != number("policy-off") {
		t.Fatalf("rows of the policy: %v", all)
	}
	press(t, ctx, "#policy-all", kb.ArrowRight)
	if got := count(".policy"); got["same"] != 0 || got["gapped"] != all["gapped"] || got["off"] != all["off"] {
		t.Errorf("rows that differ: %v of %v", got, all)
	}
	press(t, ctx, "#policy-gaps", kb.ArrowRight)
	if got := count(".policy"); got["same"] != 0 || got["gapped"] != 0 || got["off"] != all["off"] {
		t.Errorf("rows that differ, gaps apart: %v of %v", got, all)
	}
	// Nothing left is said, not shown as an empty table.
	press(t, ctx, "#tokens-gaps", kb.ArrowRight)
	if got := count(".tokens"); len(got) != 0 {
		t.Errorf("rows of tokens: %v", got)
	}
	if said := ask[[]string](t, ctx, `[...document.querySelectorAll('.nothing')].filter(e => e.checkVisibility()).map(e => e.textContent)`); !slices.Equal(said, []string{"Declared gaps apart, no question was answered differently, and each as expected."}) {
		t.Errorf("the page says %q", said)
	}
}
