package layered_test

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/embedded"
	"github.com/meshproof/meshproof/clusters/embedded/layered"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/meshes"
	"github.com/meshproof/meshproof/scenarios"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The ways in which the gateway reaches the services.
var (
	byService  = scenarios.Layered{Gateway: scenarios.GatewayMeshed, Balancing: scenarios.BalancingService}
	byEndpoint = scenarios.Layered{Gateway: scenarios.GatewayMeshed, Balancing: scenarios.BalancingEndpoint}
	direct     = scenarios.Layered{Gateway: scenarios.GatewayDirect}
)

// shop is called by the ingress and calls cart; both have two replicas. Nobody else may call anything.
func shop() *scenarios.Scenario {
	return &scenarios.Scenario{Spec: scenarios.Spec{
		Topology: scenarios.Topology{
			Clusters: []scenarios.Cluster{{Name: "east"}},
			Services: []scenarios.Service{
				{Name: "shop", Namespace: "app", Clusters: []string{"east"}, Replicas: 2},
				{Name: "cart", Namespace: "app", Clusters: []string{"east"}, Replicas: 2},
			},
		},
		Policy: scenarios.Policy{Default: scenarios.DefaultDeny, Allow: []scenarios.Rule{
			{From: scenarios.IngressName, To: "shop"}, {From: "shop", To: "cart"},
		}},
	}}
}

// world is one cluster with mesh layered.
type world struct {
	t       *testing.T
	cluster clusters.Cluster
	sink    sink
	ids     int
}

// build brings up shop's scenario; change may alter its objects, and returns those to apply.
func build(t *testing.T, how scenarios.Layered, change func([]clusters.Object) []clusters.Object) *world {
	t.Helper()
	w := begin(t, how, change)
	if err := w.ready(); err != nil {
		t.Fatal(err)
	}
	return w
}

// begin does not wait until the pods are ready.
func begin(t *testing.T, how scenarios.Layered, change func([]clusters.Object) []clusters.Object) *world {
	t.Helper()
	w := &world{t: t}
	mesh, err := meshes.ByName(scenarios.MeshLayered)
	if err != nil {
		t.Fatal(err)
	}
	objs, err := meshes.Render(mesh, scenarios.MeshEntry{Name: mesh.Name(), Layered: &how}, shop(), "east")
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		objs = change(objs)
	}
	fleet, err := embedded.New(map[string]proxy.Factory{"layered": layered.Factory()}).Create(t.Context(), clusters.Spec{
		Trial: evidence.Trial{Block: 1, Mesh: "layered"}, Clusters: []string{"east"}, Mesh: "layered", Seed: 1, Sink: &w.sink,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := fleet.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	w.cluster = fleet.Cluster("east")
	if err := w.cluster.Apply(t.Context(), objs...); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) ready() error {
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	return w.cluster.WaitReady(ctx)
}

func (w *world) pods(service string) []clusters.Pod {
	w.t.Helper()
	all, err := w.cluster.Pods(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(p clusters.Pod) bool { return p.Service != service })
}

// ask sends a request, and returns what the client saw and what the workload recorded: nil where nothing arrived.
func (w *world) ask(from, to string) (clusters.Response, *evidence.Request) {
	w.t.Helper()
	w.ids++
	id := "ask-" + strconv.Itoa(w.ids)
	resp := w.cluster.Send(w.t.Context(), w.pods(from)[0], clusters.Request{
		Host: to + ".app.svc.cluster.local", Method: http.MethodGet, Path: "/", Timeout: 30 * time.Second,
		Header: http.Header{http.CanonicalHeaderKey(scenarios.HeaderID): {id}, http.CanonicalHeaderKey(scenarios.HeaderProof): {"1"}},
	})
	w.sink.mu.Lock()
	defer w.sink.mu.Unlock()
	for _, i := range w.sink.items {
		if r, ok := i.(*evidence.Request); ok && r.ID == id {
			return resp, r
		}
	}
	return resp, nil
}

// pages are the metric pages of the ingress, by the name that evidence has for them.
func (w *world) pages() map[string]string {
	w.t.Helper()
	pages, err := w.cluster.Scrape(w.t.Context(), w.pods(scenarios.IngressName)[0])
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]string{}
	for _, p := range pages {
		if p.Err != nil {
			w.t.Fatal(p.Err)
		}
		out[p.Proxy()] = p.Body
	}
	return out
}

// sum adds up the series of a metric whose labels include want ("name", "value", …).
func sum(t *testing.T, page, metric string, want ...string) float64 {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(strings.TrimSuffix(page, "# EOF\n")))
	if err != nil {
		t.Fatal(err)
	}
	total := 0.0
	for _, m := range families[metric].GetMetric() {
		have := map[string]string{}
		for _, l := range m.GetLabel() {
			have[l.GetName()] = l.GetValue()
		}
		ok := true
		for i := 0; i < len(want); i += 2 {
			ok = ok && have[want[i]] == want[i+1]
		}
		if ok {
			total += m.GetCounter().GetValue()
		}
	}
	return total
}

// sink keeps what it is given.
type sink struct {
	mu    sync.Mutex
	items []evidence.Item
}

// Append implements evidence.Sink.
func (s *sink) Append(i evidence.Item) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items = append(s.items, i)
	return nil
}

func of[T evidence.Item](s *sink) []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []T
	for _, i := range s.items {
		if v, ok := i.(T); ok {
			out = append(out, v)
		}
	}
	return out
}

// template changes the pod template of the ingress.
func template(change func(*corev1.PodTemplateSpec)) func([]clusters.Object) []clusters.Object {
	return func(objs []clusters.Object) []clusters.Object {
		for _, o := range objs {
			if d, ok := o.(*appsv1.Deployment); ok && d.Name == scenarios.IngressName {
				change(&d.Spec.Template)
			}
		}
		return objs
	}
}

// get asks as somebody outside of the cluster does.
func get(t *testing.T, base, host, id string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	req.Header.Set("X-Request-Id", id)
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}
