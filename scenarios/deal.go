package scenarios

// MaxSessions bounds the sessions of a traffic.
const MaxSessions = 10_000

// drawDeal keeps the draws of sessions apart from all others of the same seed.
const drawDeal = 0x6465616c

// Deal says which session each request of a traffic is of: see Traffic.Sessions.
type Deal struct {
	seed uint64
	n    int64
}

// NewDeal deals to so many sessions, 1 or more. The seed is that of the traffic (Seed).
func NewDeal(seed uint64, sessions int) Deal { return Deal{seed: seed, n: int64(max(sessions, 1))} }

// Sessions is to how many sessions requests are dealt.
func (d Deal) Sessions() int { return int(d.n) }

// Of is the session of request n, both from 0: (a·i + b) mod N, with i = n mod N.
func (d Deal) Of(n int64) int { return d.round(n / d.n).of(n % d.n) }

// Count is how many of the requests from first to less than last are of sessions that one has. It takes no longer for many
// requests than for few.
func (d Deal) Count(first, last int64, one func(session int) bool) int64 {
	own := int64(0)
	for s := range int(d.n) {
		if one(s) {
			own++
		}
	}
	before := func(n int64) int64 {
		out, r := n/d.n*own, d.round(n/d.n)
		for i := range n % d.n {
			if one(r.of(i)) {
				out++
			}
		}
		return out
	}
	if last <= first {
		return 0
	}
	return before(last) - before(first)
}

// Shares is how many of the requests from first to less than last each session has.
func (d Deal) Shares(first, last int64) []int64 {
	out := make([]int64, d.n)
	if last <= first {
		return out
	}
	add := func(n, by int64) { // the requests before n
		r := d.round(n / d.n)
		for s := range out {
			out[s] += n / d.n * by
		}
		for i := range n % d.n {
			out[r.of(i)] += by
		}
	}
	add(last, 1)
	add(first, -1)
	return out
}

// round is the order of one round of requests.
type round struct{ a, b, n int64 }

func (d Deal) round(k int64) round {
	x := NewDraw(d.seed, drawDeal, uint64(k))
	r := round{a: int64(x.Bits() % uint64(d.n)), b: int64(x.Bits() % uint64(d.n)), n: d.n}
	for gcd(r.a, d.n) != 1 {
		r.a = (r.a + 1) % d.n
	}
	return r
}

func (r round) of(i int64) int { return int((r.a*i + r.b) % r.n) }

// gcd is the greatest common divisor; that of 0 and 1 is 1, as of 0 and n it is n.
func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
