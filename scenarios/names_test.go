package scenarios

import "testing"

func TestThePolicyAllowsWhatARuleMatches(t *testing.T) {
	p := Policy{Default: DefaultDeny, Allow: []Rule{
		{From: "a", To: "b", Methods: []string{"GET", "PUT"}, Paths: []string{"/items/*", "/exact"}},
		{From: "c", To: "b"},
	}}
	for _, c := range []struct {
		from, to, method, path string
		want                   bool
	}{
		{"a", "b", "GET", "/items/1", true},
		{"a", "b", "PUT", "/items/", true},
		{"a", "b", "GET", "/items", false}, // the prefix ends in a slash
		{"a", "b", "GET", "/exact", true},
		{"a", "b", "GET", "/exact/more", false},
		{"a", "b", "POST", "/exact", false},
		{"c", "b", "DELETE", "/anything", true},
		{"b", "a", "GET", "/exact", false},
		{OutsiderName, "b", "GET", "/exact", false},
	} {
		if got := p.Allows(c.from, c.to, c.method, c.path); got != c.want {
			t.Errorf("%+v: got %t", c, got)
		}
	}
	if open := (&Policy{Default: DefaultAllow}); !open.Allows("x", "y", "GET", "/") {
		t.Error("default allow refuses")
	}
}

func TestWorkloadsAreTheIngressTheServicesAndTheOutsider(t *testing.T) {
	s, err := Parse("base.yaml", []byte(base))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range s.Workloads() {
		got = append(got, w.Host()+" "+w.SPIFFEID())
	}
	want := []string{
		"ingress.edge.svc.cluster.local spiffe://cluster.local/ns/edge/sa/ingress",
		"shop.app.svc.cluster.local spiffe://cluster.local/ns/app/sa/shop",
		"cart.app.svc.cluster.local spiffe://cluster.local/ns/app/sa/cart",
		"outsider.outside.svc.cluster.local spiffe://cluster.local/ns/outside/sa/outsider",
	}
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("want %s, got %s", want[i], got[i])
		}
	}
	if o, ok := s.Workload(OutsiderName); !ok || o.Meshed || len(o.Clusters) != 3 {
		t.Errorf("outsider: %+v", o)
	}
	if _, ok := s.Workload("nobody"); ok {
		t.Error("found nobody")
	}
}

func TestATokenIsAdmittedByTheRuleWhoseClaimsItHas(t *testing.T) {
	p := Policy{Default: DefaultDeny, Allow: []Rule{
		{From: IngressName, To: "shop", Methods: []string{"GET"}, Paths: []string{"/"}},
		{From: IngressName, To: "shop", Claims: map[string]string{"role": "staff", "tier": "gold"}},
		{From: "shop", To: "cart"},
	}}
	staff := map[string]string{"role": "staff", "tier": "gold", "name": "anna"}
	for _, c := range []struct {
		to, method, path string
		claims           map[string]string
		want             bool
	}{
		{"shop", "GET", "/", nil, true},
		{"shop", "POST", "/", nil, false},
		{"shop", "POST", "/", staff, true},
		{"shop", "POST", "/", map[string]string{"role": "staff"}, false},
		{"shop", "POST", "/", map[string]string{"role": "Staff", "tier": "gold"}, false},
		{"cart", "GET", "/", staff, false},
	} {
		if got := p.Admits(c.to, c.method, c.path, c.claims); got != c.want {
			t.Errorf("%s %s on %s with %v: %t", c.method, c.path, c.to, c.claims, got)
		}
	}
	if !(&Policy{Default: DefaultAllow}).Admits("shop", "GET", "/", nil) || !p.ClaimsMatter() || (&Policy{}).ClaimsMatter() {
		t.Error("the default, or whether claims matter, is wrong")
	}
}
