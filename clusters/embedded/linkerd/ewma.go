package linkerd

import (
	"math"
	"sync"
	"time"
)

// What the policy controller tells proxies of load, for every Service.
const (
	ewmaDecay  = 10 * time.Second
	defaultRTT = 30 * time.Millisecond
)

// peakEWMA estimates the load of an endpoint, as tower's PeakEwma does: the round-trip time, times one more than the
// requests that wait for their first byte. A time above the estimate replaces it at once; one below it moves it by the
// share 1 - exp(-elapsed/decay), where elapsed is the time since the last change. Between changes the estimate decays
// towards 0 by the same rule, so that an endpoint that was slow is asked again after some time.
type peakEWMA struct {
	mu      sync.Mutex
	rtt     float64 // seconds
	at      time.Time
	pending int
}

func newPeakEWMA(now time.Time) *peakEWMA { return &peakEWMA{rtt: defaultRTT.Seconds(), at: now} }

func (e *peakEWMA) update(rtt float64, now time.Time) {
	if rtt > e.rtt {
		e.rtt = rtt
	} else {
		keep := math.Exp(-max(0, now.Sub(e.at).Seconds()) / ewmaDecay.Seconds())
		e.rtt = rtt*(1-keep) + e.rtt*keep
	}
	e.at = now
}

// load is the estimate now.
func (e *peakEWMA) load(now time.Time) float64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.update(0, now)
	return e.rtt * float64(e.pending+1)
}

// begin counts a request. The function that it returns is called when the first byte of the response is there, or when
// none will come.
func (e *peakEWMA) begin(clock func() time.Time) (done func()) {
	began := clock()
	e.mu.Lock()
	e.pending++
	e.mu.Unlock()
	var once sync.Once
	return func() {
		once.Do(func() {
			now := clock()
			e.mu.Lock()
			defer e.mu.Unlock()
			e.pending--
			e.update(now.Sub(began).Seconds(), now)
		})
	}
}

// twoChoices draws two different indexes out of n and returns that with the smaller load; the first one where they are
// equal. With loads that stand still, the endpoint of rank r (0 is the least loaded) gets the share
// 2(n-1-r)/(n(n-1)): the slowest gets nothing.
func twoChoices(n int, draw func(int) int, load func(int) float64) int {
	if n == 1 {
		return 0
	}
	a, b := draw(n), draw(n-1)
	if b >= a {
		b++
	}
	if load(a) <= load(b) {
		return a
	}
	return b
}
