package linkerd

import (
	"math"
	"testing"
	"time"

	"github.com/meshproof/meshproof/clusters/embedded/proxy/relay"
)

// clock is a time that a test moves.
type clock struct{ t time.Time }

func (c *clock) now() time.Time          { return c.t }
func (c *clock) advance(d time.Duration) { c.t = c.t.Add(d) }

func TestAPeakIsTakenAtOnceAndDecaysByTheFormula(t *testing.T) {
	c := &clock{time.Unix(0, 0)}
	e := newPeakEWMA(c.now())
	if got := e.load(c.now()); math.Abs(got-0.030) > 1e-12 {
		t.Errorf("before any sample: %v", got)
	}
	done := e.begin(c.now)
	if got := e.load(c.now()); math.Abs(got-2*0.030) > 1e-12 {
		t.Errorf("with one request under way: %v", got)
	}
	c.advance(200 * time.Millisecond)
	done()
	done() // counts once
	if got := e.load(c.now()); math.Abs(got-0.200) > 1e-12 {
		t.Errorf("after a peak of 200 ms: %v", got)
	}
	c.advance(10 * time.Second)
	if got, want := e.load(c.now()), 0.2*math.Exp(-1); math.Abs(got-want) > 1e-12 {
		t.Errorf("one decay later: %v, want %v", got, want)
	}
	done = e.begin(c.now)
	c.advance(5 * time.Millisecond)
	done()
	keep := math.Exp(-0.0005)
	if got, want := e.load(c.now()), 0.005*(1-keep)+0.2*math.Exp(-1)*keep; math.Abs(got-want) > 1e-12 {
		t.Errorf("after a lower sample: %v, want %v", got, want)
	}
}

// With loads that stand still the endpoint of rank r gets 2(n-1-r)/(n(n-1)) of the requests.
func TestTwoChoicesGiveEachRankItsShare(t *testing.T) {
	for _, n := range []int{2, 3, 5} {
		dice, hits := relay.NewDice(1), make([]int, n)
		const draws = 60000
		for range draws {
			hits[twoChoices(n, dice.Draw, func(i int) float64 { return float64(i) })]++
		}
		for r, got := range hits {
			want := 2 * float64(n-1-r) / float64(n*(n-1))
			sigma := math.Sqrt(want * (1 - want) / draws)
			if share := float64(got) / draws; math.Abs(share-want) > 5*sigma {
				t.Errorf("n=%d, rank %d: share %v, want %v", n, r, share, want)
			}
		}
	}
	if twoChoices(1, nil, nil) != 0 {
		t.Error("the only endpoint was not taken")
	}
}

// Requests come one after the other, every period. A slow replica's peak decays until it is below the fast one's, which
// takes decay·ln(slow/fast); then it is asked once. Two replicas are always compared, so this holds for each request.
func TestASlowReplicaIsAskedAsOftenAsItsPeakDecays(t *testing.T) {
	const (
		fast, slow = 10 * time.Millisecond, 100 * time.Millisecond
		period     = 20 * time.Millisecond
		horizon    = 10 * time.Minute
	)
	c := &clock{time.Unix(0, 0)}
	latency := []time.Duration{fast, slow}
	loads := []*peakEWMA{newPeakEWMA(c.now()), newPeakEWMA(c.now())}
	dice, hits := relay.NewDice(3), []int{0, 0}
	for c.now().Before(time.Unix(0, 0).Add(horizon)) {
		i := twoChoices(2, dice.Draw, func(i int) float64 { return loads[i].load(c.now()) })
		hits[i]++
		done := loads[i].begin(c.now)
		c.advance(latency[i])
		done()
		c.advance(period)
	}
	want := horizon.Seconds() / (ewmaDecay.Seconds() * math.Log(float64(slow)/float64(fast)))
	if got := float64(hits[1]); math.Abs(got-want) > 0.15*want {
		t.Errorf("the slow replica was asked %v times, want about %.1f; the fast one %d times", got, want, hits[0])
	}
}

func TestABreakerOpensAfterItsPenaltyAndDoublesIt(t *testing.T) {
	c := &clock{time.Unix(0, 0)}
	b := &breaker{policy: accrualPolicy{failures: 3, min: time.Second, max: 3 * time.Second}, draw: func(int) int { return 0 }}
	fail := func() {
		t.Helper()
		ok, probe := b.enter(c.now())
		if !ok {
			t.Fatal("it is shut")
		}
		b.record(failed, probe, c.now())
	}
	fail()
	fail()
	b.record(succeeded, false, c.now()) // failures must be consecutive
	fail()
	fail()
	fail()
	for i, penalty := range []time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 3 * time.Second} {
		c.advance(penalty - time.Millisecond)
		if ok, _ := b.enter(c.now()); ok {
			t.Fatalf("penalty %d ended before %s", i, penalty)
		}
		c.advance(time.Millisecond)
		ok, probe := b.enter(c.now())
		if !ok || !probe {
			t.Fatalf("penalty %d: no probe after %s", i, penalty)
		}
		if ok, _ := b.enter(c.now()); ok {
			t.Error("two probes at once")
		}
		b.record(failed, true, c.now())
	}
	c.advance(3 * time.Second)
	_, probe := b.enter(c.now())
	b.record(succeeded, probe, c.now())
	if ok, probe := b.enter(c.now()); !ok || probe {
		t.Error("a success did not open it")
	}
}
