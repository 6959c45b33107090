package scenarios

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheLibraryLoadsAndStaysSmallEnoughForALaptop(t *testing.T) {
	entries := Library()
	var names []string
	for _, e := range entries {
		names = append(names, e.Name)
		s, err := LoadLibrary(e.Name)
		if err != nil {
			t.Errorf("%s: %v", e.Name, err)
			continue
		}
		if s.Metadata.Name != e.Name || len(e.Description) < 40 || e.Description != s.Metadata.Description {
			t.Errorf("%s: name %q, description %q", e.Name, s.Metadata.Name, e.Description)
		}
		data, err := os.ReadFile(filepath.Join("library", e.Name+".yaml"))
		if err != nil || !strings.HasPrefix(string(data), "# ") || !strings.Contains(string(data), "# Expected verdict: ") {
			t.Errorf("%s: no header that says the expected verdict: %v", e.Name, err)
		}
		for _, tr := range s.Spec.Traffic {
			if l := tr.Profile.Length().D().Seconds(); l > 15 {
				t.Errorf("%s: %s takes %gs", e.Name, tr.Name, l)
			}
			for _, st := range tr.Profile.Stages {
				if most := max(st.Rate, deref(st.To), deref(st.Peak)); most > 250 {
					t.Errorf("%s: %s reaches %g per second", e.Name, st.Name, most)
				}
			}
		}
		roundTrip(t, s)
	}
	if want := []string{"checkout-spike", "edge-tokens", "overdriven", "policy-hole", "rotation", "smoke", "two-clusters"}; !slices.Equal(names, want) {
		t.Errorf("want %v, got %v", want, names)
	}
}

func deref(p *float64) float64 {
	if p == nil {
		return 0
	}
	return *p
}

func TestOverdrivenCanNotKeepItsRateOnAnyMachine(t *testing.T) {
	s, err := LoadLibrary("overdriven")
	if err != nil {
		t.Fatal(err)
	}
	tr := s.Spec.Traffic[0]
	service, _ := s.Workload(tr.To)
	most := float64(tr.MaxInFlight) / service.Service.Latency.P50.D().Seconds()
	if service.Service.Latency.P99 != service.Service.Latency.P50 || most > tr.Profile.Stages[0].Rate/2 {
		t.Errorf("%g of %g per second are possible", most, tr.Profile.Stages[0].Rate)
	}
}

func TestResolvePrefersAFileOverTheLibrary(t *testing.T) {
	t.Chdir(t.TempDir())
	s, pos, err := Resolve("smoke")
	if err != nil || s.Metadata.Name != "smoke" || pos.File != "library/smoke.yaml" {
		t.Fatalf("%v %v", s, err)
	}
	if err := os.WriteFile("smoke", []byte(base), 0o600); err != nil {
		t.Fatal(err)
	}
	s, _, err = Resolve("smoke")
	if err != nil || s.Metadata.Name != "base" {
		t.Fatalf("%v %v", s, err)
	}
	for path, want := range map[string]string{
		"two-cluster":     "two-cluster: no such file, and no scenario of the library (did you mean two-clusters?",
		"":                `"": is no name`,
		"missing.yaml":    "missing.yaml: no such file, and no scenario of the library (the library has checkout-spike, edge-tokens,",
		"../library/nope": "../library/nope: no such file",
		".":               ".: is a directory",
	} {
		_, _, err := Resolve(path)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestTheComparisonToShowHasAllThatItIsToShow(t *testing.T) {
	s, err := LoadLibrary("checkout-spike")
	if err != nil {
		t.Fatal(err)
	}
	gaps := map[MeshName][]Gap{}
	for _, m := range s.Spec.Meshes {
		gaps[m.Name] = m.Gaps
	}
	want := map[MeshName][]Gap{MeshNone: {GapMTLS, GapPolicy}, MeshIstio: nil, MeshLinkerd: {GapEdgeClaims}, MeshLayered: nil}
	if d := cmp.Diff(want, gaps); d != "" {
		t.Errorf("meshes and their gaps (-want +got):\n%s", d)
	}
	fanOut, spike := 0, 0.0
	for _, v := range s.Spec.Topology.Services {
		if len(v.Calls) > 1 {
			fanOut++
		}
	}
	for _, st := range s.Spec.Traffic[0].Profile.Stages {
		spike = max(spike, deref(st.Peak)/st.Rate)
	}
	kinds := map[FaultKind]bool{}
	for _, f := range s.Spec.Faults {
		kinds[f.Kind] = true
	}
	e := &s.Spec.Expect
	overLatency := slices.ContainsFunc(e.Latency, func(l ExpectLatency) bool { return l.OverBaseline != nil })
	overErrors := slices.ContainsFunc(e.Errors, func(x ExpectErrors) bool { return x.OverBaseline != nil })
	for what, ok := range map[string]bool{
		"two clusters": len(s.Spec.Topology.Clusters) == 2, "five services": len(s.Spec.Topology.Services) >= 5, "fan-out": fanOut >= 2,
		"a spike of five times the base rate": spike >= 5, "three kinds of fault": len(kinds) == 3, "an issuer": s.Spec.Identity.Issuer != nil,
		"policy on claims": s.Spec.Policy.ClaimsMatter(), "default deny": s.Spec.Policy.Default == DefaultDeny,
		"mutual TLS everywhere": e.MTLS != nil, "the whole matrix": e.Policy != nil, "a recovery budget for each fault": len(e.Recovery) == len(s.Spec.Faults),
		"latency over a baseline": overLatency, "errors over a baseline": overErrors,
	} {
		if !ok {
			t.Errorf("it lacks: %s", what)
		}
	}
}
