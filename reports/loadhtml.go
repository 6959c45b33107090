package reports

import (
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"

	"github.com/meshproof/meshproof/reports/chart"
	"github.com/meshproof/meshproof/verify"
)

// loadPage is what the template of a load's page sees.
type loadPage struct {
	L                 *Load
	CSS               template.CSS
	CSP               string
	Meaning, Started  string
	Time, Heat, Curve template.HTML
	Rows              []loadRow
	Outcomes          []outcomeRow
	Generators        []generatorRow
	Closed            bool
}

type loadRow struct {
	Name, Errors, Codes                 string
	Offered, Achieved                   int64
	P50, P90, P99, P999, Max            string
	Service50, Service99, Lag99, LagMax string
}

type outcomeRow struct {
	Phase, Name   string
	Done          int64
	P50, P99, Max string
}

type generatorRow struct {
	Phase                           string
	Worker                          int
	CPU, Paused, Longest, InFlight  string
	Collections, Opened, Open, Done int64
}

// HTML writes the report as one page that needs nothing else, in the manner of a run's.
func (l *Load) HTML(w io.Writer) error {
	p := &loadPage{L: l, Meaning: loadMeaning(l), Started: l.Started.Format("2 January 2006, 15:04:05 UTC"), Closed: l.Profile.Closed()}
	var err error
	if p.CSS, p.CSP, err = styled(); err != nil {
		return err
	}
	p.pictures()
	for _, ph := range l.Phases {
		p.Rows = append(p.Rows, rowOfLoad(ph, ph.Phase))
		for _, name := range slices.Sorted(maps.Keys(ph.Outcomes)) {
			o := ph.Outcomes[name]
			q := o.Intended
			if q == nil {
				q = o.Service
			}
			p.Outcomes = append(p.Outcomes, outcomeRow{ph.Phase, name, o.Done, quantile(q, "p50"), quantile(q, "p99"), quantile(q, "max")})
		}
		for _, g := range ph.Generators {
			row := generatorRow{
				Phase: ph.Phase, Worker: g.Worker, CPU: "–", Collections: g.Collections, Opened: g.Opened, Open: g.Open, Done: g.Done,
				Paused: chart.Micros(float64(g.PauseMicros)), Longest: chart.Micros(float64(g.LongestMicros)),
				InFlight: fmt.Sprintf("%d of %d", g.InFlight, g.MaxInFlight),
			}
			if g.Micros > 0 && g.CPUs > 0 {
				row.CPU = chart.Percent(float64(g.CPUMicros) / float64(g.Micros) / float64(g.CPUs))
			}
			p.Generators = append(p.Generators, row)
		}
	}
	if l.Whole != nil && len(l.Phases) > 1 {
		p.Rows = append(p.Rows, rowOfLoad(*l.Whole, "all"))
	}
	return writePage(w, "alone.tmpl", p)
}

func rowOfLoad(p LoadPhase, name string) loadRow {
	r := loadRow{
		Name: name, Errors: "–", Codes: p.CodeLine(), Offered: p.Offered, Achieved: p.Achieved,
		P50: quantile(p.Intended, "p50"), P90: quantile(p.Intended, "p90"), P99: quantile(p.Intended, "p99"), P999: quantile(p.Intended, "p999"), Max: quantile(p.Intended, "max"),
		Service50: quantile(p.Service, "p50"), Service99: quantile(p.Service, "p99"), Lag99: quantile(p.Lag, "p99"), LagMax: quantile(p.Lag, "max"),
	}
	if p.Done > 0 {
		r.Errors = chart.Percent(float64(p.Errors) / float64(p.Done))
	}
	return r
}

func loadMeaning(l *Load) string {
	switch l.Verdict {
	case verify.Pass:
		return "The load was sent as planned, and nothing shows that the generator made the figures itself."
	case verify.Fail:
		return "A budget was broken, and the load generator cannot have done that itself."
	}
	return "The figures below are what was recorded. They do not show what the service can do: read the reason first."
}

// pictures draws the charts.
func (p *loadPage) pictures() {
	l := p.L
	if len(l.Slices) > 0 {
		s := Series{Slices: l.Slices}
		b := bounds{rate: 1, errors: 0.01, low: 1e18}.with(s)
		c := curvesOf(l.Slices)
		t := chart.Timeline{ID: "time", Title: "Rate, errors and latency over time", Desc: "Achieved " + c.words() + ".", End: b.end, Panels: b.panels()}
		for _, ph := range l.Phases {
			t.Phases = append(t.Phases, chart.Span{Start: float64(ph.AtMicros) / 1e6, End: float64(ph.AtMicros+ph.ForMicros) / 1e6, Label: ph.Phase})
		}
		t.Panels[0].Series = []chart.Series{
			{Name: "achieved", Class: "s1", Style: chart.Area, Points: c.sent}, {Name: "planned", Class: "plain", Style: chart.Dashed, Points: c.offered},
		}
		t.Panels[1].Series = []chart.Series{{Name: "errors", Class: "s1", Style: chart.Area, Points: c.errors}}
		t.Panels[2].Series = []chart.Series{
			{Name: "p50", Class: "s1", Style: chart.Thin, Points: c.p50}, {Name: "p99", Class: "s1", Style: chart.Step, Points: c.p99},
		}
		p.Time = safeSVG(t.SVG())
		if l.Heat != nil {
			p.Heat = safeSVG(l.Heat.picture("heat", "Latency by second", "s1", b.end).SVG())
		}
	}
	if len(l.Curve) > 1 {
		q := chart.Quantiles{ID: "curve", Title: "Quantiles of latency", Desc: "Latency by the share of requests that took no longer.", Axis: "Latency by share of requests, logarithmic", Format: chart.Micros}
		sent := chart.QuantileCurve{Name: "from the actual send time", Class: "plain", Style: chart.Dashed}
		meant := chart.QuantileCurve{Name: "from the intended send time", Class: "s1", Style: chart.Step}
		for _, c := range l.Curve {
			sent.At, sent.Value = append(sent.At, c.Share), append(sent.Value, float64(c.Service))
			meant.At, meant.Value = append(meant.At, c.Share), append(meant.Value, float64(c.Intended))
		}
		if q.Curves = []chart.QuantileCurve{meant, sent}; p.Closed {
			q.Curves = q.Curves[1:]
		}
		p.Curve = safeSVG(q.SVG())
	}
}
