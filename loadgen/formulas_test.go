package loadgen

import (
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshproof/meshproof/scenarios"
)

// poissonSchedule lays out a profile with Poisson arrivals.
func poissonSchedule(t *testing.T, seed uint64, stages ...scenarios.Stage) *Schedule {
	t.Helper()
	s, err := NewSchedule(scenarios.Profile{Stages: stages, Arrivals: scenarios.ArrivalsPoisson}, seed)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// kolmogorov is the statistic √n·sup|F(n) - F| of Kolmogorov's test of a sample against a distribution.
func kolmogorov(sample []float64, f func(float64) float64) float64 {
	slices.Sort(sample)
	n := float64(len(sample))
	d := 0.0
	for i, x := range sample {
		d = max(d, f(x)-float64(i)/n, float64(i+1)/n-f(x))
	}
	return d * math.Sqrt(n)
}

// kolmogorovLimit is what the statistic exceeds by chance in one of a thousand samples: 2·exp(-2·1.95²).
const kolmogorovLimit = 1.95

func exponential(x float64) float64 { return 1 - math.Exp(-x) }

func TestTimesBetweenPoissonArrivalsAreExponentialWhateverTheRateDoes(t *testing.T) {
	for name, stages := range map[string][]scenarios.Stage{
		"constant":                  {constant(800, 30*time.Second)},
		"rare, many blocks without": {constant(1, 5*time.Hour)},
		"ramp":                      {ramp(0, 1500, 30*time.Second)},
		"spike":                     {spike(10, 2000, 20*time.Second)},
		"sine":                      {{Rate: 700, Sine: &scenarios.Sine{Amplitude: 700, Period: scenarios.Duration(3 * time.Second)}, For: scenarios.Duration(30 * time.Second)}},
		"bursts":                    {{Rate: 4000, Bursts: &scenarios.Bursts{Every: 1e9, For: 1e8, Between: 100}, For: scenarios.Duration(30 * time.Second)}},
		"several stages":            {constant(500, 7*time.Second), ramp(500, 900, 11*time.Second), constant(0, time.Second), spike(0, 1000, 13*time.Second)},
	} {
		t.Run(name, func(t *testing.T) {
			s := poissonSchedule(t, 11, stages...)
			// On the time scale H(t) the process has rate 1 (Kingman, Poisson Processes, 1993, 4.5).
			var gaps, tail []float64
			before, longest := 0.0, 0.0
			for _, at := range allTimes(s) {
				h := s.Hits(at)
				gaps = append(gaps, h-before)
				longest = max(longest, h-before)
				before = h
			}
			if len(gaps) < 10_000 {
				t.Fatalf("only %d arrivals", len(gaps))
			}
			// Gaps know nothing of the ones before them.
			mean, product := 0.0, 0.0
			for i, g := range gaps {
				mean += g / float64(len(gaps))
				if i > 0 {
					product += (g - 1) * (gaps[i-1] - 1) / float64(len(gaps)-1)
				}
				if g > 3 {
					tail = append(tail, g-3) // and have no memory
				}
			}
			bound := 4 / math.Sqrt(float64(len(gaps)))
			if math.Abs(mean-1) > bound || math.Abs(product) > bound {
				t.Errorf("gaps are %v in the mean, their correlation is %v; want 1 and 0 within %v", mean, product, bound)
			}
			if d := kolmogorov(gaps, exponential); d > kolmogorovLimit {
				t.Errorf("the times between arrivals are not exponential: %v, at most %v by chance", d, kolmogorovLimit)
			}
			if d := kolmogorov(tail, exponential); d > kolmogorovLimit {
				t.Errorf("long times between arrivals are not exponential: %v, at most %v by chance", d, kolmogorovLimit)
			}
		})
	}
}

func TestPoissonArrivalsAreDispersedAsTheirNumber(t *testing.T) {
	s := poissonSchedule(t, 5, constant(400, 200*time.Second))
	times := allTimes(s)
	// Windows that are shorter, longer and out of step with the blocks that numbers are drawn for.
	for _, width := range []time.Duration{7 * time.Millisecond, 100 * time.Millisecond, scenarios.BlockWidth, 310 * time.Millisecond, time.Second} {
		counts := make([]float64, s.End()/width)
		for _, at := range times {
			if i := int(at / width); i < len(counts) {
				counts[i]++
			}
		}
		mean, squares := 0.0, 0.0
		for _, c := range counts {
			mean += c / float64(len(counts))
		}
		for _, c := range counts {
			squares += (c - mean) * (c - mean)
		}
		// Under a Poisson law Σ(c-m)²/m is χ² with k-1 degrees of freedom, of variance 2(k-1).
		k := float64(len(counts) - 1)
		if index := squares / mean / k; math.Abs(index-1) > 4*math.Sqrt(2/k) {
			t.Errorf("windows of %v: index of dispersion %v of %d windows, want 1", width, index, len(counts))
		}
	}
}

func TestNumbersOfPoissonArrivalsHaveTheirLaw(t *testing.T) {
	for _, mean := range []float64{0.2, 3.3, 9.99, 10, 30, 250, 1e5, 1e9} {
		const n = 20_000
		d := scenarios.NewDraw(1, math.Float64bits(mean))
		sum, squares := 0.0, 0.0
		seen := map[int64]float64{}
		for range n {
			k := d.Poisson(mean)
			seen[k]++
			x := float64(k) - mean
			sum, squares = sum+x, squares+x*x
		}
		if e := sum / n; math.Abs(e) > 4*math.Sqrt(mean/n) {
			t.Errorf("mean %v: off by %v", mean, e)
		}
		// The variance of a sample's variance is (3m² + m - m²)/n.
		if v := squares / n; math.Abs(v-mean) > 4*math.Sqrt((2*mean*mean+mean)/n) {
			t.Errorf("mean %v: variance %v", mean, v)
		}
		chi, cells := 0.0, 0.0
		for k := int64(max(0, mean-4*math.Sqrt(mean))); mean < 1000 && k <= int64(mean+4*math.Sqrt(mean)); k++ {
			lg, _ := math.Lgamma(float64(k) + 1)
			if want := n * math.Exp(float64(k)*math.Log(mean)-mean-lg); want >= 5 {
				chi += (seen[k] - want) * (seen[k] - want) / want
				cells++
			}
		}
		if chi > cells+4*math.Sqrt(2*cells)+4 {
			t.Errorf("mean %v: χ² is %v with %v cells", mean, chi, cells)
		}
	}
}

func TestHalvingABlockThrowsFairCoins(t *testing.T) {
	for _, n := range []int64{0, 1, 17, 63, 64, 65, 1000} {
		const rounds = 4000
		sum, squares := 0.0, 0.0
		for i := range uint64(rounds) {
			d := scenarios.NewDraw(3, i)
			x := float64(heads(&d, n)) - float64(n)/2
			sum, squares = sum+x, squares+x*x
		}
		variance := float64(n) / 4
		if math.Abs(sum/rounds) > 4*math.Sqrt(variance/rounds) || math.Abs(squares/rounds-variance) > 4*variance*math.Sqrt(2./rounds) {
			t.Errorf("%d coins: mean off by %v, variance %v, want %v", n, sum/rounds, squares/rounds, variance)
		}
	}
}

// queue has one server answer the requests of a schedule one after the other, in virtual time, and returns how long each
// of those after the first skip took, from its intended time, in units of the mean time of service.
func queue(t *testing.T, s *Schedule, skip int64, service func(n int64) time.Duration, mean time.Duration) (sojourns []float64) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		type request struct {
			n  int64
			at time.Duration
		}
		start := time.Now()
		arrived := make(chan request, s.Total())
		go func() {
			defer close(arrived)
			for c := s.Cursor(0, 1); ; {
				n, at, ok := c.Next()
				if !ok {
					return
				}
				time.Sleep(at - time.Since(start))
				arrived <- request{n, at}
			}
		}()
		for r := range arrived {
			time.Sleep(service(r.n))
			if r.n >= skip {
				sojourns = append(sojourns, float64(time.Since(start)-r.at)/float64(mean))
			}
		}
	})
	return sojourns
}

func TestQueuesBehindASchedulesRequestsAreThoseOfTheFormulas(t *testing.T) {
	const (
		mean         = 10 * time.Millisecond // of service
		rho          = 0.7                   // utilization
		replications = 30
		skip         = 1000 // requests until the queue has forgotten that it began empty
		length       = 150 * time.Second
	)
	fixed := func(uint64) func(int64) time.Duration { return func(int64) time.Duration { return mean } }
	random := func(seed uint64) func(int64) time.Duration {
		return func(n int64) time.Duration {
			d := scenarios.NewDraw(seed, uint64(n), 99)
			return time.Duration(float64(mean) * d.Exponential())
		}
	}
	// Of the queue D/M/1 a request finds others with probability σ, where σ = exp(-(1-σ)/ρ).
	sigma := 0.5
	for range 200 {
		sigma = math.Exp(-(1 - sigma) / rho)
	}
	// Times in the system with a mean a have the quantiles -a·ln(1-p).
	law := func(a float64) map[float64]float64 {
		return map[float64]float64{0.5: a * math.Ln2, 0.9: a * math.Log(10), 0.99: a * math.Log(100)}
	}
	for name, c := range map[string]struct {
		how       scenarios.Arrivals
		service   func(seed uint64) func(int64) time.Duration
		mean      float64 // time in the system, in times of service
		quantiles map[float64]float64
	}{
		// Pollaczek and Khinchine: the wait is ρ/(1-ρ)·(1+c²)/2, with c² the squared coefficient of variation of service.
		"M/M/1": {scenarios.ArrivalsPoisson, random, 1 + rho/(1-rho), law(1 / (1 - rho))},
		"M/D/1": {scenarios.ArrivalsPoisson, fixed, 1 + rho/(1-rho)/2, nil},
		"D/M/1": {scenarios.ArrivalsEven, random, 1 / (1 - sigma), law(1 / (1 - sigma))},
		"D/D/1": {scenarios.ArrivalsEven, fixed, 1, map[float64]float64{0.5: 1, 0.99: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			var means []float64
			quantiles := map[float64][]float64{}
			for seed := range uint64(replications) {
				s, err := NewSchedule(scenarios.Profile{Stages: []scenarios.Stage{constant(rho/mean.Seconds(), length)}, Arrivals: c.how}, seed)
				if err != nil {
					t.Fatal(err)
				}
				took := queue(t, s, skip, c.service(seed), mean)
				sum := 0.0
				for _, x := range took {
					sum += x
				}
				means = append(means, sum/float64(len(took)))
				slices.Sort(took)
				for p := range c.quantiles {
					quantiles[p] = append(quantiles[p], took[int(p*float64(len(took)))])
				}
			}
			within(t, "mean", means, c.mean)
			for p, want := range c.quantiles {
				within(t, "quantile", quantiles[p], want)
			}
		})
	}
}

// within wants a value to lie in the 99.9 % confidence interval of the mean of independent replications, by Student's t.
func within(t *testing.T, what string, replications []float64, want float64) {
	t.Helper()
	const student = 3.66 // 29 degrees of freedom
	n := float64(len(replications))
	mean, squares := 0.0, 0.0
	for _, x := range replications {
		mean += x / n
	}
	for _, x := range replications {
		squares += (x - mean) * (x - mean)
	}
	half := student*math.Sqrt(squares/(n-1)/n) + 1e-6
	t.Logf("%s %.4f ± %.4f, by the formula %.4f", what, mean, half, want)
	if math.Abs(mean-want) > half {
		t.Errorf("the %s is %v ± %v, by the formula %v", what, mean, half, want)
	}
	if half > 0.2*want {
		t.Errorf("the %s is %v ± %v: too vague to say anything", what, mean, half)
	}
}
