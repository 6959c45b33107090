package verify

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
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

func TestSessionsOfAnotherTrafficAreItsOwn(t *testing.T) {
	s := testScenario(scenarios.MeshIstio)
	tr := &s.Spec.Traffic[0]
	tr.Sessions = 2
	x := &trial{id: evidence.Trial{Block: 1, Mesh: "istio"}, s: s, received: map[edgeWindow][]evidenceRequest{}}
	ask := func(traffic string, n int, uid string) {
		at := edgeWindow{window: windowLoad, service: tr.To}
		x.received[at] = append(x.received[at], evidenceRequest{Request: &evidence.Request{
			ID: fmt.Sprintf("%s-%s-%d", x.id.LoadID(), traffic, n), Caller: tr.Caller() + "@" + tr.Cluster, Status: 200, At: evidence.PodRef{UID: uid},
		}})
	}
	for n := range 10 {
		ask(tr.Name, n, "a")
		ask("more-"+tr.Name, n, "b")
	}
	if got := x.balancedSessions(tr, stagePhase{hits: 10}); got.Pods != 1 || got.Sessions != 2 {
		t.Errorf("%+v", got)
	}
}
