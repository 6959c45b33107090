package verify

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshproof/meshproof/scenarios"
)

func TestClassesAreWhatThePolicyDistinguishes(t *testing.T) {
	deny := func(rules ...scenarios.Rule) scenarios.Policy {
		return scenarios.Policy{Default: scenarios.DefaultDeny, Allow: rules}
	}
	for _, c := range []struct {
		name           string
		policy         scenarios.Policy
		methods, paths []string
	}{
		{"everything is allowed", scenarios.Policy{Default: scenarios.DefaultAllow}, []string{"GET"}, []string{"/"}},
		{"nothing is allowed", deny(), []string{"GET"}, []string{"/"}},
		{"by caller alone", deny(scenarios.Rule{From: "a", To: "b"}), []string{"GET"}, []string{"/"}},
		{"methods", deny(scenarios.Rule{From: "a", To: "b", Methods: []string{"GET", "POST"}}), []string{"GET", "POST", "DELETE"}, []string{"/"}},
		{
			"methods of several rules and other callees",
			deny(scenarios.Rule{From: "a", To: "b", Methods: []string{"PUT"}}, scenarios.Rule{From: "c", To: "b", Methods: []string{"PUT", "PATCH"}}, scenarios.Rule{From: "a", To: "c", Methods: []string{"POST"}}),
			[]string{"PUT", "PATCH", "GET"},
			[]string{"/"},
		},
		{
			"paths", deny(scenarios.Rule{From: "a", To: "b", Paths: []string{"/items", "/items/*", "/*"}}),
			[]string{"GET"},
			[]string{"/items", "/items/meshproof-any", "/meshproof-any", unlisted},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			methods, paths := classes(&scenarios.Scenario{Spec: scenarios.Spec{Policy: c.policy}}, "b")
			if d := cmp.Diff(c.methods, methods); d != "" {
				t.Errorf("methods (-want +got):\n%s", d)
			}
			if d := cmp.Diff(c.paths, paths); d != "" {
				t.Errorf("paths (-want +got):\n%s", d)
			}
		})
	}
}

func TestThePlanAsksEveryCallerOfEveryServiceOnBothConnections(t *testing.T) {
	s := testScenario(scenarios.MeshIstio)
	p := NewPlan(s, StageBefore)
	if len(p.Rounds) != 2 || p.Rounds[0].Name != "before/fresh" || p.Rounds[1].Name != "before/established" {
		t.Fatalf("rounds %+v", p.Rounds)
	}
	if !p.Rounds[0].Handshakes || p.Rounds[1].Handshakes {
		t.Error("chains are read in the fresh round alone")
	}
	for _, r := range p.Rounds {
		got := map[string]bool{}
		for _, a := range r.Asks {
			if got[a.Cell] {
				t.Errorf("%s is there twice", a.Cell)
			}
			got[a.Cell] = true
			want := s.Spec.Policy.Allows(a.From, a.To, a.Method, a.Path)
			if a.Allowed != want {
				t.Errorf("%s allowed %v, want %v", a.Cell, a.Allowed, want)
			}
			if a.Allowed != (a.Twin == nil) {
				t.Errorf("%s allowed %v has twin %v", a.Cell, a.Allowed, a.Twin)
			}
			if w := a.Twin; w != nil {
				if !w.Allowed || w.To != a.To || w.Connection != a.Connection || !s.Spec.Policy.Allows(w.From, w.To, w.Method, w.Path) {
					t.Errorf("%s has the twin %+v", a.Cell, w)
				}
			}
			if a.Times < minTimes {
				t.Errorf("%s is asked %d times", a.Cell, a.Times)
			}
		}
		conn := strings.TrimPrefix(r.Name, "before/")
		callers := []string{"ingress@east", "ingress@west", "shop@east", "cart@east", "cart@west"}
		if conn == connFresh {
			callers = append(callers, "outsider@east", "outsider@west")
		}
		want := 0
		for _, c := range callers {
			for to, paths := range map[string][]string{"shop": {"/"}, "cart": {"/carts/meshproof-any", unlisted}} {
				for _, path := range paths {
					want++
					if id := fmt.Sprintf("%s->%s GET %s (%s)", c, to, path, conn); !got[id] {
						t.Errorf("%s is not asked", id)
					}
				}
			}
		}
		if want != len(got) {
			t.Errorf("%d cells, want %d", len(got), want)
		}
	}
	warm := map[string]int{}
	for _, a := range p.Rounds[1].Warmup {
		warm[a.From+"@"+a.Cluster+"->"+a.To] = a.Times
	}
	if d := cmp.Diff(map[string]int{
		"ingress@east->shop": 12, "ingress@west->shop": 12, "shop@east->shop": 12, "cart@east->shop": 12, "cart@west->shop": 12,
		"ingress@east->cart": 24, "ingress@west->cart": 24, "shop@east->cart": 24, "cart@east->cart": 24, "cart@west->cart": 24,
	}, warm); d != "" {
		t.Errorf("warm-up (-want +got):\n%s", d)
	}
}

func TestATwinDiffersAsLittleAsItCan(t *testing.T) {
	s := testScenario(scenarios.MeshIstio)
	s.Spec.Policy.Allow = append(s.Spec.Policy.Allow, scenarios.Rule{From: "cart", To: "cart"})
	for _, a := range NewPlan(s, StageBefore).Rounds[0].Asks {
		want := map[string]string{
			// Another caller of the same cluster asks the very same.
			"outsider@east->cart GET /carts/meshproof-any (fresh)": "shop@east->cart GET /carts/meshproof-any (fresh)",
			"cart@west->shop GET / (fresh)":                        "ingress@west->shop GET / (fresh)",
			// Nobody in this cluster may, so one of another does.
			"outsider@west->cart GET /carts/meshproof-any (fresh)": "shop@east->cart GET /carts/meshproof-any (fresh)",
			// The callee may ask itself the very same, but such a request may meet no proxy.
			"ingress@east->cart GET /meshproof-unlisted (fresh)": "shop@east->cart GET /carts/meshproof-any (fresh)",
		}[a.Cell]
		if want != "" && (a.Twin == nil || a.Twin.Cell != want) {
			t.Errorf("%s has the twin %+v, want %s", a.Cell, a.Twin, want)
		}
	}
}

func TestAServiceThatOnlyItselfMayCallIsItsOwnTwin(t *testing.T) {
	s := testScenario(scenarios.MeshIstio)
	s.Spec.Policy.Allow = []scenarios.Rule{{From: "cart", To: "cart"}}
	for _, a := range NewPlan(s, StageBefore).Rounds[0].Asks {
		if a.To == "cart" && !a.Allowed && (a.Twin == nil || a.Twin.From != "cart") {
			t.Errorf("%s has the twin %+v", a.Cell, a.Twin)
		}
	}
}

func TestAServiceThatNobodyMayCallHasNoTwin(t *testing.T) {
	s := testScenario(scenarios.MeshIstio)
	s.Spec.Policy.Allow = s.Spec.Policy.Allow[:1]
	found := false
	for _, a := range NewPlan(s, StageBefore).Rounds[0].Asks {
		if a.To == "cart" {
			found = true
			if a.Allowed || a.Twin != nil {
				t.Errorf("%s: allowed %v, twin %v", a.Cell, a.Allowed, a.Twin)
			}
		}
	}
	if !found {
		t.Error("cart is not asked at all")
	}
}

func TestTheOutsiderIsAskedOnlyWhereItMustBeRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*scenarios.Spec)
		want   bool
	}{
		{"default deny and mutual TLS", func(*scenarios.Spec) {}, true},
		{"default deny alone", func(s *scenarios.Spec) { s.Expect.MTLS = nil }, true},
		{"mutual TLS alone", func(s *scenarios.Spec) { s.Policy = scenarios.Policy{Default: scenarios.DefaultAllow} }, true},
		{"neither", func(s *scenarios.Spec) {
			s.Policy, s.Expect.MTLS = scenarios.Policy{Default: scenarios.DefaultAllow}, nil
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := testScenario(scenarios.MeshIstio)
			c.change(&s.Spec)
			got := false
			for _, a := range NewPlan(s, StageAfter).Rounds[0].Asks {
				if a.From == scenarios.OutsiderName {
					got = true
					if a.Allowed {
						t.Errorf("%s is allowed", a.Cell)
					}
				}
			}
			if got != c.want {
				t.Errorf("asked %v, want %v", got, c.want)
			}
		})
	}
}

func TestNothingIsAskedWhereNothingIsExpected(t *testing.T) {
	s := testScenario(scenarios.MeshIstio)
	s.Spec.Expect.MTLS, s.Spec.Expect.Policy = nil, nil
	if p := NewPlan(s, StageBefore); len(p.Rounds) != 0 {
		t.Errorf("%d rounds", len(p.Rounds))
	}
}

func TestAPlanOfSixServicesStaysSmall(t *testing.T) {
	s := testScenario(scenarios.MeshIstio)
	s.Spec.Topology.Services = nil
	s.Spec.Policy.Allow = nil
	for i := range 6 {
		name := fmt.Sprintf("s%d", i)
		s.Spec.Topology.Services = append(s.Spec.Topology.Services, scenarios.Service{Name: name, Namespace: "app", Clusters: []string{"east", "west"}, Replicas: 2})
		s.Spec.Policy.Allow = append(s.Spec.Policy.Allow, scenarios.Rule{From: "ingress", To: name, Methods: []string{"GET"}})
	}
	for _, r := range NewPlan(s, StageBefore).Rounds {
		n := 0
		for _, a := range r.Asks {
			n += a.Times
			if a.Twin != nil {
				n += a.Twin.Times
			}
			if a.Times < minTimes {
				t.Errorf("%s is asked %d times", a.Cell, a.Times)
			}
		}
		if n > askBudget {
			t.Errorf("round %s has %d requests, want at most %d", r.Name, n, askBudget)
		}
	}
	if d := cmp.Diff(NewPlan(s, StageBefore), NewPlan(s, StageBefore)); d != "" {
		t.Errorf("two plans of one scenario differ:\n%s", d)
	}
}

func TestIdentityIsThatOfTheMesh(t *testing.T) {
	s := testScenario(scenarios.MeshIstio)
	cart, _ := s.Workload("cart")
	outsider, _ := s.Workload("outsider")
	for _, c := range []struct {
		mesh scenarios.MeshName
		w    scenarios.Workload
		want string
	}{
		{scenarios.MeshIstio, cart, "spiffe://cluster.local/ns/app/sa/cart"},
		{scenarios.MeshIstio, outsider, ""},
		{scenarios.MeshNone, cart, ""},
		{"unknown", cart, ""},
	} {
		if got := Identity(scenarios.MeshEntry{Name: c.mesh}, c.w); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.mesh, c.w.Name, got, c.want)
		}
	}
}
