package verify

import (
	"slices"
	"strings"
	"testing"

	"github.com/meshproof/meshproof/evidence"
)

func TestSessionsThatDidNotHaveTheirSharesAreAnotherLoad(t *testing.T) {
	st := stagePhase{name: "calm", hits: 33, sessions: []int64{9, 8, 8, 8}}
	for name, c := range map[string]struct {
		sent []int64
		done int64
		want string
	}{
		"as planned":               {[]int64{9, 8, 8, 8}, 33, ""},
		"one over the boundary":    {[]int64{9, 8, 8, 9}, 34, ""},
		"one less, one more":       {[]int64{8, 8, 8, 9}, 33, ""},
		"one session asks for two": {[]int64{9, 16, 0, 8}, 33, "session 1 sent 16 requests, and its share of the plan is 8"},
		"an idle session":          {[]int64{9, 8, 8, 0}, 25, "session 3 sent 0 requests"},
		"too few sessions":         {[]int64{9, 8, 16}, 33, "sent by 3 sessions, and the scenario has 4"},
		"no sessions":              {nil, 33, "sent by 0 sessions"},
		"not all requests":         {[]int64{9, 8, 8, 8}, 40, "its sessions sent 33 requests, and 40 have an outcome"},
	} {
		if got := dealt(&evidence.Phase{Sessions: c.sent, Done: c.done}, st); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if got := dealt(&evidence.Phase{Sessions: []int64{3}, Done: 3}, stagePhase{}); got == "" {
		t.Error("sessions that nobody asked for are as planned")
	}
}

func TestMergedPhasesAddUpTheirSessions(t *testing.T) {
	h, err := evidence.EncodeHistogram(evidence.NewHistogram())
	if err != nil {
		t.Fatal(err)
	}
	part := func(sessions ...int64) *evidence.Phase {
		return &evidence.Phase{Intended: h, Service: h, Lag: h, Sessions: sessions, Protocol: "http1"}
	}
	p, err := evidence.MergePhases([]*evidence.Phase{part(1, 0, 3), part(0, 2, 1)})
	if err != nil || !slices.Equal(p.Sessions, []int64{1, 2, 4}) {
		t.Errorf("%+v, %v", p, err)
	}
	other := part()
	other.Protocol = "http2"
	if _, err := evidence.MergePhases([]*evidence.Phase{part(1), other}); err == nil {
		t.Error("parts in two protocols are one phase")
	}
}
