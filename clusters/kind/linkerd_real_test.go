package kind

import (
	"errors"
	"slices"
	"testing"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/internal/runner"
	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

// Where the bundle has Linkerd. A gateway that speaks straight to Linkerd's proxies is the third.
func TestRealLinkerdKeepsWhatIsExpectedOfItAloneAndInLayers(t *testing.T) {
	p := RealProvider(t)
	if _, err := p.Build(string(scenarios.MeshLinkerd)); errors.Is(err, clusters.ErrNotPossible) {
		t.Skipf("SKIPPED: %v", err)
	}
	for _, tt := range []struct {
		name    string
		mesh    scenarios.MeshName
		layered *scenarios.Layered
	}{
		{"linkerd", scenarios.MeshLinkerd, nil},
		{"layered", scenarios.MeshLayered, nil},
		{"layered, direct", scenarios.MeshLayered, &scenarios.Layered{Gateway: scenarios.GatewayDirect}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := scenarios.Load("testdata/linkerd.yaml")
			if err != nil {
				t.Fatal(err)
			}
			s.Spec.Meshes = slices.DeleteFunc(s.Spec.Meshes, func(e scenarios.MeshEntry) bool { return e.Name != tt.mesh })
			s.Spec.Meshes[0].Layered = tt.layered
			out, err := runner.Run(t.Context(), runner.Options{
				Scenario: s, Provider: p, Out: t.TempDir(), Journal: t.TempDir(), Seed: 1, Version: "test", Named: true, Log: t.Output(),
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range out.Result.Checks {
				if c.Verdict == verify.Fail || c.Verdict == verify.Invalid {
					t.Errorf("%s is %s %s: %s", c.ID, c.Verdict, c.Reason, c.Message)
				}
			}
			if out.Result.Verdict != verify.Pass {
				t.Errorf("the verdict is %s", out.Result.Verdict)
			}
		})
	}
}
