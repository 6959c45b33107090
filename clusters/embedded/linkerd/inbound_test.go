package linkerd

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/internal/trust"
)

// TestPolicyHasTheOutcomesOfRealProxies is section 3 of the facts: what each client gets; 0 is a closed connection.
func TestPolicyHasTheOutcomesOfRealProxies(t *testing.T) {
	type want struct{ plain, nocert, cart, stock, gateway int }
	all := func(c int) want { return want{c, c, c, c, c} }
	members := want{403, 403, 200, 200, 403}
	for _, tt := range []struct {
		name, policy, objs, path string
		want                     want
	}{
		{"no policy", "", "", "/ok", all(200)},
		{"all-unauthenticated", "all-unauthenticated", "", "/ok", all(200)},
		{"audit", "audit", "", "/ok", all(200)},
		{"all-authenticated takes no SPIFFE ID", "all-authenticated", "", "/ok", members},
		{"cluster-authenticated", "cluster-authenticated", "", "/ok", members},
		{"cluster-unauthenticated", "cluster-unauthenticated", "", "/ok", all(200)},
		{"deny", "deny", "", "/ok", all(403)},
		{"a Server without authorization", "", shopServer, "/ok", all(403)},
		{"a Server takes the place of the default policy", "deny", shopServer + cartMayServer + cartOrGateway, "/ok", want{403, 403, 200, 403, 200}},
		{"a Server's identities by star", "", shopServer + cartMayServer + anyMember, "/ok", members},
		{"an authentication that is not there", "", shopServer + cartMayServer, "/ok", all(403)},
		{"a route, on it", "", shopServer + okRoute + cartMayOK + cartOrGateway, "/ok/1", want{403, 403, 200, 403, 200}},
		{"a route, beside it", "", shopServer + okRoute + cartMayOK + cartOrGateway, "/denied", all(404)},
		{"a route is by segments", "", shopServer + okRoute + cartMayOK + cartOrGateway, "/okay", all(404)},
		{"a route under a Server's authorization", "", shopServer + okRoute + cartMayServer + cartOrGateway, "/ok", want{403, 403, 200, 403, 200}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMesh(t, tt.objs)
			var shop *testPod
			if tt.policy == "" {
				shop = m.pod("shop", nil)
			} else {
				shop = m.pod("shop", nil, tt.policy)
			}
			got := want{
				shop.plain("GET", tt.path).code,
				m.as(shop, nil, "GET", tt.path).code,
				m.as(shop, dnsLeaf(cartID), "GET", tt.path).code,
				m.as(shop, dnsLeaf(stockID), "GET", tt.path).code,
				m.as(shop, uriLeaf(gatewayID), "GET", tt.path).code,
			}
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			passed := 0
			for _, c := range []int{got.plain, got.nocert, got.cart, got.stock, got.gateway} {
				if c == 200 {
					passed++
				}
			}
			if n := len(shop.requests()); n != passed {
				t.Errorf("the workload got %d requests, %d were answered with 200", n, passed)
			}
		})
	}
}

func TestRefusalsHaveNoBodyAndTellTheirReasonToMembersAlone(t *testing.T) {
	m := newMesh(t, shopServer)
	shop := m.pod("shop", nil)
	if a := shop.plain("GET", "/"); a.code != 403 || a.body != "" || a.header.Get("L5d-Proxy-Error") != "" {
		t.Errorf("plaintext: %+v", a)
	}
	a := m.as(shop, dnsLeaf(cartID), "GET", "/")
	if a.code != 403 || a.body != "" || a.header.Get("Content-Length") != "0" {
		t.Errorf("member: %+v", a)
	}
	const reason = ": unauthorized request on route"
	if got := a.header.Get("L5d-Proxy-Error"); len(got) < len(reason) || got[len(got)-len(reason):] != reason {
		t.Errorf("reason %q", got)
	}
	// The client's own proxy keeps the reason from the workload.
	cart := m.pod("cart", nil)
	if a := cart.out("GET", "/"); a.code != 403 || a.header.Get("L5d-Proxy-Error") != "" {
		t.Errorf("by way of a proxy: %+v", a)
	}
}

func TestOpaqueConnectionsAreClosedOrPassedOn(t *testing.T) {
	for _, tt := range []struct {
		name, objs           string
		plain, cart, gateway int
	}{
		{"deny", opaqueServer, 0, 0, 0},
		{"authorized by identity", opaqueServer + cartMayServer + cartOrGateway, 0, 200, 200},
		{"authorized by star", opaqueServer + cartMayServer + anyMember, 0, 200, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMesh(t, tt.objs)
			shop := m.pod("shop", nil)
			if got := shop.plain("GET", "/").code; got != tt.plain {
				t.Errorf("plaintext: %d", got)
			}
			if got := m.as(shop, dnsLeaf(cartID), "GET", "/", "L5d-Client-Id", "untouched").code; got != tt.cart {
				t.Errorf("cart: %d", got)
			}
			if got := m.as(shop, uriLeaf(gatewayID), "GET", "/").code; got != tt.gateway {
				t.Errorf("gateway: %d", got)
			}
			if tt.cart == 200 && shop.requests()[0].Header.Get("L5d-Client-Id") != "untouched" {
				t.Error("an opaque connection was read")
			}
			allowed := shop.scrape(t, tcpAllow, "tls", "true", "authz_kind", "authorizationpolicy")
			if want := float64((tt.cart + tt.gateway) / 200); allowed != want {
				t.Errorf("%v allowed, want %v", allowed, want)
			}
			if denied := shop.scrape(t, tcpDeny, "srv_name", "shop", "srv_port", "8080"); denied+allowed != 3 {
				t.Errorf("%v denied, %v allowed", denied, allowed)
			}
			if shop.scrape(t, tcpDeny, "no_tls_reason", "port_skipped") != 1 {
				t.Error("the plaintext connection was looked into")
			}
		})
	}
}

func TestAPolicyThatBecomesTighterEndsOpaqueConnections(t *testing.T) {
	m := newMesh(t, opaqueServer+cartMayServer+cartOrGateway)
	shop := m.pod("shop", nil)
	c, err := m.secured(shop, nil, dnsLeaf(cartID))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	get := func() error {
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: shop\r\n\r\n"); err != nil {
			return err
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	if err := get(); err != nil {
		t.Fatal(err)
	}
	m.apply(opaqueServer)
	if err := get(); err == nil {
		t.Error("the connection goes on")
	}
	if got := shop.scrape(t, tcpTerminate, "client_id", cartID); got != 1 {
		t.Errorf("%v terminated", got)
	}
}

func TestHTTPPolicyThatBecomesTighterHoldsOnOpenConnections(t *testing.T) {
	m := newMesh(t, shopServer+cartMayServer+cartOrGateway)
	m.pod("shop", nil)
	cart := m.pod("cart", nil)
	if a := cart.out("GET", "/"); a.code != 200 {
		t.Fatalf("%+v", a)
	}
	m.apply(shopServer)
	if a := cart.out("GET", "/"); a.code != 403 {
		t.Errorf("%+v", a)
	}
	if got := m.pods[0].scrape(t, tcpOpen, "peer", "src", "target_port", "8080", "tls", "true"); got != 1 {
		t.Errorf("%v connections between the proxies, want the one that is kept", got)
	}
}

func TestTheDefaultPolicyHoldsForThePortOfTheProxyItself(t *testing.T) {
	m := newMesh(t, "")
	shop := m.pod("shop", nil, "deny")
	get := func(path string) int {
		c, err := net.Dial("tcp", shop.Metrics())
		return request(c, err, "GET", path).code
	}
	if got := get("/metrics"); got != 403 {
		t.Errorf("metrics under deny: %d", got)
	}
	if got := get("/live"); got != 200 {
		t.Errorf("a probe under deny: %d", got)
	}
	m.apply(adminServer)
	if got := get("/metrics"); got != 200 {
		t.Errorf("metrics with a Server: %d", got)
	}
}

func TestTheDefaultPolicyIsFixedWhenThePodIsMade(t *testing.T) {
	ns := func(policy string) (m map[string]string) {
		return annotates(metaOf(map[string]string{defaultPolicy: policy}), metaOf(nil))
	}
	if got := ns("deny")[defaultPolicy]; got != "deny" {
		t.Errorf("%q", got)
	}
	if got := annotates(metaOf(map[string]string{defaultPolicy: "deny"}), metaOf(map[string]string{defaultPolicy: "audit"})); got != nil {
		t.Errorf("the namespace replaces what the pod says: %v", got)
	}
}

func TestHandshakesNeedWhatLinkerdNeeds(t *testing.T) {
	m := newMesh(t, "")
	shop := m.pod("shop", nil, "all-authenticated")
	other, err := trust.NewRoot("other")
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := other.Issuer("stranger")
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := stranger.Issue(*dnsLeaf(cartID))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		cfg  *tls.Config
		leaf *trust.Leaf
		want int
	}{
		{"a member", nil, dnsLeaf(cartID), 200},
		{"no certificate is asked for in vain", nil, nil, 403},
		{"TLS 1.2", &tls.Config{MaxVersion: tls.VersionTLS12}, dnsLeaf(cartID), 0},
		{"an RSA key", nil, &trust.Leaf{DNS: cartID, Key: trust.RSA2048, Lifetime: time.Hour}, 0},
		{"another root", &tls.Config{Certificates: []tls.Certificate{*foreign}}, nil, 0},
		{"an expired certificate", nil, &trust.Leaf{DNS: cartID, Backdate: time.Hour, Lifetime: -time.Minute}, 0},
		{"the name of another server", &tls.Config{ServerName: cartID}, dnsLeaf(cartID), 0},
		{"the name of the Service", &tls.Config{ServerName: "shop.app.svc.cluster.local"}, dnsLeaf(cartID), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := m.secured(shop, tt.cfg, tt.leaf)
			if a := request(c, err, "GET", "/"); a.code != tt.want {
				t.Errorf("%+v", a)
			}
		})
	}
	m.apply(adminServer)
	if got := shop.scrape(t, tcpDeny, "tls", "opaque", "sni", cartID); got != 1 {
		t.Errorf("TLS that is not for the proxy was denied %v times as opaque", got)
	}
}

func TestTLSWithAnotherServerNameIsPassedOnWhereThePolicyLetsItIn(t *testing.T) {
	m := newMesh(t, "")
	shop := m.pod("shop", nil)
	_, err := m.secured(shop, &tls.Config{ServerName: "shop.app"}, nil)
	if err == nil {
		t.Error("the proxy ended TLS for another name")
	}
	if got := shop.scrape(t, tcpAllow, "tls", "opaque", "sni", "shop.app", "authz_name", "all-unauthenticated"); got != 1 {
		t.Errorf("%v passed on", got)
	}
}

func TestTheServedIdentityIsThatOfTheServiceAccount(t *testing.T) {
	m := newMesh(t, "")
	shop := m.pod("shop", nil)
	c, err := m.secured(shop, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	state := c.(*tls.Conn).ConnectionState()
	leaf := state.PeerCertificates[0]
	if len(leaf.DNSNames) != 1 || leaf.DNSNames[0] != shopID || len(leaf.URIs) != 0 {
		t.Errorf("names %v %v", leaf.DNSNames, leaf.URIs)
	}
	key, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() || state.Version != tls.VersionTLS13 {
		t.Errorf("key %T, version %x", leaf.PublicKey, state.Version)
	}
	if got := leaf.NotAfter.Sub(leaf.NotBefore); got != leafLifetime+leafBackdate {
		t.Errorf("valid for %s", got)
	}
	pool := x509.NewCertPool()
	pool.AddCert(state.PeerCertificates[1])
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: m.world.issuer.Root().Pool(), Intermediates: pool}); err != nil {
		t.Error(err)
	}
}

func TestALeafIsRenewedAndCounted(t *testing.T) {
	m := newMesh(t, "")
	shop := m.pod("shop", nil)
	first := shop.id.Now.Load()
	if err := shop.id.Renew(); err != nil {
		t.Fatal(err)
	}
	if shop.id.Now.Load() == first {
		t.Error("the certificate is the same")
	}
	if got := shop.scrape(t, certRefreshes, "result", "ok"); got != 2 {
		t.Errorf("%v refreshes", got)
	}
	if shop.id.Renewal != 0.7 {
		t.Errorf("renewed at %v of the lifetime", shop.id.Renewal)
	}
}

func TestWhatAClientSaysOfItselfIsReplaced(t *testing.T) {
	m := newMesh(t, "")
	shop := m.pod("shop", nil)
	cart := m.pod("cart", nil)
	forged := []string{"L5d-Client-Id", "forged", "X-Forwarded-Client-Cert", "URI=spiffe://liar", "L5d-Dst-Override", "cart.app.svc.cluster.local:80"}
	if a := shop.plain("GET", "/", forged...); a.code != 200 {
		t.Fatalf("%+v", a)
	}
	if a := cart.out("GET", "/", forged...); a.code != 200 {
		t.Fatalf("%+v", a)
	}
	seen := shop.requests()
	if len(seen) != 2 {
		t.Fatalf("shop got %d requests: l5d-dst-override had an effect", len(seen))
	}
	for i, want := range []string{"", cartID} {
		h := seen[i].Header
		if h.Get("L5d-Client-Id") != want || len(h.Values("L5d-Client-Id")) > 1 {
			t.Errorf("request %d: l5d-client-id %q, want %q", i, h.Values("L5d-Client-Id"), want)
		}
		if h.Get("X-Forwarded-Client-Cert") != "URI=spiffe://liar" || h.Get("L5d-Dst-Override") != "cart.app.svc.cluster.local:80" {
			t.Errorf("request %d: %v", i, h)
		}
	}
}

func TestAWorkloadThatIsNotThereIs502(t *testing.T) {
	m := newMesh(t, "")
	shop := m.pod("shop", nil)
	shop.app.CloseClientConnections()
	shop.app.Close()
	if a := shop.plain("GET", "/"); a.code != 502 || a.header.Get("L5d-Proxy-Error") != "" {
		t.Errorf("plaintext: %+v", a)
	}
	if a := m.as(shop, dnsLeaf(cartID), "GET", "/"); a.code != 502 || a.header.Get("L5d-Proxy-Error") == "" || a.header.Get("L5d-Proxy-Connection") != "close" {
		t.Errorf("member: %+v", a)
	}
	if got := shop.scrape(t, responseTotal, "status_code", "502", "classification", "failure"); got != 2 {
		t.Errorf("%v failures counted", got)
	}
}

func metaOf(annotations map[string]string) proxy.Meta { return proxy.Meta{Annotations: annotations} }
