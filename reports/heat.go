package reports

import (
	"math"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/reports/chart"
)

// maxHeat bounds the columns of a heat map.
const maxHeat = 150

// heatOf counts the latencies of a load by second, or by several seconds where there are more than maxHeat of them. A row
// is a quarter of a power of ten of microseconds wide. Slices that cannot be read are left out: verify says so.
func heatOf(ticks []*evidence.Tick) *Heat {
	end := int64(0)
	for _, k := range ticks {
		end = max(end, k.AtMicros+k.Micros)
	}
	const second = 1_000_000
	width := max(1, (end+maxHeat*second-1)/(maxHeat*second)) * second
	sums := map[int64]*hdrhistogram.Histogram{}
	low, high := math.MaxInt, math.MinInt
	for _, k := range ticks {
		h, err := evidence.DecodeHistogram(k.Latency)
		if err != nil || k.AtMicros < 0 {
			continue
		}
		at := k.AtMicros / width
		if sums[at] == nil {
			sums[at] = evidence.NewHistogram()
		}
		sums[at].Merge(h)
		low, high = min(low, rowOf(h.Min())), max(high, rowOf(h.Max()))
	}
	if len(sums) == 0 {
		return nil
	}
	out := &Heat{}
	for r := low; r <= high+1; r++ {
		out.EdgesMicros = append(out.EdgesMicros, math.Round(math.Pow(10, float64(r)/4)*10)/10)
	}
	for at := int64(0); at*width < end; at++ {
		h := sums[at]
		if h == nil {
			continue
		}
		col := HeatColumn{AtMicros: at * width, Micros: min(width, end-at*width), Counts: make([]int64, high-low+1)}
		for _, b := range h.Distribution() {
			if b.Count > 0 {
				col.Counts[min(max(rowOf(b.To), low), high)-low] += b.Count
			}
		}
		out.Columns = append(out.Columns, col)
	}
	return out
}

// rowOf is the row of a latency (µs).
func rowOf(micros int64) int { return int(math.Floor(4 * math.Log10(float64(max(micros, 1))))) }

// picture draws the map.
func (h *Heat) picture(id, title, class string, end float64) chart.Heat {
	out := chart.Heat{
		ID: id, Title: title, End: end, Class: class, Axis: "latency from the intended send time, logarithmic; darker: more requests",
		Desc: "How many requests of each second took how long.", Format: chart.Micros, Edges: h.EdgesMicros,
	}
	for _, c := range h.Columns {
		out.Cells = append(out.Cells, chart.HeatColumn{Start: float64(c.AtMicros) / 1e6, End: float64(c.AtMicros+c.Micros) / 1e6, Counts: c.Counts})
	}
	return out
}
