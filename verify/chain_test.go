package verify

import (
	"testing"

	"github.com/meshproof/meshproof/scenarios"
)

// In layers both meshes have an issuer in each cluster, under one root.
func TestACertificateOfTheOtherMeshsIssuerIsForeign(t *testing.T) {
	for issuer, want := range map[scenarios.MeshName]Verdict{scenarios.MeshLinkerd: Pass, scenarios.MeshIstio: Fail} {
		rec := goodRecord(t, layeredScenario(scenarios.GatewayMeshed, scenarios.BalancingService), func(b *builder) {
			b.onPod = func(p *simPod) {
				if p.Service != "cart" {
					return
				}
				c, err := b.cas.Issuer(issuer, p.Cluster).Issue(b.leafOf(p.w))
				must(t, err)
				p.chain = c.Certificate
			}
		})
		k := checkOf(t, Evaluate(rec), "mtls/shop->cart")
		if k.Verdict != want || want == Fail && k.Reason != "ForeignChain" {
			t.Errorf("issued by %s's: %s %s: %s", issuer, k.Verdict, k.Reason, k.Message)
		}
	}
}
