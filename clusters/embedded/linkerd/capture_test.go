package linkerd

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/meshproof/meshproof/clusters/embedded/proxy"
)

const (
	shopAddr = "shop.app.svc.cluster.local:80" // stands for the ClusterIP
	gwID     = "gw.app.serviceaccount.identity.linkerd.cluster.local"
)

// dials asks, as the pod's gateway does, at an address: on a connection that the proxy captures.
func (p *testPod) dials(addr, method, path string) reply {
	c, err := captured{p.world, p.Outbound()}.Dial(p.Context(), "east", "east", addr)
	return request(c, err, method, path)
}

func TestACapturedConnectionGoesWhereItWasMeantToGo(t *testing.T) {
	const n = 40
	for _, tt := range []struct {
		name   string
		addr   func(shops []*testPod) string
		asked  int // of three pods
		parent []string
	}{
		{"a Service is balanced", func([]*testPod) string { return shopAddr }, 3, []string{"parent_kind", "Service", "parent_name", "shop", "backend_kind", "Service", "backend_name", "shop"}},
		{"a pod is that pod", func(p []*testPod) string { return p[1].Inbound() }, 1, []string{"parent_kind", "default", "parent_name", "endpoint", "backend_kind", "default", "backend_name", "unknown"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMesh(t, "")
			shops := []*testPod{m.pod("shop", nil), m.pod("shop", nil), m.pod("shop", nil)}
			gw := m.pod("gw", nil)
			for range n {
				if a := gw.dials(tt.addr(shops), "GET", "/"); a.code != 200 { // whatever the Host header says
					t.Fatalf("%+v", a)
				}
			}
			asked := 0
			for _, s := range shops {
				for _, r := range s.requests() {
					if id := r.Header.Get(headClientID); id != gwID {
						t.Fatalf("identity %q", id)
					}
				}
				if len(s.requests()) > 0 {
					asked++
				}
			}
			if asked != tt.asked {
				t.Errorf("%d pods were asked, want %d", asked, tt.asked)
			}
			if got := gw.scrape(t, backendRequests, tt.parent...); got != n {
				t.Errorf("%v requests with %v", got, tt.parent)
			}
			if got := gw.scrape(t, backendRequests); got != n {
				t.Errorf("%v requests with any parent", got)
			}
			if got := gw.scrape(t, requestTotal, "direction", "outbound", "tls", "true", "server_id", shopID); got != n {
				t.Errorf("%v requests to the identity", got)
			}
			if got := gw.scrape(t, tcpOpen, "direction", "outbound", "peer", "src"); got != n {
				t.Errorf("%v connections captured", got)
			}
		})
	}
}

func TestARequestToAPodHasNothingOfItsService(t *testing.T) {
	for addr, asked := range map[string]int{shopAddr: 3, "": 1} {
		m := newMesh(t, shopService(`retry.linkerd.io/http: 5xx, retry.linkerd.io/limit: "2"`))
		shop := m.pod("shop", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
		gw := m.pod("gw", nil)
		to := addr
		if to == "" {
			to = shop.Inbound()
		}
		if a := gw.dials(to, "GET", "/"); a.code != 503 {
			t.Errorf("%+v", a)
		}
		if got := len(shop.requests()); got != asked {
			t.Errorf("%s: asked %d times, want %d", to, got, asked)
		}
	}
}

func TestAnAddressThatNobodyInTheMeshHasIsReachedInPlaintext(t *testing.T) {
	m := newMesh(t, "")
	shop, gw := m.pod("shop", nil), m.pod("gw", nil)
	if a := gw.dials(shop.AppAddr, "GET", "/"); a.code != 200 || shop.requests()[0].Header.Get(headClientID) != "" {
		t.Errorf("%+v", a)
	}
	if got := gw.scrape(t, backendRequests, "parent_kind", "default", "parent_name", "egress-fallback"); got != 1 {
		t.Errorf("%v requests", got)
	}
	if a := gw.dials(deadAddr(t), "GET", "/"); a.code != 502 || a.header.Get(headError) == "" {
		t.Errorf("nobody there: %+v", a)
	}
}

func TestAPodOfAnotherClusterIsKnownByItsServiceAlone(t *testing.T) {
	m := newMesh(t, "")
	shop, gw := m.pod("shop", nil), m.pod("gw", nil)
	shop.Pod.Cluster = "west"
	m.update()
	for i, tt := range []struct{ to, addr, identity string }{
		{"east", shopAddr, gwID}, {"west", shop.AppAddr, ""}, {"west", shop.Inbound(), ""},
	} {
		c, err := captured{m.world, gw.Outbound()}.Dial(t.Context(), "east", tt.to, tt.addr)
		if a := request(c, err, "GET", "/"); a.code != 200 {
			t.Fatalf("%s: %+v", tt.addr, a)
		}
		if id := shop.requests()[i].Header.Get(headClientID); id != tt.identity {
			t.Errorf("%s: identity %q, want %q", tt.addr, id, tt.identity)
		}
	}
	if got := gw.scrape(t, backendRequests, "parent_kind", "default", "parent_name", "egress-fallback"); got != 2 {
		t.Errorf("%v requests to pods of another cluster", got)
	}
}

func TestAPodThatLeftTheEndpointsIsStillThatPod(t *testing.T) {
	m := newMesh(t, "")
	shop, gw := m.pod("shop", nil), m.pod("gw", nil)
	addr := shop.Inbound()
	for _, when := range []string{"before", "after", "long after"} {
		if a := gw.dials(addr, "GET", "/"); a.code != 200 {
			t.Fatalf("%s: %+v", when, a)
		}
		gw.Update(&proxy.Snapshot{Cluster: "east", Services: map[string]proxy.Service{}})
		if n := len(gw.balancers); n != 0 {
			t.Errorf("%s: the proxy keeps up %d connections to what is no endpoint", when, n)
		}
	}
	for _, r := range shop.requests() {
		if id := r.Header.Get(headClientID); id != gwID {
			t.Errorf("identity %q", id)
		}
	}
	shop.Kill()
	if a := gw.dials(addr, "GET", "/"); a.code != 504 {
		t.Errorf("a pod that is gone: %+v", a)
	}
}

func TestWhatIsNotHTTPIsPassedOnWithTheIdentity(t *testing.T) {
	m := newMesh(t, opaqueServer+strings.ReplaceAll(cartMayServer+cartOrGateway, "cart.app", "gw.app"))
	shop, gw := m.pod("shop", nil), m.pod("gw", nil)
	for _, addr := range []string{shopAddr, shop.Inbound()} {
		c, err := captured{m.world, gw.Outbound()}.Dial(t.Context(), "east", "east", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(c, "no request\r\n\r\n")
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil || !strings.Contains(line, "400 Bad Request") { // in the workload's own words
			t.Errorf("%s: %q, %v", addr, line, err)
		}
	}
	if got := shop.scrape(t, tcpAllow, "tls", "true", "client_id", gwID); got != 2 {
		t.Errorf("%v connections allowed", got)
	}
	if got := gw.scrape(t, backendRequests); got != 0 {
		t.Errorf("%v requests", got)
	}
}

func TestAConnectionWithoutADestinationIsClosed(t *testing.T) {
	gw := newMesh(t, "").pod("gw", nil)
	for _, text := range []string{"nowhere\n", strings.Repeat("x", 1000) + "\n"} {
		c, err := net.Dial("tcp", gw.Outbound())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(c, text)
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%.20q: read %d, %v", text, n, err)
		}
	}
}

func TestOnlyAPodWithAGatewayHasItsConnectionsCaptured(t *testing.T) {
	if _, _, err := StartGateway(proxy.Pod{}, &testWorld{}, &proxy.Snapshot{}); err == nil || !strings.Contains(err.Error(), "no gateway") {
		t.Errorf("%v", err)
	}
}

func FuzzReadDestination(f *testing.F) {
	for _, s := range []string{"east 127.0.0.1:80\nGET", "\n", "east \n", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r := strings.NewReader(s)
		to, err := readDestination(r)
		if err != nil {
			return
		}
		rest, _ := io.ReadAll(r)
		if again := to.cluster + " " + to.addr + "\n" + string(rest); again != s {
			t.Errorf("%q was read as %+v with %q after it", s, to, rest)
		}
	})
}
