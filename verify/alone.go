package verify

import (
	"fmt"
	"slices"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// KindFigures is whether the latency of a load that was sent by itself can be believed.
const KindFigures = "figures"

// Budget is what is expected of a load that was sent by itself, over all of its phases.
type Budget struct {
	Figure string        // "p50", "p90", "p99", "p999" or "max" of latency from the intended send time, or "errors"
	Limit  time.Duration // of latency: must be less
	Share  float64       // of errors: must be less; 0 to 1
}

// Alone is what the record of a load that was sent by itself proves: that it was the load that was asked for, that its
// figures can be believed, and that budgets were kept.
type Alone struct {
	Verdict Verdict `json:"verdict"`
	Reason  string  `json:"reason"`
	Message string  `json:"message"`
	Checks  []Check `json:"checks"`
	// Phases are those that were sent, in order.
	Phases []*evidence.Phase `json:"-"`
	// Whole is all of them together, count by count; nil where they cannot be added up.
	Whole *evidence.Phase `json:"-"`
}

// Loss is what was lost of a load, such as a worker.
type Loss struct {
	Why   string        // a sentence
	Whole time.Duration // until when, after the start, the load is whole
}

// JudgeAlone judges the record of a load that was sent by itself: by the rules that hold for one in a run.
func JudgeAlone(tr *scenarios.Traffic, seed int64, ticks []*evidence.Tick, phases []*evidence.Phase, lost []Loss, budgets []Budget) *Alone {
	l := newLoadState(ticks)
	for _, loss := range lost {
		l.lose(loss.Whole.Microseconds(), nil, "%s", loss.Why)
	}
	l.read(tr, phases)
	out := &Alone{Phases: phases}
	add := func(c Check, t *tally, ok string) {
		c.Verdict, c.Reason, c.Message, _ = t.judge(ok) // what was used lies in no record that could be opened
		c.ID = c.Kind + "/" + c.Subject
		out.Checks = append(out.Checks, c)
	}
	loads := &tally{} // what is wrong with the load of any phase
	tolerates := slices.ContainsFunc(budgets, func(b Budget) bool { return b.Figure == "errors" })
	bearable := mostlyErrors
	if !tolerates && len(budgets) > 0 {
		bearable = defaultErrorBudget // nobody else would say that requests failed
	}
	for _, st := range stagesOf(tr, seed) {
		c, t := l.phase(tr, st)
		c.ID, c.Used = c.Kind+"/"+c.Subject, nil
		out.Checks = append(out.Checks, c)
		for _, f := range t.lack {
			if !slices.ContainsFunc(loads.lack, func(g finding) bool { return g.message == f.message }) {
				loads.lack = append(loads.lack, f)
			}
		}
		p := l.phases[st.name]
		if p == nil || p.Done == 0 {
			continue
		}
		add(Check{Kind: KindFigures, Subject: c.Subject}, figures(p, t, tolerates), figuresHold)
	}
	var err error
	if out.Whole, err = evidence.MergePhases(phases); err != nil {
		loads.invalid("NoLoad", nil, "nothing was recorded that could be added up: %v", err)
	}
	for _, b := range budgets {
		c := Check{Kind: KindLatency, Subject: tr.Name + "/" + b.Figure, Limit: b.Limit.String()}
		t := &tally{}
		t.add(loads)
		ok := ""
		if b.Figure == "errors" {
			c.Kind, c.Subject, c.Limit = KindErrors, tr.Name, percent(b.Share)
		}
		if out.Whole != nil {
			c.Observed, ok = b.judge(t, out.Whole, bearable)
		}
		add(c, t, ok)
	}
	out.verdict(len(budgets))
	return out
}

// figures says why the latency of a phase cannot be believed.
func figures(p *evidence.Phase, load *tally, tolerated bool) *tally {
	t := &tally{lack: slices.Clone(load.lack)}
	if !tolerated {
		mostly(t, p, mostlyErrors)
	}
	for _, q := range []string{"p50", "p90", "p99"} {
		if offScale(t, p, q, quantilesOf(p.Intended)[q], 0) {
			break
		}
		if why := doubt(p, q); why != "" {
			t.invalid("GeneratorLag", nil, "%s", why)
			break
		}
	}
	return t
}

// mostly notes that so many requests failed, more than a bearable share, that their latency is not that of answers.
func mostly(t *tally, p *evidence.Phase, bearable float64) {
	if errorRate(p.Errors, p.Done) > bearable {
		t.invalid("MostlyErrors", nil, "%d of %d requests failed: how fast they did so says nothing about latency; up to %s are left out of account, and up to %s where a budget says how many may fail",
			p.Errors, p.Done, percent(bearable), percent(mostlyErrors))
	}
}

// judge holds all of a load against a budget. Of latency it says nothing where more than a bearable share of requests failed.
func (b Budget) judge(t *tally, p *evidence.Phase, bearable float64) (observed, ok string) {
	if p.Done <= 0 {
		t.invalid("NoLoad", nil, "nothing was sent that a budget could be held against")
		return "", ""
	}
	if b.Figure == "errors" {
		rate := errorRate(p.Errors, p.Done)
		if len(t.lack) == 0 && rate >= evidence.Round(b.Share) {
			t.fail("TooManyErrors", nil, "%d of %d requests failed (%s), fewer than %s were expected to", p.Errors, p.Done, percent(rate), percent(b.Share))
		}
		return percent(rate), fmt.Sprintf("%d of %d requests failed, fewer than %s were expected to", p.Errors, p.Done, percent(b.Share))
	}
	v, has := quantilesOf(p.Intended)[b.Figure]
	if !has {
		t.invalid("NoLoad", nil, "there is no latency to judge")
		return "", ""
	}
	if offScale(t, p, b.Figure, v, b.Limit-time.Microsecond) {
		return "", ""
	}
	got := micro(v)
	mostly(t, p, bearable)
	if got >= b.Limit {
		if why := blame(p, b.Figure, b.Limit.Microseconds()-1); why != "" {
			t.invalid("GeneratorLag", nil, "%s of %d requests is %s, less than %s was expected, and the load generator may have done that itself: %s", b.Figure, p.Done, got, b.Limit, why)
		}
		if len(t.lack) == 0 {
			t.fail("TooSlow", nil, "%s of %d requests from their intended time is %s, less than %s was expected", b.Figure, p.Done, got, b.Limit)
		}
	}
	return got.String(), fmt.Sprintf("%s of %d requests is %s, less than %s was expected", b.Figure, p.Done, got, b.Limit)
}

// verdict sums up the checks: FAIL before INVALID before PASS. Where budgets were given they are what the user asks about,
// and what makes their figures unbelievable is in them.
func (a *Alone) verdict(budgets int) {
	a.Verdict, a.Reason, a.Message = Pass, "AllProved", "the load was as asked for, and every budget was kept"
	if budgets == 0 {
		a.Message = "the load was as asked for, and its figures can be believed; no budget was given that it could be held against"
	}
	pass, doubtful := 0, false
	for _, want := range []Verdict{Fail, Invalid} {
		for _, c := range a.Checks {
			switch {
			case c.Verdict == Pass:
				pass++
			case c.Verdict == want && budgets > 0 && c.Kind == KindFigures:
				doubtful = true
			case c.Verdict == want:
				a.Verdict, a.Reason, a.Message = c.Verdict, c.Reason, c.Message
				return
			}
		}
	}
	if doubtful { // and a budget that is kept with the generator's own delays is kept without them
		a.Message += "; its latency is at most what was recorded, of which some may be the generator's own"
	}
	if pass == 0 {
		a.Verdict, a.Reason, a.Message = Invalid, "NothingProved", "nothing was sent that could be judged"
	}
}
