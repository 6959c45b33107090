package meshes

import (
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/meshproof/meshproof/clusters"
	embedded "github.com/meshproof/meshproof/clusters/embedded/layered"
	"github.com/meshproof/meshproof/scenarios"
)

// ways are the entries of mesh layered, by the name of their golden file.
func ways() map[string]scenarios.MeshEntry {
	out := map[string]scenarios.MeshEntry{}
	for name, l := range map[string]scenarios.Layered{
		"service":  {Gateway: scenarios.GatewayMeshed, Balancing: scenarios.BalancingService},
		"endpoint": {Gateway: scenarios.GatewayMeshed, Balancing: scenarios.BalancingEndpoint},
		"direct":   {Gateway: scenarios.GatewayDirect},
	} {
		out[name] = scenarios.MeshEntry{Name: scenarios.MeshLayered, Layered: &l}
	}
	return out
}

// besides are the objects that another mesh does not render in the same way.
func besides(t *testing.T, objs, others []clusters.Object) []clusters.Object {
	t.Helper()
	text := func(o clusters.Object) string {
		b, err := clusters.Encode([]clusters.Object{o})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	known := map[string]bool{}
	for _, o := range others {
		known[text(o)] = true
	}
	return slices.DeleteFunc(objs, func(o clusters.Object) bool { return known[text(o)] })
}

func TestLayeredAddsToLinkerdTheGatewayItsRoutesAndWhoItIs(t *testing.T) {
	strictly := guarded(scenarios.DefaultAllow)
	strictly.Spec.Expect.MTLS = &scenarios.ExpectMTLS{Everywhere: true}
	for way, entry := range ways() {
		for policy, s := range map[string]*scenarios.Scenario{"users": identified(scenarios.DefaultDeny), "allow-mtls": strictly} {
			t.Run(way+" "+policy, func(t *testing.T) {
				objs, err := layered{}.Objects(s, entry, "east")
				if err != nil {
					t.Fatal(err)
				}
				others, err := linkerd{}.Objects(s, scenarios.MeshEntry{}, "east")
				if err != nil {
					t.Fatal(err)
				}
				goldenObjects(t, besides(t, objs, others), "layered-"+way+"-"+policy)
			})
		}
	}
}

func TestTheEdgeOfLayeredIsJudgedAsIstiosIs(t *testing.T) {
	for _, def := range []scenarios.PolicyDefault{scenarios.DefaultDeny, scenarios.DefaultAllow} {
		of := func(m Mesh) (edge []clusters.Object) {
			objs, err := m.Objects(identified(def), scenarios.MeshEntry{}, "east")
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range objs {
				switch clusters.Key(o) {
				case "security.istio.io/RequestAuthentication/edge/users", "security.istio.io/AuthorizationPolicy/edge/from-outside":
					edge = append(edge, o)
				}
			}
			return edge
		}
		if got := of(layered{}); len(got) != 2 || len(besides(t, got, of(istio{}))) != 0 {
			t.Errorf("default %s: %v", def, got)
		}
	}
}

func TestADirectGatewaysCertificateHoldsAsLongAsTheServices(t *testing.T) {
	s := guarded(scenarios.DefaultDeny)
	s.Spec.Identity.LeafLifetime = scenarios.Duration(6 * time.Second)
	for way, want := range map[string]string{"direct": "6s", "service": ""} {
		objs, err := layered{}.Objects(s, ways()[way], "east")
		if err != nil {
			t.Fatal(err)
		}
		if err := embedded.Factory().Check(objs); err != nil {
			t.Errorf("%s: the model refuses it: %v", way, err)
		}
		got := ""
		for _, o := range objs {
			d, ok := o.(*appsv1.Deployment)
			if !ok || d.Name != scenarios.IngressName {
				continue
			}
			for _, e := range d.Spec.Template.Spec.Containers[1].Env {
				if e.Name == "SECRET_TTL" {
					got = e.Value
				}
			}
		}
		if got != want {
			t.Errorf("%s: certificates hold %q, want %q", way, got, want)
		}
	}
}

func TestAnEntryWithoutWordsIsMeshedAndLinkerdBalances(t *testing.T) {
	for _, entry := range []scenarios.MeshEntry{{}, {Layered: &scenarios.Layered{}}} {
		got, err := layered{}.Objects(guarded(scenarios.DefaultDeny), entry, "east")
		if err != nil {
			t.Fatal(err)
		}
		want, err := layered{}.Objects(guarded(scenarios.DefaultDeny), ways()["service"], "east")
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) || len(besides(t, got, want)) != 0 {
			t.Errorf("%+v: %d objects, want %d", entry, len(got), len(want))
		}
	}
}

func TestTheModelTakesEverythingThatLayeredRenders(t *testing.T) {
	for way, entry := range ways() {
		for _, def := range []scenarios.PolicyDefault{scenarios.DefaultDeny, scenarios.DefaultAllow} {
			s := identified(def)
			s.Spec.Expect.MTLS = &scenarios.ExpectMTLS{Everywhere: true}
			objs, err := layered{}.Objects(s, entry, "west")
			if err != nil {
				t.Fatal(err)
			}
			if err := embedded.Factory().Check(objs); err != nil {
				t.Errorf("%s, %s: %v", way, def, err)
			}
		}
	}
}
