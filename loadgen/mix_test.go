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

func TestAUserOfAClosedLoopKeepsItsToken(t *testing.T) {
	profile := scenarios.Profile{Stages: []scenarios.Stage{{Users: 5, For: 1e9}, {Users: 40, For: 1e9}}}
	m, err := newMix(Attack{Base: "http://127.0.0.1:1", Host: "shop", Tokens: []string{"x", "y", "z", "w"}, Traffic: scenarios.Traffic{Name: "users", Profile: profile}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSchedule(profile, 1)
	if err != nil {
		t.Fatal(err)
	}
	tokens := map[int]string{}
	drawn := map[string]bool{}
	for _, p := range s.Phases() {
		for turn := range int64(20) {
			for user := range p.Closed.Users {
				got := m.header(uint64(p.Closed.Number(user, turn))).Get("Authorization")
				if before, again := tokens[user]; again && before != got {
					t.Fatalf("user %d has %s in turn %d of phase %s, and had %s", user, got, turn, p.Name, before)
				}
				tokens[user] = got
				drawn[got] = true
			}
		}
	}
	if len(drawn) != 4 {
		t.Errorf("40 users have only %d tokens", len(drawn))
	}
}
