package reports

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

func TestTheReportSaysWhoSendsEachTraffic(t *testing.T) {
	doc, err := json.Marshal(scenarios.Scenario{Spec: scenarios.Spec{Traffic: []scenarios.Traffic{
		{Name: "users", From: "ingress", To: "shop", Cluster: "east"}, {Name: "inner", From: "shop", To: "cart", Cluster: "west"}, {Name: "old", To: "shop", Cluster: "east"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	tr := evidence.Trial{Block: 1, Mesh: "none"}
	res := &verify.Result{}
	for _, name := range []string{"users", "inner", "old", "unheard-of"} {
		res.Phases = append(res.Phases, verify.Phase{Trial: tr, Traffic: name, Phase: "calm", ForMicros: 1e6, Offered: 1, Intended: map[string]int64{"p50": 3, "p90": 3, "p99": 3}})
	}
	r := Build(&evidence.Record{Manifest: evidence.Manifest{Scenario: doc, Order: [][]string{{"none"}}}}, res)
	for name, want := range map[string]string{
		"users": "From outside, through the ingress of east, to shop.", "old": "From outside, through the ingress of east, to shop.",
		"inner": "From inside: a pod of shop in west sends to cart.", "unheard-of": "",
	} {
		if got := r.way(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	var page bytes.Buffer
	if err := HTML(&page, r); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(page.String(), "From inside: a pod of shop in west sends to cart."); n != 1 {
		t.Errorf("the page says %d times who sends", n)
	}
}
