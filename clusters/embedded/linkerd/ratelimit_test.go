package linkerd

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meshproof/meshproof/clusters/linkerdapi"
)

// limitShop limits the rate of Server shop.
func limitShop(spec string) string {
	return `apiVersion: policy.linkerd.io/v1alpha1
kind: HTTPLocalRateLimitPolicy
metadata: {name: rate, namespace: app}
spec: {targetRef: {group: policy.linkerd.io, kind: Server, name: shop}, ` + spec + `}
---
`
}

// handClock stands still until it is moved. Proxies may read it meanwhile.
type handClock struct{ ns atomic.Int64 }

func (c *handClock) now() time.Time          { return time.Unix(1000, c.ns.Load()) }
func (c *handClock) advance(d time.Duration) { c.ns.Add(int64(d)) }

func TestABucketLetsABurstOfASecondPassAndThenItsRate(t *testing.T) {
	begin := time.Unix(1000, 0)
	for _, tt := range []struct {
		name  string
		rate  uint32
		every time.Duration
		n     int
		want  int
	}{
		{"at once", 5, 0, 20, 5},
		{"at the rate", 5, 200 * time.Millisecond, 50, 50},
		{"at twice the rate", 10, 50 * time.Millisecond, 100, 59}, // 10 at once, and 10 a second for 4.95 s
		{"one a second", 1, 500 * time.Millisecond, 10, 5},
		{"more than one a nanosecond", 4_000_000_000, 0, 1000, 1000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bucket
			got := 0
			for i := range tt.n {
				if b.take(tt.rate, begin.Add(time.Duration(i)*tt.every)) {
					got++
				}
			}
			if got != tt.want {
				t.Errorf("%d of %d passed, want %d", got, tt.n, tt.want)
			}
		})
	}
	var b bucket
	for round := range 3 { // a rest never saves up more than one burst
		got, now := 0, begin.Add(time.Duration(round)*time.Hour)
		for range 20 {
			if b.take(5, now) {
				got++
			}
		}
		if got != 5 {
			t.Errorf("round %d: %d passed, want 5", round, got)
		}
	}
}

func TestLimitsHoldForAllForEachIdentityAndForThoseThatAreExcepted(t *testing.T) {
	m := newMesh(t, shopServer+limitShop(`total: {requestsPerSecond: 35}, identity: {requestsPerSecond: 5},
  overrides: [{requestsPerSecond: 10, clientRefs: [{kind: ServiceAccount, name: cart}, {kind: ServiceAccount, name: stock, namespace: depot}]}]`))
	set := settingsOf(m.objs)
	l := newLimiter(set.limitsOf(set.servers[0]))
	now := time.Unix(1000, 0)
	depot := clientID{name: "stock.depot.serviceaccount.identity.linkerd.cluster.local"}
	pass := func(want int, wantScope, wantWhy string, clients ...clientID) {
		t.Helper()
		for i := 0; ; i++ {
			scope, why := l.check(clients[i%len(clients)], now)
			if scope == "" {
				continue
			}
			if i != want || scope != wantScope || why != wantWhy {
				t.Errorf("%v: %d passed, then %q (%s); want %d, then %q (%s)", clients, i, scope, why, want, wantScope, wantWhy)
			}
			return
		}
	}
	const identity, override = "per-identity rate limit exceeded: 5rps", "override rate limit exceeded: 10rps"
	for range 2 {
		pass(5, "identity", identity, clientID{name: stockID})
		pass(10, "identity", override, clientID{name: cartID}, depot)                                    // who is excepted together shares one limit
		pass(5, "identity", identity, clientID{})                                                        // whoever has no identity, too
		pass(5, "identity", identity, clientID{name: cartID, uri: true})                                 // a URI is another identity
		pass(6, "total", "total rate limit exceeded: 35rps", clientID{"a", false}, clientID{"b", false}) // 4 were used up by refusals
		now = now.Add(time.Second)
	}
}

func TestARateIsLimitedAfterAuthorizationInEachProxyForItself(t *testing.T) {
	clock := &handClock{}
	m := newMesh(t, shopServer+cartMayServer+anyMember+limitShop("total: {requestsPerSecond: 3}, identity: {requestsPerSecond: 2}"))
	m.clock = clock.now
	one, two := m.pod("shop", nil), m.pod("shop", nil)
	codes := func(p *testPod, id string, n int) (out []int) {
		for range n {
			out = append(out, m.as(p, dnsLeaf(id), "GET", "/").code)
		}
		return out
	}
	for range 5 { // refusals of the policy use nothing up
		if a := one.plain("GET", "/"); a.code != 403 {
			t.Fatalf("%+v", a)
		}
	}
	if got := codes(one, cartID, 3); !slices.Equal(got, []int{200, 200, 429}) {
		t.Errorf("cart: %v", got)
	}
	a := m.as(one, dnsLeaf(stockID), "GET", "/")
	if a.code != 429 || a.body != "" || !strings.HasSuffix(a.header.Get("L5d-Proxy-Error"), ": total rate limit exceeded: 3rps") {
		t.Errorf("%+v", a)
	}
	if got := codes(two, cartID, 3); !slices.Equal(got, []int{200, 200, 429}) {
		t.Errorf("another proxy: %v", got)
	}
	m.update() // nothing changed for the port
	if got := codes(one, cartID, 1); got[0] != 429 {
		t.Errorf("after an update of something else: %v", got)
	}
	clock.advance(time.Second)
	if got := codes(one, cartID, 1); got[0] != 200 {
		t.Errorf("after a second: %v", got)
	}
	m.apply(shopServer + cartMayServer + anyMember + limitShop("total: {requestsPerSecond: 1}"))
	if got := codes(one, cartID, 2); !slices.Equal(got, []int{200, 429}) {
		t.Errorf("under another limit, which begins anew: %v", got)
	}

	limited := func(want ...string) float64 {
		return one.scrape(t, rateLimited, append(want, "srv_name", "shop", "srv_port", "8080", "target_port", "8080", "tls", "true")...)
	}
	if n := limited("ratelimit_scope", "identity", "client_id", cartID); n != 1 {
		t.Errorf("%v limited by identity", n)
	}
	if n := limited("ratelimit_scope", "total"); n != 3 {
		t.Errorf("%v limited as a whole", n)
	}
	want := []string{
		"client_id", "ratelimit_group", "ratelimit_kind", "ratelimit_name", "ratelimit_scope", "srv_group", "srv_kind", "srv_name", "srv_port",
		"target_addr", "target_ip", "target_port", "tls",
	}
	for _, p := range parse(t, one.page(t))[rateLimited] {
		if got := slices.Sorted(maps.Keys(p.labels)); !slices.Equal(got, want) {
			t.Errorf("labels %v, want %v", got, want)
		}
		if p.labels["ratelimit_group"] != linkerdapi.Group || p.labels["ratelimit_kind"] != "HTTPLocalRateLimitPolicy" || p.labels["ratelimit_name"] != "rate" {
			t.Errorf("labels %v", p.labels)
		}
	}
	// What was limited was authorized before, and is counted as that; it is in request_total no more than what was denied.
	if n := one.scrape(t, httpAllow, "srv_port", "8080"); n != 8 {
		t.Errorf("%v authorized", n)
	}
	if n := one.scrape(t, requestTotal, "srv_port", "8080"); n != 4 || len(one.requests()) != 4 {
		t.Errorf("%v requests counted, the workload got %d", n, len(one.requests()))
	}
}

func TestRefusalsOfGRPCHaveItsCodes(t *testing.T) {
	clock := &handClock{}
	m := newMesh(t, shopServer+okRoute+cartMayOK+cartOrGateway+limitShop("total: {requestsPerSecond: 1}"))
	m.clock = clock.now
	shop := m.pod("shop", nil)
	if a := m.as(shop, dnsLeaf(cartID), "GET", "/ok"); a.code != 200 { // uses the limit up
		t.Fatalf("%+v", a)
	}
	for _, tt := range []struct {
		name, id, path, contentType string
		code                        int
		status                      string
	}{
		{"denied", stockID, "/ok", "application/grpc", 200, "7"},
		{"denied, with a codec", stockID, "/ok", "application/grpc+proto", 200, "7"},
		{"denied, and no gRPC", stockID, "/ok", "application/json", 403, ""},
		{"no route", cartID, "/elsewhere", "application/grpc", 200, "5"},
		{"limited", cartID, "/ok", "application/grpc", 200, "8"},
		{"denied, a client without an identity", "", "/ok", "application/grpc", 200, "7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			leaf := dnsLeaf(tt.id)
			if tt.id == "" {
				leaf = nil
			}
			c, err := m.secured(shop, nil, leaf)
			if err != nil {
				t.Fatal(err)
			}
			a := overHTTP2(t, c, tt.path, tt.contentType)
			if a.code != tt.code || a.header.Get("Grpc-Status") != tt.status || a.body != "" || a.header.Get("Content-Length") != "0" {
				t.Errorf("%+v", a)
			}
			if why := a.header.Get("Grpc-Message"); (why != "") != (tt.status != "" && tt.id != "") || tt.id != "" && why != a.header.Get("L5d-Proxy-Error") && tt.status != "" {
				t.Errorf("grpc-message %q, l5d-proxy-error %q", why, a.header.Get("L5d-Proxy-Error"))
			}
			if got := a.header.Get("Content-Type"); (got == "application/grpc") != (tt.status != "") {
				t.Errorf("content type %q", got)
			}
		})
	}
	if a := m.as(shop, dnsLeaf(stockID), "GET", "/ok", "Content-Type", "application/grpc"); a.code != 403 || a.header.Get("Grpc-Status") != "" {
		t.Errorf("over HTTP/1.1 nothing is gRPC: %+v", a)
	}
	stock := m.pod("stock", nil) // between proxies the request rides on HTTP/2
	if a := stock.out("GET", "/ok", "Content-Type", "application/grpc"); a.code != 200 || a.header.Get("Grpc-Status") != "7" {
		t.Errorf("by way of a proxy: %+v", a)
	}
	if n := len(shop.requests()); n != 1 {
		t.Errorf("the workload got %d requests", n)
	}
	if n := shop.scrape(t, httpDeny, "srv_port", "8080"); n != 6 {
		t.Errorf("%v denied", n)
	}
}

func TestARouteCannotBeFooledByWhatAClientSaysOfItself(t *testing.T) {
	m := newMesh(t, shopServer+cartMayServer+anyMember+`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: only-cart, namespace: app}
spec:
  parentRefs: [{group: policy.linkerd.io, kind: Server, name: shop}]
  rules: [{matches: [{headers: [{name: l5d-client-id, value: `+cartID+`}]}]}]
---
`)
	shop := m.pod("shop", nil)
	for id, want := range map[string]int{cartID: http.StatusOK, stockID: http.StatusNotFound} {
		if a := m.as(shop, dnsLeaf(id), "GET", "/", "L5d-Client-Id", cartID); a.code != want {
			t.Errorf("%s: %+v, want %d", id, a, want)
		}
	}
	if a := shop.plain("GET", "/", "L5d-Client-Id", cartID); a.code != http.StatusNotFound {
		t.Errorf("in plaintext: %+v", a)
	}
}
