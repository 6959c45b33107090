package linkerd

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/trust"
	"github.com/meshproof/meshproof/scenarios"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testWorld is a network without latency. It counts the connections that proxies open.
type testWorld struct {
	issuer   *trust.Issuer
	lifetime time.Duration
}

func (w *testWorld) Dial(ctx context.Context, _, _, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}
func (w *testWorld) Sink() evidence.Sink                             { return w }
func (w *testWorld) Trial() evidence.Trial                           { return evidence.Trial{Block: 1, Mesh: meshName} }
func (w *testWorld) Issuer(scenarios.MeshName, string) *trust.Issuer { return w.issuer }
func (w *testWorld) LeafLifetime() time.Duration                     { return w.lifetime }
func (w *testWorld) Append(evidence.Item) error                      { return nil } // Linkerd writes no access log

// testMesh is a cluster "east" of proxies in namespace app.
type testMesh struct {
	t     testing.TB
	world *testWorld
	objs  []clusters.Object
	pods  []*testPod
	extra []proxy.Endpoint // of service shop, beside its pods
	clock func() time.Time // of proxies that start
}

// testPod is a workload that records what it gets, behind a proxy.
type testPod struct {
	*linkerdProxy
	proxy.Pod
	app  *httptest.Server
	mu   sync.Mutex
	seen []*http.Request
}

func newMesh(t testing.TB, objs string) *testMesh {
	t.Helper()
	root, err := trust.NewRoot("root")
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := root.Issuer("east")
	if err != nil {
		t.Fatal(err)
	}
	m := &testMesh{t: t, world: &testWorld{issuer: issuer}, clock: time.Now}
	m.objs = m.decode(objs)
	return m
}

// decode reads objects, which the model must take.
func (m *testMesh) decode(text string) []clusters.Object {
	m.t.Helper()
	out := m.decodeAny(text)
	if err := check(out); err != nil {
		m.t.Fatal(err)
	}
	return out
}

func (m *testMesh) decodeAny(text string) []clusters.Object {
	m.t.Helper()
	var out []clusters.Object
	for _, doc := range strings.Split(text, "---\n") {
		if strings.TrimSpace(doc) == "" {
			continue
		}
		var raw map[string]any
		if err := yaml.Unmarshal([]byte(doc), &raw); err != nil {
			m.t.Fatal(err)
		}
		o, err := clusters.Decode(raw)
		if err != nil {
			m.t.Fatalf("%v in:\n%s", err, doc)
		}
		out = append(out, o)
	}
	return out
}

// pod starts a pod of a service, with a default inbound policy where one is given.
func (m *testMesh) pod(service string, handler http.HandlerFunc, policy ...string) *testPod {
	m.t.Helper()
	p := &testPod{}
	if handler == nil {
		handler = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "hello from %s", p.Pod.Pod) }
	}
	p.app = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.seen = append(p.seen, r.Clone(context.Background()))
		p.mu.Unlock()
		handler(w, r)
	}))
	name := fmt.Sprintf("%s-%d", service, len(m.pods))
	p.Pod = proxy.Pod{
		PodRef:         evidence.PodRef{Cluster: "east", Namespace: "app", Service: service, Pod: name, UID: "uid-" + name},
		ServiceAccount: service, Workload: service,
		Labels:  map[string]string{"app": service, "pod-template-hash": "6d6dfd858d"},
		AppAddr: p.app.Listener.Addr().String(), Seed: int64(len(m.pods) + 1),
	}
	if service == "gw" { // whose connections are captured
		p.Gateway = &corev1.Container{Name: "gateway"}
	}
	if len(policy) > 0 {
		p.Annotations = map[string]string{defaultPolicy: policy[0]}
	}
	s, err := start(p.Pod, m.world, m.snapshot(), m.clock)
	if err != nil {
		m.t.Fatal(err)
	}
	p.linkerdProxy = s
	m.t.Cleanup(func() {
		s.Kill()
		p.app.CloseClientConnections()
		p.app.Close()
	})
	m.pods = append(m.pods, p)
	m.update()
	return p
}

func (m *testMesh) snapshot() *proxy.Snapshot {
	snap := &proxy.Snapshot{Cluster: "east", Objects: m.objs, Services: map[string]proxy.Service{}}
	add := func(service string, eps ...proxy.Endpoint) {
		host := service + ".app.svc.cluster.local"
		svc := snap.Services[host]
		svc.Namespace, svc.Name, svc.Host, svc.Port = "app", service, host, 80
		svc.Endpoints = append(svc.Endpoints, eps...)
		snap.Services[host] = svc
	}
	add("shop", m.extra...)
	for _, p := range m.pods {
		add(p.Service, proxy.Endpoint{
			PodRef: p.PodRef, ServiceAccount: p.ServiceAccount, Workload: p.Workload, Labels: p.Labels, Mesh: meshName, Addr: p.Inbound(),
		})
	}
	return snap
}

func (m *testMesh) update() {
	snap := m.snapshot()
	for _, p := range m.pods {
		p.Update(snap)
	}
}

func (m *testMesh) apply(objs string) {
	m.t.Helper()
	m.objs = m.decode(objs)
	m.update()
}

func (p *testPod) requests() []*http.Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.seen)
}

// reply is what a client got; code 0 is a closed connection.
type reply struct {
	code   int
	body   string
	header http.Header
	err    error
}

// request asks on a connection of its own.
func request(conn net.Conn, err error, method, path string, header ...string) reply {
	if err != nil {
		return reply{err: err}
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	req, err := http.NewRequest(method, "http://shop.app.svc.cluster.local"+path, http.NoBody)
	if err != nil {
		return reply{err: err}
	}
	req.Close = true
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	if err := req.Write(conn); err != nil {
		return reply{err: err}
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, string(b), resp.Header, err}
}

// out asks service shop by way of the pod's own proxy.
func (p *testPod) out(method, path string, header ...string) reply {
	c, err := net.Dial("tcp", p.Outbound())
	return request(c, err, method, path, header...)
}

// plain asks the pod without TLS.
func (p *testPod) plain(method, path string, header ...string) reply {
	c, err := net.Dial("tcp", p.Inbound())
	return request(c, err, method, path, header...)
}

// secured opens a TLS connection to the pod. leaf nil: without a certificate.
func (m *testMesh) secured(to *testPod, cfg *tls.Config, leaf *trust.Leaf) (net.Conn, error) {
	m.t.Helper()
	if cfg == nil {
		cfg = &tls.Config{}
	}
	cfg.InsecureSkipVerify = true
	if cfg.ServerName == "" {
		cfg.ServerName = to.id.Leaf.DNS
	}
	if leaf != nil {
		cert, err := m.world.issuer.Issue(*leaf)
		if err != nil {
			m.t.Fatal(err)
		}
		cfg.Certificates = []tls.Certificate{*cert}
	}
	raw, err := net.Dial("tcp", to.Inbound())
	if err != nil {
		return nil, err
	}
	raw.SetDeadline(time.Now().Add(20 * time.Second))
	c := tls.Client(raw, cfg)
	if err := c.Handshake(); err != nil {
		raw.Close()
		return nil, err
	}
	return c, nil
}

func dnsLeaf(name string) *trust.Leaf { return &trust.Leaf{DNS: name, Lifetime: time.Hour} }
func uriLeaf(uri string) *trust.Leaf  { return &trust.Leaf{URI: uri, Lifetime: time.Hour} }

// as asks with a client certificate.
func (m *testMesh) as(to *testPod, leaf *trust.Leaf, method, path string, header ...string) reply {
	m.t.Helper()
	c, err := m.secured(to, nil, leaf)
	return request(c, err, method, path, header...)
}

func (p *testPod) page(t testing.TB) string {
	t.Helper()
	c, err := net.Dial("tcp", p.Metrics())
	a := request(c, err, "GET", "/metrics")
	if a.code != http.StatusOK {
		t.Fatalf("scrape: %+v", a)
	}
	return a.body
}

// scrape sums the series of a metric whose labels include want ("name", "value", …).
func (p *testPod) scrape(t testing.TB, metric string, want ...string) float64 {
	t.Helper()
	sum := 0.0
	for _, s := range parse(t, p.page(t))[metric] {
		ok := true
		for i := 0; i < len(want); i += 2 {
			ok = ok && s.labels[want[i]] == want[i+1]
		}
		if ok {
			sum += s.value
		}
	}
	return sum
}

type point struct {
	labels map[string]string
	value  float64
}

// parse reads a page as verification does.
func parse(t testing.TB, page string) map[string][]point {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]point{}
	for name, f := range families {
		for _, s := range f.GetMetric() {
			p := point{map[string]string{}, s.GetCounter().GetValue() + s.GetGauge().GetValue() + s.GetUntyped().GetValue() + float64(s.GetHistogram().GetSampleCount())}
			for _, l := range s.GetLabel() {
				p.labels[l.GetName()] = l.GetValue()
			}
			out[name] = append(out[name], p)
		}
	}
	return out
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// Objects that tests share.
const (
	shopServer = `apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: shop, namespace: app}
spec: {podSelector: {matchLabels: {app: shop}}, port: 8080, proxyProtocol: HTTP/1}
---
`
	opaqueServer = `apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: shop, namespace: app}
spec: {podSelector: {matchLabels: {app: shop}}, port: 8080, proxyProtocol: opaque}
---
`
	adminServer = `apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: admin, namespace: app}
spec: {podSelector: {}, port: 4191, proxyProtocol: HTTP/1, accessPolicy: all-unauthenticated}
---
`
	okRoute = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop-ok, namespace: app}
spec:
  parentRefs: [{group: policy.linkerd.io, kind: Server, name: shop}]
  rules: [{matches: [{method: GET, path: {type: PathPrefix, value: /ok}}]}]
---
`
	cartMayOK = `apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: shop-ok, namespace: app}
spec:
  targetRef: {group: gateway.networking.k8s.io, kind: HTTPRoute, name: shop-ok}
  requiredAuthenticationRefs: [{group: policy.linkerd.io, kind: MeshTLSAuthentication, name: cart}]
---
`
	cartMayServer = `apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: shop, namespace: app}
spec:
  targetRef: {group: policy.linkerd.io, kind: Server, name: shop}
  requiredAuthenticationRefs: [{group: policy.linkerd.io, kind: MeshTLSAuthentication, name: cart}]
---
`
	cartOrGateway = `apiVersion: policy.linkerd.io/v1alpha1
kind: MeshTLSAuthentication
metadata: {name: cart, namespace: app}
spec: {identities: [cart.app.serviceaccount.identity.linkerd.cluster.local, "spiffe://cluster.local/ns/edge/sa/gw"]}
---
`
	anyMember = `apiVersion: policy.linkerd.io/v1alpha1
kind: MeshTLSAuthentication
metadata: {name: cart, namespace: app}
spec: {identities: ["*"]}
---
`
)

func shopService(annotations string) string {
	return `apiVersion: v1
kind: Service
metadata: {name: shop, namespace: app, annotations: {` + annotations + `}}
spec: {selector: {app: shop}, ports: [{port: 80, targetPort: 8080}]}
`
}

const (
	cartID    = "cart.app.serviceaccount.identity.linkerd.cluster.local"
	stockID   = "stock.app.serviceaccount.identity.linkerd.cluster.local"
	shopID    = "shop.app.serviceaccount.identity.linkerd.cluster.local"
	gatewayID = "spiffe://cluster.local/ns/edge/sa/gw"
)

// overHTTP2 asks on a connection, which it ends.
func overHTTP2(t testing.TB, conn net.Conn, path, contentType string) reply {
	t.Helper()
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	tr := &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }, Protocols: &protocols, DisableCompression: true,
	}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequest("GET", "http://shop.app.svc.cluster.local"+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, string(b), resp.Header, err}
}
