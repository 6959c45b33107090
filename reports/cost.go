package reports

import (
	"fmt"
	"slices"
	"strings"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/reports/chart"
	"github.com/meshproof/meshproof/verify"
)

func costs(res *verify.Result) []Cost {
	out := []Cost{}
	for _, c := range res.Costs {
		x := Cost{
			Block: c.Trial.Block, Mesh: clean(c.Trial.Mesh), Traffic: clean(c.Traffic), Phase: clean(c.Phase), Role: clean(c.Role),
			Verdict: known(c.Verdict), Message: clean(c.Message), Containers: c.Containers, AtLeast: c.AtLeast, Within: evidence.Round(c.Within),
		}
		if c.Verdict == verify.Pass {
			x.CPUSeconds, x.PerThousand = figureOf(c.CPUSeconds), figureOf(c.PerThousand)
			x.MemoryMean, x.MemoryPeak = &c.MemoryMean, &c.MemoryPeak
		}
		out = append(out, x)
	}
	return out
}

func figureOf(v *float64) *float64 {
	if v == nil {
		return nil
	}
	return share(*v)
}

// costRow is one mesh in one phase, with a cell for each role.
type costRow struct {
	Phase, Trial, Class string
	Roles               []costCell
}

// costCell is what a role used, in words.
type costCell struct {
	None            bool // the mesh has no such role
	CPU, Mean, Peak string
	Verdict         verify.Verdict
	Why             string
}

// costView is the section on cost.
type costView struct {
	Roles []string
	Rows  []costRow
	// Absent says of which trials nothing is known, and why.
	Absent []costAbsent
}

type costAbsent struct {
	Trial, Class, Why string
	Verdict           verify.Verdict
}

// costView lays out the costs: phases in the order of the load, in each the meshes side by side; nil where the run has
// nothing to say.
func (r *Report) costView() *costView {
	if len(r.Costs) == 0 {
		return nil
	}
	v := &costView{Roles: evidence.Roles}
	type phase struct{ traffic, name string }
	var phases []phase
	for _, c := range r.Costs {
		p := phase{c.Traffic, c.Phase}
		switch {
		case c.Phase == "":
			v.Absent = append(v.Absent, costAbsent{r.trialName(c.Mesh, c.Block), r.class(c.Mesh), c.Message, c.Verdict})
		case !slices.Contains(phases, p):
			phases = append(phases, p)
		}
	}
	for _, p := range phases {
		for _, mesh := range r.Meshes {
			for block := 1; block <= r.Blocks; block++ {
				row := costRow{Phase: p.name, Trial: r.trialName(mesh, block), Class: r.class(mesh)}
				if len(r.Scenario.Traffic) > 1 {
					row.Phase = p.traffic + ", " + p.name
				}
				there := false
				for _, role := range v.Roles {
					cell := costCell{None: true}
					for i := range r.Costs {
						if c := &r.Costs[i]; c.Mesh == mesh && c.Block == block && c.Traffic == p.traffic && c.Phase == p.name && c.Role == role {
							cell, there = c.cell(), true
						}
					}
					row.Roles = append(row.Roles, cell)
				}
				if there {
					v.Rows = append(v.Rows, row)
				}
			}
		}
	}
	return v
}

func (c *Cost) cell() costCell {
	cell := costCell{Verdict: c.Verdict, Why: c.Message, CPU: "–", Mean: "–", Peak: "–"}
	if c.PerThousand != nil {
		cell.CPU = chart.Number(*c.PerThousand)
		if c.Within > 0 {
			cell.CPU += " ± " + chart.Number(c.Within)
		}
		if c.AtLeast {
			cell.CPU = "≥ " + cell.CPU
		}
	}
	if c.MemoryMean != nil && c.MemoryPeak != nil {
		cell.Mean, cell.Peak = mebibytes(*c.MemoryMean), mebibytes(*c.MemoryPeak)
	}
	return cell
}

// mebibytes writes bytes with the unit that Kubernetes uses for memory.
func mebibytes(n int64) string { return chart.Number(float64(n)/(1<<20)) + " MiB" }

// summaryCost writes the section on cost as Markdown: nothing where no figure is known.
func summaryCost(b *strings.Builder, r *Report) {
	v := r.costView()
	if v == nil || len(v.Rows) == 0 {
		return
	}
	b.WriteString("### Cost\n\nCore-seconds for 1,000 requests, and peak memory.\n\n| phase | mesh |")
	for _, role := range v.Roles {
		b.WriteString(" " + role + " |")
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(v.Roles)) + "\n")
	for _, row := range v.Rows {
		fmt.Fprintf(b, "| %s | %s |", md(row.Phase), md(row.Trial))
		for _, c := range row.Roles {
			switch {
			case c.None:
				b.WriteString(" – |")
			case c.Verdict != verify.Pass:
				fmt.Fprintf(b, " not known: %s |", md(c.Why))
			default:
				fmt.Fprintf(b, " %s · %s |", md(c.CPU), c.Peak)
			}
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
}
