package meshes

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	security "istio.io/client-go/pkg/apis/security/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/clusters"
	embedded "github.com/meshproof/meshproof/clusters/embedded/istio"
	"github.com/meshproof/meshproof/scenarios"
)

// guarded is a scenario with a policy that allows some calls, or all.
func guarded(def scenarios.PolicyDefault) *scenarios.Scenario {
	s := &scenarios.Scenario{}
	s.Spec.Topology.Clusters = []scenarios.Cluster{{Name: "east"}, {Name: "west"}}
	s.Spec.Topology.Services = []scenarios.Service{
		{Name: "shop", Namespace: "app", Clusters: []string{"east"}, Replicas: 2},
		{Name: "cart", Namespace: "app", Clusters: []string{"east", "west"}, Replicas: 1},
		{Name: "stock", Namespace: "store", Clusters: []string{"west"}, Replicas: 1},
	}
	s.Spec.Policy = scenarios.Policy{Default: def}
	if def == scenarios.DefaultDeny { // nobody may call cart
		s.Spec.Policy.Allow = []scenarios.Rule{
			{From: scenarios.IngressName, To: "shop", Methods: []string{"GET", "POST"}},
			{From: "shop", To: "stock", Methods: []string{"GET"}, Paths: []string{"/items/*", "/health"}},
			{From: "cart", To: "stock"},
		}
	}
	return s
}

// identified is guarded with an issuer, and with claims where rules count.
func identified(def scenarios.PolicyDefault) *scenarios.Scenario {
	s := guarded(def)
	s.Spec.Identity.Issuer = &scenarios.Issuer{Kind: scenarios.IssuerOIDC, Audience: "shop"}
	if def == scenarios.DefaultDeny {
		s.Spec.Policy.Allow[0].Claims = map[string]string{"role": "customer", "country": "at"}
		s.Spec.Policy.Allow = append(s.Spec.Policy.Allow, scenarios.Rule{From: scenarios.IngressName, To: "stock", Paths: []string{"/health"}})
	}
	return s
}

func TestIstioRendersItsSettings(t *testing.T) {
	for _, tt := range []struct {
		name string
		s    *scenarios.Scenario
	}{
		{"istio-deny", guarded(scenarios.DefaultDeny)},
		{"istio-allow", guarded(scenarios.DefaultAllow)},
		{"istio-claims", identified(scenarios.DefaultDeny)},
		{"istio-users", identified(scenarios.DefaultAllow)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			golden(t, istio{}, tt.s, tt.name)
		})
	}
}

// golden compares what a mesh renders for east with a file. What every mesh gets is not this test's matter, except for
// the namespaces.
func golden(t *testing.T, mesh Mesh, s *scenarios.Scenario, name string) {
	t.Helper()
	objs, err := mesh.Objects(s, scenarios.MeshEntry{}, "east")
	if err != nil {
		t.Fatal(err)
	}
	objs = slices.DeleteFunc(objs, func(o clusters.Object) bool {
		switch o.(type) {
		case *corev1.Service, *corev1.ServiceAccount, *appsv1.Deployment:
			return true
		}
		return false
	})
	goldenObjects(t, objs, name)
}

func goldenObjects(t *testing.T, objs []clusters.Object, name string) {
	t.Helper()
	got, err := clusters.Encode(objs)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name+".yaml")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("not as in %s (write it with -update):\n%s", path, d)
	}
}

func TestTheModelTakesEverythingThatIstioRenders(t *testing.T) {
	for _, def := range []scenarios.PolicyDefault{scenarios.DefaultDeny, scenarios.DefaultAllow} {
		for _, cluster := range []string{"east", "west"} {
			for _, s := range []*scenarios.Scenario{guarded(def), identified(def)} {
				objs, err := istio{}.Objects(s, scenarios.MeshEntry{}, cluster)
				if err != nil {
					t.Fatal(err)
				}
				if err := embedded.Factory().Check(objs); err != nil {
					t.Errorf("%s, %s: %v", def, cluster, err)
				}
			}
		}
	}
}

func TestIstioSettingsComeBeforeServicesAndPods(t *testing.T) {
	objs, err := istio{}.Objects(guarded(scenarios.DefaultDeny), scenarios.MeshEntry{}, "west")
	if err != nil {
		t.Fatal(err)
	}
	seenService := false
	for _, o := range objs {
		switch o.(type) {
		case *corev1.Service, *appsv1.Deployment:
			seenService = true
		case *corev1.Namespace, *corev1.ServiceAccount:
		default:
			if seenService {
				t.Errorf("%T %s comes after a Service", o, o.GetName())
			}
		}
	}
	if ns, ok := objs[0].(*corev1.Namespace); !ok || ns.Name != "istio-system" {
		t.Errorf("first is %T %s", objs[0], objs[0].GetName())
	}
}

func TestOnlyMeshedNamespacesAreInjected(t *testing.T) {
	objs, err := istio{}.Objects(guarded(scenarios.DefaultAllow), scenarios.MeshEntry{}, "east")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, o := range objs {
		if ns, ok := o.(*corev1.Namespace); ok {
			got[ns.Name] = ns.Labels["istio-injection"]
		}
	}
	for ns, want := range map[string]string{"istio-system": "", "app": "enabled", "store": "enabled", "edge": "enabled", "outside": ""} {
		if v, ok := got[ns]; !ok || v != want {
			t.Errorf("namespace %s: label %q (there: %v), want %q", ns, v, ok, want)
		}
	}
}

func TestNoServiceNameHidesAllowNothing(t *testing.T) {
	for _, name := range []string{"allow-nothing", "nothing", "from-outside", "to-cart"} {
		s := guarded(scenarios.DefaultDeny)
		s.Spec.Topology.Services[0].Name = name
		s.Spec.Policy.Allow = []scenarios.Rule{{From: "cart", To: name}}
		objs, err := istio{}.Objects(s, scenarios.MeshEntry{}, "east")
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]int{}
		for _, o := range objs {
			if p, ok := o.(*security.AuthorizationPolicy); ok {
				names[p.Namespace+"/"+p.Name]++
				if p.Name == "allow-nothing" && len(p.Spec.Rules) > 0 {
					t.Errorf("service %s: allow-nothing has rules", name)
				}
			}
		}
		for k, n := range names {
			if n > 1 {
				t.Errorf("service %s: %d policies are called %s", name, n, k)
			}
		}
		if names["app/allow-nothing"] != 1 || names["store/allow-nothing"] != 1 {
			t.Errorf("service %s: policies %v", name, names)
		}
	}
}
