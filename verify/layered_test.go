package verify

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshproof/meshproof/scenarios"
)

// layeredWays are the ways in which mesh layered can be built.
var layeredWays = []struct {
	name      string
	gateway   scenarios.LayeredGateway
	balancing scenarios.LayeredBalancing
	verdict   Verdict // of its balancing
	observed  string
	says      string
}{
	{"a meshed gateway that connects to Services", scenarios.GatewayMeshed, scenarios.BalancingService, Pass, balances, "retries are in use"},
	{"a meshed gateway that connects to pods", scenarios.GatewayMeshed, scenarios.BalancingEndpoint, Pass, balanceNo, "retries are not in use at the gateway, as the scenario asks"},
	{"a direct gateway", scenarios.GatewayDirect, "", Skipped, balanceNo, "retries are not in use for what it sends"},
}

func TestAGoodRecordOfLayeredPassesEveryCheckAndSaysWhoBalances(t *testing.T) {
	for _, c := range layeredWays {
		t.Run(c.name, func(t *testing.T) {
			res := Evaluate(goodRecord(t, layeredEdgeScenario(c.gateway, c.balancing)))
			if res.Verdict != Pass || res.Reason != "AllProved" {
				t.Errorf("%s %s: %s", res.Verdict, res.Reason, res.Message)
			}
			kinds := map[string]int{}
			for _, k := range res.Checks {
				kinds[k.Kind]++
				want := Pass
				if k.Kind == KindBalancing {
					want = c.verdict
					if k.ID != "balancing/gateway" || k.Observed != c.observed || !strings.Contains(k.Message, c.says) {
						t.Errorf("%s: observed %q: %s", k.ID, k.Observed, k.Message)
					}
				}
				if k.Verdict != want || want == Pass && len(k.Used) == 0 {
					t.Errorf("%s: %s %s, %d pieces of evidence: %s", k.ID, k.Verdict, k.Reason, len(k.Used), k.Message)
				}
				var names []string
				for _, w := range k.Witnesses {
					names = append(names, w.Name)
					if w.Verdict != Pass || len(w.Used) == 0 {
						t.Errorf("%s: witness %s: %s %s", k.ID, w.Name, w.Verdict, w.Message)
					}
				}
				if d := cmp.Diff([]string{"workload record", "served chain", "refused plaintext", "sidecar set", "proxy metrics"}, names); k.Kind == KindMTLS && d != "" {
					t.Errorf("%s: witnesses (-want +got):\n%s", k.ID, d)
				}
			}
			if kinds[KindBalancing] != 1 || kinds[KindMTLS] == 0 || kinds[KindPolicy] == 0 || kinds[KindIdentity] == 0 {
				t.Errorf("checks: %v", kinds)
			}
			for _, k := range slices.Concat(res.Cells, res.Tokens) {
				if k.From == "shop" && k.To == "shop" && k.Verdict == Skipped && k.Message == onLoopback {
					continue // it has one pod
				}
				if k.Verdict != Pass || k.Observed != k.Expected {
					t.Errorf("cell %s: %s, %s: %s", k.ID, k.Verdict, k.Observed, k.Message)
				}
			}
		})
	}
}
