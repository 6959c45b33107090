package reports

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"

	"github.com/meshproof/meshproof/reports/chart"
	"github.com/meshproof/meshproof/verify"
)

// latencyView is the latency of one traffic.
type latencyView struct {
	Traffic string
	SVG     template.HTML
	Median  bool // the chart shows medians over blocks
	Rows    []latencyRow
}

type latencyRow struct {
	Phase, Trial, Class        string
	Offered, Achieved          int64
	Errors                     string
	P50, P90, P99, P999, Max   string
	Service50, Service99, Wait string
	Verdict                    verify.Verdict
}

func (r *Report) latencyViews() []latencyView {
	var names []string
	for _, p := range r.Phases {
		if !slices.Contains(names, p.Traffic) {
			names = append(names, p.Traffic)
		}
	}
	var out []latencyView
	for i, name := range names {
		v := latencyView{Traffic: name, Median: r.Blocks > 1}
		phases := r.phasesOf(name)
		d := chart.Dots{
			ID: fmt.Sprintf("latency-%d", i), Title: "Latency of traffic " + name + " by phase and mesh",
			Axis: "latency from the intended send time, logarithmic", Marks: []string{"p50", "p90", "p99"}, Format: chart.Micros,
		}
		var desc []string
		for _, phase := range phases {
			g := chart.Group{Label: phase, Limits: r.limits(name, phase)}
			for _, m := range r.Meshes {
				row, ok := r.dotRow(name, phase, m)
				if !ok {
					continue
				}
				g.Rows = append(g.Rows, row)
				desc = append(desc, fmt.Sprintf("%s, %s: p50 %s, p99 %s", phase, m, chart.Micros(row.Values[0]), chart.Micros(row.Values[2])))
			}
			d.Groups = append(d.Groups, g)
		}
		d.Desc = strings.Join(desc, "; ") + "."
		v.SVG = safeSVG(d.SVG())
		for _, phase := range phases {
			v.Rows = append(v.Rows, r.latencyRows(name, phase)...)
		}
		out = append(out, v)
	}
	return out
}

// phasesOf lists the phases of a traffic by their start.
func (r *Report) phasesOf(traffic string) []string {
	var ps []Phase
	for _, p := range r.Phases {
		if p.Traffic == traffic && !slices.ContainsFunc(ps, func(q Phase) bool { return q.Phase == p.Phase }) {
			ps = append(ps, p)
		}
	}
	slices.SortStableFunc(ps, func(a, b Phase) int { return cmp.Compare(a.StartMicros, b.StartMicros) })
	var names []string
	for _, p := range ps {
		names = append(names, p.Phase)
	}
	return names
}

func (r *Report) limits(traffic, phase string) []chart.Limit {
	var out []chart.Limit
	for _, b := range r.Scenario.Budgets {
		if b.Traffic == traffic && (b.Phase == "" || b.Phase == phase) {
			out = append(out, chart.Limit{Value: float64(b.Micros), Label: b.Quantile + " ≤ " + chart.Micros(float64(b.Micros))})
		}
	}
	return out
}

// dotRow is one mesh in one phase: of several blocks the median of each quantile.
func (r *Report) dotRow(traffic, phase, mesh string) (chart.Row, bool) {
	row := chart.Row{Label: mesh, Class: r.class(mesh)}
	found := false
	values := map[string][]float64{}
	for _, p := range r.Phases {
		if p.Traffic != traffic || p.Phase != phase || p.Mesh != mesh {
			continue
		}
		found = true
		for _, q := range []string{"p50", "p90", "p99"} {
			if v, ok := p.Intended[q]; ok && v > 0 {
				values[q] = append(values[q], float64(v))
			}
		}
		if p.Verdict != verify.Pass {
			row.Note = string(p.Verdict)
		}
	}
	for _, q := range []string{"p50", "p90", "p99"} {
		row.Values = append(row.Values, median(values[q]))
	}
	return row, found
}

func median(vs []float64) float64 {
	if len(vs) == 0 {
		return math.NaN()
	}
	slices.Sort(vs)
	n := len(vs)
	return (vs[(n-1)/2] + vs[n/2]) / 2
}

func (r *Report) latencyRows(traffic, phase string) []latencyRow {
	var out []latencyRow
	for _, m := range r.Meshes {
		for _, p := range r.Phases {
			if p.Traffic != traffic || p.Phase != phase || p.Mesh != m {
				continue
			}
			row := latencyRow{
				Phase: phase, Trial: r.trialName(m, p.Block), Class: r.class(m), Offered: p.Offered, Achieved: p.Achieved,
				Errors: "–", Verdict: p.Verdict,
				P50: quantile(p.Intended, "p50"), P90: quantile(p.Intended, "p90"), P99: quantile(p.Intended, "p99"),
				P999: quantile(p.Intended, "p999"), Max: quantile(p.Intended, "max"),
				Service50: quantile(p.Service, "p50"), Service99: quantile(p.Service, "p99"), Wait: "–",
			}
			if p.ErrorRate != nil {
				row.Errors = chart.Percent(*p.ErrorRate)
			}
			a, okA := p.Intended["p99"]
			b, okB := p.Service["p99"]
			if okA && okB {
				row.Wait = chart.Micros(float64(max(0, a-b)))
			}
			out = append(out, row)
		}
	}
	return out
}

func quantile(m map[string]int64, q string) string {
	v, ok := m[q]
	if !ok {
		return "–"
	}
	return chart.Micros(float64(v))
}

// timeView is one traffic of one trial over time.
type timeView struct {
	Traffic, Trial, Class string
	SVG                   template.HTML
	Fold                  bool // a later block
}

// bounds are the axes that all charts of one traffic share, so that meshes can be compared by eye.
type bounds struct {
	end, rate, errors, low, high float64
}

func (r *Report) timeViews() []timeView {
	shared := map[string]bounds{}
	for _, s := range r.Series {
		b, ok := shared[s.Traffic]
		if !ok {
			b = bounds{rate: 1, errors: 0.01, low: math.Inf(1), high: 0}
		}
		shared[s.Traffic] = b.with(s)
	}
	// In the meshes' order, first blocks first, whatever the order of the runs was.
	order := slices.Clone(r.Series)
	slices.SortStableFunc(order, func(a, b Series) int {
		return cmp.Or(cmp.Compare(a.Block, b.Block), slices.Index(r.Meshes, a.Mesh)-slices.Index(r.Meshes, b.Mesh))
	})
	var out []timeView
	for i, s := range order {
		if len(s.Slices) == 0 {
			continue
		}
		out = append(out, timeView{
			Traffic: s.Traffic, Trial: r.trialName(s.Mesh, s.Block), Class: r.class(s.Mesh), Fold: s.Block > 1,
			SVG: safeSVG(r.timeline(fmt.Sprintf("time-%d", i), s, shared[s.Traffic]).SVG()),
		})
	}
	return out
}

func (b bounds) with(s Series) bounds {
	for _, x := range s.Slices {
		b.end = math.Max(b.end, float64(x.AtMicros+x.Micros)/1e6)
		b.rate = math.Max(b.rate, math.Max(perSecond(x.Offered, x.Micros), perSecond(x.Sent, x.Micros)))
		if x.Done > 0 {
			b.errors = math.Max(b.errors, float64(x.Errors)/float64(x.Done))
			if x.P50Micros > 0 {
				b.low = math.Min(b.low, float64(x.P50Micros))
			}
			b.high = math.Max(b.high, float64(x.P99Micros))
		}
	}
	return b
}

func perSecond(n, micros int64) float64 {
	if micros <= 0 {
		return 0
	}
	return float64(n) / (float64(micros) / 1e6)
}

func (r *Report) timeline(id string, s Series, b bounds) chart.Timeline {
	var offered, sent, errs, p50, p99 []chart.Point
	peak, worst, slow := 0.0, 0.0, 0.0
	for _, x := range s.Slices {
		at := chart.Point{Start: float64(x.AtMicros) / 1e6, End: float64(x.AtMicros+x.Micros) / 1e6}
		put := func(list *[]chart.Point, v float64) {
			at.Value = v
			*list = append(*list, at)
		}
		put(&offered, perSecond(x.Offered, x.Micros))
		put(&sent, perSecond(x.Sent, x.Micros))
		peak = math.Max(peak, perSecond(x.Sent, x.Micros))
		e, q50, q99 := math.NaN(), math.NaN(), math.NaN() // nothing done: nothing known, which is not 0
		if x.Done > 0 {
			e = float64(x.Errors) / float64(x.Done)
			worst = math.Max(worst, e)
			if x.P99Micros > 0 {
				q50, q99 = float64(x.P50Micros), float64(x.P99Micros)
				slow = math.Max(slow, q99)
			}
		}
		put(&errs, e)
		put(&p50, q50)
		put(&p99, q99)
	}
	t := chart.Timeline{
		ID:    id,
		Title: fmt.Sprintf("Traffic %s through %s over time", s.Traffic, r.trialName(s.Mesh, s.Block)),
		Desc: fmt.Sprintf("Achieved rate up to %s requests a second, at worst %s errors, highest p99 %s.",
			chart.Number(peak), chart.Percent(worst), chart.Micros(slow)),
		End: b.end,
	}
	for _, p := range r.Phases {
		if p.Block == s.Block && p.Mesh == s.Mesh && p.Traffic == s.Traffic {
			t.Phases = append(t.Phases, chart.Span{Start: float64(p.StartMicros) / 1e6, End: float64(p.StartMicros+p.ForMicros) / 1e6, Label: p.Phase})
		}
	}
	slices.SortStableFunc(t.Phases, func(a, b chart.Span) int { return cmp.Compare(a.Start, b.Start) })
	for _, f := range r.Faults {
		if f.Block != s.Block || f.Mesh != s.Mesh || f.Verdict == verify.Skipped || f.StartMicros < 0 {
			continue
		}
		label := f.Name
		if f.Verdict != verify.Pass {
			label += " (" + string(f.Verdict) + ")"
		}
		t.Bands = append(t.Bands, chart.Span{Start: float64(f.StartMicros) / 1e6, End: float64(f.EndMicros) / 1e6, Label: label})
	}
	slices.SortStableFunc(t.Bands, func(a, b chart.Span) int { return cmp.Compare(a.Start, b.Start) })
	class := r.class(s.Mesh)
	low := b.low
	if math.IsInf(low, 0) {
		low = 1000
	}
	t.Panels = []chart.Panel{
		{Title: "Requests per second", Max: b.rate, Format: chart.Number, Height: 120, Series: []chart.Series{
			{Name: "achieved", Class: class, Style: chart.Area, Points: sent},
			{Name: "offered", Class: "plain", Style: chart.Dashed, Points: offered},
		}},
		{Title: "Share of requests that failed", Max: b.errors, Format: chart.Percent, Height: 72, Series: []chart.Series{
			{Name: "errors", Class: class, Style: chart.Area, Points: errs},
		}},
		{Title: "Latency from the intended send time, logarithmic", Log: true, Min: low, Max: math.Max(b.high, low), Format: chart.Micros, Height: 120, Series: []chart.Series{
			{Name: "p50", Class: class, Style: chart.Thin, Points: p50},
			{Name: "p99", Class: class, Style: chart.Step, Points: p99},
		}},
	}
	return t
}
