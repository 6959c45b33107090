package reports

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

// LoadSchemaVersion names the layout of the JSON that "meshproof load" writes.
const LoadSchemaVersion = "meshproof.load/v1"

// Load is the report of a load that was sent by itself, to a URL.
type Load struct {
	// Layout of this file: "meshproof.load/v1".
	SchemaVersion string `json:"schemaVersion"`
	// Version of Meshproof that made it.
	Version string `json:"version"`
	// PASS: the load was as asked for, its figures can be believed, and budgets were kept. FAIL: a budget was broken. INVALID:
	// the load was not as asked for, or its figures may be the generator's own.
	Verdict verify.Verdict `json:"verdict"`
	// Why, as a word.
	Reason string `json:"reason"`
	// Why, as a sentence.
	Message string `json:"message"`
	// The user stopped it: all that follows is of what was sent until then.
	Interrupted bool `json:"interrupted,omitempty"`
	// Where it was sent.
	URL string `json:"url"`
	// HTTP method.
	Method string `json:"method"`
	// When the schedule began, UTC.
	Started time.Time `json:"started"`
	// Seed of all that was drawn.
	Seed int64 `json:"seed"`
	// Processes that sent it together.
	Workers int `json:"workers"`
	// The profile, with its defaults.
	Profile scenarios.Profile `json:"profile"`
	// What was judged.
	Checks []LoadCheck `json:"checks"`
	// All phases together.
	Whole *LoadPhase `json:"whole,omitempty"`
	// The phases, in order.
	Phases []LoadPhase `json:"phases"`
	// Slices of time in order; long loads are merged into at most 600.
	Slices []Slice `json:"slices"`
	// How many requests took how long, by second.
	Heat *Heat `json:"heat,omitempty"`
	// Quantiles of the latency of all requests.
	Curve []LoadQuantile `json:"curve"`
}

// LoadCheck is one thing that was judged.
type LoadCheck struct {
	// What: "load/…" the load was as asked for, "figures/…" its latency can be believed, "latency/…" and "errors/…" budgets.
	ID string `json:"id"`
	// Verdict.
	Verdict verify.Verdict `json:"verdict"`
	// Why, as a word.
	Reason string `json:"reason"`
	// Why, as a sentence.
	Message string `json:"message"`
	// The figure that was judged.
	Observed string `json:"observed,omitempty"`
	// What it was held against.
	Limit string `json:"limit,omitempty"`
}

// LoadPhase is what became of one phase, or of all. Times are in microseconds.
type LoadPhase struct {
	// Name of the phase; empty for all.
	Phase string `json:"phase,omitempty"`
	// Start after the start of the load.
	AtMicros int64 `json:"atMicros"`
	// Length.
	ForMicros int64 `json:"forMicros"`
	// Requests that the profile planned.
	Offered int64 `json:"offered"`
	// Of offered: sent in time.
	Achieved int64 `json:"achieved"`
	// Of offered: answered or failed.
	Done int64 `json:"done"`
	// Of done: failed.
	Errors int64 `json:"errors"`
	// Requests by status code, or by why there was no answer.
	Codes map[string]int `json:"codes"`
	// Quantiles of latency from the intended send time. Not those of a closed loop, whose requests have none.
	Intended map[string]int64 `json:"intended,omitempty"`
	// The same from the actual send time: what waited in the generator is not in it.
	Service map[string]int64 `json:"service"`
	// Quantiles of the send lag: how much later requests were sent than intended.
	Lag map[string]int64 `json:"lag"`
	// Latency by what became of requests: "ok", "4xx", "5xx", "timeout", …
	Outcomes map[string]LoadOutcome `json:"outcomes"`
	// What the generator's processes saw of themselves.
	Generators []evidence.Generator `json:"generators"`
	// Of done: requests of each session; absent where there are none.
	Sessions []int64 `json:"sessions,omitempty"`
	// HDR histogram of latency from the intended send time, in the format of HdrHistogram (V2, compressed, base64), to be
	// merged with others.
	Histogram string `json:"histogram"`
}

// LoadOutcome is the latency of requests that ended alike.
type LoadOutcome struct {
	// How many.
	Done int64 `json:"done"`
	// Quantiles of latency from the intended send time.
	Intended map[string]int64 `json:"intended,omitempty"`
	// Quantiles of latency from the actual send time.
	Service map[string]int64 `json:"service"`
}

// LoadQuantile is one point of the curve of quantiles.
type LoadQuantile struct {
	// Share of requests that took no longer, 0 to 1.
	Share float64 `json:"share"`
	// Latency from the intended send time.
	Intended int64 `json:"intended"`
	// Latency from the actual send time.
	Service int64 `json:"service"`
}

// LoadRun is what a Load is made from, beside its judgement.
type LoadRun struct {
	Version, URL, Method string
	Started              time.Time
	Seed                 int64
	Workers              int
	Interrupted          bool
	Profile              scenarios.Profile
	Ticks                []*evidence.Tick
}

// BuildLoad makes the report of a load that was sent by itself.
func BuildLoad(run LoadRun, a *verify.Alone) *Load {
	out := &Load{
		SchemaVersion: LoadSchemaVersion, Version: run.Version, Verdict: a.Verdict, Reason: a.Reason, Message: clean(a.Message),
		Interrupted: run.Interrupted, URL: clean(run.URL), Method: clean(run.Method), Started: run.Started.UTC(), Seed: run.Seed, Workers: run.Workers,
		Profile: run.Profile, Checks: []LoadCheck{}, Phases: []LoadPhase{}, Slices: []Slice{}, Curve: []LoadQuantile{},
	}
	for _, c := range a.Checks {
		out.Checks = append(out.Checks, LoadCheck{ID: clean(c.ID), Verdict: c.Verdict, Reason: c.Reason, Message: clean(c.Message), Observed: c.Observed, Limit: c.Limit})
	}
	closed := run.Profile.Closed()
	for _, p := range a.Phases {
		out.Phases = append(out.Phases, loadPhase(p, closed))
	}
	if a.Whole != nil {
		w := loadPhase(a.Whole, closed)
		w.Phase = ""
		out.Whole = &w
		out.Curve = curve(a.Whole)
	}
	for _, k := range run.Ticks {
		out.Slices = append(out.Slices, sliceOf(k))
	}
	out.Slices = mergeTo(out.Slices, maxSlices)
	out.Heat = heatOf(run.Ticks)
	return out
}

func loadPhase(p *evidence.Phase, closed bool) LoadPhase {
	intended := func(text string) map[string]int64 {
		if closed {
			return nil
		}
		return verify.Quantiles(text)
	}
	out := LoadPhase{
		Phase: clean(p.Phase), AtMicros: p.AtMicros, ForMicros: p.ForMicros, Offered: p.Offered, Achieved: p.Achieved, Done: p.Done, Errors: p.Errors,
		Codes: map[string]int{}, Intended: intended(p.Intended), Service: verify.Quantiles(p.Service), Lag: verify.Quantiles(p.Lag),
		Outcomes: map[string]LoadOutcome{}, Generators: p.Generators, Sessions: p.Sessions, Histogram: p.Intended,
	}
	for c, n := range p.Codes {
		out.Codes[clean(c)] += n
	}
	for name, o := range p.Outcomes {
		out.Outcomes[clean(name)] = LoadOutcome{Done: o.Done, Intended: intended(o.Intended), Service: verify.Quantiles(o.Service)}
	}
	return out
}

// curve reads quantiles, in equal steps of each nine, as far as there are requests beyond them.
func curve(p *evidence.Phase) []LoadQuantile {
	out := []LoadQuantile{}
	a, err := evidence.DecodeHistogram(p.Intended)
	if err != nil {
		return out
	}
	b, err := evidence.DecodeHistogram(p.Service)
	if err != nil {
		return out
	}
	for i := 0; i <= 60; i++ { // ten points for each of six nines
		share := 1 - math.Pow(10, -float64(i)/10)
		if float64(p.Done)*(1-share) < 1 {
			break
		}
		out = append(out, LoadQuantile{Share: math.Round(share*1e8) / 1e8, Intended: evidence.Quantile(a, share), Service: evidence.Quantile(b, share)})
	}
	return out
}

// JSON writes the report.
func (l *Load) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(l); err != nil {
		return fmt.Errorf("writing the load's report: %w", err)
	}
	return nil
}

// CodeLine lists codes with their counts, the most frequent first: "200: 5990, timeout: 10".
func (p LoadPhase) CodeLine() string {
	var names []string
	for c := range p.Codes {
		names = append(names, c)
	}
	slices.SortFunc(names, func(a, b string) int {
		if d := p.Codes[b] - p.Codes[a]; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	for i, c := range names {
		names[i] = fmt.Sprintf("%s: %d", c, p.Codes[c])
	}
	return strings.Join(names, ", ")
}
