package linkerd

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// shapes are the sets of label names of each metric.
func shapes(t *testing.T, page string) map[string]map[string]bool {
	out := map[string]map[string]bool{}
	for name, points := range parse(t, page) {
		for _, p := range points {
			if out[name] == nil {
				out[name] = map[string]bool{}
			}
			out[name][strings.Join(slices.Sorted(maps.Keys(p.labels)), ",")] = true
		}
	}
	return out
}

// traffic is what the recordings have: members allowed, refused by identity and by route, and plaintext.
func traffic(t *testing.T) (shop, cart *testPod) {
	t.Helper()
	m := newMesh(t, shopServer+okRoute+cartMayOK+cartOrGateway)
	shop, cart = m.pod("shop", nil), m.pod("cart", nil)
	for _, tt := range []struct {
		n    int
		code int
		ask  func() reply
	}{
		{10, 200, func() reply { return cart.out("GET", "/ok") }},
		{4, 404, func() reply { return cart.out("GET", "/denied") }},
		{3, 403, func() reply { return shop.plain("GET", "/ok") }},
		{5, 200, func() reply { return m.as(shop, uriLeaf(gatewayID), "GET", "/ok") }},
		{2, 403, func() reply { return m.as(shop, dnsLeaf(stockID), "GET", "/ok") }},
	} {
		for range tt.n {
			if a := tt.ask(); a.code != tt.code {
				t.Fatalf("%+v, want %d", a, tt.code)
			}
		}
	}
	return shop, cart
}

// captures is a gateway whose connections go to a Service, to a pod and to an address that the mesh does not know.
func captures(t *testing.T) *testPod {
	t.Helper()
	m := newMesh(t, "")
	shop, gw := m.pod("shop", nil), m.pod("gw", nil)
	for _, addr := range []string{"shop.app.svc.cluster.local:80", shop.Inbound(), shop.AppAddr} {
		if a := gw.dials(addr, "GET", "/"); a.code != 200 {
			t.Fatalf("%s: %+v", addr, a)
		}
	}
	return gw
}

func TestEachSeriesHasLabelsThatRealProxiesHave(t *testing.T) {
	real := map[string]map[string]bool{}
	for _, f := range []string{
		"linkerd-web-0-after.prom", "linkerd-cli-after.prom", "linkerd-gateway-after.prom", "linkerd-gateway-service-level.prom",
	} {
		b, err := os.ReadFile(filepath.Join("testdata", "recordings", f))
		if err != nil {
			t.Fatal(err)
		}
		for name, sets := range shapes(t, string(b)) {
			name = strings.TrimSuffix(name, "_count") // of a histogram, which the recording's excerpt does not declare
			if real[name] == nil {
				real[name] = map[string]bool{}
			}
			maps.Copy(real[name], sets)
		}
	}
	shop, cart := traffic(t)
	seen := map[string]bool{}
	for _, p := range []*testPod{shop, cart, captures(t)} {
		for name, sets := range shapes(t, p.page(t)) {
			if name == "process_start_time_seconds" {
				continue
			}
			seen[name] = true
			for set := range sets {
				if !real[name][set] {
					t.Errorf("%s{%s} is not in the recordings, which have %v", name, set, slices.Sorted(maps.Keys(real[name])))
				}
			}
		}
	}
	for _, name := range []string{
		requestTotal, responseTotal, responseLatency, httpAllow, httpDeny, routeNotFound, tcpOpen, tcpOpenConnections,
		backendRequests, backendStatuses, routeStatuses, "control_identity_cert_expiration_timestamp_seconds", certRefreshes,
	} {
		if !seen[name] {
			t.Errorf("no series of %s", name)
		}
	}
}

func TestAttemptsAreTheSumOfWhatWasAllowedRefusedAndNotFound(t *testing.T) {
	shop, cart := traffic(t)
	app := []string{"target_port", "8080", "srv_port", "8080"}
	count := func(metric string, want ...string) float64 { return shop.scrape(t, metric, append(want, app...)...) }
	for _, tt := range []struct {
		name      string
		got, want float64
	}{
		{"allowed, cart", count(httpAllow, "client_id", cartID, "tls", "true", "route_kind", "HTTPRoute", "route_name", "shop-ok", "authz_kind", "authorizationpolicy"), 10},
		{"allowed, gateway", count(httpAllow, "client_id", gatewayID), 5},
		{"denied in plaintext", count(httpDeny, "tls", "no_identity", "no_tls_reason", "no_tls_from_remote", "route_name", "shop-ok"), 3},
		{"denied by identity", count(httpDeny, "tls", "true", "client_id", stockID), 2},
		{"no route", count(routeNotFound, "client_id", cartID, "srv_kind", "server", "srv_group", "policy.linkerd.io"), 4},
		{"request_total leaves refusals out", count(requestTotal, "direction", "inbound"), 15},
		{"the client sees 404", cart.scrape(t, responseTotal, "direction", "outbound", "status_code", "404", "classification", "success"), 4},
		{"the client sees 200", cart.scrape(t, responseLatency, "direction", "outbound", "status_code", "200"), 10},
		{"the client's route", cart.scrape(t, backendRequests, "parent_kind", "Service", "parent_name", "shop", "backend_name", "shop"), 14},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, tt.got, tt.want)
		}
	}
}

func TestSeriesAreBornWithTheirFirstEvent(t *testing.T) {
	m := newMesh(t, shopServer)
	shop := m.pod("shop", nil)
	if strings.Contains(shop.page(t), httpDeny) {
		t.Errorf("%s is there before anything was denied", httpDeny)
	}
	shop.plain("GET", "/")
	if !strings.Contains(shop.page(t), httpDeny+"{") {
		t.Errorf("%s is not there", httpDeny)
	}
}

func TestAScrapeCountsItself(t *testing.T) {
	m := newMesh(t, "")
	shop := m.pod("shop", nil)
	eventually(t, "the kubelet's first probe", func() bool {
		return shop.scrape(t, requestTotal, "target_addr", "0.0.0.0:4191", "authz_name", "probe", "route_name", "probe", "tls", "no_identity") == 1
	})
	of := func(page, metric string) float64 {
		sum := 0.0
		for _, p := range parse(t, page)[metric] {
			if p.labels["target_addr"] == "0.0.0.0:4191" && p.labels["route_name"] == "default" && p.labels["tls"] == "no_identity" {
				sum += p.value
			}
		}
		return sum
	}
	a, b := shop.page(t), shop.page(t)
	for _, metric := range []string{requestTotal, httpAllow} {
		if of(b, metric) != of(a, metric)+1 {
			t.Errorf("%s: %v, then %v", metric, of(a, metric), of(b, metric))
		}
	}
	if of(a, requestTotal) != of(a, responseTotal)+1 {
		t.Errorf("%v requests, %v responses: the scrape's own answer is under way", of(a, requestTotal), of(a, responseTotal))
	}
}

func TestIdleSeriesExpireAndThoseOfDecisionsDoNot(t *testing.T) {
	c := &clock{time.Unix(1000, 0)}
	m := newMetrics(c.now)
	page := func() string {
		var b strings.Builder
		if err := m.write(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	l := labels("").with("direction", "inbound", "sni", "a\"b\\c\nd")
	m.inc(requestTotal, l)
	m.inc(httpAllow, l)
	release := m.hold(requestTotal, labels("").with("direction", "outbound"))
	m.observe(responseLatency, l, 15*time.Millisecond)
	c.advance(retainIdle - time.Second)
	if got := page(); !strings.Contains(got, `request_total{direction="inbound",sni="a\"b\\c\nd"} 1`) || !strings.Contains(got, `response_latency_ms_bucket{direction="inbound",sni="a\"b\\c\nd",le="20"} 1`) {
		t.Errorf("too early:\n%s", got)
	}
	c.advance(time.Second)
	got := page()
	if strings.Contains(got, `request_total{direction="inbound"`) || strings.Contains(got, "response_latency_ms") {
		t.Errorf("idle series are still there:\n%s", got)
	}
	if !strings.Contains(got, httpAllow+"{") || !strings.Contains(got, `request_total{direction="outbound"} 0`) {
		t.Errorf("a series that is held, or one of decisions, is gone:\n%s", got)
	}
	m.inc(requestTotal, l)
	if got := page(); !strings.Contains(got, `request_total{direction="inbound",sni="a\"b\\c\nd"} 1`) {
		t.Errorf("a series that comes again does not begin at 0:\n%s", got)
	}
	release()
	c.advance(retainIdle)
	if got := page(); strings.Contains(got, requestTotal) {
		t.Errorf("a series that was let go stays:\n%s", got)
	}
}
