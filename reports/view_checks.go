package reports

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/meshproof/meshproof/verify"
)

// card is one mesh at the head of the page.
type card struct {
	Mesh, Class, Word, Message string
	Verdict                    verify.Verdict
	Gaps                       string
	Blocks                     string
}

func (r *Report) cards() []card {
	var out []card
	for _, m := range r.Meshes {
		c := card{Mesh: m, Class: r.class(m)}
		ran, same := 0, 0
		for _, t := range r.Trials {
			if t.Mesh != m {
				continue
			}
			ran++
			if ran == 1 || rank(t.Verdict) > rank(c.Verdict) {
				c.Verdict, c.Message, same = t.Verdict, orElse(t.Message, t.Reason), 0
			}
			if t.Verdict == c.Verdict {
				same++
			}
		}
		overall := "" // what a check over all blocks says that no trial does
		for _, k := range r.Checks {
			if k.Mesh == m && k.Block == overAllBlocks && rank(k.Verdict) >= rank(verify.Invalid) && rank(k.Verdict) > rank(c.Verdict) {
				c.Verdict, overall = k.Verdict, k.ID+": "+orElse(k.Message, k.Reason)
			}
		}
		if overall != "" {
			c.Message = overall
		}
		if ran == 0 {
			c.Verdict, c.Message = verify.Invalid, "The mesh was to run and left no trial."
		}
		c.Word = r.word(c.Verdict)
		switch {
		case overall != "":
			c.Blocks = "over all blocks"
		case ran > 1:
			c.Blocks = fmt.Sprintf("in %d of %d blocks", same, ran)
		}
		var kinds []string
		for _, k := range r.Checks {
			kind := k.Kind
			if kind == verify.KindIdentity {
				kind = "claims at the edge" // the token itself is checked before every mesh
			}
			if k.Mesh == m && k.Verdict == verify.Gap && !slices.Contains(kinds, kind) {
				kinds = append(kinds, kind)
			}
		}
		c.Gaps = strings.Join(kinds, ", ")
		out = append(out, c)
	}
	return out
}

// matrixGroup is one kind of check in the matrix.
type matrixGroup struct {
	Kind, Title, Asks string
	Rows              []matrixRow // what the matrix shows
	All               []matrixRow // every row, where Rows takes some together
}

// matrixRow is one check, or several with the same verdicts.
type matrixRow struct {
	Subject string
	Limit   string // where all meshes have the same
	Cells   []matrixCell
}

type matrixCell struct {
	RowCell
	Class string
	Href  string
	Note  string
}

// manyRows is from how many rows on a kind's rows of equal verdicts are taken together.
const manyRows = 8

func (r *Report) matrixGroups() []matrixGroup {
	var groups []matrixGroup
	byKind := map[string][]Row{}
	var kinds []string
	for _, row := range r.Matrix {
		if byKind[row.Kind] == nil {
			kinds = append(kinds, row.Kind)
		}
		byKind[row.Kind] = append(byKind[row.Kind], row)
	}
	for _, k := range kinds {
		g := matrixGroup{Kind: k}
		g.Title, g.Asks = kindTitle(k)
		rows := make([]matrixRow, 0, len(byKind[k]))
		for _, row := range byKind[k] {
			rows = append(rows, r.matrixRow(row))
		}
		g.Rows = rows
		if len(rows) > manyRows {
			g.Rows, g.All = together(rows), rows
		}
		groups = append(groups, g)
	}
	return groups
}

func (r *Report) matrixRow(row Row) matrixRow {
	out := matrixRow{Subject: arrows(orElse(row.Subject, row.ID))}
	same, limit := true, ""
	for _, c := range row.Cells {
		if c.Check < 0 {
			continue
		}
		if limit == "" {
			limit = c.Limit
		}
		same = same && c.Limit == limit
	}
	for _, c := range row.Cells {
		m := matrixCell{RowCell: c, Class: r.class(c.Mesh)}
		if c.Check >= 0 {
			m.Href = fmt.Sprintf("#check-%d", c.Check)
		}
		if c.Of > 1 {
			m.Note = fmt.Sprintf("%d of %d blocks", c.Blocks, c.Of)
		}
		m.Observed, m.Limit = figures(c.Observed, c.Limit)
		if m.Limit != "" && !same {
			m.Note = strings.TrimPrefix(m.Note+", limit "+m.Limit, ", ")
		}
		out.Cells = append(out.Cells, m)
	}
	if same {
		out.Limit = readable(limit)
	}
	return out
}

// together keeps each row that has something wrong, and makes one row of those that have the same verdicts otherwise.
func together(rows []matrixRow) []matrixRow {
	key := func(row matrixRow) string {
		var b strings.Builder
		for _, c := range row.Cells {
			if rank(c.Verdict) >= rank(verify.Invalid) && c.Check >= 0 {
				return ""
			}
			fmt.Fprintf(&b, "%s|", c.Verdict)
		}
		return b.String()
	}
	same := map[string][]matrixRow{}
	for _, row := range rows {
		if k := key(row); k != "" {
			same[k] = append(same[k], row)
		}
	}
	var out []matrixRow
	done := map[string]bool{}
	for _, row := range rows {
		k := key(row)
		if k == "" || len(same[k]) < 3 {
			out = append(out, row)
			continue
		}
		if done[k] {
			continue
		}
		done[k] = true
		sum := matrixRow{Subject: fmt.Sprintf("%d checks alike: %s, …", len(same[k]), row.Subject)}
		for _, c := range row.Cells {
			c.Observed, c.Note = "", ""
			sum.Cells = append(sum.Cells, c)
		}
		out = append(out, sum)
	}
	// What is wrong comes first.
	slices.SortStableFunc(out, func(a, b matrixRow) int { return cmp.Compare(a.place(), b.place()) })
	return out
}

func (m *matrixRow) place() int {
	worst := 0
	for _, c := range m.Cells {
		if c.Check >= 0 {
			worst = max(worst, rank(c.Verdict))
		}
	}
	if worst >= rank(verify.Invalid) {
		return -worst
	}
	return 0
}

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
