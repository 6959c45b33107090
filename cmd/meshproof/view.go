package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/meshproof/meshproof/internal/runner"
)

// lineEvery is how often a line of progress is written where there is no terminal.
const lineEvery = time.Second

// view shows a run under way: on a terminal a few lines that are drawn anew, elsewhere a line for each step and each
// second of load.
type view struct {
	w     io.Writer
	tty   *os.File // nil: not a terminal
	name  string
	begun time.Time
	drawn int // lines to go back over
	last  string
	next  time.Time
}

func newView(w io.Writer, name string) *view {
	v := &view{w: w, name: name, begun: time.Now()}
	v.tty = terminal(w)
	return v
}

// update is the runner's Observe.
func (v *view) update(u runner.Update) {
	lines := describe(u)
	head := fmt.Sprintf("%s  %s", v.name, stepOf(u))
	if v.tty == nil {
		now := time.Now()
		if head == v.last && now.Before(v.next) || head == v.last && len(lines) == 0 {
			return
		}
		v.last, v.next = head, now.Add(lineEvery)
		if len(lines) > 0 {
			head += "  " + strings.Join(lines, "  ")
		}
		fmt.Fprintf(v.w, "%6.1fs  %s\n", time.Since(v.begun).Seconds(), head)
		return
	}
	width, _, err := term.GetSize(int(v.tty.Fd()))
	if err != nil || width < 20 {
		width = 80
	}
	var b strings.Builder
	v.rewind(&b)
	all := append([]string{fmt.Sprintf("%5.1fs  %s", time.Since(v.begun).Seconds(), head)}, lines...)
	for i, l := range all {
		if i > 0 {
			l = "        " + l
		}
		if r := []rune(l); len(r) > width-1 { // a wrapped line would break the way back
			l = string(r[:width-1])
		}
		b.WriteString(l + "\n")
	}
	v.drawn = len(all)
	io.WriteString(v.w, b.String()) //nolint:errcheck // a terminal that went away is no reason to stop a run
}

// close clears what was drawn.
func (v *view) close() {
	if v.tty != nil {
		var b strings.Builder
		v.rewind(&b)
		fmt.Fprint(v.w, b.String())
	}
}

// rewind goes back over what was drawn and clears it: CPL, ED (ECMA-48).
func (v *view) rewind(b *strings.Builder) {
	if v.drawn > 0 {
		fmt.Fprintf(b, "\x1b[%dF\x1b[J", v.drawn)
	}
	v.drawn = 0
}

func stepOf(u runner.Update) string {
	if u.Trial.Mesh == "" {
		return u.Step
	}
	s := fmt.Sprintf("[%d/%d] %s", u.Index, u.Trials, u.Trial.Mesh)
	if u.Trial.Block > 1 {
		s += fmt.Sprintf(" (block %d)", u.Trial.Block)
	}
	return s + "  " + u.Step
}

// describe writes the load, one line a traffic, and the active faults.
func describe(u runner.Update) []string {
	if u.Step != runner.StepLoad {
		return nil
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(u.Load)) {
		p := u.Load[name]
		lines = append(lines, fmt.Sprintf("%s: %s %.0f/s of %.0f/s, p99 %s, errors %.1f%%",
			name, p.Phase, p.AchievedRate, p.OfferedRate, p.P99.Round(100*time.Microsecond), 100*p.ErrorRate))
	}
	if len(u.Faults) > 0 {
		lines = append(lines, "faults: "+strings.Join(u.Faults, ", "))
	}
	return lines
}
