package reports

import (
	"slices"

	"github.com/meshproof/meshproof/verify"
)

// kindOrder is the order in which kinds of checks are read: what a mesh is for, what it costs, what breaks, and whether
// the run itself can be trusted.
var kindOrder = []string{
	verify.KindMTLS, verify.KindPolicy, verify.KindIdentity, verify.KindBalancing, verify.KindLatency, verify.KindErrors,
	verify.KindRecovery, verify.KindRotation, verify.KindFailover, verify.KindFault, verify.KindLoad, verify.KindRun,
}

// matrix takes the blocks of every check and mesh together.
func matrix(r *Report) []Row {
	byID := map[string]*Row{}
	var ids []string
	places := map[string]map[string][]int{} // check ID, mesh: places in r.Checks
	for i, c := range r.Checks {
		if byID[c.ID] == nil {
			byID[c.ID] = &Row{ID: c.ID, Kind: c.Kind, Subject: c.Subject}
			places[c.ID] = map[string][]int{}
			ids = append(ids, c.ID)
		}
		places[c.ID][c.Mesh] = append(places[c.ID][c.Mesh], i)
	}
	// Trials that were skipped or broke owe no checks.
	owed := map[string]map[int]bool{}
	for _, t := range r.Trials {
		if owed[t.Mesh] == nil {
			owed[t.Mesh] = map[int]bool{}
		}
		owed[t.Mesh][t.Block] = t.Verdict != verify.Skipped
	}
	rows := []Row{}
	for _, id := range ids {
		row := byID[id]
		for _, m := range r.Meshes {
			row.Cells = append(row.Cells, aggregate(r, m, places[id][m], owed[m]))
		}
		row.compare()
		rows = append(rows, *row)
	}
	slices.SortStableFunc(rows, func(a, b Row) int { return kindPlace(a.Kind) - kindPlace(b.Kind) })
	return rows
}

func kindPlace(kind string) int {
	if i := slices.Index(kindOrder, kind); i >= 0 {
		return i
	}
	return len(kindOrder)
}

// aggregate gives the worst verdict of one check and mesh. A PASS in some blocks does not stand for blocks that lack
// the check, unless it is about all blocks at once.
func aggregate(r *Report, mesh string, places []int, owed map[int]bool) RowCell {
	cell := RowCell{Mesh: mesh, Of: len(owed), Check: -1}
	judged := map[int]bool{}
	for _, i := range places {
		c := r.Checks[i]
		judged[c.Block] = true
		if cell.Check < 0 || rank(c.Verdict) > rank(cell.Verdict) {
			cell.Verdict, cell.Observed, cell.Limit, cell.Check = c.Verdict, c.Observed, c.Limit, i
		}
	}
	if cell.Check < 0 {
		return cell
	}
	if judged[overAllBlocks] {
		owed, cell.Of = nil, 1
	}
	cell.Of = max(cell.Of, len(judged))
	missing := 0
	for b, owes := range owed {
		if owes && !judged[b] {
			missing++
		}
	}
	if missing > 0 && rank(cell.Verdict) < rank(verify.Invalid) {
		cell.Verdict, cell.Observed, cell.Limit, cell.Blocks = verify.Invalid, "not judged", "", missing
		return cell
	}
	for _, i := range places {
		if r.Checks[i].Verdict == cell.Verdict {
			cell.Blocks++
		}
	}
	cell.spread(r, places)
	return cell
}

// spread fills in what the figures of several blocks come to, where each block has one.
func (c *RowCell) spread(r *Report, places []int) {
	if len(places) < 2 {
		return
	}
	var values []float64
	unit := ""
	for _, i := range places {
		q, ok := quantityOf(r.Checks[i].Observed)
		if !ok || (unit != "" && unit != q.unit) {
			return
		}
		unit = q.unit
		values = append(values, q.value)
	}
	c.Median = quantity{median(values), unit}.String()
	c.Lowest, c.Highest = quantity{slices.Min(values), unit}.String(), quantity{slices.Max(values), unit}.String()
}
