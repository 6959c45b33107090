package linkerd

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/meshproof/meshproof/clusters/embedded/istio"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/evidence"
)

// istioPod starts a pod of Istio beside the mesh, under the same root.
func (m *testMesh) istioPod(service string, snap *proxy.Snapshot) (p proxy.Proxy, asked *atomic.Int32) {
	m.t.Helper()
	asked = &atomic.Int32{}
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		fmt.Fprint(w, "istio")
	}))
	p, err := istio.Factory().Start(proxy.Pod{
		PodRef:         evidence.PodRef{Cluster: "east", Namespace: "app", Service: service, Pod: service + "-istio", UID: "uid-" + service + "-istio"},
		ServiceAccount: service, Workload: service, Labels: map[string]string{"app": service}, AppAddr: app.Listener.Addr().String(), Seed: 1,
		Annotations: map[string]string{"proxy.istio.io/config": "proxyMetadata: {ECC_SIGNATURE_ALGORITHM: ECDSA}"},
	}, m.world, snap)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		p.Kill()
		app.CloseClientConnections()
		app.Close()
	})
	return p, asked
}

func TestALinkerdClientOfAStrictIstioWorkloadGets502FromItsOwnProxy(t *testing.T) {
	m := newMesh(t, "")
	cart := m.pod("cart", nil)
	strict := newMesh(t, "").decodeAny("apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: istio-system}\nspec: {mtls: {mode: STRICT}}\n")
	shop, asked := m.istioPod("shop", &proxy.Snapshot{Cluster: "east", Objects: strict, Services: map[string]proxy.Service{}})
	m.extra = []proxy.Endpoint{endpointAt(shop.Inbound(), "istio")}
	m.update()
	if a := cart.out("GET", "/"); a.code != 502 || a.header.Get("L5d-Proxy-Error") == "" {
		t.Errorf("%+v", a)
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the workload got %d requests", n)
	}
}

func TestAnIstioClientOfALinkerdWorkloadPassesInPlaintextUnlessPolicyForbids(t *testing.T) {
	for policy, want := range map[string]int{"all-unauthenticated": 200, "all-authenticated": 403} {
		t.Run(policy, func(t *testing.T) {
			m := newMesh(t, adminServer)
			shop := m.pod("shop", nil, policy)
			snap := m.snapshot()
			snap.Objects = nil // Istio reads its own
			client, _ := m.istioPod("client", snap)
			c, err := net.Dial("tcp", client.Outbound())
			if a := request(c, err, "GET", "/"); a.code != want {
				t.Errorf("%+v", a)
			}
			metric := httpAllow
			if want == 403 {
				metric = httpDeny
			}
			if got := shop.scrape(t, metric, "srv_port", "8080", "tls", "no_identity"); got != 1 {
				t.Errorf("%v counted in plaintext", got)
			}
			for _, r := range shop.requests() {
				if r.Header.Get("L5d-Client-Id") != "" {
					t.Error("the client has an identity")
				}
			}
		})
	}
}
