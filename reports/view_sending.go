package reports

import (
	"fmt"

	"github.com/meshproof/meshproof/reports/chart"
	"github.com/meshproof/meshproof/verify"
)

// sendingRow is what the load generator saw of itself in one phase of one trial.
type sendingRow struct {
	Phase, Trial, Class       string
	Workers                   int
	P50, P99, Max             string
	CPU, Collections, Longest string
	Opened, Open              int64
	Verdict                   verify.Verdict
	Message                   string
}

func (r *Report) sendingRows(traffic, phase string) []sendingRow {
	var out []sendingRow
	for _, m := range r.Meshes {
		for _, p := range r.Phases {
			if p.Traffic != traffic || p.Phase != phase || p.Mesh != m || p.Sending.Workers == 0 {
				continue
			}
			s := p.Sending
			out = append(out, sendingRow{
				Phase: phase, Trial: r.trialName(m, p.Block), Class: r.class(m), Workers: s.Workers,
				P50: quantile(s.Lag, "p50"), P99: quantile(s.Lag, "p99"), Max: quantile(s.Lag, "max"),
				CPU: chart.Percent(s.CPU), Collections: fmt.Sprint(s.Collections), Longest: chart.Micros(float64(s.LongestMicros)),
				Opened: s.Opened, Open: s.Open, Verdict: s.Verdict, Message: s.Message,
			})
		}
	}
	return out
}
