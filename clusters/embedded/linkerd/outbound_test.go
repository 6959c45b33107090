package linkerd

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/evidence"
)

// endpointAt is an endpoint of shop that no test pod stands behind.
func endpointAt(addr, mesh string) proxy.Endpoint {
	return proxy.Endpoint{
		PodRef:         evidence.PodRef{Cluster: "east", Namespace: "app", Service: "shop", Pod: "shop-extra", UID: "uid-extra"},
		ServiceAccount: "shop", Workload: "shop", Labels: map[string]string{"app": "shop"}, Mesh: mesh, Addr: addr,
	}
}

func deadAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// listener accepts with a function until the test ends.
func listener(t testing.TB, accept func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accept(c)
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

func TestMembersSpeakHTTP2WithMutualTLSOnOneConnection(t *testing.T) {
	m := newMesh(t, shopServer+okRoute+cartMayOK+cartOrGateway)
	shop, cart := m.pod("shop", nil), m.pod("cart", nil)
	const n = 20
	for range n {
		if a := cart.out("GET", "/ok"); a.code != 200 || !strings.HasPrefix(a.body, "hello") {
			t.Fatalf("%+v", a)
		}
	}
	if got := shop.scrape(t, requestTotal, "direction", "inbound", "tls", "true", "client_id", cartID, "authz_name", "shop-ok"); got != n {
		t.Errorf("%v requests", got)
	}
	if got := shop.scrape(t, tcpOpen, "direction", "inbound", "peer", "src", "tls", "true", "client_id", cartID); got != 1 {
		t.Errorf("%v connections", got)
	}
	if got := cart.scrape(t, requestTotal, "direction", "outbound", "tls", "true", "server_id", shopID); got != n {
		t.Errorf("%v requests sent", got)
	}
}

func TestBodiesPassBothWays(t *testing.T) {
	m := newMesh(t, "")
	m.pod("shop", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		fmt.Fprintf(w, "%s %s %s %d %d", r.Method, r.RequestURI, r.Host, r.ContentLength, len(b))
		w.Write(b)
	})
	cart := m.pod("cart", nil)
	for _, size := range []int{0, 10, retryBodyKept + 1, 1 << 20} {
		c, err := net.Dial("tcp", cart.Outbound())
		if err != nil {
			t.Fatal(err)
		}
		body := strings.Repeat("x", size)
		fmt.Fprintf(c, "POST /a%%2Fb?c=d HTTP/1.1\r\nHost: shop.app\r\nContent-Length: %d\r\n\r\n%s", size, body)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		if want := fmt.Sprintf("POST /a%%2Fb?c=d shop.app %d %d%s", size, size, body); err != nil || string(got) != want {
			t.Errorf("%d bytes: %.80q, %v", size, got, err)
		}
		c.Close()
	}
}

func TestARequestToAnEndpointOutsideTheMeshIsPlaintext(t *testing.T) {
	m := newMesh(t, "")
	cart := m.pod("cart", nil)
	m.extra = []proxy.Endpoint{endpointAt(cart.AppAddr, "")}
	m.update()
	if a := cart.out("GET", "/"); a.code != 200 {
		t.Fatalf("%+v", a)
	}
	if got := cart.scrape(t, requestTotal, "direction", "outbound", "tls", "no_identity", "no_tls_reason", "not_provided_by_service_discovery"); got != 1 {
		t.Errorf("%v plaintext requests", got)
	}
}

func TestACallToAStrictIstioWorkloadIs502FromTheOwnProxy(t *testing.T) {
	m := newMesh(t, "")
	cart := m.pod("cart", nil)
	addr := listener(t, func(c net.Conn) { // as STRICT does: a reset after the first byte
		c.Read(make([]byte, 1))
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	})
	m.extra = []proxy.Endpoint{endpointAt(addr, "istio")}
	m.update()
	a := cart.out("GET", "/")
	if a.code != 502 || a.body != "" || a.header.Get("L5d-Proxy-Error") == "" || a.header.Get("L5d-Proxy-Connection") != "close" {
		t.Errorf("%+v", a)
	}
	if got := cart.scrape(t, responseTotal, "direction", "outbound", "status_code", "502", "classification", "failure", "tls", "no_identity"); got != 1 {
		t.Errorf("%v counted", got)
	}
}

func TestAServerWithAnotherIdentityIsNotTalkedTo(t *testing.T) {
	m := newMesh(t, "")
	stock, cart := m.pod("stock", nil), m.pod("cart", nil)
	m.extra = []proxy.Endpoint{endpointAt(stock.Inbound(), meshName)} // stock's proxy where shop should be
	m.update()
	if a := cart.out("GET", "/"); a.code != 504 {
		t.Errorf("%+v", a)
	}
	if n := len(stock.requests()); n != 0 {
		t.Errorf("stock got %d requests for shop", n)
	}
}

func TestWithoutAReadyEndpointRequestsFailFastAndThenAreShed(t *testing.T) {
	m := newMesh(t, "")
	cart := m.pod("cart", nil)
	m.extra = []proxy.Endpoint{endpointAt(deadAddr(t), meshName)}
	m.update()
	began := time.Now()
	a := cart.out("GET", "/")
	if took := time.Since(began); a.code != 504 || took < failfastTimeout || !strings.HasSuffix(a.header.Get("L5d-Proxy-Error"), "service in fail-fast") || a.body != "" {
		t.Errorf("after %s: %+v", took, a)
	}
	began = time.Now()
	a = cart.out("GET", "/")
	if took := time.Since(began); a.code != 503 || took > failfastTimeout/2 || !strings.HasSuffix(a.header.Get("L5d-Proxy-Error"), "service unavailable") {
		t.Errorf("after %s: %+v", took, a)
	}
	m.extra = nil
	m.pod("shop", nil)
	eventually(t, "it recovers", func() bool { return cart.out("GET", "/").code == 200 })
}

func TestADeadEndpointIsLeftOut(t *testing.T) {
	m := newMesh(t, "")
	first, second, cart := m.pod("shop", nil), m.pod("shop", nil), m.pod("cart", nil)
	for range 10 {
		if a := cart.out("GET", "/"); a.code != 200 {
			t.Fatalf("%+v", a)
		}
	}
	first.Kill()
	eventually(t, "the connection is gone", func() bool {
		return cart.scrape(t, balancerEndpoints, "endpoint_state", "ready", "parent_name", "shop") == 1
	})
	before := len(second.requests())
	for i := range 20 {
		if a := cart.out("GET", "/"); a.code != 200 {
			t.Fatalf("%d: %+v", i, a)
		}
	}
	if got := len(second.requests()) - before; got != 20 {
		t.Errorf("%d of 20 reached the other", got)
	}
}

func TestAHostThatIsNoServiceIs502(t *testing.T) {
	m := newMesh(t, "")
	cart := m.pod("cart", nil)
	c, err := net.Dial("tcp", cart.Outbound())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: nobody.app\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 502 {
		t.Errorf("%+v, %v", resp, err)
	}
}

func TestRetriesHappenWhereTheServiceAsksForThem(t *testing.T) {
	for _, tt := range []struct {
		annotations string
		failures    int32 // of the workload, before it answers with 200
		code, asked int
	}{
		{"", 1, 503, 1},
		{`retry.linkerd.io/http: 5xx`, 1, 200, 2},
		{`retry.linkerd.io/http: 5xx`, 2, 503, 2},
		{`retry.linkerd.io/http: gateway-error, retry.linkerd.io/limit: "2"`, 2, 200, 3},
		{`retry.linkerd.io/http: "500"`, 1, 503, 1},
		{`retry.linkerd.io/http: "500-503"`, 1, 200, 2},
	} {
		t.Run(tt.annotations, func(t *testing.T) {
			m := newMesh(t, shopService(tt.annotations))
			var n atomic.Int32
			shop := m.pod("shop", func(w http.ResponseWriter, _ *http.Request) {
				if n.Add(1) <= tt.failures {
					w.WriteHeader(http.StatusServiceUnavailable)
				}
			})
			cart := m.pod("cart", nil)
			if a := cart.out("GET", "/"); a.code != tt.code {
				t.Errorf("%+v", a)
			}
			if got := len(shop.requests()); got != tt.asked {
				t.Errorf("asked %d times, want %d", got, tt.asked)
			}
			if got := cart.scrape(t, routeRetries); got != float64(tt.asked-1) {
				t.Errorf("%v retries counted", got)
			}
		})
	}
}

func TestTimeoutsOfTheServiceEndRequests(t *testing.T) {
	for _, annotation := range []string{requestTimeout, responseTimeout} {
		t.Run(annotation, func(t *testing.T) {
			m := newMesh(t, shopService(annotation+": 300ms"))
			release := make(chan struct{})
			shop := m.pod("shop", func(http.ResponseWriter, *http.Request) { <-release })
			defer close(release)
			cart := m.pod("cart", nil)
			a := cart.out("GET", "/")
			if a.code != 504 || !strings.Contains(a.header.Get("L5d-Proxy-Error"), "timed out") || a.header.Get("L5d-Proxy-Connection") != "" {
				t.Errorf("%+v", a)
			}
			if n := len(shop.requests()); n != 1 {
				t.Errorf("asked %d times", n)
			}
		})
	}
}

func TestARetryTimeoutAsksAnother(t *testing.T) {
	m := newMesh(t, shopService(`retry.linkerd.io/http: 5xx, retry.linkerd.io/timeout: 300ms`))
	var n atomic.Int32
	shop := m.pod("shop", func(_ http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 1 {
			<-r.Context().Done()
		}
	})
	cart := m.pod("cart", nil)
	if a := cart.out("GET", "/"); a.code != 200 {
		t.Errorf("%+v", a)
	}
	if got := len(shop.requests()); got != 2 {
		t.Errorf("asked %d times", got)
	}
}

func TestFailureAccrualTakesAnEndpointOut(t *testing.T) {
	m := newMesh(t, shopService(`balancer.linkerd.io/failure-accrual: consecutive, balancer.linkerd.io/failure-accrual-consecutive-min-penalty: 1m`))
	m.clock = new(handClock).now // latencies are all 0, so that none of the two is avoided for a slow answer
	bad := m.pod("shop", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	m.pod("shop", nil)
	cart := m.pod("cart", nil)
	for range 200 {
		cart.out("GET", "/")
	}
	if got := len(bad.requests()); got != 7 {
		t.Errorf("the failing endpoint was asked %d times, want 7", got)
	}
	if a := cart.out("GET", "/"); a.code != 200 {
		t.Errorf("%+v", a)
	}
}

func TestARequestWhoseConnectionBreaksIs502(t *testing.T) {
	m := newMesh(t, "")
	var shop *testPod
	arrived := make(chan struct{})
	shop = m.pod("shop", func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	cart := m.pod("cart", nil)
	got := make(chan reply)
	go func() { got <- cart.out("GET", "/") }()
	<-arrived
	shop.Kill()
	if a := <-got; a.code != 502 {
		t.Errorf("%+v", a)
	}
}

func TestAKilledProxyResetsItsConnections(t *testing.T) {
	m := newMesh(t, "")
	shop := m.pod("shop", nil)
	c, err := net.Dial("tcp", shop.Inbound())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
	if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
		t.Fatal(err)
	}
	shop.Kill()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.Copy(io.Discard, c); err == nil || !strings.Contains(err.Error(), syscall.ECONNRESET.Error()) {
		t.Errorf("%v", err)
	}
}

func TestACallToAnOpaquePortIsSecuredAndNotRead(t *testing.T) {
	m := newMesh(t, opaqueServer+cartMayServer+cartOrGateway)
	shop, cart, stock := m.pod("shop", nil), m.pod("cart", nil), m.pod("stock", nil)
	if a := cart.out("GET", "/"); a.code != 200 {
		t.Errorf("%+v", a)
	}
	if got := shop.scrape(t, tcpAllow, "tls", "true", "client_id", cartID); got != 1 {
		t.Errorf("%v connections allowed", got)
	}
	if a := stock.out("GET", "/"); a.code != 502 {
		t.Errorf("a connection that is closed: %+v", a)
	}
	if got := shop.requests()[0].Header.Get("L5d-Client-Id"); got != "" {
		t.Errorf("l5d-client-id %q on an opaque connection", got)
	}
}

func TestWhatAPodSendsToItselfMeetsNoProxy(t *testing.T) {
	m := newMesh(t, shopServer) // which nobody may use
	alone := m.pod("shop", nil)
	if r := alone.out("GET", "/"); r.code != 200 || r.body != "hello from "+alone.Pod.Pod {
		t.Fatalf("%+v, want its own answer", r)
	}
	for _, r := range alone.requests() {
		if id := r.Header.Get("L5d-Client-Id"); id != "" {
			t.Errorf("arrived with the identity %q", id)
		}
	}
	for _, metric := range []string{"inbound_http_authz_allow_total", "inbound_http_authz_deny_total"} {
		if n := alone.scrape(t, metric, "target_port", "8080"); n != 0 {
			t.Errorf("%s: %v", metric, n)
		}
	}
	if n := alone.scrape(t, "request_total", "direction", "outbound", "no_tls_reason", "loopback"); n != 1 {
		t.Errorf("%v requests to the loopback, want 1", n)
	}
	if r := m.pod("web", nil).out("GET", "/"); r.code != 403 {
		t.Errorf("another pod got %+v, want a refusal", r)
	}
}
