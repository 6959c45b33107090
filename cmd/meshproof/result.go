package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/verify"
)

// maxShown bounds how many checks of a trial are printed; the report has them all.
const maxShown = 12

// printResult writes a result for people.
func printResult(w io.Writer, dir, name string, r *verify.Result) {
	paint := painter(w)
	fmt.Fprintf(w, "%s  %s: %s\n", paint(r.Verdict, verdictWord(r.Verdict, r.Modelled)), name, r.Message)
	for _, t := range r.Trials {
		counts := map[verify.Verdict]int{}
		for _, c := range r.Checks {
			if c.Trial == t.Trial {
				counts[c.Verdict]++
			}
		}
		fmt.Fprintf(w, "  %-8s %s  %s\n", trialName(r, t.Trial), paint(t.Verdict, fmt.Sprintf("%-7s", t.Verdict)), countWords(counts))
		shown := 0
		for _, c := range r.Checks {
			if c.Trial != t.Trial || c.Verdict == verify.Pass || c.Verdict == verify.Gap {
				continue
			}
			if shown++; shown > maxShown {
				fmt.Fprintf(w, "           … and more, see the report\n")
				break
			}
			fmt.Fprintf(w, "           %s %s: %s\n", paint(c.Verdict, string(c.Verdict)), c.ID, c.Message)
		}
	}
	fmt.Fprintf(w, "  report   %s\n", filepath.Join(dir, "report.html"))
}

func verdictWord(v verify.Verdict, modelled bool) string {
	if modelled {
		return string(v) + " (model)"
	}
	return string(v)
}

func trialName(r *verify.Result, t evidence.Trial) string {
	for _, o := range r.Trials {
		if o.Block > 1 {
			return fmt.Sprintf("%s #%d", t.Mesh, t.Block)
		}
	}
	return t.Mesh
}

func countWords(counts map[verify.Verdict]int) string {
	var parts []string
	for _, v := range []verify.Verdict{verify.Error, verify.Fail, verify.Invalid, verify.Gap, verify.Skipped, verify.Pass} {
		if n := counts[v]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, v))
		}
	}
	return strings.Join(parts, ", ")
}

// painter colours verdicts on a terminal, unless NO_COLOR is set (no-color.org). The word is there either way.
func painter(w io.Writer) func(verify.Verdict, string) string {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return func(_ verify.Verdict, s string) string { return s }
	}
	colours := map[verify.Verdict]string{
		verify.Pass: "32", verify.Fail: "31", verify.Error: "31", verify.Invalid: "33", verify.Gap: "36", verify.Skipped: "2",
	}
	return func(v verify.Verdict, s string) string { return "\x1b[1;" + colours[v] + "m" + s + "\x1b[0m" }
}
