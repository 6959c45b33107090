package reports

import "github.com/meshproof/meshproof/verify"

// How the meshes of a row differ, and how a cell does.
const (
	differVerdicts = "verdicts"
	differFigures  = "figures"

	markOther   = "other"
	markLowest  = "lowest"
	markHighest = "highest"
)

// worthSaying is the share of its budget by which figures must be apart to count as different. It is wide: within one
// block nothing tells a smaller difference from noise.
const worthSaying = 0.1

// compare says how the meshes differ in a row, and marks the cells that do. A mesh that has no such check is no
// difference: a budget over a baseline is none of the baseline's.
func (row *Row) compare() {
	count := map[verify.Verdict]int{}
	for _, c := range row.Cells {
		if c.Check >= 0 {
			count[c.Verdict]++
		}
	}
	switch {
	case len(count) > 1:
		row.Differ = differVerdicts
		most := mostCommon(count)
		for i := range row.Cells {
			if c := &row.Cells[i]; c.Check >= 0 && c.Verdict != most {
				c.Mark = markOther
			}
		}
	case len(count) == 1:
		row.compareFigures()
	}
}

// mostCommon is the verdict that most meshes have; of equals the better one.
func mostCommon(count map[verify.Verdict]int) verify.Verdict {
	var most verify.Verdict
	for v, n := range count {
		if most == "" || n > count[most] || (n == count[most] && (rank(v) < rank(most) || (rank(v) == rank(most) && v < most))) {
			most = v
		}
	}
	return most
}

// compareFigures marks the highest and the lowest figure where they are apart by a tenth of the budget or more, and,
// of several blocks, where the ranges of the two do not overlap.
func (row *Row) compareFigures() {
	low, high := -1, -1
	values := make([]quantity, len(row.Cells))
	unit, limit := "", ""
	for i, c := range row.Cells {
		if c.Check < 0 {
			continue
		}
		q, ok := quantityOf(orElse(c.Median, c.Observed))
		if !ok || (low >= 0 && (q.unit != unit || c.Limit != limit)) {
			return
		}
		values[i], unit, limit = q, q.unit, c.Limit
		if low < 0 || q.value < values[low].value {
			low = i
		}
		if high < 0 || q.value > values[high].value {
			high = i
		}
	}
	budget, ok := quantityOf(limit)
	if low < 0 || !ok || budget.unit != unit {
		return
	}
	apart := values[high].value - values[low].value
	if apart <= 0 || apart < worthSaying*budget.value || !disjoint(row.Cells[low], row.Cells[high]) {
		return
	}
	row.Differ = differFigures
	row.Cells[low].Mark, row.Cells[high].Mark = markLowest, markHighest
}

// disjoint says that each block of the lower cell is below each block of the higher one, as far as blocks are known.
func disjoint(lower, higher RowCell) bool {
	top, okTop := quantityOf(lower.Highest)
	bottom, okBottom := quantityOf(higher.Lowest)
	return !okTop || !okBottom || top.value < bottom.value
}

// differing counts the rows in which meshes differ.
func differing(rows []Row) int {
	n := 0
	for _, row := range rows {
		n += oneIf(row.Differ != "")
	}
	return n
}
