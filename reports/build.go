package reports

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

// Build makes the report of a record and of what it proves. It is a pure function of both. A record or result that is
// missing gives a report that says so, with the verdict INVALID.
func Build(rec *evidence.Record, res *verify.Result) *Report {
	if rec == nil {
		rec = &evidence.Record{}
	}
	if res == nil {
		res = &verify.Result{Verdict: verify.Invalid, Reason: "NoResult", Message: "The record was not judged."}
	}
	s := scenarioOf(rec)
	m := rec.Manifest
	r := &Report{
		SchemaVersion: SchemaVersion,
		RunID:         clean(m.RunID),
		Scenario: Scenario{
			Name:        clean(s.Metadata.Name),
			Description: clean(s.Metadata.Description),
			Budgets:     budgets(s),
			Traffic:     traffic(s),
		},
		Verdict:     known(res.Verdict),
		Reason:      clean(res.Reason),
		Message:     clean(res.Message),
		Modelled:    res.Modelled || m.Modelled,
		Partial:     res.Partial,
		Interrupted: res.Interrupted,
		Problems:    cleanAll(rec.Problems),
		Meshes:      meshesOf(s, m, res),
		Blocks:      blocksOf(s, res),
		Trials:      trials(rec, res),
		Checks:      checks(rec, res),
		Phases:      phases(res),
		Series:      series(rec),
		Cells:       cells(res),
		Tokens:      tokens(res),
		Faults:      faultsOf(res),
		Costs:       costs(res),
		Provenance:  provenance(rec),
	}
	r.Counts = map[verify.Verdict]int{}
	for _, c := range r.Checks {
		r.Counts[c.Verdict]++
	}
	name(r, &m)
	r.Matrix = matrix(r)
	distrust(r)
	return r
}

// name calls every mesh by its name with its build.
func name(r *Report, m *evidence.Manifest) {
	to := func(mesh *string) { *mesh = clean(m.MeshName(*mesh)) }
	for i := range r.Meshes {
		to(&r.Meshes[i])
	}
	for i := range r.Trials {
		to(&r.Trials[i].Mesh)
	}
	for i := range r.Checks {
		to(&r.Checks[i].Mesh)
	}
	for i := range r.Phases {
		to(&r.Phases[i].Mesh)
	}
	for i := range r.Series {
		to(&r.Series[i].Mesh)
	}
	for i := range r.Cells {
		to(&r.Cells[i].Mesh)
	}
	for i := range r.Tokens {
		to(&r.Tokens[i].Mesh)
	}
	for i := range r.Faults {
		to(&r.Faults[i].Mesh)
	}
	for i := range r.Costs {
		to(&r.Costs[i].Mesh)
	}
	for _, block := range r.Provenance.Order {
		for i := range block {
			to(&block[i])
		}
	}
}

func provenance(rec *evidence.Record) Provenance {
	m := rec.Manifest
	h := m.Host
	h.OS, h.Arch, h.Kernel = clean(h.OS), clean(h.Arch), clean(h.Kernel)
	order := make([][]string, 0, len(m.Order))
	for _, b := range m.Order {
		order = append(order, cleanAll(b))
	}
	components := map[string]string{}
	for k, v := range m.Components {
		components[clean(k)] = clean(v)
	}
	return Provenance{
		Version: clean(m.Version), GoVersion: clean(m.GoVersion), Started: m.Started.UTC(), Seed: m.Seed, Driver: clean(m.Driver),
		Models: cleanAll(m.Models), Components: components, Host: h, Order: order, Command: cleanAll(m.Command),
		EvidenceSchema: clean(m.SchemaVersion), Sealed: rec.Sealed, SealRoot: clean(rec.Root),
	}
}

// distrust turns a PASS that the report's own content contradicts into INVALID.
func distrust(r *Report) {
	if r.Verdict != verify.Pass {
		return
	}
	why := ""
	for _, v := range []verify.Verdict{verify.Error, verify.Fail, verify.Invalid} {
		if n := r.Counts[v]; n > 0 && why == "" {
			why = fmt.Sprintf("The run was judged PASS, but %s %s.", count(n, "check"), isAre(n, string(v)))
		}
	}
	for _, t := range r.Trials {
		if rank(t.Verdict) >= rank(verify.Invalid) && why == "" {
			why = fmt.Sprintf("The run was judged PASS, but mesh %s is %s in block %d.", t.Mesh, t.Verdict, t.Block)
		}
	}
	switch {
	case why != "":
	case r.Partial || r.Interrupted:
		why = "The run was judged PASS, but it did not come to its end."
	case !r.Provenance.Sealed:
		why = "The run was judged PASS, but its record has no seal."
	case len(r.Problems) > 0:
		why = "The run was judged PASS, but its record is not whole."
	case r.Counts[verify.Pass] == 0:
		why = "The run was judged PASS, but no check passed."
	default:
		return
	}
	r.Verdict, r.Reason, r.Message = verify.Invalid, "Contradiction", why+" This is a defect of meshproof: please report it."
}

// rank orders verdicts by what a reader must know first. A verdict that this package does not know counts as INVALID.
func rank(v verify.Verdict) int {
	switch v {
	case verify.Pass:
		return 0
	case verify.Skipped:
		return 1
	case verify.Gap:
		return 2
	case verify.Fail:
		return 4
	case verify.Error:
		return 5
	}
	return 3
}

// known keeps the verdicts that there are; anything else can prove nothing.
func known(v verify.Verdict) verify.Verdict {
	switch v {
	case verify.Pass, verify.Fail, verify.Invalid, verify.Error, verify.Skipped, verify.Gap:
		return v
	}
	return verify.Invalid
}

// scenarioOf reads the scenario that the manifest holds; an unreadable one leaves the run's name.
func scenarioOf(rec *evidence.Record) *scenarios.Scenario {
	s := &scenarios.Scenario{}
	if len(rec.Manifest.Scenario) == 0 || json.Unmarshal(rec.Manifest.Scenario, s) != nil {
		s = &scenarios.Scenario{}
	}
	if s.Metadata.Name == "" {
		s.Metadata.Name = orElse(rec.Manifest.RunID, "unnamed run")
	}
	return s
}

func budgets(s *scenarios.Scenario) []Budget {
	out := []Budget{}
	for _, e := range s.Spec.Expect.Latency {
		for _, q := range []struct {
			name  string
			limit scenarios.Duration
		}{{"p50", e.P50}, {"p90", e.P90}, {"p99", e.P99}} {
			if q.limit > 0 {
				out = append(out, Budget{Traffic: clean(e.Traffic), Phase: clean(e.Phase), Quantile: q.name, Micros: q.limit.D().Microseconds()})
			}
		}
	}
	return out
}

func traffic(s *scenarios.Scenario) []Traffic {
	out := make([]Traffic, len(s.Spec.Traffic))
	for i := range out {
		t := &s.Spec.Traffic[i]
		out[i] = Traffic{Name: clean(t.Name), From: clean(t.Caller()), Cluster: clean(t.Cluster), To: clean(t.To)}
	}
	return out
}

// meshesOf lists the meshes in the scenario's order, then any others that the manifest or the result names.
func meshesOf(s *scenarios.Scenario, m evidence.Manifest, res *verify.Result) []string {
	var out []string
	add := func(name string) {
		if name = clean(name); name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	ran := map[string]bool{}
	for _, block := range m.Order {
		for _, n := range block {
			ran[n] = true
		}
	}
	for _, t := range res.Trials {
		ran[t.Mesh] = true
	}
	for _, e := range s.Spec.Meshes {
		if len(ran) == 0 || ran[string(e.Name)] { // --mesh leaves some out
			add(string(e.Name))
		}
	}
	for _, block := range m.Order {
		for _, n := range block {
			add(n)
		}
	}
	for _, t := range res.Trials {
		add(t.Mesh)
	}
	for _, c := range res.Checks {
		add(c.Trial.Mesh)
	}
	return append([]string{}, out...)
}

func blocksOf(s *scenarios.Scenario, res *verify.Result) int {
	n := max(1, s.Spec.Blocks)
	for _, t := range res.Trials {
		n = max(n, t.Block)
	}
	return n
}

func trials(rec *evidence.Record, res *verify.Result) []Trial {
	type span struct{ start, end time.Time }
	spans := map[evidence.Trial]span{}
	reused := map[evidence.Trial]string{}
	for _, e := range rec.Events {
		s := spans[e.Trial]
		switch e.Kind {
		case evidence.EventTrialStart:
			s.start = e.T
		case evidence.EventTrialEnd:
			s.end = e.T
		case evidence.EventReused:
			reused[e.Trial] = orElse(clean(e.Name), "unknown")
		}
		spans[e.Trial] = s
	}
	out := []Trial{}
	for _, t := range res.Trials {
		x := Trial{Block: t.Block, Mesh: clean(t.Mesh), Verdict: known(t.Verdict), Reason: clean(t.Reason), Message: clean(t.Message), Reused: reused[t.Trial]}
		if s := spans[t.Trial]; !s.start.IsZero() && s.end.After(s.start) {
			x.Seconds = evidence.Round(s.end.Sub(s.start).Seconds())
		}
		out = append(out, x)
	}
	return out
}

func phases(res *verify.Result) []Phase {
	out := []Phase{}
	for _, p := range res.Phases {
		out = append(out, Phase{
			Block: p.Trial.Block, Mesh: clean(p.Trial.Mesh), Traffic: clean(p.Traffic), Phase: clean(p.Phase),
			StartMicros: p.StartMicros, ForMicros: p.ForMicros, Offered: p.Offered, Achieved: p.Achieved,
			ErrorRate: share(p.ErrorRate), Codes: cleanKeys(p.Codes), Intended: cleanKeys(p.Intended), Service: cleanKeys(p.Service), Verdict: known(p.Verdict),
			Sending: sendingOf(p.Sending), Sessions: (*Sessions)(p.Sessions),
		})
	}
	return out
}

func sendingOf(s verify.Sending) Sending {
	out := Sending{
		Workers: s.Workers, Lag: cleanKeys(s.Lag), Collections: s.Collections, PauseMicros: s.PauseMicros, LongestMicros: s.LongestMicros,
		Opened: s.Opened, Open: s.Open, Verdict: known(s.Verdict), Reason: clean(s.Reason), Message: clean(s.Message),
	}
	if cpu := share(s.CPU); cpu != nil {
		out.CPU = *cpu
	}
	return out
}

func cells(res *verify.Result) []Cell {
	out := []Cell{}
	for _, c := range res.Cells {
		out = append(out, Cell{
			ID: clean(c.ID), Block: c.Trial.Block, Mesh: clean(c.Trial.Mesh), From: clean(c.From), Cluster: clean(c.Cluster),
			To: clean(c.To), Method: clean(c.Method), Path: clean(c.Path), Connection: clean(c.Connection),
			Expected: clean(c.Expected), Observed: clean(c.Observed), Status: clean(c.Status),
			Verdict: known(c.Verdict), Message: clean(c.Message),
		})
	}
	return out
}

func tokens(res *verify.Result) []TokenCell {
	out := []TokenCell{}
	for _, c := range res.Tokens {
		claims := map[string]string{}
		for k, v := range c.Claims {
			claims[clean(k)] = clean(v)
		}
		out = append(out, TokenCell{
			ID: clean(c.ID), Block: c.Trial.Block, Mesh: clean(c.Trial.Mesh), Cluster: clean(c.Cluster), To: clean(c.To),
			Method: clean(c.Method), Path: clean(c.Path), Kind: clean(c.Token), Claims: claims,
			Expected: clean(c.Expected), Wanted: clean(c.Wanted), Observed: clean(c.Observed), Status: clean(c.Status),
			Cause: clean(c.Cause), Verdict: known(c.Verdict), Message: clean(c.Message),
		})
	}
	return out
}

func faultsOf(res *verify.Result) []Fault {
	out := []Fault{}
	for _, f := range res.Faults {
		out = append(out, Fault{
			Block: f.Trial.Block, Mesh: clean(f.Trial.Mesh), Name: clean(f.Name), Kind: clean(f.Kind), Target: clean(f.Target), By: clean(f.By),
			StartMicros: f.StartMicros, EndMicros: f.EndMicros, Effect: clean(f.Effect),
			Verdict: known(f.Verdict), RecoveryMicros: f.RecoveryMicros, FailoverMicros: f.FailoverMicros,
		})
	}
	return out
}
