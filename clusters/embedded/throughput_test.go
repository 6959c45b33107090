package embedded_test

import (
	"context"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/embedded"
	"github.com/meshproof/meshproof/clusters/embedded/istio"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/meshes"
	"github.com/meshproof/meshproof/scenarios"
)

type discard struct{}

func (discard) Append(evidence.Item) error { return nil }

// BenchmarkIngress sends requests through the ingress to a service that calls three others: five requests are recorded
// for each. ns/op is the time of this process for one, with 16 under way.
func BenchmarkIngress(b *testing.B) {
	for _, mesh := range []scenarios.MeshName{scenarios.MeshNone, scenarios.MeshIstio} {
		b.Run(string(mesh), func(b *testing.B) { benchmarkIngress(b, mesh) })
	}
}

func benchmarkIngress(b *testing.B, mesh scenarios.MeshName) {
	both := []string{"east", "west"}
	s := &scenarios.Scenario{Spec: scenarios.Spec{Topology: scenarios.Topology{
		Clusters: []scenarios.Cluster{{Name: "east"}, {Name: "west"}},
		Services: []scenarios.Service{
			{Name: "shop", Namespace: "app", Clusters: both[:1], Replicas: 2, Calls: []scenarios.Call{
				{To: "cart", Method: "GET", Path: "/"}, {To: "stock", Method: "GET", Path: "/"}, {To: "price", Method: "GET", Path: "/"},
			}},
			{Name: "cart", Namespace: "app", Clusters: both, Replicas: 2},
			{Name: "stock", Namespace: "app", Clusters: both[1:], Replicas: 2},
			{Name: "price", Namespace: "app", Clusters: both[:1], Replicas: 1},
		},
	}}}
	m, err := meshes.ByName(mesh)
	if err != nil {
		b.Fatal(err)
	}
	p := embedded.New(map[string]proxy.Factory{"istio": istio.Factory()})
	f, err := p.Create(b.Context(), clusters.Spec{
		Trial: evidence.Trial{Block: 1, Mesh: string(mesh)}, Clusters: both, Latency: time.Millisecond, Mesh: string(mesh), Sink: discard{},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close(context.WithoutCancel(b.Context())) }()
	for _, c := range f.Clusters() {
		objs, err := meshes.Render(m, scenarios.MeshEntry{}, s, c.Name())
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Apply(b.Context(), objs...); err != nil {
			b.Fatal(err)
		}
	}
	for _, c := range f.Clusters() {
		if err := c.WaitReady(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	base, err := f.Cluster("east").Ingress(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	defer client.CloseIdleConnections()
	todo := make(chan struct{})
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range 16 {
		wg.Go(func() {
			for range todo {
				req, _ := http.NewRequestWithContext(b.Context(), http.MethodGet, base+"/", http.NoBody)
				req.Host = "shop.app.svc.cluster.local"
				req.Header.Set(scenarios.HeaderWindow, "load")
				resp, err := client.Do(req)
				if err != nil {
					b.Error(err)
					continue
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					b.Errorf("status %d", resp.StatusCode)
				}
			}
		})
	}
	for b.Loop() {
		todo <- struct{}{}
	}
	close(todo)
	wg.Wait()
}
