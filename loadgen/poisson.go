package loadgen

import (
	"math/bits"
	"slices"
	"time"

	"github.com/meshproof/meshproof/scenarios"
)

// arrivals are the requests of a phase as an inhomogeneous Poisson process. Its time is that of a process of rate 1,
// H(t), from which the phase's own time follows by the inverse of H. That time is cut into blocks of equal length. The
// number of each block's requests is drawn from a Poisson distribution; where within it they lie is, given that number,
// uniform (Kingman, Poisson Processes, 1993, 2.4). So it is drawn by halving: of m requests of an interval, as many lie in
// its first half as m coins show heads. Each draw depends on the seed and on the interval alone. Any request can therefore be
// looked up without those before it, and only the blocks' numbers are kept.
type arrivals struct {
	seed   uint64
	h0     float64 // requests asked for until the phase's start
	mean   float64 // requests that the phase asks for
	before []int64 // requests before each block, and after the last
}

func newArrivals(seed uint64, stage int, st *scenarios.Stage, h0 float64) *arrivals {
	a := &arrivals{seed: scenarios.NewDraw(seed, uint64(stage)).Seed(), h0: h0, mean: st.Requests(), before: []int64{0}}
	for _, n := range scenarios.PoissonBlocks(seed, stage, st) {
		a.before = append(a.before, a.before[len(a.before)-1]+n)
	}
	return a
}

func (a *arrivals) blocks() int  { return len(a.before) - 1 }
func (a *arrivals) total() int64 { return a.before[len(a.before)-1] }

// leafSize is the most requests of an interval that are placed at once.
const leafSize = 16

// maxDepth is how often a block is halved at most.
const maxDepth = 48

// span is an interval of a block: the block is node 1, the halves of node i are nodes 2i and 2i+1.
type span struct {
	node  uint64
	depth int
	count int64 // requests in it
}

// walk goes through the requests of a block in order.
type walk struct {
	a     *arrivals
	block int
	leaf  span
	rest  []span // what comes after the leaf, the next one last
}

// to places the walk at request r of a block.
func (w *walk) to(block int, r int64) (inLeaf int64) {
	w.block, w.rest = block, w.rest[:0]
	return w.descend(span{node: 1, count: w.a.before[block+1] - w.a.before[block]}, r)
}

// next goes on by r requests from the end of the leaf; there must be as many.
func (w *walk) next(r int64) (inLeaf int64) {
	for {
		s := w.rest[len(w.rest)-1]
		w.rest = w.rest[:len(w.rest)-1]
		if r < s.count {
			return w.descend(s, r)
		}
		r -= s.count
	}
}

// descend finds the leaf with request r of s.
func (w *walk) descend(s span, r int64) int64 {
	for s.count > leafSize && s.depth < maxDepth {
		d := scenarios.NewDraw(w.a.seed, uint64(w.block), s.node)
		left := heads(&d, s.count)
		lo := span{2 * s.node, s.depth + 1, left}
		hi := span{2*s.node + 1, s.depth + 1, s.count - left}
		if r < left {
			if hi.count > 0 {
				w.rest = append(w.rest, hi)
			}
			s = lo
		} else {
			r -= left
			s = hi
		}
	}
	w.leaf = s
	return r
}

// times appends when the requests of the leaf are meant to be sent, in order. at says when H has a value.
func (w *walk) times(out []time.Duration, at func(h float64) time.Duration) []time.Duration {
	s := w.leaf
	width := 1 / float64(uint64(1)<<s.depth)
	lo := float64(s.node-uint64(1)<<s.depth) * width
	h := func(u float64) time.Duration {
		return at(w.a.h0 + w.a.mean*(float64(w.block)+u)/float64(w.a.blocks()))
	}
	from, to := h(lo), h(lo+width)
	d := scenarios.NewDraw(w.a.seed, uint64(w.block), s.node)
	first := len(out)
	for range s.count {
		// Rounding must not carry a request into its neighbour.
		out = append(out, min(max(h(lo+width*d.Float()), from), to))
	}
	slices.Sort(out[first:])
	return out
}

// heads is how many of n coins show heads: a binomial variable, exactly.
func heads(d *scenarios.Draw, n int64) (k int64) {
	for ; n >= 64; n -= 64 {
		k += int64(bits.OnesCount64(d.Bits()))
	}
	return k + int64(bits.OnesCount64(d.Bits()&(1<<uint(n)-1)))
}
