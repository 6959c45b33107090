package reports

import (
	"fmt"
	"slices"
	"strings"

	"github.com/meshproof/meshproof/verify"
)

const (
	// These keep a summary short enough for a comment on a pull request.
	maxSummaryRows     = 40
	maxSummaryFindings = 20
	maxSummarySubjects = 6
)

// summary writes the report as Markdown for a comment on a pull request.
func summary(r *Report) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "## Meshproof: %s %s\n\n", r.word(r.Verdict), md(r.Scenario.Name))
	fmt.Fprintf(&b, "%s (%s)\n\n", md(r.Message), md(orElse(r.Reason, "no reason given")))
	if r.Partial || r.Interrupted {
		b.WriteString("**PARTIAL**: " + partialWords(r) + "\n\n")
	}
	if r.Modelled {
		b.WriteString("Data planes are modelled: this judges semantics of policy, identity and recovery, never the cost of a proxy.\n\n")
	}
	if s := reusedWords(r); s != "" {
		b.WriteString(md(s) + "\n\n")
	}
	fmt.Fprintf(&b, "%s in %s of %s. Seed %d.\n\n", r.tally(), count(len(r.Trials), "trial"), meshNames(r), r.Provenance.Seed)
	summaryMatrix(&b, r)
	summaryFindings(&b, r)
	summaryCost(&b, r)
	fmt.Fprintf(&b, "Full report: `report.html` of run `%s`. `meshproof verify` computes it again from the evidence beside it.\n", code(r.RunID))
	return []byte(b.String())
}

func partialWords(r *Report) string {
	if r.Interrupted {
		return "the run was interrupted; what follows is what was recorded until then."
	}
	return "the record has no seal: the run did not come to its end, and what follows is what was recorded until then."
}

// reusedWords says which trials had clusters that were made for an earlier one; "" where none had.
func reusedWords(r *Report) string {
	var fresh, reused []string
	for _, t := range r.Trials {
		name := t.Mesh
		if r.Blocks > 1 {
			name = fmt.Sprintf("%s #%d", t.Mesh, t.Block)
		}
		if t.Reused == "" {
			fresh = append(fresh, name)
		} else {
			reused = append(reused, name)
		}
	}
	switch {
	case len(reused) == 0:
		return ""
	case len(fresh) == 0:
		return "Every trial ran on clusters that had been made earlier and had not drifted since."
	}
	return fmt.Sprintf("Fresh and reused clusters are compared here. Made for the trial: %s. Made earlier, and not drifted since: %s.",
		strings.Join(fresh, ", "), strings.Join(reused, ", "))
}

func meshNames(r *Report) string {
	if len(r.Meshes) == 0 {
		return "no mesh"
	}
	names := make([]string, len(r.Meshes))
	for i, m := range r.Meshes {
		names[i] = md(m)
	}
	return strings.Join(names, ", ")
}

// summaryMatrix writes the matrix, passing rows of large kinds taken together.
func summaryMatrix(b *strings.Builder, r *Report) {
	if len(r.Matrix) == 0 {
		b.WriteString("No check was judged.\n\n")
		return
	}
	b.WriteString("| check |")
	for _, m := range r.Meshes {
		b.WriteString(" " + md(m) + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(r.Meshes)) + "\n")
	rows, left := r.Matrix, 0
	if len(rows) > maxSummaryRows {
		// What did not pass is never left out for what did.
		var kept []Row
		for _, row := range rows {
			if !row.plain() {
				kept = append(kept, row)
			}
		}
		if len(kept) > maxSummaryRows {
			kept = kept[:maxSummaryRows]
		}
		rows, left = kept, len(rows)-len(kept)
	}
	for _, row := range rows {
		b.WriteString("| " + md(row.ID))
		if row.Differ != "" {
			b.WriteString(" ≠")
		}
		b.WriteString(" |")
		for _, c := range row.Cells {
			b.WriteString(" " + c.markdown() + " |")
		}
		b.WriteString("\n")
	}
	if left > 0 {
		fmt.Fprintf(b, "\n%s not shown here.\n", count(left, "more check"))
	}
	if n := differing(r.Matrix); n > 0 {
		fmt.Fprintf(b, "\n≠: meshes differ (%s), in verdicts or in figures that are a tenth of the limit apart or more.\n", count(n, "check"))
	}
	if r.Blocks > 1 {
		b.WriteString("\nBlocks are taken together: the worst verdict counts; figures are the median over the blocks (lowest to highest).\n")
	}
	b.WriteString("\n")
}

// plain says that nothing in the row needs a reader: each mesh that has the check passed it, with figures alike.
func (row *Row) plain() bool {
	if row.Differ != "" {
		return false
	}
	for _, c := range row.Cells {
		if c.Check >= 0 && c.Verdict != verify.Pass {
			return false
		}
	}
	return true
}

func (c *RowCell) markdown() string {
	if c.Check < 0 {
		return "–"
	}
	s := string(c.Verdict)
	if c.Verdict != verify.Pass && c.Verdict != verify.Skipped {
		s = "**" + s + "**"
	}
	if c.Of > 1 {
		s += fmt.Sprintf(" (%d of %d)", c.Blocks, c.Of)
	}
	switch {
	case c.Median != "":
		s += " " + md(fmt.Sprintf("median %s (%s to %s)", c.Median, c.Lowest, c.Highest))
	case c.Observed != "":
		s += " " + md(c.Observed)
	}
	return s
}

// summaryFindings lists what is wrong, worst first, then the kinds of gaps.
func summaryFindings(b *strings.Builder, r *Report) {
	found := slices.DeleteFunc(r.findings(), func(c *Check) bool { return rank(c.Verdict) < rank(verify.Invalid) })
	if len(found) > 0 {
		b.WriteString("### What did not pass\n\n")
	}
	for i, c := range found {
		if i == maxSummaryFindings {
			fmt.Fprintf(b, "- and %d more, in the report\n", len(found)-i)
			break
		}
		fmt.Fprintf(b, "- **%s** %s (%s): %s\n", c.Verdict, md(c.ID), md(r.trialName(c.Mesh, c.Block)), md(orElse(c.Message, c.Reason)))
	}
	if len(found) > 0 {
		b.WriteString("\n")
	}
	summarySkipped(b, r)
	for _, c := range r.cards() {
		if c.Gaps != "" {
			fmt.Fprintf(b, "Declared gaps of %s, demonstrated by requests that got through: %s.\n\n", md(c.Mesh), md(c.Gaps))
		}
	}
}

// summarySkipped lists what could not be judged, with the reason in full: checks with the same reason on one line.
func summarySkipped(b *strings.Builder, r *Report) {
	var reasons []string
	subjects := map[string][]string{}
	for i := range r.Checks {
		c := &r.Checks[i]
		if c.Verdict != verify.Skipped {
			continue
		}
		reason := orElse(c.Message, c.Reason)
		if subjects[reason] == nil {
			reasons = append(reasons, reason)
		}
		subjects[reason] = append(subjects[reason], fmt.Sprintf("%s (%s)", md(c.ID), md(r.trialName(c.Mesh, c.Block))))
	}
	if len(reasons) > 0 {
		b.WriteString("### What was not judged\n\n")
	}
	for i, reason := range reasons {
		if i == maxSummaryFindings {
			fmt.Fprintf(b, "- and %s more, in the report\n", count(len(reasons)-i, "reason"))
			break
		}
		names := subjects[reason]
		if n := len(names); n > maxSummarySubjects {
			names = append(slices.Clone(names[:maxSummarySubjects]), fmt.Sprintf("and %d more", n-maxSummarySubjects))
		}
		fmt.Fprintf(b, "- **SKIPPED** %s: %s\n", strings.Join(names, ", "), md(reason))
	}
	if len(reasons) > 0 {
		b.WriteString("\n")
	}
}

// md makes text safe inside a line or a table cell of Markdown: no markup, no HTML, no mention of a person, no link.
func md(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	return mdEscaper.Replace(s)
}

var mdEscaper = strings.NewReplacer(
	`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "|", `\|`, "#", `\#`, "~", `\~`,
	"<", "&lt;", ">", "&gt;", "&", "&amp;", "@", "&#64;", "://", "&#58;//",
)

// code makes text safe inside backquotes.
func code(s string) string { return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "`", "'") }
