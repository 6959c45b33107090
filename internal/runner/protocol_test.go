package runner_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/internal/runner"
	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

// multiplexed is a load in HTTP/2 through the ingress.
const multiplexed = `
apiVersion: meshproof/v1alpha1
kind: Scenario
metadata: {name: multiplexed}
spec:
  meshes: [{name: MESH}]
  topology:
    clusters: [{name: east}]
    services: [{name: shop}, {name: cart}]
  traffic:
    - {name: users, from: ingress, to: shop, protocol: http2, profile: {stages: [{rate: 50, for: 1s}]}}
  expect: {errors: [{traffic: users, rate: 0.01}]}
`

func TestALoadInHTTP2ReachesTheIngressInHTTP2(t *testing.T) {
	for _, c := range []struct{ mesh, from, sees string }{{"none", "ingress", "ingress"}, {"linkerd", "ingress", "ingress"}, {"none", "cart", "shop"}} {
		text := strings.NewReplacer("MESH", c.mesh, "from: ingress", "from: "+c.from).Replace(multiplexed)
		out, rec := run(t, text, 1, nil)
		if r := out.Result; r.Verdict != verify.Pass && r.Reason != "LoadLate" && r.Reason != "LoadShortfall" { // a busy machine may be late
			t.Errorf("%+v: %s %s: %s", c, out.Result.Verdict, out.Result.Reason, out.Result.Message)
		}
		n, conns := 0, map[string]bool{}
		for _, r := range rec.Requests {
			if r.Window != "load" || r.At.Service != c.sees {
				continue
			}
			n++
			conns[r.Remote] = true
			if r.Proto != "HTTP/2.0" {
				t.Fatalf("%+v: a request came in %q", c, r.Proto)
			}
		}
		if n != 50 || len(conns) >= n {
			t.Errorf("%+v: %d requests on %d connections, want 50 on fewer", c, n, len(conns))
		}
		if p := rec.Phases[0]; p.Protocol != "http2" {
			t.Errorf("%+v: it is recorded as %q", c, p.Protocol)
		}
	}
}

func TestAProtocolThatTheWayInCannotTakeIsRefusedBeforeTheRun(t *testing.T) {
	for _, c := range []struct{ mesh, from string }{{"istio", "ingress"}, {"layered", "ingress"}, {"istio", "cart"}, {"linkerd", "cart"}} {
		s, err := scenarios.Parse("test.yaml", []byte(strings.NewReplacer("MESH", c.mesh, "from: ingress", "from: "+c.from).Replace(multiplexed)))
		if err != nil {
			t.Fatal(err)
		}
		_, err = runner.Run(t.Context(), runner.Options{Scenario: s, Provider: models(), Out: t.TempDir(), Journal: t.TempDir(), Seed: 1, Version: "test"})
		if !errors.Is(err, runner.ErrUsage) || !errors.Is(err, clusters.ErrNotModelled) || !strings.Contains(err.Error(), "spec.traffic[0]: traffic users in HTTP/2") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
