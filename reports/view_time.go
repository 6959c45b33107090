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

// timeGroup is one traffic over time: the meshes beside each other, then each trial by itself.
type timeGroup struct {
	Traffic string
	Columns template.HTML // empty where there is one mesh
	Trials  []timeView
}

// timeView is one traffic of one trial over time.
type timeView struct {
	Trial, Class string
	SVG, Heat    template.HTML
}

// bounds are the axes that all charts of one traffic share, so that meshes can be compared by eye.
type bounds struct {
	end, rate, errors, low, high float64
}

func (r *Report) timeGroups() []timeGroup {
	// In the meshes' order, first blocks first, whatever the order of the runs was.
	order := slices.Clone(r.Series)
	slices.SortStableFunc(order, func(a, b Series) int {
		return cmp.Or(cmp.Compare(a.Block, b.Block), slices.Index(r.Meshes, a.Mesh)-slices.Index(r.Meshes, b.Mesh))
	})
	var names []string
	byTraffic := map[string][]Series{}
	shared := map[string]bounds{}
	for _, s := range order {
		if len(s.Slices) == 0 {
			continue
		}
		b, ok := shared[s.Traffic]
		if !ok {
			names = append(names, s.Traffic)
			b = bounds{rate: 1, errors: 0.01, low: math.Inf(1), high: 0}
		}
		shared[s.Traffic] = b.with(s)
		byTraffic[s.Traffic] = append(byTraffic[s.Traffic], s)
	}
	var out []timeGroup
	for i, name := range names {
		g := timeGroup{Traffic: name}
		for k, s := range byTraffic[name] {
			v := timeView{
				Trial: r.trialName(s.Mesh, s.Block), Class: r.class(s.Mesh),
				SVG: safeSVG(r.timeline(fmt.Sprintf("time-%d-%d", i, k), s, shared[name]).SVG()),
			}
			if s.Heat != nil {
				title := fmt.Sprintf("Latency of traffic %s through %s by second", s.Traffic, v.Trial)
				v.Heat = safeSVG(s.Heat.picture(fmt.Sprintf("heat-%d-%d", i, k), title, v.Class, shared[name].end).SVG())
			}
			g.Trials = append(g.Trials, v)
		}
		if c := r.columns(fmt.Sprintf("times-%d", i), name, byTraffic[name], shared[name]); len(c.Columns) > 1 {
			g.Columns = safeSVG(c.SVG())
		}
		out = append(out, g)
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

// curves is one series as the charts take it.
type curves struct {
	offered, sent, errors, p50, p99 []chart.Point
	peak, worst, slow               float64 // highest rate, share of errors and p99
}

func curvesOf(list []Slice) curves {
	var c curves
	for _, x := range list {
		at := chart.Point{Start: float64(x.AtMicros) / 1e6, End: float64(x.AtMicros+x.Micros) / 1e6}
		put := func(list *[]chart.Point, v float64) {
			at.Value = v
			*list = append(*list, at)
		}
		put(&c.offered, perSecond(x.Offered, x.Micros))
		put(&c.sent, perSecond(x.Sent, x.Micros))
		c.peak = math.Max(c.peak, perSecond(x.Sent, x.Micros))
		e, q50, q99 := math.NaN(), math.NaN(), math.NaN() // nothing done: nothing known, which is not 0
		if x.Done > 0 {
			e = float64(x.Errors) / float64(x.Done)
			c.worst = math.Max(c.worst, e)
			if x.P99Micros > 0 {
				q50, q99 = float64(x.P50Micros), float64(x.P99Micros)
				c.slow = math.Max(c.slow, q99)
			}
		}
		put(&c.errors, e)
		put(&c.p50, q50)
		put(&c.p99, q99)
	}
	return c
}

// words says the same for who does not see the chart.
func (c curves) words() string {
	return fmt.Sprintf("rate up to %s requests a second, at worst %s errors, highest p99 %s",
		chart.Number(c.peak), chart.Percent(c.worst), chart.Micros(c.slow))
}

func (r *Report) timeline(id string, s Series, b bounds) chart.Timeline {
	c := curvesOf(s.Slices)
	class := r.class(s.Mesh)
	t := chart.Timeline{
		ID:     id,
		Title:  fmt.Sprintf("Traffic %s through %s over time", s.Traffic, r.trialName(s.Mesh, s.Block)),
		Desc:   "Achieved " + c.words() + ".",
		End:    b.end,
		Phases: r.phaseSpans(s), Bands: r.faultSpans(s),
		Panels: b.panels(),
	}
	t.Panels[0].Series = []chart.Series{
		{Name: "achieved", Class: class, Style: chart.Area, Points: c.sent},
		{Name: "offered", Class: "plain", Style: chart.Dashed, Points: c.offered},
	}
	t.Panels[1].Series = []chart.Series{{Name: "errors", Class: class, Style: chart.Area, Points: c.errors}}
	t.Panels[2].Series = []chart.Series{
		{Name: "p50", Class: class, Style: chart.Thin, Points: c.p50},
		{Name: "p99", Class: class, Style: chart.Step, Points: c.p99},
	}
	return t
}

// columnSlices bounds the slices of a series in a chart of columns, which are a few hundred pixels wide.
const columnSlices = 150

// columns draws the meshes of one traffic beside each other. Of several blocks each has a line of its own: an average
// would hide the one that went wrong.
func (r *Report) columns(id, traffic string, series []Series, b bounds) chart.Columns {
	out := chart.Columns{ID: id, Title: "Traffic " + traffic + " over time, meshes side by side", End: b.end}
	var desc []string
	for _, m := range r.Meshes {
		col := chart.Column{Label: m, Class: r.class(m), Panels: b.panels()}
		first := true
		for _, s := range series {
			if s.Mesh != m {
				continue
			}
			c := curvesOf(mergeTo(s.Slices, columnSlices))
			rate, errs, p99 := chart.Area, chart.Area, chart.Step
			if r.Blocks > 1 {
				rate, errs, p99 = chart.Thin, chart.Thin, chart.Thin
			}
			col.Panels[0].Series = append(col.Panels[0].Series, chart.Series{Name: "achieved", Class: col.Class, Style: rate, Points: c.sent})
			col.Panels[1].Series = append(col.Panels[1].Series, chart.Series{Name: "errors", Class: col.Class, Style: errs, Points: c.errors})
			if r.Blocks == 1 {
				col.Panels[2].Series = append(col.Panels[2].Series, chart.Series{Name: "p50", Class: col.Class, Style: chart.Thin, Points: c.p50})
			}
			col.Panels[2].Series = append(col.Panels[2].Series, chart.Series{Name: "p99", Class: col.Class, Style: p99, Points: c.p99})
			if first {
				col.Panels[0].Series = append(col.Panels[0].Series, chart.Series{Name: "offered", Class: "plain", Style: chart.Dashed, Points: c.offered})
				col.Phases = r.phaseSpans(s)
			}
			col.Bands = widen(col.Bands, r.faultSpans(s))
			desc = append(desc, r.trialName(m, s.Block)+": "+c.words())
			first = false
		}
		if !first {
			out.Columns = append(out.Columns, col)
		}
	}
	out.Desc = strings.Join(desc, "; ") + "."
	return out
}

// widen takes more spans in: one of the same label reaches from the earliest start to the latest end.
func widen(spans, more []chart.Span) []chart.Span {
	for _, m := range more {
		i := slices.IndexFunc(spans, func(s chart.Span) bool { return s.Label == m.Label })
		if i < 0 {
			spans = append(spans, m)
			continue
		}
		spans[i].Start, spans[i].End = math.Min(spans[i].Start, m.Start), math.Max(spans[i].End, m.End)
	}
	return spans
}

func (r *Report) phaseSpans(s Series) []chart.Span {
	var out []chart.Span
	for _, p := range r.Phases {
		if p.Block == s.Block && p.Mesh == s.Mesh && p.Traffic == s.Traffic {
			out = append(out, chart.Span{Start: float64(p.StartMicros) / 1e6, End: float64(p.StartMicros+p.ForMicros) / 1e6, Label: p.Phase})
		}
	}
	slices.SortStableFunc(out, func(a, b chart.Span) int { return cmp.Compare(a.Start, b.Start) })
	return out
}

func (r *Report) faultSpans(s Series) []chart.Span {
	var out []chart.Span
	for _, f := range r.Faults {
		if f.Block != s.Block || f.Mesh != s.Mesh || f.Verdict == verify.Skipped || f.StartMicros < 0 {
			continue
		}
		label := f.Name
		if f.Verdict != verify.Pass {
			label += " (" + string(f.Verdict) + ")"
		}
		at := float64(f.StartMicros) / 1e6
		out = append(out, chart.Span{Start: at, End: float64(f.EndMicros) / 1e6, Label: label})
		if f.FailoverMicros > 0 {
			out = append(out, chart.Span{Start: at, End: at + float64(f.FailoverMicros)/1e6, Label: f.Name + ": failover"})
		}
	}
	slices.SortStableFunc(out, func(a, b chart.Span) int { return cmp.Compare(a.Start, b.Start) })
	return out
}

// panels are the plots that every chart of the traffic has, without their series.
func (b bounds) panels() []chart.Panel {
	low := b.low
	if math.IsInf(low, 0) {
		low = 1000
	}
	return []chart.Panel{
		{Title: "Requests per second", Max: b.rate, Format: chart.Number, Height: 120},
		{Title: "Share of requests that failed", Max: b.errors, Format: chart.Percent, Height: 72},
		{Title: "Latency from the intended send time, logarithmic", Log: true, Min: low, Max: math.Max(b.high, low), Format: chart.Micros, Height: 120},
	}
}
