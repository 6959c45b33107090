package verify

import "github.com/meshproof/meshproof/evidence"

// confidence is the least coverage of an interval that a budget over a baseline is judged by.
const confidence = 0.95

// medianInterval gives the narrowest confidence interval for the median of n independent draws that has two order
// statistics of equal depth as its ends: the lo-th smallest and the hi-th smallest (from 1), with its coverage.
//
// Each draw lies below the median with probability 1/2, whatever its distribution, so the number of those below it is
// binomial, and [X(k), X(n+1-k)] misses the median only when fewer than k draws lie on one side of it:
//
//	coverage = 1 − 2·Σ C(n,i)/2ⁿ, i = 0 … k−1
//
// (H. A. David and H. N. Nagaraja, Order Statistics, 3rd edition, 2003, section 7.1.) Where draws can be equal it
// covers at least that. k is the largest whose coverage reaches confidence: with n = 6 it is 1, from the smallest to
// the largest, at 1 − 2/64 = 96.9 %. With fewer than 6 draws there is none, and ok is false.
func medianInterval(n int) (lo, hi int, coverage float64, ok bool) {
	term := 1.0 // C(n,i)/2ⁿ
	for range n {
		term /= 2
	}
	tail := 0.0
	for k := 1; 2*k <= n; k++ {
		tail += term
		term *= float64(n-k+1) / float64(k)
		c := evidence.Round(1 - 2*tail)
		if c < confidence {
			break
		}
		lo, hi, coverage, ok = k, n+1-k, c, true
	}
	return lo, hi, coverage, ok
}
