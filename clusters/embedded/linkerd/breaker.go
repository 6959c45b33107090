package linkerd

import (
	"math"
	"sync"
	"time"
)

// breaker is failure accrual of one endpoint: after some consecutive failures it lets no request through for a penalty
// that doubles each time, then one, whose outcome decides. A nil breaker lets everything through.
type breaker struct {
	policy accrualPolicy
	draw   func(n int) int // for the jitter

	mu        sync.Mutex
	failures  int
	penalties int       // since it was last open
	until     time.Time // shut until then; zero: open
	probing   bool
}

// admits reports whether a request may be sent, or else from when on one may: zero where that is when another's outcome
// is known.
func (b *breaker) admits(now time.Time) (ok bool, again time.Time) {
	if b == nil {
		return true, time.Time{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.until.IsZero():
		return true, time.Time{}
	case now.Before(b.until):
		return false, b.until
	}
	return !b.probing, time.Time{}
}

// enter takes the one place of a probation. It reports whether the request may be sent, and whether it is a probe.
func (b *breaker) enter(now time.Time) (ok, probe bool) {
	if b == nil {
		return true, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.until.IsZero():
		return true, false
	case now.Before(b.until) || b.probing:
		return false, false
	}
	b.probing = true
	return true, true
}

// outcome of a request.
type outcome int

const (
	succeeded outcome = iota
	failed
	unknown // it was called off
)

// record tells the breaker how a request ended. While it is shut, only the probe's outcome counts.
func (b *breaker) record(o outcome, probe bool, now time.Time) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if probe {
		b.probing = false
		switch o {
		case succeeded:
			b.until, b.failures, b.penalties = time.Time{}, 0, 0
		case failed:
			b.shut(now)
		case unknown: // the next one is the probe
		}
		return
	}
	if !b.until.IsZero() {
		return
	}
	switch o {
	case succeeded:
		b.failures = 0
	case failed:
		if b.failures++; b.failures >= b.policy.failures {
			b.shut(now)
		}
	case unknown:
	}
}

// shut closes the breaker for min·2ⁿ, at most max, and up to the jitter's share longer.
func (b *breaker) shut(now time.Time) {
	penalty := math.Min(float64(b.policy.min)*math.Pow(2, float64(b.penalties)), float64(b.policy.max))
	b.penalties++
	const steps = 1 << 20
	penalty += penalty * b.policy.jitter * float64(b.draw(steps)) / steps
	b.until = now.Add(time.Duration(math.Min(penalty, math.MaxInt64/4)))
}
