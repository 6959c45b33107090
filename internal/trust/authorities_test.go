package trust

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meshproof/meshproof/scenarios"
)

func newAuthorities(t *testing.T, mesh scenarios.MeshName) *Authorities {
	t.Helper()
	a, err := NewAuthorities(mesh, []string{"east", "west"})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestEveryMeshHasAnIssuerOfItsOwnInEachClusterUnderOneRoot(t *testing.T) {
	for mesh, want := range map[scenarios.MeshName][]string{
		scenarios.MeshNone:    {"root"},
		scenarios.MeshLinkerd: {"intermediate/linkerd/east", "intermediate/linkerd/west", "root"},
		scenarios.MeshLayered: {
			"intermediate/istio/east", "intermediate/istio/west", "intermediate/linkerd/east", "intermediate/linkerd/west", "root",
		},
	} {
		a := newAuthorities(t, mesh)
		data := a.Certificates()
		if got := slices.Sorted(maps.Keys(data)); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", mesh, got, want)
		}
		seen := map[string]bool{}
		for _, m := range mesh.ControlPlanes() {
			for _, cluster := range []string{"east", "west"} {
				i := a.Issuer(m, cluster)
				if i.PEM() != data["intermediate/"+string(m)+"/"+cluster] || i.Root().PEM() != data["root"] || i.cert.CheckSignatureFrom(i.root.cert) != nil {
					t.Errorf("%s: %s in %s: another issuer is said, or it is not signed by the root", mesh, m, cluster)
				}
				if name := i.cert.Subject.CommonName; seen[name] {
					t.Errorf("%s: two issuers are called %q", mesh, name)
				} else {
					seen[name] = true
				}
			}
		}
	}
}

func TestWhatAnIssuerSignsLeadsToTheRootThroughItselfAlone(t *testing.T) {
	a := newAuthorities(t, scenarios.MeshLayered)
	mine := a.Issuer(scenarios.MeshLinkerd, "east")
	c := issue(t, mine, Leaf{DNS: "shop", Lifetime: time.Hour})
	if err := verify(c, mine.Root().Pool(), time.Now()); err != nil {
		t.Error(err)
	}
	for name, other := range map[string]*Issuer{
		"the other mesh's": a.Issuer(scenarios.MeshIstio, "east"), "the other cluster's": a.Issuer(scenarios.MeshLinkerd, "west"),
	} {
		if c.Leaf.CheckSignatureFrom(other.cert) == nil {
			t.Errorf("%s issuer has signed it", name)
		}
	}
	if a.Issuer(scenarios.MeshLinkerd, "north") != nil || a.Issuer(scenarios.MeshNone, "east") != nil {
		t.Error("somebody issues where there is nobody")
	}
}

func TestARotationIsSaidBeforeAnybodySignsAndLeavesOtherClustersAlone(t *testing.T) {
	a := newAuthorities(t, scenarios.MeshLayered)
	before := a.Certificates()
	refused := errors.New("not written")
	if err := a.Rotate("east", func(map[string]string) error { return refused }); !errors.Is(err, refused) {
		t.Errorf("%v", err)
	}
	if !maps.Equal(a.Certificates(), before) {
		t.Error("what evidence could not be told has changed all the same")
	}
	var said map[string]string
	if err := a.Rotate("east", func(data map[string]string) error {
		said = data
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(said)); !slices.Equal(got, []string{"intermediate/istio/east", "intermediate/linkerd/east"}) {
		t.Errorf("%q was said", got)
	}
	now := a.Certificates()
	for name, text := range now {
		if said[name] == "" {
			if text != before[name] {
				t.Errorf("%s has changed", name)
			}
			continue
		}
		if fresh, ok := strings.CutSuffix(text, before[name]); text != said[name] || !ok || fresh == "" || fresh == before[name] {
			t.Errorf("%s: want the new one and then the old one, as was said", name)
		}
	}
	for _, m := range []scenarios.MeshName{scenarios.MeshIstio, scenarios.MeshLinkerd} {
		i := a.Issuer(m, "east")
		if i.Lineage() != now["intermediate/"+string(m)+"/east"] {
			t.Errorf("%s: who signs is not the new issuer", m)
		}
		if c := issue(t, i, Leaf{URI: shopID, Lifetime: time.Hour}); c.Leaf.CheckSignatureFrom(i.cert) != nil {
			t.Errorf("%s: the new issuer does not sign", m)
		}
	}
}
