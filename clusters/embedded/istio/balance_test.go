package istio

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/meshproof/meshproof/clusters/embedded/proxy/relay"
)

// slowShare is the share of requests that LEAST_REQUEST gives the slow one of two hosts, in the limit. Requests come as a
// Poisson process of rate arrivals, and host i ends each of its active requests at rate ends[i], so that the numbers of
// active requests (a, b) are a Markov chain. A new request goes to the less busy host unless both draws, with
// replacement, fall on the other: with probability 3/4, and 1/2 where both are equally busy. The chain is solved by
// iterating its transition matrix, made uniform (Jensen 1953) and cut off at most active requests a host.
func slowShare(arrivals float64, ends [2]float64) float64 {
	const most = 30
	toSlow := func(a, b int) float64 {
		switch {
		case b < a:
			return 0.75
		case b > a:
			return 0.25
		default:
			return 0.5
		}
	}
	var pi, next [most + 1][most + 1]float64
	pi[0][0] = 1
	whole := arrivals + most*(ends[0]+ends[1])
	for range 20000 {
		next = [most + 1][most + 1]float64{}
		for a := range pi {
			for b, p := range pi[a] {
				if p == 0 {
					continue
				}
				stay := p
				move := func(a, b int, rate float64) {
					if rate > 0 && a <= most && b <= most {
						next[a][b] += p * rate / whole
						stay -= p * rate / whole
					}
				}
				s := toSlow(a, b)
				move(a+1, b, arrivals*(1-s))
				move(a, b+1, arrivals*s)
				move(a-1, b, float64(a)*ends[0])
				move(a, b-1, float64(b)*ends[1])
				next[a][b] += stay
			}
		}
		pi = next
	}
	share := 0.0
	for a := range pi {
		for b, p := range pi[a] {
			share += p * toSlow(a, b)
		}
	}
	return share
}

func TestASlowHostGetsTheShareThatLeastRequestPredicts(t *testing.T) {
	for _, tt := range []struct {
		name     string
		arrivals float64    // per second
		ends     [2]float64 // 1 / seconds that a request takes, of the fast and of the slow host
	}{
		{"alike", 200, [2]float64{100, 100}},
		{"5 times slower, lightly loaded", 50, [2]float64{100, 20}},
		{"5 times slower", 200, [2]float64{100, 20}},
		{"20 times slower", 100, [2]float64{100, 5}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			hosts := []*host{{}, {}}
			b := newBalancer(leastRequest, hosts, relay.NewDice(1))
			r := rand.New(rand.NewPCG(1, 2))
			slow := 0
			const requests = 200000
			for n := 0; n < requests; {
				// The next event of a Poisson process is of one kind with the probability of its share in all rates.
				fastEnds, slowEnds := float64(hosts[0].active.Load())*tt.ends[0], float64(hosts[1].active.Load())*tt.ends[1]
				switch x := r.Float64() * (tt.arrivals + fastEnds + slowEnds); {
				case x < fastEnds:
					hosts[0].active.Add(-1)
				case x < fastEnds+slowEnds:
					hosts[1].active.Add(-1)
				default:
					h := b.pick(nil, 0)
					h.active.Add(1)
					n++
					if h == hosts[1] {
						slow++
					}
				}
			}
			// Neighbouring requests see much the same queues: the tolerance is wider than that of independent draws.
			got, want := float64(slow)/requests, slowShare(tt.arrivals, tt.ends)
			if math.Abs(got-want) > 0.01 {
				t.Errorf("the slow host got %.4f of the requests, want %.4f", got, want)
			}
		})
	}
}
