package verify

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// loadState is what is known of one traffic: its slices of time and its phases, and whether they are whole and agree.
type loadState struct {
	tally  tally // what is wrong with all of it
	ticks  []*evidence.Tick
	phases map[string]*evidence.Phase

	// Of a load of which a sender was lost, the phases that had ended by then may be whole: those until whole (µs after the
	// start), of which every sender had told all. With what came later it is wrong that it was lost.
	whole int64
	lost  tally
}

func newLoadState(ticks []*evidence.Tick) *loadState {
	return &loadState{ticks: ticks, phases: map[string]*evidence.Phase{}, whole: math.MaxInt64}
}

// lose notes a loss, until which the load is whole.
func (l *loadState) lose(whole int64, used []evidence.Ref, format string, args ...any) {
	l.whole = min(l.whole, max(whole, 0))
	l.lost.invalid("SenderLost", used, format, args...)
}

// lack is what is wrong with the load from its start to its end.
func (l *loadState) lack() []finding { return slices.Concat(l.lost.lack, l.tally.lack) }

// loadOf checks once that a traffic's record is whole: slices of time without a gap that reach to the end of the load,
// every phase, and as many requests in the one as in the other.
func (x *trial) loadOf(tr *scenarios.Traffic) *loadState {
	if l := x.clean[tr.Name]; l != nil {
		return l
	}
	l := newLoadState(x.ticks[tr.Name])
	x.clean[tr.Name] = l
	t := &l.tally
	for _, e := range x.events[evidence.EventSenderLost] {
		if e.Name != tr.Name {
			continue
		}
		whole, _ := strconv.ParseInt(e.Data[evidence.SenderWhole], 10, 64) // 0 where it is not said
		who := "a process that sent traffic " + tr.Name
		if e.At.Pod != "" {
			who = fmt.Sprintf("the pod that sent traffic %s, %s,", tr.Name, podName(e.At))
		}
		l.lose(whole, refsOf(e), "%s was lost before it had sent all: %s", who, e.Message)
	}
	x.whole(t, evidence.Ticks, evidence.Phases, evidence.Requests)
	x.loadArrived(t, tr)
	x.loadCalled(t)
	x.loadPlaced(l)
	l.read(tr, x.phases[tr.Name])
	return l
}

// outcomes sums up counts by status code, and those that are errors: no response, or a status of 400 or more.
func outcomes(codes map[string]int) (n, errs int64, err error) {
	for _, k := range sortedKeys(codes) {
		c := codes[k]
		if c < 0 {
			return 0, 0, fmt.Errorf("%d outcomes of %q", c, k)
		}
		n += int64(c)
		if evidence.OutcomeOf(k) != evidence.OutcomeOK {
			errs += int64(c)
		}
	}
	return n, errs, nil
}

// stagePhase is one stage of a profile with what it asks for.
type stagePhase struct {
	name            string
	start, duration time.Duration
	hits            int64
	users           int     // of a closed loop, which asks for no number of requests
	first           int64   // number of its first request
	sessions        []int64 // of hits, each session's share; nil where there are no sessions
}

// silent reports whether nothing is sent in the stage.
func (st stagePhase) silent() bool { return st.hits == 0 && st.users == 0 }

// stagesOf recomputes what a traffic's profile asks for: the integral of the rate over each stage, whose running total is
// rounded at the end of each; or of Poisson arrivals, what the run's seed draws.
func stagesOf(tr *scenarios.Traffic, seed int64) []stagePhase {
	var out []stagePhase
	var sum float64
	var n int64
	var at time.Duration
	for i := range tr.Profile.Stages {
		st := &tr.Profile.Stages[i]
		p := stagePhase{name: stageName(tr.Profile, i), start: at, duration: st.For.D(), users: st.Users}
		if tr.Profile.Arrivals == scenarios.ArrivalsPoisson {
			for _, k := range scenarios.PoissonBlocks(scenarios.Seed(seed, tr.Name), i, st) {
				p.hits += k
			}
		} else {
			sum += st.Requests()
			p.hits = int64(math.Floor(sum+0.5)) - n
		}
		p.first, n = n, n+p.hits
		if tr.Sessions > 0 {
			p.sessions = scenarios.NewDeal(scenarios.Seed(seed, tr.Name), tr.Sessions).Shares(p.first, n)
		}
		out = append(out, p)
		at += p.duration
	}
	return out
}

func profileMicros(p scenarios.Profile) (total int64) {
	for _, st := range p.Stages {
		total += st.For.D().Microseconds()
	}
	return total
}

// load judges whether a phase was the load that the scenario asks for. Nothing else about the phase can be believed
// where it was not.
func (x *trial) load(tr *scenarios.Traffic, st stagePhase) (Check, *tally) {
	return x.loadOf(tr).phase(tr, st)
}

// shortfall is the share of a phase's planned requests that was not sent in time.
func shortfall(p *evidence.Phase) float64 {
	if p.Offered <= 0 {
		return 1
	}
	return evidence.Round(1 - float64(p.Achieved)/float64(p.Offered))
}

// phaseResult is a phase's figures for the report, judged by its load check.
func (x *trial) phaseResult(tr *scenarios.Traffic, st stagePhase, load Check, found *tally) (Phase, bool) {
	p := x.loadOf(tr).phases[st.name]
	if p == nil {
		return Phase{}, false
	}
	out := Phase{
		Trial: x.id, Traffic: tr.Name, Phase: st.name, StartMicros: p.AtMicros, ForMicros: p.ForMicros,
		Offered: p.Offered, Achieved: p.Achieved, ErrorRate: errorRate(p.Errors, p.Done), Codes: p.Codes, Verdict: load.Verdict,
	}
	out.Service, out.Sending, out.Sessions = quantilesOf(p.Service), sending(p, found), x.balancedSessions(tr, st)
	if st.users == 0 { // a closed loop has no intended times
		out.Intended = quantilesOf(p.Intended)
	}
	return out, true
}

// Quantiles reads "p50", "p90", "p99", "p999" and "max" (µs) of a histogram of evidence; nil where it cannot be read.
func Quantiles(text string) map[string]int64 { return quantilesOf(text) }

// quantilesOf reads the quantiles (µs) of a histogram; none where it cannot be read, which the load check says.
func quantilesOf(text string) map[string]int64 {
	h, err := evidence.DecodeHistogram(text)
	if err != nil {
		return nil
	}
	out := map[string]int64{"max": h.Max()}
	for name, share := range ranks {
		out[name] = evidence.Quantile(h, share)
	}
	return out
}

func errorRate(errors, done int64) float64 {
	if done <= 0 {
		return 0
	}
	return evidence.Round(float64(errors) / float64(done))
}

func percent(x float64) string {
	return strconv.FormatFloat(evidence.Round(100*x), 'g', 3, 64) + "%"
}

func micros(n int64) string { return (time.Duration(n) * time.Microsecond).String() }
