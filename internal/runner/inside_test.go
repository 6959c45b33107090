package runner_test

import (
	"context"
	"strings"
	"testing"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/loadgen"
	"github.com/meshproof/meshproof/verify"
)

// inside is a load of users and one that shop sends to cart, in its other cluster as well.
const inside = `
apiVersion: meshproof/v1alpha1
kind: Scenario
metadata: {name: inside}
spec:
  meshes: [MESH]
  topology:
    clusters: [{name: east}, {name: west}]
    services:
      - {name: shop, clusters: [east], replicas: 2}
      - {name: cart, clusters: [west]}
  policy: {default: deny, allow: [{from: ingress, to: shop}, {from: shop, to: cart, methods: [GET], paths: [/items/*]}]}
  traffic:
    - {name: users, to: shop, profile: {stages: [{rate: 20, for: 2s}]}}
    - {name: inner, from: shop, to: cart, requests: [{path: /items/1}], profile: {stages: [{name: calm, rate: 40, for: 1s}, {name: busy, rate: 60, for: 1s}]}}
  expect:
    mtls: {everywhere: true}
    policy: {matrix: complete}
    errors: [{traffic: inner, rate: 0.01}]
`

func TestALoadOfAServiceIsSentThroughItsMeshAndJudged(t *testing.T) {
	for mesh, proof := range map[string]verify.Verdict{
		"{name: none, gaps: [mtls, policy]}": verify.Gap, "{name: istio}": verify.Pass, "{name: linkerd}": verify.Pass, "{name: layered}": verify.Pass,
	} {
		t.Run(mesh, func(t *testing.T) {
			out, rec := run(t, strings.Replace(inside, "MESH", mesh, 1), 1, nil)
			if out.Result.Verdict != verify.Pass {
				t.Errorf("%s %s: %s", out.Result.Verdict, out.Result.Reason, out.Result.Message)
			}
			found := map[string]verify.Verdict{}
			for _, c := range out.Result.Checks {
				found[c.ID] = c.Verdict
			}
			for id, want := range map[string]verify.Verdict{"load/inner/calm": verify.Pass, "load/inner/busy": verify.Pass, "errors/inner/busy": verify.Pass, "mtls/shop->cart": proof, "policy/cart": proof} {
				if found[id] != want {
					t.Errorf("%s is %q, want %s", id, found[id], want)
				}
			}
			n, senders := 0, map[string]bool{}
			for _, r := range rec.Requests {
				if strings.Contains(r.ID, "-inner-") {
					n++
					senders[r.Caller] = true
					if r.At.Service != "cart" || r.Window != "load" {
						t.Fatalf("a request of the load went elsewhere: %+v", r)
					}
				}
			}
			if n != 100 || len(senders) != 1 || !senders["shop@east"] {
				t.Errorf("%d requests of %v were recorded, want 100 of shop@east", n, senders)
			}
		})
	}
}

// murderous is a provider whose clusters kill the pod that sends a load.
type murderous struct{ clusters.Provider }

func (m murderous) Create(ctx context.Context, spec clusters.Spec) (clusters.Fleet, error) {
	f, err := m.Provider.Create(ctx, spec)
	if err != nil {
		return nil, err
	}
	return murderousFleet{f}, nil
}

type murderousFleet struct{ clusters.Fleet }

func (f murderousFleet) Cluster(name string) clusters.Cluster {
	return murderousCluster{f.Fleet.Cluster(name)}
}

type murderousCluster struct{ clusters.Cluster }

func (c murderousCluster) Attack(ctx context.Context, from clusters.Pod, a loadgen.Attack, progress func(loadgen.Progress)) error {
	killed := false
	return c.Cluster.Attack(ctx, from, a, func(p loadgen.Progress) {
		if progress(p); p.Phase == "busy" && !killed {
			killed = true
			_ = c.KillPod(ctx, from.UID, "somebody did it")
		}
	})
}

func TestASenderThatDiesLeavesNoVerdictOnItsLoad(t *testing.T) {
	out, rec := run(t, strings.Replace(inside, "MESH", "{name: istio}", 1), 1, murderous{models()})
	if out.Result.Verdict != verify.Invalid {
		t.Errorf("%s %s: %s", out.Result.Verdict, out.Result.Reason, out.Result.Message)
	}
	found := map[string]verify.Check{}
	for _, c := range out.Result.Checks {
		found[c.ID] = c
	}
	for _, id := range []string{"load/inner/busy", "errors/inner/busy"} {
		if c := found[id]; c.Verdict != verify.Invalid || c.Reason != "SenderLost" || !strings.Contains(c.Message, "east/shop") {
			t.Errorf("%s is %s %s: %s", id, c.Verdict, c.Reason, c.Message)
		}
	}
	if c := found["load/users/stage-1"]; c.Verdict != verify.Pass {
		t.Errorf("the load of users is %s %s: %s", c.Verdict, c.Reason, c.Message)
	}
	lost := 0
	for _, e := range rec.Events {
		if e.Kind == evidence.EventSenderLost {
			lost++
		}
	}
	if lost != 1 {
		t.Errorf("the sender was lost %d times", lost)
	}
}
