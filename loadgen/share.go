package loadgen

import "fmt"

// Share is the part of an attack that one of several workers sends: of N workers, worker k sends the requests n with
// n ≡ k modulo N, or in a closed loop those of the users u with u ≡ k modulo N. The zero value is the whole of it. Together the shares of all workers are the attack, request by
// request.
type Share struct {
	Worker  int `json:"worker,omitempty"`  // k, from 0
	Workers int `json:"workers,omitempty"` // N; 0 and 1 are the whole attack
}

func (s Share) check() error {
	if s.Workers < 0 || s.Worker < 0 || s.Worker >= s.of() {
		return fmt.Errorf("worker %d of %d; want one from 0 to less than their number", s.Worker, s.Workers)
	}
	return nil
}

// of is N, at least 1.
func (s Share) of() int { return max(s.Workers, 1) }

// before is how many requests of the share have a number below n: those of k, k+N, k+2N, … which are less.
func (s Share) before(n int64) int64 {
	k, of := int64(s.Worker), int64(s.of())
	if n <= k {
		return 0
	}
	return (n-k-1)/of + 1
}

// between is how many requests of the share have a number from first to less than last.
func (s Share) between(first, last int64) int64 { return s.before(last) - s.before(first) }

// nth is the number of the share's i-th request, from 0.
func (s Share) nth(i int64) int64 { return int64(s.Worker) + i*int64(s.of()) }
