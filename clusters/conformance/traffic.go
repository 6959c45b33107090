package conformance

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

func sendAcross(t *testing.T, e *env) {
	shop := e.pod("east", "shop")
	for _, to := range []string{"stock", "cart"} {
		id, _ := e.send(shop, to, "/items/1?q=2")
		rs := e.recorded(id)
		if len(rs) != 1 || rs[0].At.Service != to {
			t.Errorf("the request to %s was recorded as %+v", to, rs)
		}
	}
	fresh := e.proof(shop, "cart", "/")
	fresh.Fresh = true
	fresh.Header.Set(scenarios.HeaderConnection, "fresh")
	if resp := e.fleet.Cluster("east").Send(e.ctx, shop, fresh); resp.Status != 200 || resp.Took <= 0 {
		t.Errorf("on a fresh connection: %+v", resp)
	}
	// Every replica gets its share.
	hit := map[string]bool{}
	stock := e.pod("east", "stock")
	for range 40 {
		req := e.proof(stock, "shop", "/")
		req.Fresh = true
		req.Header.Set(scenarios.HeaderConnection, "fresh")
		if resp := e.fleet.Cluster("east").Send(e.ctx, stock, req); resp.Status != 200 {
			t.Fatalf("%+v", resp)
		}
		for _, r := range e.recorded(req.Header.Get(scenarios.HeaderID)) {
			hit[r.At.UID] = true
		}
	}
	if len(hit) != 2 {
		t.Errorf("40 requests on connections of their own reached %d of 2 replicas", len(hit))
	}
}

func workloadRecord(t *testing.T, e *env) {
	shop, cart := e.pod("east", "shop"), e.pod("west", "cart")
	before := time.Now()
	req := e.proof(shop, "cart", "/items/7?x=1")
	req.Method = http.MethodPost
	id := req.Header.Get(scenarios.HeaderID)
	if resp := e.fleet.Cluster("east").Send(e.ctx, shop, req); resp.Status != 200 {
		t.Fatalf("%+v", resp)
	}
	rs := e.recorded(id)
	if len(rs) != 1 {
		t.Fatalf("%d records", len(rs))
	}
	got := *rs[0]
	if got.T.Before(before.Add(-time.Second)) || got.T.After(time.Now().Add(time.Second)) || got.Remote == "" {
		t.Errorf("time %s, remote %q", got.T, got.Remote)
	}
	counts := e.mesh.Name() == scenarios.MeshIstio // Linkerd does not say which attempt a request is
	if meshed := cart.Meshed(); meshed != (got.XFCC != "" || got.L5dClientID != "") || counts != (got.Attempt > 0) {
		t.Errorf("meshed %v, peer %q %q, attempt %d", meshed, got.XFCC, got.L5dClientID, got.Attempt)
	}
	want := evidence.Request{
		Header: evidence.Header{Trial: evidence.Trial{Block: 1, Mesh: string(e.mesh.Name())}, Src: "pod/west/" + cart.Pod},
		ID:     id, Window: "before/fresh", Caller: "shop@east", At: cart.PodRef, Method: "POST", Path: "/items/7", Status: 200,
	}
	got.T, got.N, got.Remote, got.XFCC, got.L5dClientID, got.Attempt = time.Time{}, 0, "", "", "", 0
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b evidence.Header) bool { return a == b })); d != "" {
		t.Error(d)
	}

	// A request that is no proof goes on to what the service calls.
	load := e.proof(e.pod("east", "stock"), "shop", "/")
	load.Header.Del(scenarios.HeaderProof)
	load.Header.Set(scenarios.HeaderWindow, "load")
	if resp := e.fleet.Cluster("east").Send(e.ctx, e.pod("east", "stock"), load); resp.Status != 200 {
		t.Fatalf("%+v", resp)
	}
	child := e.recorded(load.Header.Get(scenarios.HeaderID) + ".1")
	if len(child) != 1 || child[0].Caller != "shop@east" || child[0].Window != "load" || child[0].Path != "/items" || child[0].At != cart.PodRef {
		t.Errorf("the call that shop made was recorded as %+v", child)
	}
	if len(e.sink.requests(id+".1")) != 0 {
		t.Error("a proof request made calls")
	}
}

func sendErrors(t *testing.T, e *env) {
	shop := e.pod("east", "shop")
	req := e.proof(shop, "cart", "/")
	req.Host = "nobody.app.svc.cluster.local"
	if resp := e.fleet.Cluster("east").Send(e.ctx, shop, req); resp.Status/100 == 2 || (resp.Status == 0) != (resp.Error != "") {
		t.Errorf("a name that nobody has answered %+v", resp)
	}
	if resp := e.fleet.Cluster("west").Send(e.ctx, shop, e.proof(shop, "cart", "/")); resp.Status != 0 || !strings.Contains(resp.Error, shop.Pod) {
		t.Errorf("a pod of another cluster sent %+v", resp)
	}
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	if resp := e.fleet.Cluster("east").Send(ctx, shop, e.proof(shop, "cart", "/")); resp.Status != 0 || resp.Error == "" {
		t.Errorf("with an ended context: %+v", resp)
	}
}

func latencyFelt(t *testing.T, e *env) {
	shop := e.pod("east", "shop")
	near, far := make([]time.Duration, 9), make([]time.Duration, 9)
	for i := range near {
		_, near[i] = e.send(shop, "stock", "/")
		_, far[i] = e.send(shop, "cart", "/")
	}
	slices.Sort(near)
	slices.Sort(far)
	// On a kept connection a request and its answer cross once each.
	if got := far[4] - near[4]; got < latency*3/2 {
		t.Errorf("the other cluster is %s further away in the median, want about %s (near %s, far %s)", got, 2*latency, near, far)
	}
	if far[4] < 2*near[4] {
		t.Errorf("medians: near %s, far %s", near[4], far[4])
	}
}

// samples measures a link a few times, on both kinds of connection, and returns the medians.
func samples(t *testing.T, e *env, p clusters.LinkProbe) (fresh, established time.Duration) {
	t.Helper()
	var f, est []time.Duration
	for range 5 {
		d, err := p.Fresh(e.ctx)
		if err != nil {
			t.Fatal(err)
		}
		f = append(f, d)
		if d, err = p.Established(e.ctx); err != nil {
			t.Fatal(err)
		}
		est = append(est, d)
	}
	slices.Sort(f)
	slices.Sort(est)
	return f[2], est[2]
}

func (e *env) probe() clusters.LinkProbe {
	e.t.Helper()
	p, err := e.fleet.Link("west", "east").Probe(e.ctx)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { _ = p.Close() })
	return p
}

func delay(t *testing.T, e *env) {
	p := e.probe()
	defer func() { _ = p.Close() }()
	fresh0, est0 := samples(t, e, p)
	if est0 < 2*latency || fresh0 < est0 {
		t.Errorf("before: fresh %s, established %s, want at least %s", fresh0, est0, 2*latency)
	}
	const extra = 150 * time.Millisecond
	revert, err := e.fleet.Link("east", "west").Delay(e.ctx, extra)
	if err != nil {
		t.Fatal(err)
	}
	fresh1, est1 := samples(t, e, p)
	if fresh1-fresh0 < extra*8/5 || est1-est0 < extra*8/5 {
		t.Errorf("a delay of %s made fresh %s of %s, established %s of %s", extra, fresh1, fresh0, est1, est0)
	}
	_, took := e.send(e.pod("east", "shop"), "cart", "/")
	if took < 2*extra {
		t.Errorf("a request took %s", took)
	}
	for range 2 { // reverting twice is reverting once
		if err := revert(e.ctx); err != nil {
			t.Fatal(err)
		}
	}
	fresh2, est2 := samples(t, e, p)
	if fresh2 > (fresh0+fresh1)/2 || est2 > (est0+est1)/2 {
		t.Errorf("after the revert: fresh %s (%s, then %s), established %s (%s, then %s)", fresh2, fresh0, fresh1, est2, est0, est1)
	}
	if _, err := e.fleet.Link("east", "west").Delay(e.ctx, -time.Second); err == nil {
		t.Error("a negative delay was injected")
	}
}

func partition(t *testing.T, e *env) {
	p := e.probe()
	defer func() { _ = p.Close() }()
	samples(t, e, p)
	shop := e.pod("east", "shop")
	e.send(shop, "cart", "/") // a connection to the far side, which the partition then holds
	revert, err := e.fleet.Link("east", "west").Partition(e.ctx)
	if err != nil {
		t.Fatal(err)
	}
	for name, ask := range map[string]func(context.Context) (time.Duration, error){"fresh": p.Fresh, "established": p.Established} {
		for range 2 {
			ctx, cancel := context.WithTimeout(e.ctx, 300*time.Millisecond)
			if d, err := ask(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s across a partition: %s, %v", name, d, err)
			}
			cancel()
		}
	}
	cut := e.proof(shop, "cart", "/")
	cut.Timeout = 500 * time.Millisecond
	if resp := e.fleet.Cluster("east").Send(e.ctx, shop, cut); resp.Status == 200 {
		t.Errorf("a request crossed the partition: %+v", resp)
	}
	e.send(shop, "stock", "/") // within a cluster nothing is cut
	if err := revert(e.ctx); err != nil {
		t.Fatal(err)
	}
	// Late answers to what was given up are skipped: the times are those of the link again.
	if fresh, est := samples(t, e, p); fresh < 2*latency || est < 2*latency {
		t.Errorf("after the partition: fresh %s, established %s", fresh, est)
	}
	e.send(shop, "cart", "/")
}

func ingress(t *testing.T, e *env) {
	base, err := e.fleet.Cluster("east").Ingress(e.ctx)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	get := func(host, id string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(e.ctx, http.MethodGet, base+"/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		req.Header.Set(scenarios.HeaderID, id)
		req.Header.Set(scenarios.HeaderWindow, "load")
		req.Header.Set("X-Forwarded-Client-Cert", "URI=spiffe://cluster.local/ns/app/sa/forged")
		req.Header.Set("L5d-Client-Id", "forged")
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	if status, body := get(e.host("shop"), "in-1"); status != 200 {
		t.Fatalf("status %d, body %q", status, body)
	}
	byService := map[string]*evidence.Request{}
	child := e.recorded("in-1.1")
	for began := time.Now(); len(e.sink.requests("in-1")) < 2 && time.Since(began) < recordLimit; time.Sleep(5 * time.Millisecond) {
	}
	for _, r := range slices.Concat(e.sink.requests("in-1"), child) {
		byService[r.At.Service] = r
	}
	shop, cart := byService["shop"], byService["cart"]
	if byService["ingress"] == nil || shop == nil || cart == nil {
		t.Fatalf("the request passed %v", byService)
	}
	if shop.Caller != "ingress@east" || cart.Caller != "shop@east" || shop.Window != "load" || byService["ingress"].Status != 200 {
		t.Errorf("callers %q, %q, window %q, status %d", shop.Caller, cart.Caller, shop.Window, byService["ingress"].Status)
	}
	if strings.Contains(shop.XFCC, "forged") || strings.Contains(shop.L5dClientID, "forged") {
		t.Errorf("what the client said of its identity reached the service: %q %q", shop.XFCC, shop.L5dClientID)
	}
	// Every proxy that the request passed at the ingress has a page of its own.
	pod := e.pod("east", "ingress")
	pages, err := e.fleet.Cluster("east").Scrape(e.ctx, pod)
	if want := len(pod.Containers) + len(pod.InitContainers) - 1; pod.Meshed() && (err != nil || len(pages) == 0 || len(pages) > want) {
		t.Errorf("%d pages of %v and %v: %v", len(pages), pod.Containers, pod.InitContainers, err)
	}
	named := map[string]bool{}
	for _, p := range pages {
		known := slices.Contains(pod.Containers, p.Container) || slices.Contains(pod.InitContainers, p.Container)
		if !known || named[p.Proxy()] || p.Err != nil || !strings.Contains(p.Body, "# TYPE ") {
			t.Errorf("page %+v of a pod with %v and %v", p, pod.Containers, pod.InitContainers)
		}
		named[p.Proxy()] = true
	}

	if status, body := get("nobody.app.svc.cluster.local", "in-2"); status != http.StatusBadGateway && status != http.StatusNotFound || body == "" && e.mesh.Name() == scenarios.MeshNone {
		t.Errorf("an unknown host: status %d, body %q", status, body)
	}

	// The ingress is a pod like any other; its URL outlives it.
	east := e.fleet.Cluster("east")
	if err := east.KillPod(e.ctx, e.pod("east", "ingress").UID, "pod-kill ingress-dies"); err != nil {
		t.Fatal(err)
	}
	if err := east.WaitReady(e.ctx); err != nil {
		t.Fatal(err)
	}
	if again, err := east.Ingress(e.ctx); err != nil || again != base {
		t.Errorf("Ingress = %s, %v, was %s", again, err, base)
	}
	client.CloseIdleConnections()
	if status, body := get(e.host("shop"), "in-3"); status != 200 {
		t.Errorf("by the new ingress: status %d, body %q", status, body)
	}
}
