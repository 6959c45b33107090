package meshes

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	embedded "github.com/meshproof/meshproof/clusters/embedded/linkerd"
	"github.com/meshproof/meshproof/clusters/linkerdapi"
	"github.com/meshproof/meshproof/scenarios"
)

func TestLinkerdRendersItsSettings(t *testing.T) {
	strictly := guarded(scenarios.DefaultAllow)
	strictly.Spec.Expect.MTLS = &scenarios.ExpectMTLS{Everywhere: true}
	for name, s := range map[string]*scenarios.Scenario{
		"linkerd-deny": guarded(scenarios.DefaultDeny), "linkerd-allow": guarded(scenarios.DefaultAllow), "linkerd-allow-mtls": strictly,
	} {
		t.Run(name, func(t *testing.T) { golden(t, linkerd{}, s, name) })
	}
}

func TestTheModelTakesEverythingThatLinkerdRenders(t *testing.T) {
	for _, def := range []scenarios.PolicyDefault{scenarios.DefaultDeny, scenarios.DefaultAllow} {
		s := guarded(def)
		s.Spec.Expect.MTLS = &scenarios.ExpectMTLS{Everywhere: true}
		objs, err := linkerd{}.Objects(s, scenarios.MeshEntry{}, "west")
		if err != nil {
			t.Fatal(err)
		}
		if err := embedded.Factory().Check(objs); err != nil {
			t.Errorf("%s: %v", def, err)
		}
	}
}

func TestWhatLinkerdCannotSayIsAnError(t *testing.T) {
	for _, tt := range []struct {
		rule scenarios.Rule
		want string
	}{
		{scenarios.Rule{From: "cart", To: "stock", Paths: []string{"/it*"}}, "/it*"},
		{scenarios.Rule{From: "cart", To: "stock", Methods: []string{"PURGE"}}, "PURGE"},
	} {
		s := guarded(scenarios.DefaultDeny)
		s.Spec.Policy.Allow = []scenarios.Rule{tt.rule}
		if _, err := (linkerd{}).Objects(s, scenarios.MeshEntry{}, "west"); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "stock") {
			t.Errorf("%+v: %v", tt.rule, err)
		}
	}
}

func TestOnlyMeshedNamespacesAreInLinkerd(t *testing.T) {
	objs, err := linkerd{}.Objects(guarded(scenarios.DefaultDeny), scenarios.MeshEntry{}, "east")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][2]string{"app": {"enabled", "deny"}, "store": {"enabled", "deny"}, "edge": {"enabled", ""}, "outside": {"", ""}}
	for _, o := range objs {
		if ns, ok := o.(*corev1.Namespace); ok {
			got := [2]string{ns.Annotations[linkerdInject], ns.Annotations[linkerdDefault]}
			if w, known := want[ns.Name]; !known || got != w {
				t.Errorf("namespace %s: %q, want %q", ns.Name, got, w)
			}
			delete(want, ns.Name)
		}
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

func TestNoServiceNameTakesTheAdminServersPlace(t *testing.T) {
	s := guarded(scenarios.DefaultDeny)
	s.Spec.Topology.Services[0].Name = linkerdAdmin
	s.Spec.Policy.Allow = []scenarios.Rule{{From: "cart", To: linkerdAdmin}}
	objs, err := linkerd{}.Objects(s, scenarios.MeshEntry{}, "east")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, o := range objs {
		if srv, ok := o.(*linkerdapi.Server); ok {
			seen[srv.Namespace+"/"+srv.Name]++
		}
	}
	if seen["app/linkerd-admin"] != 1 || seen["app/linkerd-admin.http"] != 1 {
		t.Errorf("Servers: %v", seen)
	}
}
