package reports

import (
	"fmt"
	"slices"
	"strings"

	"github.com/meshproof/meshproof/verify"
)

// overview is the run on one screen: a column a mesh, a line for each kind of thing that was expected.
type overview struct {
	Cards []card
	Kinds []kindLine
	Gaps  bool // some mesh declares gaps
}

// card is the head of a mesh's column.
type card struct {
	Mesh, Class, Word, Message string
	Verdict                    verify.Verdict
	Gaps                       string
	Blocks                     string
}

// kindLine is one kind of check over all meshes.
type kindLine struct {
	Title  string
	Differ bool // verdicts differ between meshes
	Cells  []kindCell
}

// kindCell is all checks of one kind of one mesh.
type kindCell struct {
	Verdict verify.Verdict // the worst; empty where the mesh has no such check
	Count   string         // how many passed, in the words of the kind
	Figure  string         // the figure that comes closest to its limit, or is the furthest beyond
	Marked  string
}

func (r *Report) overview() *overview {
	if len(r.Meshes) == 0 {
		return nil
	}
	o := &overview{Cards: r.cards()}
	for _, c := range o.Cards {
		o.Gaps = o.Gaps || c.Gaps != ""
	}
	byKind := map[string][]Row{}
	var kinds []string
	for _, row := range r.Matrix {
		if byKind[row.Kind] == nil {
			kinds = append(kinds, row.Kind)
		}
		byKind[row.Kind] = append(byKind[row.Kind], row)
	}
	for _, k := range kinds {
		title, _ := kindTitle(k)
		l := kindLine{Title: title}
		sum := Row{Kind: k}
		for i, m := range r.Meshes {
			cell, merged := r.kindCell(byKind[k], i)
			l.Cells = append(l.Cells, cell)
			sum.Cells = append(sum.Cells, RowCell{Mesh: m, Verdict: merged.Verdict, Check: merged.Check})
		}
		sum.compare()
		l.Differ = sum.Differ != ""
		for i := range l.Cells {
			l.Cells[i].Marked = markWords(sum.Cells[i].Mark)
		}
		o.Kinds = append(o.Kinds, l)
	}
	return o
}

// kindCell takes the rows of one kind together for the mesh in a column.
func (r *Report) kindCell(rows []Row, column int) (kindCell, RowCell) {
	worst := RowCell{Check: -1}
	tally := map[verify.Verdict]int{}
	checks := 0
	used, figure := -1.0, ""
	for _, row := range rows {
		c := row.Cells[column]
		if c.Check < 0 {
			continue
		}
		checks++
		tally[c.Verdict]++
		if worst.Check < 0 || rank(c.Verdict) > rank(worst.Verdict) {
			worst = c
		}
		q, okQ := quantityOf(orElse(c.Highest, c.Observed))
		limit, okL := quantityOf(c.Limit)
		if okQ && okL && q.unit == limit.unit && limit.value > 0 && q.value/limit.value > used {
			used = q.value / limit.value
			observed, most := figures(q.String(), c.Limit)
			if used == 0 {
				figure = "highest: " + observed
				continue
			}
			figure = fmt.Sprintf("nearest its limit: %s of %s (%s)", observed, most, subject(row.Kind, row.Subject))
		}
	}
	if checks == 0 {
		return kindCell{}, worst
	}
	var rest []string
	for _, v := range []verify.Verdict{verify.Error, verify.Fail, verify.Invalid, verify.Gap, verify.Skipped} {
		if n := tally[v]; n > 0 {
			rest = append(rest, fmt.Sprintf("%d %s", n, v))
		}
	}
	words := fmt.Sprintf("%d of %s", tally[verify.Pass], countOf(checks, rows[0].Kind))
	if good, asked := r.answered(rows[0].Kind, r.Meshes[column]); asked > 0 {
		words = fmt.Sprintf("%d of %s as expected", good, count(asked, "answer"))
	}
	if len(rest) > 0 {
		words += "; " + strings.Join(rest, ", ")
	}
	verdict := worst.Verdict
	if verdict == verify.Skipped && tally[verify.Pass] > 0 {
		// What cannot be judged here takes nothing from what was; the count beside says how many there are.
		verdict = verify.Pass
		worst.Verdict = verify.Pass
	}
	return kindCell{Verdict: verdict, Count: words, Figure: figure}, worst
}

// answered counts the answers of a mesh to questions of one kind, and those that are as expected.
func (r *Report) answered(kind, mesh string) (good, asked int) {
	switch kind {
	case verify.KindPolicy:
		for _, c := range r.Cells {
			if c.Mesh == mesh {
				asked++
				good += oneIf(c.Observed == c.Expected)
			}
		}
	case verify.KindIdentity:
		for _, c := range r.Tokens {
			if c.Mesh == mesh {
				asked++
				good += oneIf(c.Observed == c.Expected)
			}
		}
	}
	return good, asked
}

// countOf counts checks in the words of their kind.
func countOf(n int, kind string) string {
	switch kind {
	case verify.KindMTLS:
		return count(n, "edge")
	case verify.KindPolicy, verify.KindIdentity:
		return count(n, "service")
	case verify.KindLatency, verify.KindErrors:
		return count(n, "budget")
	case verify.KindRotation:
		return count(n, "rotation")
	case verify.KindRecovery, verify.KindFailover, verify.KindFault:
		return count(n, "fault")
	case verify.KindLoad:
		return count(n, "phase")
	}
	return count(n, "check")
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
		if ran == 0 {
			c.Verdict, c.Message = verify.Invalid, "The mesh was to run and left no trial."
		}
		if ran > 1 {
			c.Blocks = fmt.Sprintf("in %d of %d blocks", same, ran)
		}
		var kinds []string
		for i := range r.Checks {
			k := &r.Checks[i]
			if k.Mesh != m {
				continue
			}
			// What is judged over all blocks belongs to no trial.
			if k.Block == overAllBlocks && rank(k.Verdict) >= rank(verify.Invalid) && rank(k.Verdict) > rank(c.Verdict) {
				c.Verdict, c.Message, c.Blocks = k.Verdict, k.ID+": "+orElse(k.Message, k.Reason), "over all blocks"
			}
			kind := k.Kind
			if kind == verify.KindIdentity {
				kind = "claims at the edge" // the token itself is checked before every mesh
			}
			if k.Verdict == verify.Gap && !slices.Contains(kinds, kind) {
				kinds = append(kinds, kind)
			}
		}
		c.Word = r.word(c.Verdict)
		c.Gaps = strings.Join(kinds, ", ")
		out = append(out, c)
	}
	return out
}
