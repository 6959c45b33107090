package verify

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// Evaluate says what a record proves. It is a pure function: it reads nothing but the record, changes nothing of it,
// and the order of records that were written side by side makes no difference.
func Evaluate(rec *evidence.Record) *Result {
	res := &Result{Modelled: rec.Manifest.Modelled || len(rec.Manifest.Models) > 0, Partial: !rec.Sealed, Flavors: rec.Manifest.Flavors}
	s := &scenarios.Scenario{}
	if err := json.Unmarshal(rec.Manifest.Scenario, s); err != nil {
		res.Verdict, res.Reason, res.Message = Invalid, "NoScenario", fmt.Sprintf("the record does not hold a readable scenario: %v", err)
		return res
	}
	ids := trialsOf(rec)
	all := index(rec, s, ids)
	for _, e := range rec.Events {
		res.Interrupted = res.Interrupted || e.Kind == evidence.EventInterrupted
	}
	for _, id := range ids {
		checks := distrust(rec, all[id].judge(rec, res))
		res.Checks = append(res.Checks, checks...)
		res.Trials = append(res.Trials, verdictOfTrial(id, checks))
	}
	res.Checks = append(res.Checks, distrust(rec, relativeChecks(rec, s, all, res.Modelled))...)
	res.conclude(rec, s)
	return res
}

// judge makes every check of a trial, and adds its cells, phases and faults to the result.
func (x *trial) judge(rec *evidence.Record, res *Result) []Check {
	checks := []Check{x.run(rec)}
	if checks[0].Verdict == Skipped || len(x.events[evidence.EventAmbient]) > 0 {
		return x.finish(checks)
	}
	for i := range x.s.Spec.Traffic {
		tr := &x.s.Spec.Traffic[i]
		for _, st := range stagesOf(tr, x.seed) {
			c, t := x.load(tr, st)
			checks = append(checks, c)
			if p, ok := x.phaseResult(tr, st, c, t); ok {
				res.Phases = append(res.Phases, p)
			}
			checks = append(checks, x.budgets(tr, st, t)...)
		}
	}
	if wantsMTLS(x.s) {
		for _, e := range edgesOf(x.s) {
			checks = append(checks, x.mtls(e))
		}
	}
	if x.s.Spec.Expect.Policy != nil {
		for _, w := range x.s.Workloads() {
			if w.Service == nil {
				continue
			}
			c, cells := x.policy(w)
			checks = append(checks, c)
			res.Cells = append(res.Cells, cells...)
		}
	}
	for _, to := range tokenSubjects(x.s) {
		c, cells := x.identity(to)
		checks = append(checks, c)
		res.Tokens = append(res.Tokens, cells...)
	}
	if d, ok := x.d.(layeredDialect); ok && len(x.rounds)+len(x.edge) > 0 {
		checks = append(checks, x.balanced(d))
	}
	for i := range x.s.Spec.Faults {
		f := &x.s.Spec.Faults[i]
		c, st := x.fault(f)
		checks = append(checks, c)
		if c.Verdict == Pass && !f.Rotates() { // a rotation breaks nothing that could recover
			if took, ok := x.recovered(&tally{}, st, 0); ok {
				st.Fault.RecoveryMicros = took.Microseconds()
			}
		}
		for _, e := range x.s.Spec.Expect.Failover {
			if e.After == f.Name {
				checks = append(checks, x.failover(e, st, c))
			}
		}
		res.Faults = append(res.Faults, st.Fault)
		for _, e := range x.s.Spec.Expect.Recovery {
			if e.After == f.Name {
				checks = append(checks, x.recovery(e, st, c))
			}
		}
		for _, e := range x.s.Spec.Expect.Rotation {
			if e.After == f.Name {
				checks = append(checks, x.rotation(e, st, c))
			}
		}
	}
	res.Costs = append(res.Costs, x.costs(res.Modelled)...)
	return x.finish(checks)
}

func (x *trial) finish(checks []Check) []Check {
	for i := range checks {
		checks[i].ID = checks[i].Kind + "/" + checks[i].Subject
		checks[i].Trial = x.id
	}
	return checks
}

// distrust takes back what was proved from a record that was changed after it was sealed.
func distrust(rec *evidence.Record, checks []Check) []Check {
	for i := range checks {
		if c := &checks[i]; rec.Sealed && len(rec.Problems) > 0 && (c.Verdict == Pass || c.Verdict == Gap) {
			c.Verdict, c.Reason, c.Used = Invalid, "RecordNotWhole", nil
			c.Message = "the record is sealed and not whole, so nothing in it can be believed: " + rec.Problems[0]
		}
	}
	return checks
}

// rank orders verdicts by precedence; what is not here does not count.
var rank = map[Verdict]int{Error: 4, Fail: 3, Invalid: 2, Pass: 1}

// proves reports whether a PASS of the kind says something about the mesh, rather than about the run itself.
func proves(kind string) bool { return kind != KindRun && kind != KindLoad && kind != KindFault }

// weigh finds the check that decides over a list, how many have its verdict, and whether anything was proved.
func weigh(checks []Check) (decides *Check, n int, proved, gap bool) {
	for i := range checks {
		c := &checks[i]
		proved = proved || c.Verdict == Pass && proves(c.Kind)
		gap = gap || c.Verdict == Gap
		switch {
		case rank[c.Verdict] == 0:
		case decides == nil || rank[c.Verdict] > rank[decides.Verdict]:
			decides, n = c, 1
		case c.Verdict == decides.Verdict:
			n++
		}
	}
	return decides, n, proved, gap
}

// describe tells what the deciding check found, and how many checks have its verdict.
func describe(c *Check, n int) string {
	msg := c.ID + ": " + c.Message
	switch {
	case n == 2:
		msg += fmt.Sprintf("; 1 more check is %s", c.Verdict)
	case n > 2:
		msg += fmt.Sprintf("; %d more checks are %s", n-1, c.Verdict)
	}
	return msg
}

func verdictOfTrial(id evidence.Trial, checks []Check) Trial {
	out := Trial{Trial: id}
	decides, n, proved, gap := weigh(checks)
	switch {
	case decides == nil:
		out.Verdict, out.Reason, out.Message = checks[0].Verdict, checks[0].Reason, checks[0].Message
	case decides.Verdict != Pass:
		out.Verdict, out.Reason, out.Message = decides.Verdict, decides.Reason, describe(decides, n)
	case proved:
		out.Verdict, out.Reason, out.Message = Pass, "AllProved", "everything that was expected was proved"
		if gap {
			out.Message = "everything that was expected was proved, apart from declared gaps, which were demonstrated"
		}
	case gap:
		out.Verdict, out.Reason, out.Message = Gap, "DeclaredGap", "all that was expected is declared as a gap, and the gaps were demonstrated"
	default:
		out.Verdict, out.Reason, out.Message = Invalid, "NothingProved", "no check proved anything about the mesh"
	}
	return out
}

// leftOut names a mesh of the scenario that the run never meant to run in some block; "" where there is none.
func leftOut(s *scenarios.Scenario, order [][]string) string {
	for b := range max(1, s.Spec.Blocks) {
		for _, m := range s.Spec.Meshes {
			if b >= len(order) || !slices.Contains(order[b], string(m.Name)) {
				return evidence.Trial{Block: b + 1, Mesh: string(m.Name)}.String()
			}
		}
	}
	return ""
}

// conclude weighs all checks into the verdict of the run.
func (res *Result) conclude(rec *evidence.Record, s *scenarios.Scenario) {
	decides, n, proved, _ := weigh(res.Checks)
	switch {
	case decides != nil && decides.Verdict != Pass:
		where := rec.Manifest.MeshName(decides.Trial.Mesh)
		switch {
		case decides.Trial.Block == 0:
			where += " over all blocks"
		case s.Spec.Blocks > 1:
			where += fmt.Sprintf(" in block %d", decides.Trial.Block)
		}
		res.Verdict, res.Reason, res.Message = decides.Verdict, decides.Reason, where+": "+describe(decides, n)
	case !proved:
		res.Verdict, res.Reason, res.Message = Invalid, "NothingProved", "no check proved anything about a mesh"
	default:
		res.Verdict, res.Reason, res.Message = Pass, "AllProved", "everything that was expected was proved"
	}
	for _, e := range rec.Events {
		if e.Kind == evidence.EventError && e.Trial == (evidence.Trial{}) {
			res.Verdict, res.Reason, res.Message = Error, "EnvironmentFailed", e.Message
		}
	}
	// A mesh that was asked for by name and could not run leaves the question unanswered, however well the others did.
	for _, t := range res.Trials {
		if res.Verdict == Pass && t.Verdict == Skipped && !rec.Manifest.MaySkip {
			res.Verdict, res.Reason, res.Message = Invalid, "Skipped", fmt.Sprintf("mesh %s was skipped in block %d: %s", rec.Manifest.MeshName(t.Mesh), t.Block, t.Message)
		}
	}
	switch missing := leftOut(s, rec.Manifest.Order); {
	case res.Verdict == Pass && missing != "":
		res.Verdict, res.Reason, res.Message = Invalid, "LeftOut", "the scenario asks for trial "+missing+", which is not among those of the run"
	case res.Verdict == Pass && res.Partial:
		res.Verdict, res.Reason, res.Message = Invalid, "Partial", "the record has no seal: the run did not come to its end"
	case res.Verdict == Pass && res.Interrupted:
		res.Verdict, res.Reason, res.Message = Invalid, "Interrupted", "the user stopped the run"
	case res.Verdict == Pass && len(rec.Problems) > 0:
		res.Verdict, res.Reason, res.Message = Invalid, "RecordNotWhole", "the record is not whole: "+rec.Problems[0]
	}
}
