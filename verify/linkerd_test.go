package verify

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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
