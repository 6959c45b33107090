package verify

import (
	"testing"

	"github.com/meshproof/meshproof/evidence"
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

func TestARecordOfBeforeMeshesHadTheirOwnIssuersIsStillJudged(t *testing.T) {
	rec := goodRecord(t, testScenario(scenarios.MeshIstio))
	for _, e := range rec.Events {
		for _, cluster := range []string{"east", "west"} {
			name := evidence.TrustIssuer("istio", cluster)
			if text := e.Data[name]; text != "" {
				delete(e.Data, name)
				e.Data["intermediate/"+cluster] = text
			}
		}
	}
	if k := checkOf(t, Evaluate(rec), "mtls/shop->cart"); k.Verdict != Pass {
		t.Errorf("%s %s: %s", k.Verdict, k.Reason, k.Message)
	}
	for _, e := range rec.Events {
		if e.Kind == evidence.EventTrust {
			delete(e.Data, "intermediate/west")
		}
	}
	if k := checkOf(t, Evaluate(rec), "mtls/shop->cart"); k.Verdict != Invalid || k.Reason != "NoTrust" {
		t.Errorf("without one of them: %s %s: %s", k.Verdict, k.Reason, k.Message)
	}
}
