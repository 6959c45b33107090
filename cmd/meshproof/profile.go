package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/meshproof/meshproof/loadgen"
	"github.com/meshproof/meshproof/reports/chart"
	"github.com/meshproof/meshproof/scenarios"
)

func newProfile() *cobra.Command {
	var text, svg string
	var seed int64
	cmd := &cobra.Command{
		Use:   "profile [FILE|NAME]",
		Short: "Draw the load that profiles plan: of a scenario, of a file with a profile, or of --profile",
		Long: `Draw the rate that profiles plan over time, with the number of requests, the phases and their rates. Nothing is sent.

` + scenarios.ProfileSyntax,
		Example: "  meshproof profile checkout-spike\n  meshproof profile --profile 'ramp:0..500,1m + spike:500^2000,20s' --svg plan.svg",
		Args:    takes(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			plans, err := plansOf(args, text, seed)
			if err != nil {
				return err
			}
			for i, p := range plans {
				if i > 0 {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				p.print(cmd.OutOrStdout(), columns(cmd.OutOrStdout()))
			}
			if svg == "" {
				return nil
			}
			if err := os.WriteFile(svg, []byte(picture(plans)), 0o644); err != nil {
				return withCode(exitError, fmt.Errorf("writing %s: %w", svg, cause(err)))
			}
			return nil
		},
		ValidArgsFunction: completeScenarios,
	}
	cmd.Flags().StringVar(&text, "profile", "", "the profile itself, as constant:100/s,30s")
	cmd.Flags().StringVar(&svg, "svg", "", "also draw into this file")
	cmd.Flags().Int64Var(&seed, "seed", 1, "seed of Poisson arrivals")
	return cmd
}

// plan is one profile, laid out.
type plan struct {
	name     string // of its traffic; "" where it has none
	profile  scenarios.Profile
	schedule *loadgen.Schedule
}

// plansOf lays out the profiles that a command line names.
func plansOf(args []string, text string, seed int64) ([]plan, error) {
	var traffic []scenarios.Traffic
	switch {
	case len(args) == 1 && text != "" || len(args) == 0 && text == "":
		return nil, fmt.Errorf("give a file, the name of a scenario, or --profile")
	case text != "":
		p, err := scenarios.ParseProfile(text)
		if err != nil {
			return nil, err
		}
		traffic = []scenarios.Traffic{{Profile: p}}
	default:
		var err error
		if traffic, err = scenarios.LoadProfiles(args[0]); err != nil {
			return nil, err
		}
	}
	var plans []plan
	for _, t := range traffic {
		s, err := loadgen.NewSchedule(t.Profile, scenarios.Seed(seed, t.Name))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.Name, err)
		}
		plans = append(plans, plan{t.Name, t.Profile, s})
	}
	if len(plans) == 0 {
		return nil, fmt.Errorf("%s has no traffic, and so no profile", args[0])
	}
	return plans, nil
}

// unit is what the picture counts.
func (p plan) unit() string {
	if p.schedule.Closed() {
		return "users"
	}
	return "requests per second"
}

// points are the mean rates, or the users, in n equal parts of the time.
func (p plan) points(n int) []chart.Point {
	end := p.schedule.End()
	out := make([]chart.Point, n)
	phases := p.schedule.Phases()
	for i := range out {
		from, to := end*time.Duration(i)/time.Duration(n), end*time.Duration(i+1)/time.Duration(n)
		v := (p.schedule.Hits(to) - p.schedule.Hits(from)) / (to - from).Seconds()
		for _, ph := range phases {
			if ph.Closed != nil && ph.Start <= from && from < ph.End() {
				v = float64(ph.Closed.Users)
			}
		}
		out[i] = chart.Point{Start: from.Seconds(), End: to.Seconds(), Value: v}
	}
	return out
}

// headline sums a plan up.
func (p plan) headline() string {
	name := p.name
	if name != "" {
		name += ": "
	}
	end := p.schedule.End()
	if p.schedule.Closed() {
		return fmt.Sprintf("%sa closed loop for %s: users who wait for their answers; how many requests they send depends on these", name, end)
	}
	high := 0.0
	for i := range p.profile.Stages {
		_, h := p.profile.Stages[i].Range()
		high = max(high, h)
	}
	n := p.schedule.Total()
	arrivals := ""
	if p.profile.Arrivals == scenarios.ArrivalsPoisson {
		arrivals = ", by chance (Poisson; the picture shows the mean)"
	}
	return fmt.Sprintf("%s%d requests in %s%s; %s per second in the mean, at most %s", name, n, end, arrivals,
		chart.Number(float64(n)/end.Seconds()), chart.Number(high))
}

// print writes the plan with its picture, in lines of at most so many characters.
func (p plan) print(w io.Writer, width int) {
	const rows = 8
	for _, line := range wrap(p.headline(), width) {
		fmt.Fprintln(w, line)
	}
	points := p.points(1)
	top := 0.0
	label := 0
	for range 2 { // the labels' width depends on the highest column, and the columns on the labels' width
		points = p.points(max(10, width-label-2))
		top = 0
		for _, pt := range points {
			top = max(top, pt.Value)
		}
		label = utf8.RuneCountInString(chart.Number(top))
	}
	values := make([]float64, len(points))
	for i, pt := range points {
		values[i] = pt.Value
	}
	for i, line := range chart.Bars(values, top, rows) {
		mark := ""
		if i == 0 {
			mark = chart.Number(top)
		}
		fmt.Fprintf(w, "%*s ┤%s\n", label, mark, line)
	}
	end := chart.Clock(p.schedule.End().Seconds())
	fmt.Fprintf(w, "%*s └%s\n", label, "0", strings.Repeat("─", len(values)))
	fmt.Fprintf(w, "%*s  0%*s\n\n", label, "", len(values)-1, end)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "phase\tfrom\tfor\trequests\t%s\n", p.unit())
	for i, ph := range p.schedule.Phases() {
		low, high := p.profile.Stages[i].Range()
		requests, rates := fmt.Sprint(ph.Total()), chart.Number(low)
		if high > low {
			rates += " to " + chart.Number(high)
		}
		if ph.Closed != nil {
			requests, rates = "-", fmt.Sprint(ph.Closed.Users)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", ph.Name, ph.Start, ph.For, requests, rates)
	}
	_ = t.Flush() // w remembers that it failed
}

// picture draws plans as SVG, one below the other on one axis of time.
func picture(plans []plan) string {
	t := chart.Timeline{ID: "plan", Title: "Planned load", Desc: "The load that is planned, over time."}
	for _, p := range plans {
		t.End = max(t.End, p.schedule.End().Seconds())
		if len(plans) == 1 {
			for _, ph := range p.schedule.Phases() {
				t.Phases = append(t.Phases, chart.Span{Start: ph.Start.Seconds(), End: ph.End().Seconds(), Label: ph.Name})
			}
		}
		points := p.points(880) // one for each pixel of the plot
		top := 0.0
		for _, pt := range points {
			top = max(top, pt.Value)
		}
		t.Panels = append(t.Panels, chart.Panel{
			Title: p.headline(), Max: top, Format: chart.Number, Height: 160,
			Series: []chart.Series{{Name: p.unit(), Class: "s0", Style: chart.Area, Points: points}},
		})
	}
	return chart.Standalone(t.SVG())
}
