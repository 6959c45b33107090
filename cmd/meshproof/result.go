package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

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
		checks, follow := tell(r, t.Trial)
		for i, c := range checks {
			if i == maxShown {
				fmt.Fprintf(w, "           … and %d more, see the report\n", len(checks)-maxShown)
				break
			}
			fmt.Fprintf(w, "           %s %s: %s\n", paint(c.Verdict, string(c.Verdict)), c.ID, c.Message)
		}
		if follow > 0 {
			fmt.Fprintf(w, "           %d more could not be judged for want of a whole trial, see the report\n", follow)
		}
	}
	for _, line := range overall(r) {
		fmt.Fprintf(w, "  %s\n", line)
	}
	fmt.Fprintf(w, "  report   %s\n", filepath.Join(dir, "report.html"))
}

// overall tells what became of the checks over all blocks. Those that say the same are told once.
func overall(r *verify.Result) []string {
	counts := map[verify.Verdict]int{}
	same := map[string][]verify.Check{}
	var keys []string
	for _, c := range r.Checks {
		if c.Trial.Block != 0 {
			continue
		}
		counts[c.Verdict]++
		if c.Verdict == verify.Pass {
			continue
		}
		k := string(c.Verdict) + c.Message
		if same[k] == nil {
			keys = append(keys, k)
		}
		same[k] = append(same[k], c)
	}
	if len(counts) == 0 {
		return nil
	}
	lines := []string{"over all blocks   " + countWords(counts)}
	for _, k := range keys {
		c, more := same[k][0], ""
		if n := len(same[k]) - 1; n > 0 {
			more = fmt.Sprintf(" and %d more", n)
		}
		lines = append(lines, fmt.Sprintf("         %s %s %s%s: %s", c.Verdict, meshName(r, c.Trial.Mesh), c.ID, more, c.Message))
	}
	return lines
}

// tell picks the checks of a trial that say why it is not PASS. Where the trial broke off, that is why, and every check
// that is INVALID beside it only follows from that: these are counted.
func tell(r *verify.Result, t evidence.Trial) (checks []verify.Check, follow int) {
	broke := false
	for _, c := range r.Checks {
		if c.Trial == t && c.Verdict != verify.Pass && c.Verdict != verify.Gap {
			checks = append(checks, c)
			broke = broke || c.Kind == verify.KindRun && (c.Verdict == verify.Error || r.Interrupted || r.Partial)
		}
	}
	if !broke {
		return checks, 0
	}
	all := len(checks)
	checks = slices.DeleteFunc(checks, func(c verify.Check) bool {
		return c.Verdict == verify.Invalid && c.Kind != verify.KindRun
	})
	return checks, all - len(checks)
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
			return fmt.Sprintf("%s #%d", meshName(r, t.Mesh), t.Block)
		}
	}
	return meshName(r, t.Mesh)
}

// meshName is a mesh with its build.
func meshName(r *verify.Result, mesh string) string {
	m := evidence.Manifest{Flavors: r.Flavors}
	return m.MeshName(mesh)
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
	if terminal(w) == nil || os.Getenv("NO_COLOR") != "" {
		return func(_ verify.Verdict, s string) string { return s }
	}
	colours := map[verify.Verdict]string{
		verify.Pass: "32", verify.Fail: "31", verify.Error: "31", verify.Invalid: "33", verify.Gap: "36", verify.Skipped: "2",
	}
	return func(v verify.Verdict, s string) string { return "\x1b[1;" + colours[v] + "m" + s + "\x1b[0m" }
}
