package kind

import (
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/meshproof/meshproof/meshes"
	"github.com/meshproof/meshproof/scenarios"
)

func TestLinkerdsOwnChartLetsCertificatesHoldAsLongAsTheScenarioSays(t *testing.T) {
	mat := linkerdMaterial(t)
	m, err := meshes.ByName(scenarios.MeshLinkerd)
	if err != nil {
		t.Fatal(err)
	}
	s := &scenarios.Scenario{}
	s.Spec.Identity.LeafLifetime = scenarios.Duration(6 * time.Second)
	for _, r := range m.Install(s, scenarios.MeshEntry{}, "", "east").Releases {
		if r.Chart != linkerdChart {
			continue
		}
		objs := rendered(t, mat, r, nil)
		for name, want := range map[string][]string{
			// What a certificate holds is the sum of the two.
			"Deployment/linkerd-identity":    {"-identity-issuance-lifetime=5s", "-identity-clock-skew-allowance=1s"},
			"Deployment/linkerd-destination": {"name: LINKERD2_PROXY_IDENTITY_MIN_REFRESH\n", "value: 1s"},
		} {
			text, err := yaml.Marshal(objs[name])
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range want {
				if !strings.Contains(string(text), w) {
					t.Errorf("%s has no %q", name, w)
				}
			}
		}
		return
	}
	t.Errorf("Linkerd is installed without chart %s", linkerdChart)
}
