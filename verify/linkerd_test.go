package verify

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

func TestAGoodRecordOfLinkerdPassesEveryCheck(t *testing.T) {
	res := Evaluate(goodRecord(t, testScenario(scenarios.MeshLinkerd)))
	if res.Verdict != Pass || res.Reason != "AllProved" {
		t.Errorf("%s %s: %s", res.Verdict, res.Reason, res.Message)
	}
	for id, v := range verdicts(res) {
		if v != "PASS" {
			t.Errorf("%s: %s", id, v)
		}
	}
	statuses := map[string]int{}
	for _, c := range res.Cells {
		if c.From == "shop" && c.To == "shop" { // it has one pod
			if c.Verdict != Skipped || c.Message != onLoopback || len(c.Used) == 0 {
				t.Errorf("cell %s: %s: %s", c.ID, c.Verdict, c.Message)
			}
			continue
		}
		statuses[c.Status]++
		if c.Verdict != Pass || c.Observed != c.Expected {
			t.Errorf("cell %s: %s, %s: %s", c.ID, c.Verdict, c.Observed, c.Message)
		}
	}
	if statuses["200"] == 0 || statuses["403"] == 0 || statuses["404"] == 0 || len(statuses) != 3 {
		t.Errorf("cells by status: %v", statuses)
	}
	for _, c := range res.Checks {
		if len(c.Used) == 0 {
			t.Errorf("%s passes and names no evidence", c.ID)
		}
		var names []string
		for _, w := range c.Witnesses {
			names = append(names, w.Name)
			if w.Verdict != Pass || len(w.Used) == 0 {
				t.Errorf("%s: witness %s: %s %s", c.ID, w.Name, w.Verdict, w.Message)
			}
		}
		if c.Kind == KindMTLS {
			if d := cmp.Diff([]string{"workload record", "served chain", "refused plaintext", "sidecar set", "proxy metrics"}, names); d != "" {
				t.Errorf("%s: witnesses (-want +got):\n%s", c.ID, d)
			}
		}
	}
}

func TestFreshConnectionsAreClaimedNoFurtherThanProxiesOpenedThem(t *testing.T) {
	res := Evaluate(goodRecord(t, testScenario(scenarios.MeshLinkerd)))
	for _, c := range res.Checks {
		if c.ID == "policy/cart" && !strings.Contains(c.Message, "are claimed for at most 16 of ") {
			t.Errorf("%s: %s", c.ID, c.Message)
		}
	}
}

func TestACellOfAPodThatAsksItselfIsJudgedWhereAProxyLetItIn(t *testing.T) {
	rec := goodRecord(t, testScenario(scenarios.MeshLinkerd))
	for _, p := range rec.Probes {
		if p.From.Service == "shop" && p.To == "shop" {
			for _, r := range rec.Requests {
				if r.ID == p.ID {
					r.L5dClientID = l5dShop
				}
			}
		}
	}
	for _, c := range Evaluate(rec).Checks {
		if c.ID == "policy/shop" && (c.Verdict != Fail || c.Reason != reasonHole) {
			t.Errorf("%s: %s %s %s", c.ID, c.Verdict, c.Reason, c.Message)
		}
	}
}

func TestAnEdgeOfAServiceToItselfIsProvedByWhatItsOtherPodsAnswered(t *testing.T) {
	s := testScenario(scenarios.MeshLinkerd)
	s.Spec.Policy.Allow = append(s.Spec.Policy.Allow, scenarios.Rule{From: "cart", To: "cart"}, scenarios.Rule{From: "shop", To: "shop"})
	got := map[string]Check{}
	for _, c := range Evaluate(goodRecord(t, s)).Checks {
		got[c.ID] = c
	}
	if c := got["mtls/shop->shop"]; c.Verdict != Skipped || c.Reason != reasonLoopback {
		t.Errorf("%s: %s %s: one pod cannot prove anything by asking itself", c.ID, c.Verdict, c.Message)
	}
	if c := got["mtls/cart->cart"]; c.Verdict != Pass || !strings.Contains(c.Message, "are left out") {
		t.Errorf("%s: %s %s", c.ID, c.Verdict, c.Message)
	}
	for _, id := range []string{"policy/cart", "policy/shop"} {
		if c := got[id]; c.Verdict != Pass {
			t.Errorf("%s: %s %s", c.ID, c.Verdict, c.Message)
		}
	}
}

func TestOnlyWhatMeetsNoProxyIsLeftOut(t *testing.T) {
	at := func(uid string) evidence.PodRef { return evidence.PodRef{Cluster: "east", Service: "shop", UID: uid} }
	for name, tc := range map[string]struct {
		d      dialect
		status int
		recs   []*evidence.Request
		want   bool
	}{
		"its own answer":            {linkerdDialect{}, 200, []*evidence.Request{{At: at("a")}}, true},
		"in layers":                 {layeredDialect{}, 200, []*evidence.Request{{At: at("a")}}, true},
		"where Istio captures that": {istioDialect{}, 200, []*evidence.Request{{At: at("a")}}, false},
		"another pod's":             {linkerdDialect{}, 200, []*evidence.Request{{At: at("b")}}, false},
		"let in by a proxy":         {linkerdDialect{}, 200, []*evidence.Request{{At: at("a"), L5dClientID: l5dShop}}, false},
		"a refusal":                 {linkerdDialect{}, 403, nil, false},
		"twice":                     {linkerdDialect{}, 200, []*evidence.Request{{At: at("a")}, {At: at("a")}}, false},
		"no record of anybody":      {linkerdDialect{}, 200, nil, false},
	} {
		x := &trial{d: tc.d, requests: map[string][]*evidence.Request{"1": tc.recs}}
		p := &evidence.Probe{ID: "1", From: at("a"), To: "shop", Status: tc.status}
		if got := x.ownPod(p) != nil; got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	x := &trial{d: linkerdDialect{}, requests: map[string][]*evidence.Request{"1": {{}}}}
	if x.ownPod(&evidence.Probe{ID: "1", To: "", Status: 200}) != nil {
		t.Error("a sender without a UID is taken for the pod that answered")
	}
}
