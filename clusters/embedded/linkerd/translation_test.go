package linkerd

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/meshes"
	"github.com/meshproof/meshproof/scenarios"
)

// TestTheTranslatedPolicyDecidesAsThePortableOne draws policies and asks, for every caller and many requests, whether the
// objects that they become let in exactly whom the policy allows.
func TestTheTranslatedPolicyDecidesAsThePortableOne(t *testing.T) {
	mesh, err := meshes.ByName(scenarios.MeshLinkerd)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	methods := []string{"GET", "POST", "PUT"}
	patterns := []string{"/", "/*", "/a", "/a/", "/a/*", "/a/b", "/a/b/*", "/a/b/c", "/ab/*", "/b"}
	paths := []string{"/", "/a", "/a/", "/ab", "/ab/", "/ab/x", "/a/b", "/a/b/", "/a/b/c", "/a/b/c/d", "/a/x", "/b", "/b/x", "/c"}
	some := func(all []string) []string {
		var out []string
		for _, v := range all {
			if rng.IntN(4) == 0 {
				out = append(out, v)
			}
		}
		return out
	}
	for round := range 400 {
		s := &scenarios.Scenario{}
		s.Spec.Topology.Clusters = []scenarios.Cluster{{Name: "east"}}
		for _, name := range []string{"shop", "cart", "stock"} {
			s.Spec.Topology.Services = append(s.Spec.Topology.Services, scenarios.Service{Name: name, Namespace: "app", Clusters: []string{"east"}, Replicas: 1})
		}
		s.Spec.Policy.Default = scenarios.DefaultDeny
		for range 1 + rng.IntN(5) {
			from := []string{"ingress", "cart", "stock"}[rng.IntN(3)]
			s.Spec.Policy.Allow = append(s.Spec.Policy.Allow, scenarios.Rule{From: from, To: "shop", Methods: some(methods), Paths: some(patterns)})
		}
		objs, err := mesh.Objects(s, scenarios.MeshEntry{}, "east")
		if err != nil {
			t.Fatal(err)
		}
		if err := check(objs); err != nil {
			t.Fatal(err)
		}
		pod := proxy.Pod{
			PodRef:      evidence.PodRef{Cluster: "east", Namespace: "app", Service: "shop"},
			Labels:      map[string]string{"app": "shop", "app.kubernetes.io/part-of": "meshproof"},
			Annotations: map[string]string{defaultPolicy: "deny"},
		}
		cfg := compile(&proxy.Snapshot{Objects: objs}, pod)
		for _, w := range s.Workloads() {
			state := tlsState{established: w.Meshed}
			if w.Meshed {
				state.client.name = w.LinkerdID()
			}
			for _, method := range append(methods, "DELETE") {
				for _, path := range paths {
					_, authz := cfg.app.authorizeHTTP(asked{method: method, path: path}, state)
					if got, want := authz != nil, w.Meshed && s.Spec.Policy.Allows(w.Name, "shop", method, path); got != want {
						t.Fatalf("round %d: %s %s %s: %v, want %v under %s", round, w.Name, method, path, got, want, fmt.Sprintf("%+v", s.Spec.Policy.Allow))
					}
				}
			}
		}
		if _, authz := cfg.admin.authorizeHTTP(asked{method: "GET", path: "/metrics"}, tlsState{}); authz == nil {
			t.Fatal("the metrics cannot be read")
		}
	}
}
