package runner_test

import (
	"slices"
	"testing"

	"github.com/meshproof/meshproof/internal/runner"
	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

func TestCertificatesAreReplacedUnderLoadAndAClusterTakesOver(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it takes twenty seconds, and certificates that hold six want a machine that is not busy")
	}
	for _, mesh := range []scenarios.MeshName{scenarios.MeshIstio, scenarios.MeshLinkerd} {
		t.Run(string(mesh), func(t *testing.T) {
			t.Parallel()
			s, err := scenarios.LoadLibrary("rotation")
			if err != nil {
				t.Fatal(err)
			}
			s.Spec.Meshes = slices.DeleteFunc(s.Spec.Meshes, func(e scenarios.MeshEntry) bool { return e.Name != mesh })
			out, err := runner.Run(t.Context(), runner.Options{
				Scenario: s, Provider: models(), Out: t.TempDir(), Journal: t.TempDir(), Seed: 1, Version: "test",
			})
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]int{}
			for _, c := range out.Result.Checks {
				seen[c.Kind]++
				if c.Verdict == verify.Skipped && c.ID == "mtls/shop->shop" && c.Reason == "Loopback" {
					continue // by chance, of few requests each was answered by the pod that asked
				}
				if c.Verdict != verify.Pass {
					t.Errorf("%s is %s: %s", c.ID, c.Verdict, c.Message)
				}
			}
			if seen[verify.KindRotation] != 2 || seen[verify.KindFailover] != 1 {
				t.Errorf("checks: %v", seen)
			}
			for _, f := range out.Report.Faults {
				if f.Kind == string(scenarios.WorkloadOutage) && f.FailoverMicros < 0 {
					t.Error("the report has no time of the failover")
				}
			}
		})
	}
}
