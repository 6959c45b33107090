package istio

import (
	"context"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/clusters/embedded/proxy/relay"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/trust"
)

const shopUpstream = "outbound|80||shop.app.svc.cluster.local"

// deadEndpoint is an endpoint of shop where nobody listens.
func deadEndpoint(t testing.TB) proxy.Endpoint {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return endpointAt(l.Addr().String())
}

func endpointAt(addr string) proxy.Endpoint {
	return proxy.Endpoint{
		PodRef:         evidence.PodRef{Cluster: "east", Namespace: "app", Service: "shop", Pod: "shop-extra", UID: "uid-extra"},
		ServiceAccount: "shop", Workload: "shop", Labels: map[string]string{"app": "shop"}, Mesh: meshName, Addr: addr,
	}
}

func TestAConnectFailureIsRetriedOnAnotherEndpointThatSeesAttempt2(t *testing.T) {
	m := newMesh(t, proofRoutes)
	m.extra = []proxy.Endpoint{deadEndpoint(t)}
	shop, cart := m.pod("shop", nil), m.pod("cart", nil)
	c := client(t, cart.Outbound())
	const n = 30
	for range n {
		if a := ask(t, c, "POST", "http://shop.app/", "x-envoy-attempt-count", "7"); a.code != 200 {
			t.Fatalf("%+v", a)
		}
	}
	attempts := map[string]int{}
	for _, r := range shop.requests() {
		attempts[r.Header.Get("X-Envoy-Attempt-Count")]++
	}
	if attempts["1"] == 0 || attempts["2"] == 0 || attempts["1"]+attempts["2"]+attempts["3"] != n {
		t.Errorf("attempts seen: %v", attempts)
	}
	if got := cart.scrape(t, "envoy_cluster_upstream_rq_retry", "cluster_name", shopUpstream); got != float64(attempts["2"]+2*attempts["3"]) {
		t.Errorf("retries counted: %v, seen: %v", got, attempts)
	}
}

func TestProofTrafficIsNotRetried(t *testing.T) {
	m := newMesh(t, proofRoutes)
	m.extra = []proxy.Endpoint{deadEndpoint(t)}
	m.pod("shop", nil)
	cart := m.pod("cart", nil)
	c := client(t, cart.Outbound())
	codes := map[int]int{}
	for range 30 {
		a := ask(t, c, "GET", "http://shop.app/", "x-meshproof-proof", "1")
		codes[a.code]++
		if a.code == 503 && strings.Contains(a.body, "retried") {
			t.Errorf("%q", a.body)
		}
	}
	if codes[200] == 0 || codes[503] == 0 || codes[200]+codes[503] != 30 {
		t.Errorf("codes: %v", codes)
	}
	if got := cart.scrape(t, "envoy_cluster_upstream_rq_retry"); got != 0 {
		t.Errorf("retries: %v", got)
	}
	if got := cart.scrape(t, "istio_requests_total", "reporter", "source", "response_flags", "UF"); got != float64(codes[503]) {
		t.Errorf("UF: %v of %v", got, codes)
	}
}

func TestRetriesEndAfterTwoAndSaySo(t *testing.T) {
	m := newMesh(t, strictMesh)
	m.extra = []proxy.Endpoint{deadEndpoint(t)}
	shop, cart := m.pod("shop", nil), m.pod("cart", nil)
	shop.Kill()
	a := cart.out(t, "GET", "/")
	if a.code != 503 || !strings.HasPrefix(a.body, "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: remote connection failure") {
		t.Errorf("%d %q", a.code, a.body)
	}
	if got := cart.scrape(t, "istio_requests_total", "response_code", "503", "response_flags", "UF,URX"); got != 1 {
		t.Errorf("UF,URX: %v", got)
	}
	if got := cart.scrape(t, "envoy_cluster_upstream_rq_retry", "cluster_name", shopUpstream); got != 2 {
		t.Errorf("retries: %v", got)
	}
	if got := cart.scrape(t, "envoy_cluster_upstream_rq_retry_limit_exceeded", "cluster_name", shopUpstream); got != 1 {
		t.Errorf("exhausted: %v", got)
	}
}

func TestAnAnswerIsNotRetriedUnlessTheRouteSaysSo(t *testing.T) {
	for _, tt := range []struct {
		name, retries string
		fails, asked  int
		want          int
	}{
		{"503 by default", "", 2, 1, 503},
		{"5xx, in time", "retries: {attempts: 2, retryOn: 5xx}", 2, 3, 200},
		{"5xx, too often", "retries: {attempts: 2, retryOn: 5xx}", 3, 3, 503},
		{"a status code", "retries: {attempts: 1, retryOn: \"connect-failure,503\"}", 1, 2, 200},
		{"gateway-error", "retries: {attempts: 1, retryOn: gateway-error}", 1, 2, 200},
		{"another code", "retries: {attempts: 1, retryOn: \"500\"}", 1, 1, 503},
		{"none", "retries: {attempts: 0, retryOn: 5xx}", 1, 1, 503},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMesh(t, strictMesh+"\n---\nkind: VirtualService\nmetadata: {name: shop, namespace: app}\n"+
				"spec: {hosts: [shop], http: [{route: [{destination: {host: shop}}], "+strings.TrimSuffix(tt.retries, "\n")+"}]}\n")
			var n atomic.Int64
			var bodies sync.Map
			shop := m.pod("shop", func(w http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				bodies.Store(n.Load(), string(b))
				if n.Add(1) <= int64(tt.fails) {
					w.WriteHeader(503)
				}
			})
			cart := m.pod("cart", nil)
			a := askBody(t, client(t, cart.Outbound()), "PUT", "http://shop.app/", strings.NewReader("the body"))
			if a.code != tt.want || len(shop.requests()) != tt.asked {
				t.Errorf("%+v after %d requests", a, len(shop.requests()))
			}
			bodies.Range(func(k, v any) bool {
				if v != "the body" {
					t.Errorf("attempt %v had body %q", k, v)
				}
				return true
			})
		})
	}
}

func TestWithoutEndpointsTheAnswerIs503UH(t *testing.T) {
	m := newMesh(t, strictMesh)
	cart := m.pod("cart", nil)
	snap := m.snapshot()
	snap.Services["shop.app.svc.cluster.local"] = proxy.Service{Namespace: "app", Name: "shop", Host: "shop.app.svc.cluster.local", Port: 80}
	cart.Update(snap)
	if a := cart.out(t, "GET", "/"); a.code != 503 || a.body != "no healthy upstream" || a.header.Get("Server") != "istio-envoy" {
		t.Errorf("%+v", a)
	}
	if got := cart.scrape(t, "istio_requests_total", "response_flags", "UH", "destination_service_name", "shop", "destination_workload", "unknown"); got != 1 {
		t.Errorf("UH: %v", got)
	}
}

func TestHostsRoutesAndSubsetsThatDoNotExist(t *testing.T) {
	m := newMesh(t, `
kind: VirtualService
metadata: {name: shop, namespace: app}
spec:
  hosts: [shop]
  http:
    - {match: [{uri: {prefix: /gone}}], route: [{destination: {host: shop, subset: gone}}]}
    - {match: [{uri: {exact: /ok}}], route: [{destination: {host: shop}}]}
`)
	m.pod("shop", nil)
	cart := m.pod("cart", nil)
	for _, tt := range []struct {
		url, flags string
		code       int
	}{
		{"http://nobody.app/", "-", 502},
		{"http://10.0.0.1/", "-", 502},
		{"http://shop.app/gone/x", "NC", 503},
		{"http://shop.app/other", "NR", 404},
		{"http://SHOP.app:80/ok", "-", 200},
		{"http://shop/ok?q=1", "-", 200},
		{"http://shop.app.svc/ok", "-", 200},
	} {
		before := cart.scrape(t, "istio_requests_total", "response_flags", tt.flags)
		if a := ask(t, client(t, cart.Outbound()), "GET", tt.url); a.code != tt.code {
			t.Errorf("%s: %+v, want %d", tt.url, a, tt.code)
		}
		if got := cart.scrape(t, "istio_requests_total", "response_flags", tt.flags); got != before+1 {
			t.Errorf("%s: flags %s counted %v times", tt.url, tt.flags, got-before)
		}
	}
}

func TestFreshConnectionsAreOnePerRequestWhereTheDefaultReuses(t *testing.T) {
	m := newMesh(t, proofRoutes)
	shop, cart := m.pod("shop", nil), m.pod("cart", nil)
	c := client(t, cart.Outbound())
	const n = 7
	for range n {
		if a := ask(t, c, "GET", "http://shop.app/", "x-meshproof-proof", "1", "x-meshproof-connection", "fresh"); a.code != 200 {
			t.Fatalf("%+v", a)
		}
	}
	for range n {
		if a := ask(t, c, "GET", "http://shop.app/", "x-meshproof-proof", "1"); a.code != 200 {
			t.Fatalf("%+v", a)
		}
	}
	for name, want := range map[string]float64{"outbound|80|fresh|shop.app.svc.cluster.local": n, shopUpstream: 1} {
		if got := cart.scrape(t, "envoy_cluster_ssl_handshake", "cluster_name", name); got != want {
			t.Errorf("%s: %v handshakes, want %v", name, got, want)
		}
	}
	if got := shop.scrape(t, "envoy_listener_ssl_handshake"); got != n+1 {
		t.Errorf("shop saw %v handshakes", got)
	}
	peers := map[string]bool{}
	for _, r := range shop.requests() {
		peers[r.Header.Get("X-Request-Id")] = true
	}
	if len(peers) != 2*n {
		t.Errorf("%d different request IDs", len(peers))
	}
}

func TestAServerWithAnotherIdentityIsNotTalkedTo(t *testing.T) {
	root, err := trust.NewRoot("other")
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := root.Issuer("stranger")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, metric string
		spoil        func(shop *testPod)
	}{
		{"another service account", "envoy_cluster_ssl_fail_verify_san", func(shop *testPod) {
			shop.id.Leaf.URI = "spiffe://cluster.local/ns/app/sa/other"
			shop.id.Renew()
		}},
		{"another root", "envoy_cluster_ssl_fail_verify_error", func(shop *testPod) {
			shop.id.Now.Store(leaf(t, stranger, "spiffe://cluster.local/ns/app/sa/shop"))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMesh(t, proofRoutes)
			shop, cart := m.pod("shop", nil), m.pod("cart", nil)
			tt.spoil(shop)
			a := cart.out(t, "GET", "/", "x-meshproof-proof", "1")
			if a.code != 503 || !strings.Contains(a.body, "TLS_error") {
				t.Errorf("%+v", a)
			}
			if got := cart.scrape(t, tt.metric, "cluster_name", shopUpstream); got != 1 {
				t.Errorf("%s = %v", tt.metric, got)
			}
			if len(shop.requests()) != 0 {
				t.Error("the request got through")
			}
		})
	}
}

func TestConnectionsAreSecuredWhereSettingsAndEndpointAskForIt(t *testing.T) {
	rule := func(mode string) string {
		return "kind: DestinationRule\nmetadata: {name: shop, namespace: app}\nspec: {host: shop, trafficPolicy: {tls: {mode: " + mode + "}}}\n"
	}
	for _, tt := range []struct {
		name, objs string
		meshed     bool
		secure     bool
		code       int
	}{
		{"a sidecar", "", true, true, 200},
		{"no sidecar", "", false, false, 200},
		{"a port that takes plaintext alone", disabledMesh, true, false, 200},
		{"DISABLE", rule("DISABLE"), true, false, 200},
		{"DISABLE against STRICT", strictMesh + "\n---\n" + rule("DISABLE"), true, false, 503},
		{"ISTIO_MUTUAL", rule("ISTIO_MUTUAL"), true, true, 200},
		{"ISTIO_MUTUAL without a sidecar", rule("ISTIO_MUTUAL"), false, true, 503},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMesh(t, tt.objs)
			shop, cart := m.pod("shop", nil), m.pod("cart", nil)
			snap := m.snapshot()
			svc := snap.Services["shop.app.svc.cluster.local"]
			if !tt.meshed {
				svc.Endpoints[0].Mesh = ""
				svc.Endpoints[0].Addr = shop.AppAddr
			}
			cart.Update(snap)
			if a := cart.out(t, "GET", "/"); a.code != tt.code {
				t.Errorf("%+v", a)
			}
			want := 0.0
			if tt.secure && tt.code == 200 {
				want = 1
			}
			if got := cart.scrape(t, "envoy_cluster_ssl_handshake", "cluster_name", shopUpstream); got != want {
				t.Errorf("handshakes: %v", got)
			}
			for _, r := range shop.requests() {
				if got := r.Header.Get("X-Forwarded-Client-Cert") != ""; got != tt.secure {
					t.Errorf("the workload sees an identity: %v", got)
				}
			}
		})
	}
}

func TestLeastRequestTakesTheIdleHostAsOftenAsTwoDrawsSay(t *testing.T) {
	for _, n := range []int{2, 3, 5} {
		hosts := make([]*host, n)
		for i := range hosts {
			hosts[i] = &host{}
			hosts[i].active.Store(3)
		}
		hosts[n-1].active.Store(0)
		b := newBalancer(leastRequest, hosts, relay.NewDice(1))
		const draws = 20000
		idle := 0
		for range draws {
			if b.pick(nil, 0) == hosts[n-1] {
				idle++
			}
		}
		want := 1 - math.Pow(1-1/float64(n), 2)
		sigma := math.Sqrt(want * (1 - want) / draws)
		if got := float64(idle) / draws; math.Abs(got-want) > 5*sigma {
			t.Errorf("%d hosts: the idle one was taken in %.4f of draws, want %.4f ± %.4f", n, got, want, 5*sigma)
		}
	}
}

func TestTheOtherBalancersSpreadEvenly(t *testing.T) {
	hosts := []*host{{}, {}, {}}
	for how, tolerance := range map[balancing]float64{roundRobin: 0, random: 300} {
		b := newBalancer(how, hosts, relay.NewDice(2))
		counts := map[*host]int{}
		for range 9000 {
			counts[b.pick(nil, 0)]++
		}
		for _, h := range hosts {
			if math.Abs(float64(counts[h]-3000)) > tolerance {
				t.Errorf("balancer %d: %d of 9000 for one of three", how, counts[h])
			}
		}
	}
}

func TestTheSameSeedBalancesTheSame(t *testing.T) {
	run := func(seed int64) string {
		hosts := []*host{{}, {}, {}, {}}
		b := newBalancer(leastRequest, hosts, relay.NewDice(seed))
		var out strings.Builder
		for range 64 {
			out.WriteByte(byte('0' + slices.Index(hosts, b.pick(nil, 0))))
		}
		return out.String()
	}
	first, again, other := run(7), run(7), run(8)
	if first != again || first == other {
		t.Error("seeds 7, 7, 8:", first, again, other)
	}
}

func TestAHostThatWasTriedIsDrawnAgainAtMostFiveTimes(t *testing.T) {
	hosts := []*host{{}, {}}
	b := newBalancer(roundRobin, hosts, relay.NewDice(1))
	tried := hosts[:1]
	for range 10 {
		if b.pick(tried, 5) != hosts[1] {
			t.Fatal("a host that was tried was taken though another is there")
		}
	}
	if b.pick(hosts, 5) == nil {
		t.Error("no host at all, though all were tried only")
	}
}

func TestBackoffGrowsToTenTimesItsBase(t *testing.T) {
	for n, want := range map[int]time.Duration{1: 25, 2: 75, 3: 175, 4: 250, 5: 250, 70: 250} {
		if got := backoff(n); got != want*time.Millisecond {
			t.Errorf("retry %d: up to %v, want %v ms", n, got, want)
		}
	}
}

func TestWeightsSplitTraffic(t *testing.T) {
	a, b := &upstream{}, &upstream{}
	r := &route{targets: []weighted{{a, 80}, {b, 20}}, weights: 100}
	d, n := relay.NewDice(1), 0
	for range 10000 {
		if r.pick(d.Draw) == a {
			n++
		}
	}
	if n < 7800 || n > 8200 {
		t.Errorf("%d of 10000, want about 8000", n)
	}
	if (&route{targets: []weighted{{a, 0}, {b, 0}}}).pick(d.Draw) != nil {
		t.Error("weights of 0 choose something")
	}
}

func TestTimeoutsOfARouteAnswer504(t *testing.T) {
	for _, tt := range []struct {
		name, limit string
		asked       int
		flags       string
	}{
		{"of the whole request", "timeout: 0.3s", 1, "UT"},
		{"of each try", "retries: {attempts: 1, perTryTimeout: 0.3s, retryOn: reset}", 2, "UT,URX"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMesh(t, "kind: VirtualService\nmetadata: {name: shop, namespace: app}\nspec: {hosts: [shop], http: [{route: [{destination: {host: shop}}], "+tt.limit+"}]}\n")
			shop := m.pod("shop", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			cart := m.pod("cart", nil)
			if a := cart.out(t, "GET", "/"); a.code != 504 || a.body != "upstream request timeout" {
				t.Errorf("%+v", a)
			}
			if got := len(shop.requests()); got != tt.asked {
				t.Errorf("asked %d times", got)
			}
			if got := cart.scrape(t, "istio_requests_total", "response_code", "504", "response_flags", tt.flags); got != 1 {
				t.Errorf("%s counted %v times", tt.flags, got)
			}
		})
	}
}

func TestAConnectionThatDiedWhileIdleIsNotUsed(t *testing.T) {
	m := newMesh(t, proofRoutes)
	shop, cart := m.pod("shop", nil), m.pod("cart", nil)
	c := client(t, cart.Outbound())
	for i := range 5 {
		if a := ask(t, c, "GET", "http://shop.app/", "x-meshproof-proof", "1"); a.code != 200 {
			t.Fatalf("%d: %+v", i, a)
		}
		for _, conn := range shop.inboundSet.stale(3) {
			conn.Close()
		}
		eventually(t, "the idle connection is dropped", func() bool {
			cart.updating.Lock()
			defer cart.updating.Unlock()
			for _, h := range cart.hosts {
				if h.Idle() > 0 {
					return false
				}
			}
			return true
		})
	}
}

func TestAResetBeforeTheAnswerIs503UCAndNotRetried(t *testing.T) {
	m := newMesh(t, strictMesh)
	shop := m.pod("shop", func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			c.Close()
		}
	})
	cart := m.pod("cart", nil)
	a := cart.out(t, "GET", "/")
	if a.code != 503 || a.body != "upstream connect error or disconnect/reset before headers. reset reason: connection termination" {
		t.Errorf("%+v", a)
	}
	if got := len(shop.requests()); got != 1 {
		t.Errorf("asked %d times", got)
	}
	if got := shop.scrape(t, "istio_requests_total", "response_flags", "UC"); got != 1 {
		t.Errorf("UC: %v", got)
	}
}

func TestAnAnswerThatBreaksOffIsNotTakenForAWholeOne(t *testing.T) {
	m := newMesh(t, strictMesh)
	shop := m.pod("shop", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "half")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	cart := m.pod("cart", nil)
	if a := cart.out(t, "GET", "/"); a.err == nil {
		t.Errorf("the client took it for whole: %+v", a)
	}
	for _, p := range []*testPod{shop, cart} {
		eventually(t, "UC", func() bool {
			return p.scrape(t, "istio_requests_total", "response_code", "200", "response_flags", "UC") == 1
		})
	}
}

func TestBodiesOfAnySizePassBothWays(t *testing.T) {
	m := newMesh(t, strictMesh)
	m.pod("shop", func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		io.Copy(w, r.Body)
	})
	cart := m.pod("cart", nil)
	c := client(t, cart.Outbound())
	for _, size := range []int{0, 1, 4095, 16384, 1 << 20, 1<<20 + 1, 5 << 20} {
		body := strings.Repeat("x", size)
		for _, known := range []bool{true, false} {
			var r io.Reader = strings.NewReader(body)
			if !known {
				r = io.MultiReader(r)
			}
			if a := askBody(t, c, "POST", "http://shop.app/", r); a.code != 200 || a.body != body || a.err != nil {
				t.Errorf("%d bytes, length known %v: %d, %d bytes, %v", size, known, a.code, len(a.body), a.err)
			}
		}
	}
	if a := ask(t, c, "HEAD", "http://shop.app/"); a.code != 200 || a.body != "" {
		t.Errorf("HEAD: %+v", a)
	}
}

func TestAnAnswerBeforeTheRequestIsReadEndsTheConnectionOnly(t *testing.T) {
	m := newMesh(t, strictMesh)
	m.pod("shop", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	})
	cart := m.pod("cart", nil)
	for range 3 {
		a := askBody(t, client(t, cart.Outbound()), "POST", "http://shop.app/", io.LimitReader(zeros{}, 20<<20))
		if a.err == nil && a.code != http.StatusRequestEntityTooLarge && a.code != http.StatusServiceUnavailable {
			t.Errorf("%+v", a)
		}
	}
	if a := cart.out(t, "GET", "/"); a.code != http.StatusRequestEntityTooLarge {
		t.Errorf("afterwards: %+v", a)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestAStreamIsPassedOnAsItComes(t *testing.T) {
	m := newMesh(t, strictMesh)
	next := make(chan struct{})
	m.pod("shop", func(w http.ResponseWriter, r *http.Request) {
		for range 3 {
			io.WriteString(w, "tick\n")
			http.NewResponseController(w).Flush()
			<-next
		}
	})
	cart := m.pod("cart", nil)
	resp, err := client(t, cart.Outbound()).Get("http://shop.app/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	buf := make([]byte, 5)
	for range 3 {
		if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != "tick\n" {
			t.Fatalf("%q, %v", buf, err)
		}
		next <- struct{}{}
	}
}

func TestAClientThatLeavesIsCountedWithoutAStatus(t *testing.T) {
	m := newMesh(t, strictMesh)
	shop := m.pod("shop", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	cart := m.pod("cart", nil)
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, "GET", "http://shop.app/", nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		resp, err := client(t, cart.Outbound()).Do(req)
		if err == nil {
			resp.Body.Close()
		}
		done <- err
	}()
	eventually(t, "request under way", func() bool { return len(shop.requests()) == 1 })
	cancel()
	<-done
	for _, p := range []*testPod{shop, cart} {
		eventually(t, "DC", func() bool {
			return p.scrape(t, "istio_requests_total", "response_code", "0", "response_flags", "DC") == 1
		})
	}
}

func TestUpdatesDoNotDisturbTraffic(t *testing.T) {
	m := newMesh(t, proofRoutes)
	m.pod("shop", nil)
	cart := m.pod("cart", nil)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var failed atomic.Int64
	for range 4 {
		wg.Go(func() {
			c := client(t, cart.Outbound())
			for {
				select {
				case <-stop:
					return
				default:
				}
				if a := ask(t, c, "GET", "http://shop.app/", "x-meshproof-proof", "1"); a.code != 200 {
					failed.Add(1)
				}
			}
		})
	}
	for range 50 {
		m.update()
		time.Sleep(2 * time.Millisecond)
	}
	close(stop)
	wg.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d requests failed", failed.Load())
	}
}
