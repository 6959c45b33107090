package verify

import (
	"testing"
	"time"

	"github.com/meshproof/meshproof/evidence"
)

// A histogram holds no more than 5 minutes: what took longer is counted there, so a limit beyond it cannot be kept.
func TestALimitBeyondWhatAHistogramHoldsIsNotKeptByWhatLiesAtItsEnd(t *testing.T) {
	const minute = 60_000_000
	for _, c := range []struct {
		micros int64
		limit  time.Duration
		want   bool
	}{
		{10 * minute, 10 * time.Minute, true},
		{10 * minute, 5 * time.Minute, true}, // at most 5 minutes: nobody knows
		{10 * minute, 4 * time.Minute, false},
		{10 * minute, 0, true}, // compared with another's
		{4 * minute, 10 * time.Minute, false},
	} {
		h := encoded(t, 100, c.micros)
		p := &evidence.Phase{Done: 100, Intended: h, Service: h, Lag: encoded(t, 100, 40)}
		v := quantilesOf(p.Intended)["p99"]
		tl := &tally{}
		if got := offScale(tl, p, "p99", v, c.limit); got != c.want || got != (len(tl.lack) == 1 && tl.lack[0].reason == "OffScale") {
			t.Errorf("%s against %s: off scale %v, want %v: %+v", micros(c.micros), c.limit, got, c.want, tl.lack)
		}
		if c.limit == 0 {
			continue
		}
		b, bt := Budget{Figure: "p99", Limit: c.limit}, &tally{}
		_, ok := b.judge(bt, p, 0.01)
		// What must be less than 5 minutes was not, where it is counted at the end.
		want := map[bool]Verdict{true: Invalid, false: Fail}[c.limit > 5*time.Minute]
		if c.micros < c.limit.Microseconds() && c.micros < 5*minute {
			want = Pass
		}
		if v, _, m, _ := bt.judge(ok); v != want {
			t.Errorf("%s, less than %s wanted: %s %s, want %s", micros(c.micros), c.limit, v, m, want)
		}
	}
}
