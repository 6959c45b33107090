package loadgen

import (
	"slices"
	"testing"

	"github.com/meshproof/meshproof/scenarios"
)

func TestEachRequestCarriesATokenOfOneOfTheUsersDrawnByTheSeed(t *testing.T) {
	drawn := func(seed int64, tokens ...string) (out []string) {
		m, err := newMix(Attack{Base: "http://127.0.0.1:1", Host: "shop", Seed: seed, Tokens: tokens, Traffic: scenarios.Traffic{Name: "users"}})
		if err != nil {
			t.Fatal(err)
		}
		for n := range uint64(400) {
			out = append(out, m.header(n).Get("Authorization"))
		}
		return out
	}
	a := drawn(1, "x", "y", "z", "w")
	count := map[string]int{}
	for _, h := range a {
		count[h]++
	}
	for _, token := range []string{"x", "y", "z", "w"} {
		if n := count["Bearer "+token]; n < 60 || n > 140 {
			t.Errorf("token %s is on %d of 400 requests", token, n)
		}
	}
	if len(count) != 4 || !slices.Equal(a, drawn(1, "x", "y", "z", "w")) || slices.Equal(a, drawn(2, "x", "y", "z", "w")) {
		t.Errorf("the seed does not decide: %v", count)
	}
	if slices.ContainsFunc(drawn(1), func(h string) bool { return h != "" }) {
		t.Error("a request carries a token, and there are none")
	}
}
