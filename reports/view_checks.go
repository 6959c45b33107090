package reports

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/meshproof/meshproof/verify"
)

// findings lists the checks that did not pass, worst first.
func (r *Report) findings() []*Check {
	var out []*Check
	for i := range r.Checks {
		if r.Checks[i].Verdict != verify.Pass {
			out = append(out, &r.Checks[i])
		}
	}
	slices.SortStableFunc(out, func(a, b *Check) int {
		return cmp.Or(cmp.Compare(rank(b.Verdict), rank(a.Verdict)), cmp.Compare(kindPlace(a.Kind), kindPlace(b.Kind)))
	})
	return out
}

// findingGroup is all checks of one verdict other than PASS.
type findingGroup struct {
	Verdict verify.Verdict
	Title   string
	Means   string
	Fold    bool // closed until opened
	Checks  []checkView
}

type checkView struct {
	*Check
	Anchor string
	Class  string
	Trial  string
	First  []Excerpt
	Rest   []Excerpt // what is shown only when asked for
	More   int       // records of evidence that are not shown at all
}

// shownExcerpts is how many records of a check are shown at once: enough to see what happened.
const shownExcerpts = 3

func (r *Report) view(c *Check, place int) checkView {
	n := min(shownExcerpts, len(c.Evidence))
	return checkView{
		First: c.Evidence[:n], Rest: c.Evidence[n:],
		Check: c, Anchor: fmt.Sprintf("check-%d", place), Class: r.class(c.Mesh),
		Trial: r.trialName(c.Mesh, c.Block), More: c.EvidenceCount - len(c.Evidence),
	}
}

func (r *Report) findingGroups() []findingGroup {
	var out []findingGroup
	for _, g := range []findingGroup{
		{Verdict: verify.Error, Title: "Errors", Means: "The environment failed."},
		{Verdict: verify.Fail, Title: "Failed", Means: "Disproved by evidence."},
		{Verdict: verify.Invalid, Title: "Invalid", Means: "The evidence cannot support a verdict."},
		{Verdict: verify.Gap, Title: "Declared gaps", Means: "The scenario declares that the mesh cannot do this, and requests that got through demonstrate it.", Fold: true},
		{Verdict: verify.Skipped, Title: "Skipped", Means: "Known to be impossible in this run.", Fold: true},
	} {
		for i := range r.Checks {
			if r.Checks[i].Verdict == g.Verdict {
				g.Checks = append(g.Checks, r.view(&r.Checks[i], i))
			}
		}
		slices.SortStableFunc(g.Checks, func(a, b checkView) int { return kindPlace(a.Kind) - kindPlace(b.Kind) })
		if len(g.Checks) > 0 {
			out = append(out, g)
		}
	}
	return out
}

// passedGroup is the passing checks of one kind.
type passedGroup struct {
	Title  string
	Checks []checkView
}

func (r *Report) passedGroups() []passedGroup {
	var kinds []string
	byKind := map[string][]checkView{}
	for i := range r.Checks {
		c := &r.Checks[i]
		if c.Verdict != verify.Pass {
			continue
		}
		if byKind[c.Kind] == nil {
			kinds = append(kinds, c.Kind)
		}
		byKind[c.Kind] = append(byKind[c.Kind], r.view(c, i))
	}
	slices.SortStableFunc(kinds, func(a, b string) int { return kindPlace(a) - kindPlace(b) })
	var out []passedGroup
	for _, k := range kinds {
		title, _ := kindTitle(k)
		out = append(out, passedGroup{Title: title, Checks: byKind[k]})
	}
	return out
}
