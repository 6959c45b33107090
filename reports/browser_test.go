package reports

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser starts Chromium. Where there is none the test is skipped; in CI that would be silence, so it fails.
func browser(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "headless-shell"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		const msg = "Chromium is not installed: `make deps` installs it (Debian, as root); elsewhere install Chromium or Chrome"
		if os.Getenv("CI") == "true" {
			t.Fatal(msg)
		}
		t.Skip(msg)
	}
	// Not t.Context(), which ends before the clean-up that ends the browser.
	ctx, end := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-quic", true))...)
	t.Cleanup(end)
	ctx, closeTab := chromedp.NewContext(ctx)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Errorf("ending Chromium: %v", err)
		}
		closeTab()
	})
	if err := chromedp.Do(ctx); err != nil { // starts the browser, which must not end with the first deadline
		t.Fatalf("starting Chromium: %v", err)
	}
	return ctx
}

// heard collects what a browser says that it must not say.
type heard struct {
	mu   sync.Mutex
	said []string
	got  []string // addresses asked for
}

func (h *heard) listen(ev any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch e := ev.(type) {
	case *network.EventRequestWillBeSent:
		h.got = append(h.got, e.Request.URL)
	case *log.EventEntryAdded:
		h.said = append(h.said, e.Entry.Text)
	case *runtime.EventConsoleAPICalled:
		h.said = append(h.said, "console."+string(e.Type))
	case *runtime.EventExceptionThrown:
		h.said = append(h.said, e.ExceptionDetails.Text)
	}
}

// measured is what a page says about itself.
type measured struct {
	ScrollWidth float64  `json:"scrollWidth"`
	ClientWidth float64  `json:"clientWidth"`
	Background  string   `json:"background"`
	Small       []string `json:"small"` // pictures without size
	Faint       []string `json:"faint"` // texts below a contrast of 4.5
	Texts       int      `json:"texts"`
	Clipped     []string `json:"clipped"` // what is wider than the page outside of a region that scrolls
}

// measure runs in the page. Contrast is that of WCAG 2.2, success criterion 1.4.3, against the nearest background that
// is not transparent.
const measure = `(() => {
  for (const d of document.querySelectorAll('details')) d.open = true;
  const rgb = s => (s.match(/[\d.]+/g) || [0,0,0,0]).map(Number);
  const lum = c => { const f = c.slice(0,3).map(v => { v /= 255; return v <= 0.04045 ? v/12.92 : Math.pow((v+0.055)/1.055, 2.4) }); return 0.2126*f[0]+0.7152*f[1]+0.0722*f[2] };
  const back = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c } return [255,255,255] };
  const faint = [], small = []; let texts = 0;
  const w = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n; n = w.nextNode();) {
    const e = n.parentElement;
    if (!n.data.trim() || ['title','desc','style'].includes(e.localName) || e.closest('.skip')) continue;
    texts++;
    const cs = getComputedStyle(e), svg = e.closest('svg');
    const a = lum(rgb(svg ? cs.fill : cs.color)), b = lum(back(svg ? svg.parentElement : e));
    const ratio = (Math.max(a,b)+0.05) / (Math.min(a,b)+0.05);
    if (ratio < 4.5) faint.push(ratio.toFixed(2) + ' ' + n.data.trim().slice(0, 40));
  }
  for (const s of document.querySelectorAll('svg')) { const r = s.getBoundingClientRect(); if (r.width < 5 || r.height < 5) small.push(s.outerHTML.slice(0, 80)) }
  const d = document.documentElement, clipped = [];
  for (const e of document.querySelectorAll('body *')) {
    const scroll = e.closest('.scroll');
    if (scroll && (scroll.tabIndex !== 0 || scroll.getAttribute('role') !== 'region' || !scroll.getAttribute('aria-label'))) clipped.push('a region that scrolls is not focusable or has no name: ' + e.outerHTML.slice(0, 80));
    if (!scroll && e.getBoundingClientRect().right > d.clientWidth + 1) clipped.push(e.outerHTML.slice(0, 80));
  }
  return {scrollWidth: d.scrollWidth, clientWidth: d.clientWidth, background: getComputedStyle(document.body).backgroundColor, small, faint: faint.slice(0, 10), texts, clipped: clipped.slice(0, 5)};
})()`

// open shows a page at a width and in a colour scheme.
func open(t *testing.T, ctx context.Context, name, page, scheme string, width int64) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name+".html")
	if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
	u := url.URL{Scheme: "file", Path: file}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	}); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(width, 800), chromedp.Navigate(u.String()), chromedp.WaitReady("footer")); err != nil {
		t.Fatalf("opening the page: %v", err)
	}
	return u.String()
}

// ask evaluates an expression in the page.
func ask[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("asking the page: %v", err)
	}
	return v
}

func TestAPageIsQuietReadableAndFitsInABrowser(t *testing.T) {
	ctx := browser(t)
	var h heard
	if err := chromedp.Listen(ctx, h.listen); err != nil {
		t.Fatal(err)
	}
	for name, page := range pages(t) {
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int64{360, 1200} {
				look(t, ctx, &h, name, page, scheme, width)
			}
		}
	}
}

func look(t *testing.T, ctx context.Context, h *heard, name, page, scheme string, width int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	h.mu.Lock()
	h.said, h.got = nil, nil
	h.mu.Unlock()
	address := open(t, ctx, name, page, scheme, width)
	m := ask[measured](t, ctx, measure)
	where := name + ", " + scheme
	if m.ScrollWidth > m.ClientWidth || m.ClientWidth == 0 {
		t.Errorf("%s: at %d px the page is %v px wide and scrolls sideways", where, width, m.ScrollWidth)
	}
	if (m.Background == "rgb(255, 255, 255)") != (scheme == "light") {
		t.Errorf("%s: the background is %s", where, m.Background)
	}
	if len(m.Clipped) > 0 {
		t.Errorf("%s: at %d px: %q", where, width, m.Clipped)
	}
	if len(m.Small) > 0 {
		t.Errorf("%s: pictures without size: %v", where, m.Small)
	}
	if len(m.Faint) > 0 || m.Texts < 20 {
		t.Errorf("%s: of %d texts these are too faint: %q", where, m.Texts, m.Faint)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.said) > 0 {
		t.Errorf("%s: the browser says %q", where, h.said)
	}
	for _, g := range h.got {
		if g != address && !strings.HasPrefix(g, "data:") {
			t.Errorf("%s: the page asks for %s", where, g)
		}
	}
	if len(h.got) == 0 {
		t.Errorf("%s: no request was seen, so the listener is blind", where)
	}
}
