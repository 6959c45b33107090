package reports

import (
	"cmp"
	"slices"

	"github.com/meshproof/meshproof/evidence"
)

// maxSlices bounds the slices of a series; a chart is not wider than that in pixels.
const maxSlices = 600

// series gathers the slices of each traffic of each trial, in the order in which they first appear.
func series(rec *evidence.Record) []Series {
	type key struct {
		trial   evidence.Trial
		traffic string
	}
	out := []Series{}
	place := map[key]int{}
	ticks := map[int][]*evidence.Tick{}
	for _, t := range rec.Ticks {
		k := key{t.Trial, t.Traffic}
		i, ok := place[k]
		if !ok {
			i = len(out)
			place[k] = i
			out = append(out, Series{Block: t.Trial.Block, Mesh: clean(t.Trial.Mesh), Traffic: clean(t.Traffic)})
		}
		out[i].Slices = append(out[i].Slices, sliceOf(t))
		ticks[i] = append(ticks[i], t)
	}
	for i := range out {
		s := out[i].Slices
		slices.SortStableFunc(s, func(a, b Slice) int { return cmp.Compare(a.AtMicros, b.AtMicros) })
		out[i].Slices = mergeTo(s, maxSlices)
		out[i].Heat = heatOf(ticks[i])
	}
	return out
}

func sliceOf(t *evidence.Tick) Slice {
	return Slice{
		AtMicros: t.AtMicros, Micros: t.Micros, Offered: t.Offered, Sent: t.Sent, Done: t.Done, Errors: t.Errors,
		P50Micros: t.P50Micros, P99Micros: t.P99Micros,
	}
}

// mergeTo joins neighbours until there are at most a number. Counts add up; of quantiles the largest stays, because two
// quantiles have no common one without their histograms, and the peak is what a reader looks for.
func mergeTo(s []Slice, most int) []Slice {
	n := (len(s) + most - 1) / most
	if n <= 1 {
		return s
	}
	out := make([]Slice, 0, most)
	for group := range slices.Chunk(s, n) {
		m := group[0]
		for _, x := range group[1:] {
			m.Micros = x.AtMicros + x.Micros - m.AtMicros
			m.Offered += x.Offered
			m.Sent += x.Sent
			m.Done += x.Done
			m.Errors += x.Errors
			m.P50Micros = max(m.P50Micros, x.P50Micros)
			m.P99Micros = max(m.P99Micros, x.P99Micros)
		}
		out = append(out, m)
	}
	return out
}
