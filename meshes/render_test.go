package meshes

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/internal/workload"
	"github.com/meshproof/meshproof/scenarios"
)

var update = flag.Bool("update", false, "write the golden files again")

// topology is a scenario with its defaults filled in.
func topology() *scenarios.Scenario {
	half := 0.5
	return &scenarios.Scenario{Spec: scenarios.Spec{Topology: scenarios.Topology{
		Clusters: []scenarios.Cluster{{Name: "east"}, {Name: "west"}},
		Services: []scenarios.Service{
			{
				Name: "shop", Namespace: "app", Clusters: []string{"east"}, Replicas: 2,
				Calls: []scenarios.Call{{To: "cart", Method: "GET", Path: "/items"}, {To: "stock", Share: &half, Method: "POST", Path: "/"}},
			},
			{Name: "cart", Namespace: "app", Clusters: []string{"east", "west"}, Replicas: 1, ErrorRate: 0.01},
			{Name: "stock", Namespace: "store", Clusters: []string{"west"}, Replicas: 1},
		},
	}}}
}

func TestNoneRendersTheWorkloadsAndNothingElse(t *testing.T) {
	for _, cluster := range []string{"east", "west"} {
		objs, err := Render(none{}, scenarios.MeshEntry{}, topology(), cluster)
		if err != nil {
			t.Fatal(err)
		}
		got, err := clusters.Encode(objs)
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", "none-"+cluster+".yaml")
		if *update {
			if err := os.MkdirAll("testdata", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatalf("%v (write it with -update)", err)
		}
		if d := cmp.Diff(string(want), string(got)); d != "" {
			t.Error(d)
		}
	}
}

func TestEveryServiceExistsEverywhereAndDeploymentsOnlyWhereTheyRun(t *testing.T) {
	objs, err := workloadObjects(topology(), "west", nil)
	if err != nil {
		t.Fatal(err)
	}
	var services, deployments []string
	for _, obj := range objs {
		switch obj.(type) {
		case *corev1.Service:
			services = append(services, obj.GetName())
		case *appsv1.Deployment:
			deployments = append(deployments, obj.GetName())
		}
	}
	if want := []string{"ingress", "shop", "cart", "stock", "outsider"}; !slices.Equal(services, want) {
		t.Errorf("services %v, want %v", services, want)
	}
	if want := []string{"ingress", "cart", "stock", "outsider"}; !slices.Equal(deployments, want) {
		t.Errorf("deployments %v, want %v", deployments, want)
	}
}

func TestWorkloadsThatNeedDifferentLabelsCannotShareANamespace(t *testing.T) {
	s := topology()
	s.Spec.Topology.Services[0].Namespace = scenarios.OutsiderNamespace
	_, err := workloadObjects(s, "east", func(w scenarios.Workload) map[string]string {
		if w.Meshed {
			return map[string]string{"mesh": "yes"}
		}
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "namespace outside holds shop and outsider") {
		t.Errorf("error %v does not name the namespace and both workloads", err)
	}
}

func object(apiVersion, kind, namespace, name string) map[string]any {
	meta := map[string]any{"name": name}
	if namespace != "" {
		meta["namespace"] = namespace
	}
	return map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": meta}
}

func TestAnObjectOfTheEntryReplacesTheRenderedOneOfItsNameAndOthersAreAdded(t *testing.T) {
	replaced := object("v1", "Namespace", "", "app")
	replaced["metadata"].(map[string]any)["labels"] = map[string]any{"mine": "yes"}
	entry := scenarios.MeshEntry{Objects: []map[string]any{
		object("security.istio.io/v1", "PeerAuthentication", "own", "p"), // added; stands in a namespace that comes later
		object("v1", "Namespace", "", "own"),
		replaced,
	}}
	plain, err := Render(none{}, scenarios.MeshEntry{}, topology(), "east")
	if err != nil {
		t.Fatal(err)
	}
	objs, err := Render(none{}, entry, topology(), "east")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(objs), len(plain)+2; got != want {
		t.Fatalf("%d objects, want %d", got, want)
	}
	keys := make([]string, len(objs))
	for i, obj := range objs {
		keys[i] = clusters.Key(obj)
		if keys[i] == "/Namespace//app" && obj.GetLabels()["mine"] != "yes" {
			t.Error("the rendered namespace was not replaced")
		}
	}
	order := []string{"/Namespace//own", "/ServiceAccount/app/shop", "security.istio.io/PeerAuthentication/own/p", "/Service/app/shop", "apps/Deployment/app/shop"}
	last := -1
	for _, key := range order {
		i := slices.Index(keys, key)
		if i <= last {
			t.Errorf("%s stands at %d, after what is applied later: %v", key, i, keys)
		}
		last = i
	}
}

func TestRenderNamesEveryBadObjectOfTheEntryAtOnce(t *testing.T) {
	entry := scenarios.MeshEntry{Objects: []map[string]any{
		object("v1", "Secret", "app", "s"),
		object("v1", "ServiceAccount", "", "a"),
		object("v1", "ServiceAccount", "nowhere", "a"),
		object("v1", "ServiceAccount", "app", "a"),
		object("v1", "ServiceAccount", "app", "a"),
		object("security.istio.io/v1", "PeerAuthentication", "istio-system", "fine"),
	}}
	_, err := Render(none{}, entry, topology(), "east")
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"objects[0]: v1 Secret app/s is not supported", "objects[1]: v1 ServiceAccount a: metadata.namespace is missing",
		`objects[2]: ServiceAccount nowhere/a: no service stands in namespace "nowhere"`, "objects[4]: ServiceAccount app/a stands at objects[3] already",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %q:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "objects[5]") || strings.Contains(err.Error(), "objects[3]:") {
		t.Errorf("error names a good object:\n%v", err)
	}
}

func TestTheDeploymentTellsTheWorkloadWhatTheScenarioSays(t *testing.T) {
	s := topology()
	w, _ := s.Workload("shop")
	d, err := workload.Deployment(s, w, "east")
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := workload.ParseConfig(d.Spec.Template.Spec.Containers[0].Env[0].Value)
	if err != nil {
		t.Fatal(err)
	}
	want := workload.Config{
		Name: "shop", Namespace: "app", Cluster: "east", Role: workload.RoleService,
		Calls: []workload.Call{
			{Host: "cart.app.svc.cluster.local", Method: "GET", Path: "/items", Share: 1},
			{Host: "stock.store.svc.cluster.local", Method: "POST", Path: "/", Share: 0.5},
		},
	}
	if d := cmp.Diff(want, cfg); d != "" {
		t.Error(d)
	}
}
