package reports

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"

	"github.com/meshproof/meshproof/reports/chart"
	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

// latencyView is the latency of one traffic.
type latencyView struct {
	Traffic string
	Way     string // who sends it to whom
	SVG     template.HTML
	Median  bool // the chart shows medians over blocks
	Rows    []latencyRow
	// What the generator saw of itself; Doubt says that some of the figures may be its own.
	Sending []sendingRow
	Doubt   bool
}

type latencyRow struct {
	Phase, Trial, Class        string
	Offered, Achieved          int64
	Errors                     string
	P50, P90, P99, P999, Max   string
	Service50, Service99, Wait string
	Sessions                   string // how they were balanced; "" where there are none
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
		v := latencyView{Traffic: name, Way: r.way(name), Median: r.Blocks > 1}
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
			v.Sending = append(v.Sending, r.sendingRows(name, phase)...)
		}
		v.Doubt = slices.ContainsFunc(v.Sending, func(s sendingRow) bool { return s.Verdict != verify.Pass })
		out = append(out, v)
	}
	return out
}

// way says in words which way a traffic goes; "" where the scenario does not have it.
func (r *Report) way(name string) string {
	for _, t := range r.Scenario.Traffic {
		switch {
		case t.Name != name:
		case t.From == scenarios.IngressName:
			return fmt.Sprintf("From outside, through the ingress of %s, to %s.", t.Cluster, t.To)
		default:
			return fmt.Sprintf("From inside: a pod of %s in %s sends to %s.", t.From, t.Cluster, t.To)
		}
	}
	return ""
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
			if s := p.Sessions; s != nil {
				row.Sessions = fmt.Sprintf("%d sessions on %d pods: %d by one pod each, the others by up to %d", s.Sessions, s.Pods, s.OnePod, s.Most)
				if s.OnePod == s.Sessions {
					row.Sessions = fmt.Sprintf("%d sessions on %d pods: each by one pod", s.Sessions, s.Pods)
				}
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
