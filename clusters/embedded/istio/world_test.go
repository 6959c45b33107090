package istio

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	networking "istio.io/client-go/pkg/apis/networking/v1"
	security "istio.io/client-go/pkg/apis/security/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/trust"
	"github.com/meshproof/meshproof/scenarios"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeWorld is a network without latency, and a sink that remembers.
type fakeWorld struct {
	mu      sync.Mutex
	lines   []*evidence.Access
	issuers map[string]*trust.Issuer
	ips     map[string]string // ClusterIPs, by cluster and address, and the endpoint that kube-proxy takes
}

func (w *fakeWorld) Dial(ctx context.Context, _, to, addr string) (net.Conn, error) {
	var d net.Dialer
	if ep, ok := w.ips[to+" "+addr]; ok {
		addr = ep
	}
	return d.DialContext(ctx, "tcp", addr)
}
func (w *fakeWorld) Sink() evidence.Sink   { return w }
func (w *fakeWorld) Trial() evidence.Trial { return evidence.Trial{Block: 1, Mesh: "istio"} }

func (w *fakeWorld) Issuer(_ scenarios.MeshName, cluster string) *trust.Issuer {
	return w.issuers[cluster]
}
func (w *fakeWorld) LeafLifetime() time.Duration { return 0 }
func (w *fakeWorld) Append(item evidence.Item) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, item.(*evidence.Access))
	return nil
}

// testMesh is a cluster "east" of sidecars in namespace app, unless a pod says otherwise.
type testMesh struct {
	t       testing.TB
	world   *fakeWorld
	objs    []clusters.Object
	pods    []*testPod
	extra   []proxy.Endpoint // of service shop
	version uint64
	hosts   map[string]string
}

// testPod is a workload that records what it gets, with or without a sidecar.
type testPod struct {
	*sidecar
	proxy.Pod
	app  *httptest.Server
	mu   sync.Mutex
	seen []*http.Request
}

const eccOnly = "proxyMetadata: {ECC_SIGNATURE_ALGORITHM: ECDSA}"

func newMesh(t testing.TB, objs string) *testMesh {
	return &testMesh{t: t, objs: decode(t, objs), world: newWorld(t)}
}

// newWorld has a root of its own.
func newWorld(t testing.TB) *fakeWorld {
	root, err := trust.NewRoot("root")
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := root.Issuer("east")
	if err != nil {
		t.Fatal(err)
	}
	return &fakeWorld{issuers: map[string]*trust.Issuer{"east": issuer}}
}

// pod starts a pod of a service. Services and their endpoints are made from the pods.
func (m *testMesh) pod(service string, handler http.HandlerFunc) *testPod {
	return m.annotated(service, eccOnly, handler)
}

func (m *testMesh) annotated(service, config string, handler http.HandlerFunc) *testPod {
	m.t.Helper()
	p := &testPod{}
	if handler == nil {
		handler = func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "hello from %s", p.Pod.Pod) }
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
		Labels:      map[string]string{"app": service},
		Annotations: map[string]string{configKey: config},
		AppAddr:     p.app.Listener.Addr().String(), Seed: int64(len(m.pods) + 1),
	}
	s, err := start(p.Pod, m.world, m.snapshot())
	if err != nil {
		m.t.Fatal(err)
	}
	p.sidecar = s
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
	m.version++
	snap := &proxy.Snapshot{Version: m.version, Cluster: "east", Objects: m.objs, Services: map[string]proxy.Service{}, Hosts: m.hosts}
	for _, p := range m.pods {
		host := p.Service + ".app.svc.cluster.local"
		svc := snap.Services[host]
		if svc.Name == "" {
			svc = proxy.Service{Namespace: "app", Name: p.Service, Host: host, Port: 80}
			if p.Service == "shop" {
				svc.Endpoints = append(svc.Endpoints, m.extra...)
			}
		}
		svc.Endpoints = append(svc.Endpoints, proxy.Endpoint{
			PodRef: p.PodRef, ServiceAccount: p.ServiceAccount, Workload: p.Workload, Labels: p.Labels, Mesh: meshName, Addr: p.Inbound(),
		})
		snap.Services[host] = svc
	}
	return snap
}

func (m *testMesh) update() {
	snap := m.snapshot()
	for _, p := range m.pods {
		p.Update(snap)
	}
}

// apply replaces all settings.
func (m *testMesh) apply(objs string) {
	m.t.Helper()
	m.objs = decode(m.t, objs)
	m.update()
}

// answer is what a client got.
type answer struct {
	code   int
	body   string
	header http.Header
	err    error
}

// client sends over one transport, which keeps connections.
func client(t testing.TB, addr string) *http.Client {
	tr := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", addr)
		},
		DisableCompression: true,
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func ask(t testing.TB, c *http.Client, method, url string, header ...string) answer {
	t.Helper()
	return askBody(t, c, method, url, nil, header...)
}

func askBody(t testing.TB, c *http.Client, method, url string, body io.Reader, header ...string) answer {
	t.Helper()
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, string(b), resp.Header, err}
}

// out asks by way of the pod's own sidecar.
func (p *testPod) out(t testing.TB, method, path string, header ...string) answer {
	t.Helper()
	return ask(t, client(t, p.Outbound()), method, "http://shop.app.svc.cluster.local"+path, header...)
}

func (p *testPod) requests() []*http.Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*http.Request(nil), p.seen...)
}

func (m *testMesh) access() []*evidence.Access {
	m.world.mu.Lock()
	defer m.world.mu.Unlock()
	return append([]*evidence.Access(nil), m.world.lines...)
}

// scrape sums the series of a metric whose labels include want ("name", "value", …).
func (p *testPod) scrape(t testing.TB, metric string, want ...string) float64 {
	t.Helper()
	a := ask(t, client(t, p.Metrics()), "GET", "http://metrics/metrics")
	if a.code != http.StatusOK {
		t.Fatalf("scrape: %+v", a)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, s := range families[metric].GetMetric() {
		labels := map[string]string{}
		for _, l := range s.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		ok := true
		for i := 0; i < len(want); i += 2 {
			ok = ok && labels[want[i]] == want[i+1]
		}
		if ok {
			sum += s.GetCounter().GetValue() + s.GetGauge().GetValue() + float64(s.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// decode reads Istio objects from YAML documents.
func decode(t testing.TB, text string) []clusters.Object {
	t.Helper()
	var out []clusters.Object
	for _, doc := range strings.Split(text, "\n---\n") {
		if strings.TrimSpace(doc) == "" {
			continue
		}
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(doc), &kind); err != nil {
			t.Fatal(err)
		}
		o := map[string]func() clusters.Object{
			"PeerAuthentication":    func() clusters.Object { return &security.PeerAuthentication{} },
			"AuthorizationPolicy":   func() clusters.Object { return &security.AuthorizationPolicy{} },
			"RequestAuthentication": func() clusters.Object { return &security.RequestAuthentication{} },
			"VirtualService":        func() clusters.Object { return &networking.VirtualService{} },
			"DestinationRule":       func() clusters.Object { return &networking.DestinationRule{} },
			"ServiceEntry":          func() clusters.Object { return &networking.ServiceEntry{} },
		}[kind.Kind]()
		if err := yaml.Unmarshal([]byte(doc), o); err != nil {
			t.Fatalf("%v in:\n%s", err, doc)
		}
		out = append(out, o)
	}
	return out
}

// Settings that tests share.
const (
	strictMesh = `
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
`
	disabledMesh = `
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: DISABLE}}
`
	onlyCartReads = strictMesh + `
---
kind: AuthorizationPolicy
metadata: {name: allow-nothing, namespace: app}
spec: {}
---
kind: AuthorizationPolicy
metadata: {name: to-shop, namespace: app}
spec:
  selector: {matchLabels: {app: shop}}
  rules:
    - from: [{source: {principals: [cluster.local/ns/app/sa/cart]}}]
      to: [{operation: {methods: [GET], paths: [/items/*]}}]
`
	proofRoutes = strictMesh + `
---
kind: VirtualService
metadata: {name: shop, namespace: app}
spec:
  hosts: [shop.app.svc.cluster.local]
  http:
    - match: [{headers: {x-meshproof-proof: {exact: "1"}, x-meshproof-connection: {exact: fresh}}}]
      route: [{destination: {host: shop.app.svc.cluster.local, subset: fresh}}]
      retries: {}
    - match: [{headers: {x-meshproof-proof: {exact: "1"}}}]
      route: [{destination: {host: shop.app.svc.cluster.local}}]
      retries: {}
    - route: [{destination: {host: shop.app.svc.cluster.local}}]
---
kind: DestinationRule
metadata: {name: shop, namespace: app}
spec:
  host: shop.app.svc.cluster.local
  subsets: [{name: fresh, trafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 1}}}}]
`
)
