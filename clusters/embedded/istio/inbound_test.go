package istio

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/meshproof/meshproof/internal/trust"
)

func TestStrictClosesPlaintextWithoutAByteAndCountsIt(t *testing.T) {
	m := newMesh(t, strictMesh)
	shop := m.pod("shop", nil)
	c, err := net.Dial("tcp", shop.Inbound())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: shop\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, err := c.Read(make([]byte, 1))
	if n != 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read %d bytes, error %v; want a reset", n, err)
	}
	if got := shop.scrape(t, "envoy_listener_no_filter_chain_match", "listener_address", "0.0.0.0_15006"); got != 1 {
		t.Errorf("no_filter_chain_match = %v", got)
	}
	if len(shop.requests()) != 0 {
		t.Error("the workload got the request")
	}
	lines := m.access()
	if len(lines) != 1 || !strings.Contains(string(lines[0].Line), `"code":0,"details":"filter_chain_not_found","flags":"NR","id":null`) {
		t.Errorf("access log: %v", lines)
	}
}

func TestPortModesTakeWhatTheySay(t *testing.T) {
	for _, tt := range []struct {
		name, objs    string
		plain, mutual bool
	}{
		{"no PeerAuthentication is permissive", "", true, true},
		{"STRICT", strictMesh, false, true},
		{"DISABLE", disabledMesh, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMesh(t, tt.objs)
			shop := m.pod("shop", nil)
			plain := ask(t, client(t, shop.Inbound()), "GET", "http://shop/", "X-Forwarded-Client-Cert", "URI=spiffe://liar")
			if got := plain.code == http.StatusOK; got != tt.plain {
				t.Errorf("plaintext answered: %v (%+v)", got, plain)
			}
			for _, r := range shop.requests() {
				if r.Header.Get("X-Forwarded-Client-Cert") != "" {
					t.Error("a plaintext client's X-Forwarded-Client-Cert reached the workload")
				}
			}
			id := leaf(t, m.world.issuers["east"], "spiffe://cluster.local/ns/app/sa/cart")
			state, err := handshake(shop.Inbound(), &tls.Config{Certificates: []tls.Certificate{*id}, NextProtos: []string{"istio"}})
			if got := err == nil; got != tt.mutual {
				t.Errorf("mutual TLS: %v (%v)", got, err)
			}
			if err == nil && (state.Version != tls.VersionTLS13 || state.NegotiatedProtocol != "istio" || state.DidResume) {
				t.Errorf("state: %+v", state)
			}
		})
	}
}

func TestAPermissivePortTerminatesTLSOnlyBetweenSidecars(t *testing.T) {
	m := newMesh(t, "")
	shop := m.pod("shop", nil)
	if _, err := handshake(shop.Inbound(), &tls.Config{NextProtos: []string{"h2"}}); err == nil {
		t.Error("a handshake without Istio's ALPN succeeded")
	}
	if got := shop.scrape(t, "envoy_listener_no_filter_chain_match"); got != 1 {
		t.Errorf("no_filter_chain_match = %v", got)
	}
}

// handshake makes a handshake and, as TLS 1.3 needs it to learn of a refusal, a request.
func handshake(addr string, cfg *tls.Config) (tls.ConnectionState, error) {
	cfg.InsecureSkipVerify = true
	raw, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(10 * time.Second))
	c := tls.Client(raw, cfg)
	if err := c.Handshake(); err != nil {
		return tls.ConnectionState{}, err
	}
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: shop\r\n\r\n"); err != nil {
		return tls.ConnectionState{}, err
	}
	_, err = http.ReadResponse(bufio.NewReader(c), nil)
	return c.ConnectionState(), err
}

func leaf(t testing.TB, issuer *trust.Issuer, uri string) *tls.Certificate {
	t.Helper()
	c, err := issuer.Issue(trust.Leaf{URI: uri, Lifetime: time.Hour, Backdate: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAHandshakeNeedsACertificateOfTheMesh(t *testing.T) {
	m := newMesh(t, strictMesh)
	shop := m.pod("shop", nil)
	other, err := trust.NewRoot("other")
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := other.Issuer("stranger")
	if err != nil {
		t.Fatal(err)
	}
	expired, err := m.world.issuers["east"].Issue(trust.Leaf{URI: "spiffe://cluster.local/ns/app/sa/cart", Lifetime: -time.Minute, Backdate: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	nameless, err := m.world.issuers["east"].Issue(trust.Leaf{DNS: "cart", Lifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, metric string
		cfg          *tls.Config
	}{
		{"none", "envoy_listener_ssl_fail_verify_no_cert", &tls.Config{}},
		{"of another root", "envoy_listener_ssl_fail_verify_error", &tls.Config{Certificates: []tls.Certificate{*leaf(t, stranger, "spiffe://cluster.local/ns/app/sa/cart")}}},
		{"expired", "envoy_listener_ssl_fail_verify_error", &tls.Config{Certificates: []tls.Certificate{*expired}}},
		{"without a SPIFFE ID", "envoy_listener_ssl_fail_verify_san", &tls.Config{Certificates: []tls.Certificate{*nameless}}},
		{"TLS 1.1", "envoy_listener_ssl_connection_error", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := shop.scrape(t, tt.metric)
			if _, err := handshake(shop.Inbound(), tt.cfg); err == nil {
				t.Fatal("it was let in")
			}
			eventually(t, tt.metric, func() bool { return shop.scrape(t, tt.metric) == before+1 })
		})
	}
	if got := shop.scrape(t, "envoy_listener_ssl_handshake"); got != 0 {
		t.Errorf("ssl_handshake = %v", got)
	}
	if len(shop.requests()) != 0 {
		t.Error("the workload got a request")
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("%s: not within 10 s", what)
}

func TestTheServedChainIsReadWithoutAClientCertificate(t *testing.T) {
	m := newMesh(t, strictMesh)
	shop := m.annotated("shop", "proxyMetadata: {}", nil)
	var chain []*x509.Certificate
	c, err := tls.Dial("tcp", shop.Inbound(), &tls.Config{
		InsecureSkipVerify: true,
		VerifyConnection:   func(s tls.ConnectionState) error { chain = s.PeerCertificates; return nil },
	})
	if err == nil {
		c.Close()
	}
	// As seen of real sidecars: the leaf, the intermediate and the root that istiod handed out, with the kind of key that
	// Meshproof's mesh configuration asks for.
	if len(chain) != 3 || chain[2].Subject.String() != chain[1].Issuer.String() || !chain[2].IsCA || chain[2].CheckSignatureFrom(chain[2]) != nil {
		t.Fatalf("chain of %d: %v", len(chain), err)
	}
	l := chain[0]
	if l.PublicKeyAlgorithm != x509.ECDSA || l.URIs[0].String() != "spiffe://cluster.local/ns/app/sa/shop" || len(l.URIs) != 1 {
		t.Errorf("leaf: %v %v", l.PublicKeyAlgorithm, l.URIs)
	}
	if d := l.NotAfter.Sub(l.NotBefore); d != 24*time.Hour+2*time.Minute {
		t.Errorf("valid for %v", d)
	}
}

func TestALeafIsRenewedAtHalfItsLifeForNewHandshakes(t *testing.T) {
	m := newMesh(t, strictMesh)
	shop := m.annotated("shop", "proxyMetadata: {ECC_SIGNATURE_ALGORITHM: ECDSA, SECRET_TTL: 4s}", nil)
	cart := m.pod("cart", nil)
	c := client(t, cart.Outbound())
	first := shop.id.Now.Load()
	if a := ask(t, c, "GET", "http://shop.app/"); a.code != http.StatusOK {
		t.Fatalf("%+v", a)
	}
	eventually(t, "renewal", func() bool { return shop.id.Now.Load() != first })
	if a := ask(t, c, "GET", "http://shop.app/"); a.code != http.StatusOK {
		t.Fatalf("on the connection that is older than the leaf: %+v", a)
	}
	if got := cart.scrape(t, "envoy_cluster_ssl_handshake"); got != 1 {
		t.Errorf("handshakes: %v", got)
	}
	var served *x509.Certificate
	if c, err := tls.Dial("tcp", shop.Inbound(), &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
		served = s.PeerCertificates[0]
		return nil
	}}); err == nil {
		c.Close()
	}
	if served == nil || served.Equal(first.Leaf) {
		t.Error("a new handshake still gets the old leaf")
	}
}

func TestPolicyAnswers403AndKeepsTheRequestFromTheWorkload(t *testing.T) {
	m := newMesh(t, onlyCartReads)
	shop, cart, stock := m.pod("shop", nil), m.pod("cart", nil), m.pod("stock", nil)
	for _, tt := range []struct {
		from         *testPod
		method, path string
		want         int
	}{
		{cart, "GET", "/items/1", 200},
		{cart, "GET", "/%69tems/1", 200},
		{cart, "GET", "/items/../secret", 403},
		{cart, "GET", "/items/%2e%2e/secret", 403},
		{cart, "POST", "/items/1", 403},
		{cart, "GET", "/secret", 403},
		{stock, "GET", "/items/1", 403},
	} {
		seen := len(shop.requests())
		a := tt.from.out(t, tt.method, tt.path)
		if a.code != tt.want {
			t.Errorf("%s: %s %s: %+v, want %d", tt.from.Workload, tt.method, tt.path, a, tt.want)
		}
		if tt.want == 403 && (a.body != "RBAC: access denied" || a.header.Get("Server") != "istio-envoy" || len(shop.requests()) != seen) {
			t.Errorf("%s: %s %s: %+v, %d requests at the workload", tt.from.Workload, tt.method, tt.path, a, len(shop.requests())-seen)
		}
	}
	if a, d := shop.scrape(t, "envoy_http_rbac", "authz_enforce_result", "allowed"), shop.scrape(t, "envoy_http_rbac", "authz_enforce_result", "denied"); a != 2 || d != 5 {
		t.Errorf("rbac allowed %v, denied %v", a, d)
	}
}

func TestPolicyIsDecidedByTheNewestConfigurationOnOldConnectionsToo(t *testing.T) {
	m := newMesh(t, strictMesh)
	m.pod("shop", nil)
	cart := m.pod("cart", nil)
	c := client(t, cart.Outbound())
	if a := ask(t, c, "DELETE", "http://shop.app/"); a.code != 200 {
		t.Fatalf("%+v", a)
	}
	m.apply(onlyCartReads)
	if a := ask(t, c, "DELETE", "http://shop.app/"); a.code != 403 {
		t.Fatalf("%+v", a)
	}
	if got := cart.scrape(t, "envoy_cluster_ssl_handshake", "cluster_name", "outbound|80||shop.app.svc.cluster.local"); got != 1 {
		t.Errorf("handshakes: %v, the connection was not kept", got)
	}
}

func TestConnectionsWhoseFilterChainIsGoneDrain(t *testing.T) {
	m := newMesh(t, "")
	shop := m.pod("shop", nil)
	shop.drain = 1500 * time.Millisecond
	dial := func() (net.Conn, *bufio.Reader) {
		c, err := net.Dial("tcp", shop.Inbound())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c, bufio.NewReader(c)
	}
	get := func(c net.Conn, br *bufio.Reader) *http.Response {
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		return resp
	}
	used, usedReader := dial()
	idle, idleReader := dial()
	if get(used, usedReader).Close || get(idle, idleReader).Close {
		t.Fatal("a connection of a filter chain that is there was closed")
	}
	m.apply(strictMesh)
	if resp := get(used, usedReader); resp.StatusCode != 200 || !resp.Close {
		t.Errorf("status %d, close %v; want 200 with connection: close", resp.StatusCode, resp.Close)
	}
	idle.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := idleReader.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("after the drain time: %v, want the end of the connection", err)
	}
}

func TestXFCCNamesTheCallerAndNothingThatTheCallerSays(t *testing.T) {
	m := newMesh(t, strictMesh)
	shop, cart := m.pod("shop", nil), m.pod("cart", nil)
	if a := cart.out(t, "GET", "/", "X-Forwarded-Client-Cert", "URI=spiffe://cluster.local/ns/app/sa/admin", "X-Envoy-Peer-Metadata", "x"); a.code != 200 {
		t.Fatalf("%+v", a)
	}
	r := shop.requests()[0]
	hash := newPeer(tls.ConnectionState{PeerCertificates: []*x509.Certificate{cart.id.Now.Load().Leaf}}, "").xfcc
	_, hash, _ = strings.Cut(hash, ";")
	want := "By=spiffe://cluster.local/ns/app/sa/shop;" + hash
	if got := r.Header["X-Forwarded-Client-Cert"]; len(got) != 1 || got[0] != want {
		t.Errorf("XFCC %q\nwant %q", got, want)
	}
	if !strings.HasSuffix(want, `;Subject="";URI=spiffe://cluster.local/ns/app/sa/cart`) {
		t.Errorf("form: %s", want)
	}
	for _, h := range []string{"X-Envoy-Peer-Metadata", "X-Envoy-Peer-Metadata-Id"} {
		if r.Header.Get(h) != "" {
			t.Errorf("%s reached the workload", h)
		}
	}
	if r.Header.Get("X-Forwarded-Proto") != "http" || r.Header.Get("X-Request-Id") == "" || r.Header.Get("X-Envoy-Attempt-Count") != "1" {
		t.Errorf("header: %v", r.Header)
	}
}

func TestMetricsAndAccessLogAgreeWithTheRequestsAtOnce(t *testing.T) {
	m := newMesh(t, onlyCartReads)
	shop, cart := m.pod("shop", nil), m.pod("cart", nil)
	c := client(t, cart.Outbound())
	const n = 20
	for i := range n {
		path := "/items/1?t=2"
		if i%4 == 0 {
			path = "/secret"
		}
		ask(t, c, "GET", "http://shop.app"+path, "x-request-id", "id-"+string(rune('a'+i)))
		got := shop.scrape(t, "istio_requests_total", "reporter", "destination", "connection_security_policy", "mutual_tls",
			"source_principal", "spiffe://cluster.local/ns/app/sa/cart", "destination_principal", "spiffe://cluster.local/ns/app/sa/shop",
			"source_workload", "cart", "source_cluster", "east", "destination_service", "shop.app.svc.cluster.local", "response_flags", "-")
		if got != float64(i+1) {
			t.Fatalf("after %d answers the destination counts %v", i+1, got)
		}
		if got := cart.scrape(t, "istio_requests_total", "reporter", "source", "connection_security_policy", "unknown",
			"destination_workload", "shop", "destination_principal", "spiffe://cluster.local/ns/app/sa/shop"); got != float64(i+1) {
			t.Fatalf("after %d answers the source counts %v", i+1, got)
		}
		if got := len(m.access()); got != i+1 {
			t.Fatalf("after %d answers the access log has %d lines", i+1, got)
		}
	}
	if got := shop.scrape(t, "istio_requests_total", "response_code", "403"); got != n/4 {
		t.Errorf("403: %v", got)
	}
	if got := shop.scrape(t, "istio_request_duration_milliseconds"); got != n {
		t.Errorf("durations: %v", got)
	}
	denied, upstream := 0, shop.AppAddr
	for i, l := range m.access() {
		if l.Src != "proxy/east/shop-0" || l.At != shop.PodRef {
			t.Fatalf("source %q of %v", l.Src, l.At)
		}
		var line map[string]any
		if err := json.Unmarshal(l.Line, &line); err != nil {
			t.Fatal(err)
		}
		if line["details"] == "rbac_access_denied_matched_policy[none]" && line["code"] == 403.0 && line["upstream"] == nil {
			denied++
			continue
		}
		for k, want := range map[string]any{
			"cipher": "TLS_AES_128_GCM_SHA256", "code": 200.0, "details": "via_upstream", "flags": "-", "id": "id-" + string(rune('a'+i)),
			"local": "spiffe://cluster.local/ns/app/sa/shop", "peer": "spiffe://cluster.local/ns/app/sa/cart", "method": "GET",
			"path": "/items/1?t=2", "tls": "TLSv1.3", "upstream": upstream, "serial": cart.serial(),
		} {
			if line[k] != want {
				t.Errorf("line %d: %s is %v, want %v", i, k, line[k], want)
			}
		}
	}
	if denied != n/4 {
		t.Errorf("%d denials in the access log", denied)
	}
}

func (p *testPod) serial() string {
	return hex.EncodeToString(p.id.Now.Load().Leaf.SerialNumber.Bytes())
}

func TestAnAccessLineHasTheKeysOfTheRecordings(t *testing.T) {
	m := newMesh(t, "")
	shop := m.pod("shop", nil)
	ask(t, client(t, shop.Inbound()), "GET", "http://shop/ok", "x-request-id", "1")
	line := m.access()[0].Line
	i := bytes.Index(line, []byte(`"start":"`))
	start := string(line[i+9 : i+33])
	if _, err := time.Parse("2006-01-02T15:04:05.000Z", start); err != nil {
		t.Error(err)
	}
	got := strings.Replace(string(line), start, "T", 1)
	// The recordings are older than the key issuer.
	want := `{"cipher":null,"code":200,"details":"via_upstream","flags":"-","id":"1","issuer":null,"local":null,"method":"GET","path":"/ok",` +
		`"peer":null,"serial":null,"start":"T","tls":null,"upstream":"` + shop.AppAddr + `"}`
	if got != want {
		t.Errorf("line\n%s\nwant\n%s", got, want)
	}
}

func TestAWorkloadThatIsGoneAnswers503UF(t *testing.T) {
	m := newMesh(t, strictMesh)
	shop, cart := m.pod("shop", nil), m.pod("cart", nil)
	shop.app.CloseClientConnections()
	shop.app.Close()
	a := cart.out(t, "GET", "/")
	want := "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, " +
		"transport failure reason: delayed connect error: Connection refused"
	if a.code != 503 || a.body != want {
		t.Errorf("%d %q", a.code, a.body)
	}
	if got := shop.scrape(t, "istio_requests_total", "response_code", "503", "response_flags", "UF"); got != 1 {
		t.Errorf("counted %v", got)
	}
	// 503 is a response: Istio's default retries leave it alone.
	if got := cart.scrape(t, "envoy_cluster_upstream_rq_retry"); got != 0 {
		t.Errorf("retries: %v", got)
	}
}

func TestKillResetsEverythingAndLeavesNothing(t *testing.T) {
	release := make(chan struct{})
	m := newMesh(t, strictMesh)
	shop := m.pod("shop", func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	cart := m.pod("cart", nil)
	idle, err := net.Dial("tcp", shop.Inbound())
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	got := make(chan answer, 1)
	go func() {
		got <- ask(t, client(t, cart.Outbound()), "GET", "http://shop.app/", "x-meshproof-proof", "1")
	}()
	eventually(t, "request under way", func() bool { return len(shop.requests()) == 1 })
	shop.Kill()
	idle.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := idle.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("idle connection: %v, want a reset", err)
	}
	if a := <-got; a.code != 503 || !strings.HasSuffix(a.body, "reset reason: connection termination") {
		t.Errorf("request under way: %+v", a)
	}
	if _, err := net.Dial("tcp", shop.Inbound()); err == nil {
		t.Error("the inbound port is still open")
	}
	shop.Update(m.snapshot()) // must do nothing
	shop.Kill()               // twice does no harm
}
