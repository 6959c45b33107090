package loadgen

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/meshproof/meshproof/scenarios"
)

func constant(rate float64, d time.Duration) scenarios.Stage {
	return scenarios.Stage{Rate: rate, For: scenarios.Duration(d)}
}

func ramp(from, to float64, d time.Duration) scenarios.Stage {
	return scenarios.Stage{Rate: from, To: &to, For: scenarios.Duration(d)}
}

func spike(from, peak float64, d time.Duration) scenarios.Stage {
	return scenarios.Stage{Rate: from, Peak: &peak, For: scenarios.Duration(d)}
}

func schedule(t testing.TB, stages ...scenarios.Stage) *Schedule {
	t.Helper()
	s, err := NewSchedule(scenarios.Profile{Stages: stages}, 1)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAStageAsksForTheAreaUnderItsRate(t *testing.T) {
	for name, tc := range map[string]struct {
		stages []scenarios.Stage
		total  int64
		at     map[int64]time.Duration // intended times by request
		rate   map[time.Duration]float64
	}{
		"constant: rate times time": {
			stages: []scenarios.Stage{constant(50, 4*time.Second)},
			total:  200,
			at:     map[int64]time.Duration{0: 10 * time.Millisecond, 1: 30 * time.Millisecond, 199: 3990 * time.Millisecond},
			rate:   map[time.Duration]float64{0: 50, time.Second: 50, 4 * time.Second: 0, -1: 0},
		},
		"ramp: mean rate times time": {
			// H(t) = 5t²: H = 1/2 at √0.1 s, H = 499.5 at √99.9 s.
			stages: []scenarios.Stage{ramp(0, 100, 10*time.Second)},
			total:  500,
			at:     map[int64]time.Duration{0: seconds(math.Sqrt(0.1)), 499: seconds(math.Sqrt(99.9))},
			rate:   map[time.Duration]float64{0: 0, 5 * time.Second: 50, 10*time.Second - 1: 100},
		},
		"ramp down mirrors ramp up": {
			stages: []scenarios.Stage{ramp(100, 0, 10*time.Second)},
			total:  500,
			at:     map[int64]time.Duration{0: seconds(10 - math.Sqrt(99.9)), 499: seconds(10 - math.Sqrt(0.1))},
			rate:   map[time.Duration]float64{0: 100, 5 * time.Second: 50},
		},
		"spike: a triangle on a floor": {
			stages: []scenarios.Stage{spike(50, 450, 2*time.Second)},
			total:  500,
			at:     map[int64]time.Duration{249: seconds(1 - spikeHalf), 250: seconds(1 + spikeHalf)},
			rate:   map[time.Duration]float64{0: 50, 500 * time.Millisecond: 250, time.Second: 450, 1500 * time.Millisecond: 250},
		},
		"a silent stage asks for nothing": {
			stages: []scenarios.Stage{constant(10, time.Second), constant(0, time.Second), constant(10, time.Second)},
			total:  20,
			at:     map[int64]time.Duration{9: 950 * time.Millisecond, 10: 2050 * time.Millisecond},
			rate:   map[time.Duration]float64{1500 * time.Millisecond: 0},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := schedule(t, tc.stages...)
			if s.Total() != tc.total {
				t.Errorf("total %d, want %d", s.Total(), tc.total)
			}
			for n, want := range tc.at {
				if got := s.At(n); (got - want).Abs() > time.Nanosecond {
					t.Errorf("request %d at %v, want %v", n, got, want)
				}
			}
			for at, want := range tc.rate {
				if got := s.Rate(at); math.Abs(got-want) > 1e-4 {
					t.Errorf("rate at %v is %v, want %v", at, got, want)
				}
			}
		})
	}
}

// spikeHalf solves 450·t - 200·t² = 1/2: how far from its peak a spike of 50 to 450 in 2 s has half a request.
var spikeHalf = (450 - math.Sqrt(450*450-4*200*0.5)) / 400

func seconds(s float64) time.Duration { return time.Duration(math.Round(s * 1e9)) }

// randomProfile draws stages of every kind, with rates that are often 0, often fractional and sometimes high.
func randomProfile(r *rand.Rand) []scenarios.Stage {
	rate := func() float64 {
		switch r.IntN(5) {
		case 0:
			return 0
		case 1:
			return r.Float64()
		case 2:
			return float64(r.IntN(100))
		case 3:
			return r.Float64() * 20_000
		}
		return r.Float64() * 500
	}
	stages := make([]scenarios.Stage, 1+r.IntN(5))
	for i := range stages {
		d := time.Duration(1 + r.Int64N(int64(3*time.Second)))
		stages[i].For = scenarios.Duration(d)
		switch r.IntN(7) {
		case 0:
			stages[i] = constant(rate(), d)
		case 3:
			stages[i].Rate = rate()
			stages[i].Steps = &scenarios.Steps{By: rate() / 10, Every: scenarios.Duration(1 + r.Int64N(int64(d)))}
		case 4:
			stages[i].Rate = rate() + 1
			stages[i].Sine = &scenarios.Sine{Amplitude: stages[i].Rate * (1 - float64(r.IntN(2))*r.Float64()), Period: scenarios.Duration(1e6 + r.Int64N(int64(2*d)))}
		case 5:
			every := 2 + r.Int64N(int64(2*d))
			stages[i].Rate = rate()
			stages[i].Bursts = &scenarios.Bursts{Every: scenarios.Duration(every), For: scenarios.Duration(1 + r.Int64N(every-1)), Between: rate()}
		case 6:
			re := &scenarios.Replay{Scale: 2 * r.Float64(), Seconds: []float64{0}, Rates: []float64{rate()}}
			for range 1 + r.IntN(20) {
				re.Seconds = append(re.Seconds, re.Seconds[len(re.Seconds)-1]+100*r.Float64())
				re.Rates = append(re.Rates, rate())
			}
			stages[i].Replay = re
		case 1:
			stages[i] = ramp(rate(), rate(), d)
		case 2:
			stages[i] = spike(rate(), rate(), d)
		}
	}
	return stages
}

func TestAnyScheduleIsMonotoneInvertsItsHitsAndIsPartitionedByItsPhases(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	tried := 0
	for range 500 {
		stages := randomProfile(r)
		how := scenarios.ArrivalsEven
		if r.IntN(3) == 0 {
			how = scenarios.ArrivalsPoisson
		}
		s, err := NewSchedule(scenarios.Profile{Stages: stages, Arrivals: how}, r.Uint64())
		if err != nil {
			if strings.Contains(err.Error(), "no request at all") || strings.Contains(err.Error(), "at most 100000 in") || strings.Contains(err.Error(), "has a step every") {
				continue
			}
			t.Fatal(err)
		}
		tried++
		var start time.Duration
		var next int64
		for i, p := range s.Phases() {
			if p.Start != start || p.For != stages[i].For.D() || p.First != next || p.Last < p.First {
				t.Fatalf("%+v: phase %d is %+v; want it to start at %v with request %d", stages, i, p, start, next)
			}
			start, next = p.End(), p.Last
			asked := s.Hits(p.End()) - s.Hits(p.Start)
			if want := stages[i].Requests(); math.Abs(asked-want) > 1e-9*want+1e-9 {
				t.Fatalf("%+v: phase %d asks for %v requests, by the closed formula %v", stages, i, asked, want)
			}
			if d := float64(p.Last) - s.Hits(p.End()); math.Abs(d) > 0.5+1e-6 && how == scenarios.ArrivalsEven {
				t.Fatalf("%+v: phase %d ends with request %d where H is %v", stages, i, p.Last, s.Hits(p.End()))
			}
		}
		if next != s.Total() || start != s.End() {
			t.Fatalf("%+v: phases end at %v with %d of %d requests", stages, start, next, s.Total())
		}
		step := max(s.Total()/500, 1)
		before, i := time.Duration(-1), 0
		for n := int64(0); n < s.Total(); n += step {
			at := s.At(n)
			if at < before {
				t.Fatalf("%+v: request %d at %v, an earlier one at %v", stages, n, at, before)
			}
			before = at
			// A nanosecond at this rate, and what rounding to whole requests moves at a phase's edge.
			slack := 1e-6 + s.Rate(at)*2e-9
			if h := s.Hits(at); math.Abs(h-float64(n)-0.5) > slack && !nearEdge(s, at) && how == scenarios.ArrivalsEven {
				t.Fatalf("%+v: request %d at %v, where H is %v", stages, n, at, h)
			}
			for ; n >= s.Phases()[i].Last; i++ {
			}
			if p := s.Phases()[i]; at < p.Start || at >= p.End() {
				t.Fatalf("%+v: request %d at %v, outside its phase %+v", stages, n, at, p)
			}
			if n%97 != 0 && how == scenarios.ArrivalsPoisson {
				continue // it takes its time
			}
			if got := s.Before(at); got > n {
				t.Fatalf("%+v: %d requests before %v, when request %d is meant to go", stages, got, at, n)
			}
			if got := s.Before(at + 1); got <= n {
				t.Fatalf("%+v: %d requests before %v, after request %d", stages, got, at+1, n)
			}
		}
	}
	if tried < 350 {
		t.Errorf("only %d profiles had requests", tried)
	}
}

func nearEdge(s *Schedule, at time.Duration) bool {
	for _, p := range s.phases {
		if (at-p.Start).Abs() <= 2 || (at-p.End()).Abs() <= 2 {
			return true
		}
	}
	return false
}

func TestStagesCompose(t *testing.T) {
	// A stage after a whole number of requests is itself, later.
	head, tail := spike(20, 180, 2*time.Second), ramp(7, 93, 3*time.Second)
	both, alone := schedule(t, head, tail), schedule(t, tail)
	p := both.Phases()[1]
	if p.First != 200 || p.Total() != alone.Total() {
		t.Fatalf("the second phase is %+v, alone it has %d requests", p, alone.Total())
	}
	for n := range alone.Total() {
		if got, want := both.At(p.First+n)-p.Start, alone.At(n); (got - want).Abs() > 2 {
			t.Fatalf("request %d at %v, alone at %v", n, got, want)
		}
	}
}

func TestSmallSharesAddUpOverStages(t *testing.T) {
	// Ten stages of 0.3 requests each are 3 requests, not ten times none.
	stages := make([]scenarios.Stage, 10)
	for i := range stages {
		stages[i] = constant(0.3, time.Second)
	}
	if got := schedule(t, stages...).Total(); got != 3 {
		t.Errorf("%d requests, want 3", got)
	}
}

func TestAnImpossibleProfileIsRefused(t *testing.T) {
	both := ramp(1, 2, time.Second)
	both.Peak = both.To
	for name, tc := range map[string]struct {
		stages []scenarios.Stage
		want   string
	}{
		"no stages":       {nil, "no stages"},
		"no time":         {[]scenarios.Stage{constant(1, time.Second), constant(1, 0)}, "stage 2: it lasts 0s"},
		"negative time":   {[]scenarios.Stage{constant(1, -time.Second)}, "stage 1: it lasts -1s"},
		"negative rate":   {[]scenarios.Stage{ramp(1, -1, time.Second)}, "a rate of -1 per second"},
		"not a number":    {[]scenarios.Stage{spike(1, math.NaN(), time.Second)}, "a rate of NaN per second"},
		"infinite":        {[]scenarios.Stage{constant(math.Inf(1), time.Second)}, "a rate of +Inf per second"},
		"ramp and spike":  {[]scenarios.Stage{both}, "several shapes"},
		"nothing at all":  {[]scenarios.Stage{constant(0.1, time.Second)}, "no request at all"},
		"too much":        {[]scenarios.Stage{constant(1e9, time.Hour)}, "at most"},
		"longer than all": {[]scenarios.Stage{constant(1e-9, math.MaxInt64)}, "century"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewSchedule(scenarios.Profile{Stages: tc.stages}, 1)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one that says %q", err, tc.want)
			}
		})
	}
}

func TestSlicesCoverTimeWithoutAGap(t *testing.T) {
	for _, end := range []time.Duration{1, TickWidth - 1, TickWidth, TickWidth + 1, time.Second, 1100 * time.Millisecond} {
		g := grid{end}
		var at time.Duration
		cut := false
		for i := range 12 {
			from, to := g.bounds(i)
			if from != at || to <= from || to-from > TickWidth {
				t.Fatalf("end %v: slice %d is %v to %v; want it to start at %v", end, i, from, to, at)
			}
			if g.slice(from) != i || g.slice(to-1) != i {
				t.Fatalf("end %v: slice %d is %v to %v, which are slices %d and %d", end, i, from, to, g.slice(from), g.slice(to-1))
			}
			cut = cut || to == end
			at = to
		}
		if !cut {
			t.Errorf("end %v: no slice ends there", end)
		}
	}
}
