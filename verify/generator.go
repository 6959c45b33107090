package verify

import (
	"fmt"
	"strings"

	"github.com/meshproof/meshproof/evidence"
)

// When a load generator's own figures are not believed. A request is sent late where the generator has no processor, no
// free place among its requests under way, or a garbage collection to wait for; its latency counts from the moment for
// which it was meant, so what the generator lost is in there. That never makes a latency too small, so a budget that was
// kept is kept. One that was broken, and the figure itself, are believed only where the generator cannot have done it.
//
// That fewer requests were sent in time than evidence.MaxShortfall allows, or too late for the load to have had the shape
// that was asked for, makes a phase another load, about which nothing is proved either way.
const (
	// maxLateMicros is the send lag that one request in a hundred, and one request alone, may have: the width of the slices of time in which a load
	// is recorded. Beyond it the load had another shape.
	maxLateMicros = 250_000
	// lagShare of a quantile of latency, or lagFloorMicros where that is more, may be the generator's own delay.
	lagShare       = 0.1
	lagFloorMicros = 1_000
	// maxCPU is the share of the processors that a generator may use, beyond which answers wait to be read.
	maxCPU = 0.95
)

// ranks are the quantiles that are judged, as shares.
var ranks = map[string]float64{"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}

// Sending is what the generator of a phase saw of itself, all of its processes together, and whether that may have made
// the phase's figures. Times are in microseconds.
type Sending struct {
	Workers       int              `json:"workers"`
	Lag           map[string]int64 `json:"lag"` // quantiles of how much later requests were sent than intended
	CPU           float64          `json:"cpu"` // of its processors, 0 to 1
	Collections   int64            `json:"collections"`
	PauseMicros   int64            `json:"pauseMicros"`   // that garbage collections stopped it for, in all
	LongestMicros int64            `json:"longestMicros"` // at once
	Opened        int64            `json:"opened"`        // connections
	Open          int64            `json:"open"`          // most at once
	Verdict       Verdict          `json:"verdict"`       // INVALID: the figures may be its own
	Reason        string           `json:"reason"`
	Message       string           `json:"message"`
}

// sending judges the generator of a phase, whose load was judged before.
func sending(p *evidence.Phase, load *tally) Sending {
	out := Sending{Workers: len(p.Generators), Lag: quantilesOf(p.Lag), CPU: busiest(p)}
	for _, g := range p.Generators {
		out.Collections += g.Collections
		out.PauseMicros += g.PauseMicros
		out.LongestMicros = max(out.LongestMicros, g.LongestMicros)
		out.Opened += g.Opened
		out.Open += g.Open
	}
	const failuresCount = true // how many requests failed is another question
	out.Verdict, out.Reason, out.Message, _ = figures(p, load, failuresCount).judge(figuresHold)
	return out
}

// figuresHold is why the figures of a phase are believed.
const figuresHold = "nothing shows that the load generator made its latency itself"

// late says why a phase was sent too late; "" where it was not.
func late(p *evidence.Phase) string {
	h, err := evidence.DecodeHistogram(p.Lag)
	if err != nil || h.TotalCount() == 0 {
		return "" // others say so
	}
	// One request alone, of fewer than a hundred, makes no other shape.
	lag := evidence.Quantile(h, min(ranks["p99"], 1-1/float64(h.TotalCount())))
	if lag <= maxLateMicros {
		return ""
	}
	return fmt.Sprintf("more than one request, and than one in a hundred, was sent %s late or more (at most %s)%s: the load did not have the shape that was asked for",
		micros(lag), micros(maxLateMicros), because(p))
}

// doubt says why a quantile (µs) of a phase's latency from the intended send time may be the generator's own doing; ""
// where it cannot be.
func doubt(p *evidence.Phase, quantile string) string {
	v, sent, lag := quantilesOf(p.Intended)[quantile], quantilesOf(p.Service)[quantile], quantilesOf(p.Lag)[quantile]
	bearable := max(int64(lagShare*float64(v)), lagFloorMicros)
	if v-sent > bearable && lag > bearable {
		return fmt.Sprintf("%s from the intended send time is %s, and from the actual one %s: requests were sent late, %s of them by %s or more%s",
			quantile, micros(v), micros(sent), percent(1-ranks[quantile]), micros(lag), because(p))
	}
	if busy := busiest(p); busy > maxCPU {
		return fmt.Sprintf("the load generator used %s of its processors (at most %s): answers may have waited for it", percent(busy), percent(maxCPU))
	}
	if pause := collected(p, quantile); pause > bearable {
		return fmt.Sprintf("garbage collections stopped the load generator for more than %s of the time, up to %s at once", percent(1-ranks[quantile]), micros(pause))
	}
	return ""
}

// blame says why a quantile that is beyond a limit (µs) may not be so but for the generator; "" where it would.
func blame(p *evidence.Phase, quantile string, limit int64) string {
	v, sent := quantilesOf(p.Intended)[quantile], quantilesOf(p.Service)[quantile]
	switch busy := busiest(p); {
	case sent <= limit:
		return fmt.Sprintf("%s is %s from the intended send time, and %s from the actual one: requests were sent late%s", quantile, micros(v), micros(sent), because(p))
	case busy > maxCPU:
		return fmt.Sprintf("the load generator used %s of its processors (at most %s): answers may have waited for it", percent(busy), percent(maxCPU))
	}
	if pause := collected(p, quantile); v-pause <= limit {
		return fmt.Sprintf("garbage collections stopped the load generator for more than %s of the time, up to %s at once", percent(1-ranks[quantile]), micros(pause))
	}
	return ""
}

// because names what may have held requests back; "" where nothing shows.
func because(p *evidence.Phase) string {
	var why []string
	for _, g := range p.Generators {
		if g.MaxInFlight > 0 && g.InFlight >= g.MaxInFlight {
			why = append(why, fmt.Sprintf("%d requests were under way, the most that may be", g.InFlight))
			break
		}
	}
	if busy := busiest(p); busy > maxCPU {
		why = append(why, fmt.Sprintf("the generator used %s of its processors", percent(busy)))
	}
	if len(why) == 0 {
		return ""
	}
	return " (" + strings.Join(why, ", ") + ")"
}

// busiest is the share of the processors that the phase's generators used: all of its workers together, who are on one host
// or in one pod.
func busiest(p *evidence.Phase) float64 {
	used, had := int64(0), 0.0
	for _, g := range p.Generators {
		used += g.CPUMicros
		had = max(had, float64(g.Micros)*float64(g.CPUs))
	}
	if had <= 0 {
		return 0
	}
	return evidence.Round(float64(used) / had)
}

// collected is the longest pause (µs) for a garbage collection, where pauses took more of the time than there are
// requests beyond the quantile; 0 where they did not. As requests of an open load fall on pauses in proportion to time,
// those on fewer cannot be as many as lie beyond it.
func collected(p *evidence.Phase, quantile string) int64 {
	out := int64(0)
	for _, g := range p.Generators {
		if float64(g.PauseMicros) > (1-ranks[quantile])*float64(g.Micros) {
			out = max(out, g.LongestMicros)
		}
	}
	return out
}
