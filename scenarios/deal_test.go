package scenarios

import (
	"slices"
	"testing"
)

func TestEachSessionHasOneRequestOfEachRound(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 12, 100, 9973, MaxSessions} {
		d := NewDeal(5, n)
		orders := map[int]bool{}
		for r := range 5 {
			seen := make([]bool, n)
			for i := range n {
				s := d.Of(int64(r*n + i))
				if s < 0 || s >= n || seen[s] {
					t.Fatalf("%d sessions: request %d is of session %d", n, r*n+i, s)
				}
				seen[s] = true
				if i == 0 {
					orders[s] = true
				}
			}
		}
		if n > 100 && len(orders) < 3 {
			t.Errorf("%d sessions: every round begins with the same ones: %v", n, orders)
		}
	}
}

func TestSharesOfSessionsAreCountedWithoutGoingThroughThem(t *testing.T) {
	for _, n := range []int{1, 4, 10, 33} {
		d := NewDeal(9, n)
		for _, c := range [][2]int64{{0, 0}, {0, 1}, {0, 100}, {3, 50}, {17, 17}, {33, 99}, {95, 40}} {
			want := make([]int64, n)
			for k := c[0]; k < c[1]; k++ {
				want[d.Of(k)]++
			}
			if got := d.Shares(c[0], c[1]); !slices.Equal(got, want) {
				t.Errorf("%d sessions, requests %v: %v, want %v", n, c, got, want)
			}
			odd := int64(0)
			for s, k := range want {
				if s%2 == 1 {
					odd += k
				}
			}
			if got := d.Count(c[0], c[1], func(s int) bool { return s%2 == 1 }); got != odd {
				t.Errorf("%d sessions, requests %v: %d of odd sessions, want %d", n, c, got, odd)
			}
		}
	}
	if slices.Equal(NewDeal(1, 50).Shares(0, 25), NewDeal(2, 50).Shares(0, 25)) {
		t.Error("another seed deals alike")
	}
}
