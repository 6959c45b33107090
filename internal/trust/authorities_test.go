package trust

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"maps"
	"slices"
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

// parsed reads all certificates of a text.
func parsed(t *testing.T, text string) (out []*x509.Certificate) {
	t.Helper()
	for rest := []byte(text); ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return out
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
}

func TestEveryMeshHasAnIssuerOfItsOwnInEachClusterUnderOneRoot(t *testing.T) {
	for mesh, want := range map[scenarios.MeshName][]string{
		scenarios.MeshNone:    {"root"},
		scenarios.MeshLinkerd: {"intermediate/linkerd/east", "intermediate/linkerd/west", "root"},
		scenarios.MeshLayered: {
			"intermediate/istio/east", "intermediate/istio/west", "intermediate/linkerd/east", "intermediate/linkerd/west", "root",
		},
	} {
		data := newAuthorities(t, mesh).Certificates()
		if got := slices.Sorted(maps.Keys(data)); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", mesh, got, want)
		}
		root, seen := parsed(t, data["root"])[0], map[string]string{}
		for name, text := range data {
			certs := parsed(t, text)
			if len(certs) != 1 || certs[0].CheckSignatureFrom(root) != nil {
				t.Errorf("%s: %s holds %d certificates, or is not signed by the root", mesh, name, len(certs))
			}
			if other := seen[certs[0].Subject.CommonName]; other != "" {
				t.Errorf("%s: %s and %s are both %q", mesh, name, other, certs[0].Subject.CommonName)
			}
			seen[certs[0].Subject.CommonName] = name
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
	for name, text := range a.Certificates() {
		now, was := parsed(t, text), parsed(t, before[name])
		if said[name] == "" {
			if len(now) != 1 || !now[0].Equal(was[0]) {
				t.Errorf("%s has changed", name)
			}
			continue
		}
		if text != said[name] || len(now) != 2 || now[0].Equal(was[0]) || !now[1].Equal(was[0]) {
			t.Errorf("%s: want the new one and then the old one, as was said", name)
		}
	}
	now := parsed(t, said["intermediate/istio/east"])[0]
	if c := issue(t, a.Issuer(scenarios.MeshIstio, "east"), Leaf{URI: shopID, Lifetime: time.Hour}); c.Leaf.CheckSignatureFrom(now) != nil {
		t.Error("the new issuer does not sign yet")
	}
}
