// Command screenshots takes pictures of a report with Chromium, in its light
// and its dark colours: for README.md, and for whoever changes the page.
//
//	go run ./hack/screenshots out/latest/report.html docs/pictures
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
	"github.com/chromedp/chromedp"
)

func main() {
	width := flag.Int64("width", 1200, "width of the page in CSS pixels")
	height := flag.Int64("height", 0, "height of the picture in CSS pixels; 0: the whole page")
	section := flag.String("section", "", "ID of the one section to take a picture of: checks, latency, time, policy, …")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: screenshots [flags] REPORT.html FOLDER\nwrites FOLDER/report-light.png and FOLDER/report-dark.png (with -section: report-SECTION-light.png and so on)")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 2 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, flag.Arg(0), flag.Arg(1), *section, *width, *height)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "screenshots:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, page, folder, section string, width, height int64) error {
	page, err := filepath.Abs(page)
	if err != nil {
		return fmt.Errorf("finding the report: %w", err)
	}
	if _, err := os.Stat(page); err != nil {
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

	u := url.URL{Scheme: "file", Path: filepath.ToSlash(page)}
	for _, scheme := range []string{"light", "dark"} {
		png, err := shoot(ctx, u.String(), scheme, section, width, height)
		if err != nil {
			return fmt.Errorf("taking the %s picture with Chromium (make deps installs it): %w", scheme, err)
		}
		name := "report-" + scheme + ".png"
		if section != "" {
			name = "report-" + section + "-" + scheme + ".png"
		}
		name = filepath.Join(folder, name)
		if err := os.WriteFile(name, png, 0o644); err != nil {
			return fmt.Errorf("writing the picture: %w", err)
		}
	}
	return nil
}

// shoot takes one picture in one colour scheme.
func shoot(ctx context.Context, u, scheme, section string, width, height int64) ([]byte, error) {
	viewport := max(height, 800)
	if section != "" {
		viewport = 8000 // the section must lie inside of it
	}
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(width, viewport)); err != nil {
		return nil, err
	}
	_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	if err != nil {
		return nil, err
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(u), chromedp.WaitReady("main")); err != nil {
		return nil, err
	}
	if section != "" {
		return chromedp.Run(ctx, chromedp.Screenshot("section#"+section))
	}
	if height > 0 {
		return chromedp.Run(ctx, chromedp.CaptureScreenshot())
	}
	return chromedp.Run(ctx, chromedp.FullScreenshot(100))
}
