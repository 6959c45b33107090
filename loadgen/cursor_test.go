package loadgen

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/meshproof/meshproof/scenarios"
)

func TestACursorGoesThroughTheRequestsOfItsWorkerAtTheirTimes(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	tried := 0
	for range 200 {
		p := scenarios.Profile{Stages: randomProfile(r)}
		if r.IntN(2) == 0 {
			p.Arrivals = scenarios.ArrivalsPoisson
		}
		s, err := NewSchedule(p, r.Uint64())
		if err != nil || s.Total() > 5000 {
			continue
		}
		tried++
		workers := 1 + r.Int64N(5)
		if r.IntN(3) == 0 {
			workers += r.Int64N(300)
		}
		seen := int64(0)
		for k := range workers {
			c := s.Cursor(k, workers)
			before := time.Duration(-1)
			for want := k; ; want += workers {
				n, at, ok := c.Next()
				if !ok {
					if want < s.Total() {
						t.Fatalf("%+v: worker %d of %d ends before request %d of %d", p, k, workers, want, s.Total())
					}
					break
				}
				if n != want || at < before || n%3 == 0 && at != s.At(n) {
					t.Fatalf("%+v: worker %d of %d has request %d at %v, want %d at %v, not before %v", p, k, workers, n, at, want, s.At(want), before)
				}
				before = at
				seen++
			}
		}
		if seen != s.Total() {
			t.Fatalf("%+v: %d workers have %d of %d requests", p, workers, seen, s.Total())
		}
	}
	if tried < 60 {
		t.Errorf("only %d profiles tried", tried)
	}
}

func TestTheSeedAloneDecidesPoissonArrivals(t *testing.T) {
	p := scenarios.Profile{Stages: []scenarios.Stage{constant(500, 10*time.Second)}, Arrivals: scenarios.ArrivalsPoisson}
	times := func(seed uint64) []time.Duration {
		s, err := NewSchedule(p, seed)
		if err != nil {
			t.Fatal(err)
		}
		return allTimes(s)
	}
	a, b, c := times(1), times(1), times(2)
	same := func(x, y []time.Duration) bool {
		for i := range min(len(x), len(y)) {
			if x[i] != y[i] {
				return false
			}
		}
		return len(x) == len(y)
	}
	if !same(a, b) || same(a, c) {
		t.Error("the seed does not decide")
	}
}

func allTimes(s *Schedule) []time.Duration {
	out := make([]time.Duration, 0, s.Total())
	for c := s.Cursor(0, 1); ; {
		_, at, ok := c.Next()
		if !ok {
			return out
		}
		out = append(out, at)
	}
}

func TestAClosedLoopHasPhasesAndNoSchedule(t *testing.T) {
	s, err := NewSchedule(scenarios.Profile{Stages: []scenarios.Stage{
		{Users: 3, Think: &scenarios.Think{Mean: scenarios.Duration(time.Second)}, For: scenarios.Duration(time.Second)},
		{Name: "more", Users: 5, For: scenarios.Duration(2 * time.Second)},
	}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if !s.Closed() || s.Total() != 0 || s.End() != 3*time.Second || s.Rate(0) != 0 || s.Before(time.Second) != 0 {
		t.Errorf("%d requests until %v, at a rate of %v", s.Total(), s.End(), s.Rate(0))
	}
	if _, _, ok := s.Cursor(0, 1).Next(); ok {
		t.Error("it has a request that is meant for some time")
	}
	numbers := map[int64]bool{}
	for i, p := range s.Phases() {
		if p.Closed == nil || p.Total() != 0 || p.Closed.Users != []int{3, 5}[i] || p.Name != []string{"stage-1", "more"}[i] {
			t.Fatalf("%+v", p)
		}
		for user := range p.Closed.Users {
			for turn := range int64(4) {
				n := p.Closed.Number(user, turn)
				if numbers[n] || s.phaseOf(n) != i {
					t.Errorf("number %d is there twice, or of phase %d", n, s.phaseOf(n))
				}
				numbers[n] = true
			}
		}
	}
	if _, err := NewSchedule(scenarios.Profile{Stages: []scenarios.Stage{{Users: 1, For: 1e9}, constant(1, time.Second)}}, 1); err == nil {
		t.Error("rates and users in one profile are accepted")
	}
}

func TestUsersThinkAsLongAsTheirDistributionSays(t *testing.T) {
	for how, variance := range map[scenarios.Distribution]float64{"": 0, scenarios.Fixed: 0, scenarios.Uniform: 1. / 3, scenarios.Exponential: 1} {
		s, err := NewSchedule(scenarios.Profile{Stages: []scenarios.Stage{{Users: 1, For: 1e9, Think: &scenarios.Think{Mean: 1e9, Distribution: how}}}}, 7)
		if err != nil {
			t.Fatal(err)
		}
		const n = 20_000
		sum, squares := 0.0, 0.0
		for i := range int64(n) {
			x := s.Phases()[0].Closed.Think(i).Seconds()
			sum, squares = sum+x, squares+x*x
		}
		mean := sum / n
		// Six standard errors, of a seed that does not change.
		if got := squares/n - mean*mean; mean < 0.957 || mean > 1.043 || got < 0.8*variance-1e-9 || got > 1.2*variance+1e-9 {
			t.Errorf("%q: mean %v, variance %v, want 1 and %v", how, mean, got, variance)
		}
	}
}

func BenchmarkCursor(b *testing.B) {
	for _, how := range []scenarios.Arrivals{scenarios.ArrivalsEven, scenarios.ArrivalsPoisson} {
		b.Run(string(how), func(b *testing.B) {
			s, err := NewSchedule(scenarios.Profile{Stages: []scenarios.Stage{constant(100_000, time.Hour)}, Arrivals: how}, 1)
			if err != nil {
				b.Fatal(err)
			}
			c := s.Cursor(0, 1)
			for b.Loop() {
				if _, _, ok := c.Next(); !ok {
					c = s.Cursor(0, 1)
				}
			}
		})
	}
}
