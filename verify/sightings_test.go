package verify

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// seenBy is the sighting of an edge by the workloads' records.
func seenBy(t *testing.T, rec *evidence.Record, edge string) Sighting {
	t.Helper()
	all, err := Sightings(rec)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Subject == edge+", by the workload's record" {
			return s
		}
	}
	t.Fatalf("nobody looked at %s", edge)
	return Sighting{}
}

func TestTheClusterOfACertificateThatWasRenewedIsKnownByItsIssuer(t *testing.T) {
	const edge, origin = "before/fresh shop->cart", "with the certificate of shop@east"
	rec := goodRecord(t, testScenario(scenarios.MeshIstio))
	want := seenBy(t, rec, edge)
	if want.Unproved != "" || !strings.Contains(want.Saw, origin) {
		t.Fatalf("%q, %s", want.Saw, want.Unproved)
	}
	asked := map[string]bool{}
	for _, r := range rec.Requests {
		if r.Window == "before/fresh" && r.At.Service == "cart" && r.Caller == "shop@east" {
			asked[r.ID] = true
			i := strings.Index(r.XFCC, "Hash=") + len("Hash=")
			r.XFCC = r.XFCC[:i] + "0011" + r.XFCC[i+4:]
		}
	}
	if got := seenBy(t, rec, edge); strings.Contains(got.Saw, origin) {
		t.Errorf("%q, where nothing tells", got.Saw)
	}
	for _, h := range rec.Handshakes {
		if h.At.Service != "shop" || len(h.Chain) < 2 {
			continue
		}
		issuer, err := x509.ParseCertificate(h.Chain[1])
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range rec.Accesses {
			a.Line = bytes.Replace(a.Line, []byte(`"id":`), fmt.Appendf(nil, `"issuer":%q,"id":`, issuer.Subject), 1)
		}
		break
	}
	if got := seenBy(t, rec, edge); got.Saw != want.Saw {
		t.Errorf("%q, want %q", got.Saw, want.Saw)
	}
}

func TestAnIdentityThatNobodyCanSeeIsLeftOut(t *testing.T) {
	s := testScenario(scenarios.MeshLinkerd)
	s.Spec.Policy.Allow = append(s.Spec.Policy.Allow, scenarios.Rule{From: "shop", To: "shop"}, scenarios.Rule{From: "cart", To: "cart"})
	rec := goodRecord(t, s)
	if got := seenBy(t, rec, "before/fresh shop->shop"); !got.LeftOut || got.Unproved != onLoopback {
		t.Errorf("%+v", got)
	}
	if got := seenBy(t, rec, "before/fresh shop->cart"); got.LeftOut || got.Unproved != "" {
		t.Errorf("%+v", got)
	}
	// Requests that are not in evidence at all hide nothing.
	rec.Probes, rec.Requests = nil, nil
	if got := seenBy(t, rec, "before/fresh shop->shop"); got.LeftOut || got.Unproved == "" {
		t.Errorf("%+v", got)
	}
}
