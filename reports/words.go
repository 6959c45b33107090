package reports

import (
	"fmt"
	"math"
	"strings"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/verify"
)

// word is a verdict as it is read on a report: of a modelled run it always says so.
func (r *Report) word(v verify.Verdict) string {
	if r.Modelled {
		return string(v) + " (model)"
	}
	return string(v)
}

// meaning says what a verdict over a run means for who reads it.
func meaning(v verify.Verdict) string {
	switch v {
	case verify.Pass:
		return "Every check was proved by recorded evidence. Nothing passed on silence."
	case verify.Fail:
		return "Recorded evidence disproves at least one expectation of the scenario. The checks below show which, and by what."
	case verify.Error:
		return "The environment failed before the meshes could be judged. This says nothing about the meshes."
	}
	return "The evidence cannot support a verdict, neither for nor against the meshes. The reason is named; mend it and run again."
}

// kindTitle names a kind of check, and says what it asks.
func kindTitle(kind string) (title, asks string) {
	switch kind {
	case verify.KindMTLS:
		return "Mutual TLS", "is every edge encrypted, with both identities proved?"
	case verify.KindPolicy:
		return "Policy", "does what is allowed pass, and is what is forbidden refused?"
	case verify.KindIdentity:
		return "Tokens", "does the edge let in good tokens, and no others?"
	case verify.KindBalancing:
		return "Balancing", "does Linkerd choose the pods for what the gateway sends, where it should?"
	case verify.KindLatency:
		return "Latency", "do quantiles from the intended send time keep their budgets?"
	case verify.KindErrors:
		return "Errors", "does the share of failed requests keep its budget?"
	case verify.KindRecovery:
		return "Recovery", "is the steady state back in time after a fault?"
	case verify.KindRotation:
		return "Rotation", "does every pod serve a new certificate in time, and is nothing dropped?"
	case verify.KindFailover:
		return "Failover", "does another cluster serve in time when one loses its pods?"
	case verify.KindFault:
		return "Faults", "did each fault really happen?"
	case verify.KindLoad:
		return "Load", "was the offered rate really sent?"
	case verify.KindRun:
		return "Run", "did the trial go all its way, and is its record whole?"
	}
	return kind, ""
}

func count(n int, noun string) string {
	if n == 1 {
		return fmt.Sprintf("%d %s", n, noun)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func isAre(n int, what string) string {
	if n == 1 {
		return "is " + what
	}
	return "are " + what
}

// tally says how many checks have which verdict, in the order in which they matter.
func (r *Report) tally() string {
	var parts []string
	for _, v := range []verify.Verdict{verify.Pass, verify.Fail, verify.Invalid, verify.Error, verify.Gap, verify.Skipped} {
		if n := r.Counts[v]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, v))
		}
	}
	if len(parts) == 0 {
		return "no checks"
	}
	return strings.Join(parts, " · ")
}

// share rounds a derived share by the one rule. What is no number is not 0 %: it cannot be told.
func share(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	v = evidence.Round(v)
	return &v
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
