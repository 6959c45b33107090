package scenarios

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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
			if l := tr.Profile.length().D().Seconds(); l > 12 {
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
	if want := []string{"checkout-spike", "edge-tokens", "overdriven", "policy-hole", "smoke", "two-clusters"}; !slices.Equal(names, want) {
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
