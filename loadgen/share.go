package loadgen

import (
	"fmt"
	"time"

	"github.com/meshproof/meshproof/scenarios"
)

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

// part is the Share of an attack's requests that is sent here. Where there are sessions it is those of whole sessions: of N
// workers, worker k has the sessions s with s ≡ k modulo N, and all of their requests.
type part struct {
	Share
	deal *scenarios.Deal // nil: there are no sessions
}

// has reports whether request n is one of the part's.
func (p part) has(n int64) bool {
	if p.deal == nil {
		return n%int64(p.of()) == int64(p.Worker)
	}
	return p.mine(p.deal.Of(n))
}

func (p part) mine(session int) bool { return session%p.of() == p.Worker }

// between is how many requests of the part have a number from first to less than last.
func (p part) between(first, last int64) int64 {
	if p.deal == nil {
		return p.Share.between(first, last)
	}
	return p.deal.Count(first, last, p.mine)
}

// walk goes through the part's requests, in order.
func (p part) walk(s *Schedule) func() (n int64, at time.Duration, ok bool) {
	if p.deal == nil {
		return s.Cursor(int64(p.Worker), int64(p.of())).Next
	}
	all := s.Cursor(0, 1)
	return func() (int64, time.Duration, bool) {
		for {
			n, at, ok := all.Next()
			if !ok || p.has(n) {
				return n, at, ok
			}
		}
	}
}
