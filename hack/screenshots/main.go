// Command screenshots takes pictures of a report with Chromium, in its light
// and its dark colours: for README.md, and for whoever changes the page. A part
// is the ID of a section of the page; without parts the picture is of the page
// from its top.
//
//	go run ./hack/screenshots -height 1000 out/latest/report.html docs/images
//	go run ./hack/screenshots out/latest/report.html docs/images meshes time policy
package main

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

func main() {
	width := flag.Int64("width", 1200, "width of the page in CSS pixels")
	height := flag.Int64("height", 0, "most height of a picture in CSS pixels; 0: all of the page or section")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: screenshots [flags] REPORT.html FOLDER [SECTION…]\nwrites FOLDER/report-light.png and FOLDER/report-dark.png, or FOLDER/report-SECTION-light.png and so on for the sections\nwith these IDs: meshes, checks, latency, time, policy, tokens, faults, …")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() < 2 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, flag.Arg(0), flag.Arg(1), flag.Args()[2:], *width, *height)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "screenshots:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, report, folder string, sections []string, width, height int64) error {
	report, err := filepath.Abs(report)
	if err != nil {
		return fmt.Errorf("finding the report: %w", err)
	}
	if _, err := os.Stat(report); err != nil {
		return fmt.Errorf("there is no report to take a picture of: %w", err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("making the folder of the pictures: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	ctx, end := chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-quic", true), chromedp.Flag("hide-scrollbars", true))...)
	defer end()
	ctx, closePage := chromedp.NewContext(ctx)
	defer closePage()

	u := url.URL{Scheme: "file", Path: filepath.ToSlash(report)}
	if len(sections) == 0 {
		sections = []string{""}
	}
	for _, scheme := range []string{"light", "dark"} {
		if err := show(ctx, u.String(), scheme, width); err != nil {
			return fmt.Errorf("opening the report with Chromium (make deps installs it): %w", err)
		}
		for _, section := range sections {
			png, err := shoot(ctx, section, float64(width), float64(height))
			if err != nil {
				return fmt.Errorf("taking the %s picture of %q: %w", scheme, section, err)
			}
			name := "report-" + scheme + ".png"
			if section != "" {
				name = "report-" + section + "-" + scheme + ".png"
			}
			if err := os.WriteFile(filepath.Join(folder, name), png, 0o644); err != nil {
				return fmt.Errorf("writing the picture: %w", err)
			}
		}
	}
	return nil
}

// show opens the page in one colour scheme.
func show(ctx context.Context, u, scheme string, width int64) error {
	_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	if err != nil {
		return err
	}
	return chromedp.Do(ctx, chromedp.EmulateViewport(width, 800), chromedp.Navigate(u), chromedp.WaitReady("main"))
}

// box is where something stands on the page, in CSS pixels.
type box struct {
	Top    float64 `json:"top"`
	Height float64 `json:"height"`
}

// shoot takes one picture, over the whole width and at most so high: of a section, or of the page from its top.
func shoot(ctx context.Context, section string, width, height float64) ([]byte, error) {
	part := box{}
	var err error
	if section == "" {
		part, err = chromedp.Run(ctx, chromedp.Evaluate[box](`({top: 0, height: document.documentElement.scrollHeight})`))
	} else {
		// Half of the space above a heading, and as much below.
		part, err = chromedp.Run(ctx, chromedp.Evaluate[box](fmt.Sprintf(
			`(id => { const e = document.getElementById(id); if (!e) return {}; const r = e.getBoundingClientRect(); return {top: r.top + scrollY + 20, height: r.height} })(%q)`, section)))
	}
	if err != nil {
		return nil, err
	}
	if part.Height == 0 {
		return nil, fmt.Errorf("the report has no section %q", section)
	}
	if height > 0 {
		part.Height = min(part.Height, height)
	}
	beyond := true
	got, err := chromedp.Call(ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{
		Clip: &page.Viewport{Y: part.Top, Width: width, Height: part.Height, Scale: 1}, CaptureBeyondViewport: &beyond,
	})
	if err != nil {
		return nil, err
	}
	return got.Data, nil
}
