package reports

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/meshproof/meshproof/verify"
)

// matrixGroup is one kind of check in the matrix.
type matrixGroup struct {
	Kind, Title, Asks string
	Rows              []matrixRow // what the matrix shows
	All               []matrixRow // every row, where Rows takes some together
	Differ            bool        // meshes differ in some row
}

// matrixRow is one check, or several with the same verdicts.
type matrixRow struct {
	Subject string
	Limit   string // where all meshes have the same
	Differ  string
	Cells   []matrixCell
}

type matrixCell struct {
	RowCell
	Class  string
	Href   string
	Figure string // what was measured
	Note   string // how the figure and verdict came from several blocks
	Why    string // the whole reason of a verdict that is not about what was measured
	Marked string // what sets the cell apart, in words
}

// manyRows is from how many rows on a kind's rows of equal verdicts and without figures are taken together.
const manyRows = 8

func (r *Report) matrixGroups() []matrixGroup {
	var groups []matrixGroup
	for _, row := range r.Matrix { // sorted by kind
		if len(groups) == 0 || groups[len(groups)-1].Kind != row.Kind {
			g := matrixGroup{Kind: row.Kind}
			g.Title, g.Asks = kindTitle(row.Kind)
			groups = append(groups, g)
		}
		g := &groups[len(groups)-1]
		g.Rows = append(g.Rows, r.matrixRow(row))
		g.Differ = g.Differ || row.Differ != ""
	}
	for i := range groups {
		g := &groups[i]
		if short := together(g.Rows); len(g.Rows) > manyRows && len(short) < len(g.Rows) {
			g.Rows, g.All = short, g.Rows
		}
	}
	return groups
}

func (r *Report) matrixRow(row Row) matrixRow {
	out := matrixRow{Subject: subject(row.Kind, orElse(row.Subject, row.ID)), Differ: row.Differ}
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
		m := matrixCell{RowCell: c, Class: r.class(c.Mesh), Marked: markWords(c.Mark)}
		if c.Check >= 0 {
			m.Href = fmt.Sprintf("#check-%d", c.Check)
			if x := r.Checks[c.Check]; c.Verdict == verify.Skipped {
				m.Why = orElse(x.Message, x.Reason)
			}
		}
		m.Figure, m.Note = r.figureOf(c)
		if _, l := figures(c.Observed, c.Limit); l != "" && !same {
			m.Note = strings.TrimPrefix(m.Note+"; limit "+l, "; ")
		}
		out.Cells = append(out.Cells, m)
	}
	if same {
		out.Limit = readable(limit)
	}
	return out
}

// figureOf is what a cell measured, and how several blocks came to it.
func (r *Report) figureOf(c RowCell) (figure, note string) {
	if c.Check < 0 {
		return "", ""
	}
	figure, _ = figures(c.Observed, c.Limit)
	if r.Checks[c.Check].Block == overAllBlocks {
		return figure, "over all blocks"
	}
	if c.Of == 1 {
		return figure, ""
	}
	note = fmt.Sprintf("all %d blocks", c.Of)
	if c.Blocks < c.Of {
		note = fmt.Sprintf("%s in %d of %d blocks", c.Verdict, c.Blocks, c.Of)
	}
	if c.Median != "" {
		figure = "median " + readable(c.Median)
		note = fmt.Sprintf("%s to %s, %s", readable(c.Lowest), readable(c.Highest), note)
	}
	return figure, note
}

// subject writes what a check is about for reading: "visitors · calm · p99" for a budget, "shop → cart" for an edge.
func subject(kind, s string) string {
	switch kind {
	case verify.KindLatency, verify.KindErrors, verify.KindLoad:
		s = strings.ReplaceAll(s, "/", " · ")
	}
	return arrows(s)
}

func markWords(mark string) string {
	if mark == markOther {
		return "unlike most"
	}
	return mark
}

func differWords(differ string) string {
	if differ == "" {
		return ""
	}
	return differ + " differ"
}

// together keeps each row that has something wrong or a figure, and makes one row of those that have the same verdicts
// otherwise.
func together(rows []matrixRow) []matrixRow {
	key := func(row matrixRow) string {
		var b strings.Builder
		for _, c := range row.Cells {
			if c.Check >= 0 && (rank(c.Verdict) >= rank(verify.Invalid) || c.Figure != "" || c.Why != "") {
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
		sum := matrixRow{Subject: fmt.Sprintf("%d checks alike: %s, …", len(same[k]), row.Subject), Differ: row.Differ}
		for _, c := range row.Cells {
			c.Note = ""
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
