package probe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fleet is a fake of the clusters: it answers every request and remembers who was under way together.
type fleet struct {
	clusters.Fleet
	c *cluster
}

func (f fleet) Clusters() []clusters.Cluster         { return []clusters.Cluster{f.c} }
func (f fleet) Cluster(name string) clusters.Cluster { return f.c }

type cluster struct {
	clusters.Cluster
	pods   []clusters.Pod
	scrape error // of every pod
	page   error // of the sidecar's page
	onSend func(clusters.Pod, clusters.Request)
	body   func(clusters.Pod) string // of the sidecar's page

	mu       sync.Mutex
	underWay map[string]int // by UID
	most     map[string]int
	sent     []clusters.Request
	names    []string // asked for in handshakes
}

func (c *cluster) Name() string                                 { return "east" }
func (c *cluster) Pods(context.Context) ([]clusters.Pod, error) { return c.pods, nil }
func (c *cluster) Scrape(_ context.Context, p clusters.Pod) ([]clusters.Page, error) {
	if !p.Meshed() {
		return nil, clusters.ErrNoProxy
	}
	if c.scrape != nil {
		return nil, c.scrape
	}
	body := "m 1\n"
	if c.body != nil {
		body = c.body(p)
	}
	pages := []clusters.Page{{Container: "istio-proxy", Body: body, Err: c.page}}
	if slices.Contains(p.Containers, "gateway") {
		pages = append(pages, clusters.Page{Container: "gateway", Body: "g 1\n"})
	}
	return pages, nil
}

func (c *cluster) Handshake(_ context.Context, _ clusters.Pod, name string) clusters.HandshakeResult {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.names = append(c.names, name)
	return clusters.HandshakeResult{Version: "TLS 1.3"}
}

func (c *cluster) Send(_ context.Context, from clusters.Pod, r clusters.Request) clusters.Response {
	c.mu.Lock()
	c.underWay[from.UID]++
	c.most[from.UID] = max(c.most[from.UID], c.underWay[from.UID])
	c.sent = append(c.sent, r)
	c.mu.Unlock()
	if c.onSend != nil {
		c.onSend(from, r)
	}
	time.Sleep(time.Millisecond)
	c.mu.Lock()
	c.underWay[from.UID]--
	c.mu.Unlock()
	return clusters.Response{Status: 403, Body: "RBAC: access denied"}
}

// sink keeps what is recorded, in order.
type sink struct {
	mu    sync.Mutex
	items []evidence.Item
}

func (s *sink) Append(i evidence.Item) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items = append(s.items, i)
	return nil
}

func of[T evidence.Item](s *sink) []T {
	var out []T
	for _, i := range s.items {
		if v, ok := i.(T); ok {
			out = append(out, v)
		}
	}
	return out
}

func setUp() (Env, *cluster, *sink) {
	c := &cluster{underWay: map[string]int{}, most: map[string]int{}}
	add := func(service, pod string, containers ...string) {
		c.pods = append(c.pods, clusters.Pod{
			PodRef:     evidence.PodRef{Cluster: "east", Service: service, Pod: pod, UID: "uid-" + pod},
			Containers: containers,
		})
	}
	add("shop", "shop-0", "workload", "istio-proxy")
	add("shop", "shop-1", "workload", "istio-proxy")
	add("cart", "cart-0", "workload", "istio-proxy")
	add("outsider", "outsider-0", "workload")
	s := &scenarios.Scenario{}
	s.Spec.Topology.Clusters = []scenarios.Cluster{{Name: "east"}}
	s.Spec.Topology.Services = []scenarios.Service{
		{Name: "shop", Namespace: "app", Clusters: []string{"east"}, Replicas: 2},
		{Name: "cart", Namespace: "app", Clusters: []string{"east"}, Replicas: 1},
	}
	k := &sink{}
	return Env{Fleet: fleet{c: c}, Scenario: s, Sink: k, Trial: evidence.Trial{Block: 1, Mesh: "istio"}}, c, k
}

func ask(connection string, times int) verify.Ask {
	twin := verify.Ask{Cell: "twin", From: "shop", Cluster: "east", To: "cart", Method: "GET", Path: "/", Connection: connection, Allowed: true}
	return verify.Ask{
		Cell: "cell", From: "shop", Cluster: "east", To: "cart", Method: "POST", Path: "/x",
		Connection: connection, Times: times, Twin: &twin,
	}
}

func TestARoundIsScrapedAtBothEdgesAndWarmUpComesBefore(t *testing.T) {
	env, _, k := setUp()
	plan := verify.Plan{Rounds: []verify.Round{{
		Name: "before/fresh", Handshakes: true,
		Warmup: []verify.Ask{{Cell: "warm", From: "cart", Cluster: "east", To: "shop", Method: "GET", Path: "/", Connection: "fresh", Times: 2}},
		Asks:   []verify.Ask{ask("fresh", 3)},
	}}}
	if err := Run(t.Context(), env, plan); err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, i := range k.items {
		word := ""
		switch v := i.(type) {
		case *evidence.Event:
			word = v.Kind
		case *evidence.Scrape:
			word = "scrape " + v.Edge
		case *evidence.Probe:
			word = "probe " + v.Window
		case *evidence.Handshake:
			word = "handshake"
		case *evidence.Pod:
			continue // beside the scrapes, in no order among them
		}
		if len(order) == 0 || order[len(order)-1] != word {
			order = append(order, word)
		}
	}
	want := "probe before/fresh/warmup, handshake, window-start, scrape start, probe before/fresh, scrape end, window-end"
	if got := strings.Join(order, ", "); got != want {
		t.Errorf("order:\n%s\nwant:\n%s", got, want)
	}
	if n := len(of[*evidence.Handshake](k)); n != 3 {
		t.Errorf("%d handshakes, want one with each pod of a service", n)
	}
	if n := len(of[*evidence.Scrape](k)); n != 6 {
		t.Errorf("%d scrapes, want one of each of 3 proxies at each edge", n)
	}
	if n := len(of[*evidence.Pod](k)); n != 8 {
		t.Errorf("%d pods in inventories, want 4 at each edge", n)
	}
}

func TestAHandshakeAsksForTheNameThatTheMeshAnswersUnder(t *testing.T) {
	for mesh, want := range map[string][]string{
		"istio":   {"cart.app.svc.cluster.local", "shop.app.svc.cluster.local", "shop.app.svc.cluster.local"},
		"linkerd": {"cart.app.serviceaccount.identity.linkerd.cluster.local", "shop.app.serviceaccount.identity.linkerd.cluster.local", "shop.app.serviceaccount.identity.linkerd.cluster.local"},
	} {
		env, c, k := setUp()
		env.Trial.Mesh = mesh
		if err := Run(t.Context(), env, verify.Plan{Rounds: []verify.Round{{Name: "w", Handshakes: true}}}); err != nil {
			t.Fatal(err)
		}
		var recorded []string
		for _, h := range of[*evidence.Handshake](k) {
			recorded = append(recorded, h.ServerName)
		}
		slices.Sort(c.names)
		slices.Sort(recorded)
		if !slices.Equal(c.names, want) || !slices.Equal(recorded, want) {
			t.Errorf("%s: asked for %q, recorded %q, want %q", mesh, c.names, recorded, want)
		}
	}
}

func TestEachAskHasItsTwinAndBothAreTagged(t *testing.T) {
	env, c, k := setUp()
	if err := Run(t.Context(), env, verify.Plan{Rounds: []verify.Round{{Name: "w", Asks: []verify.Ask{ask("fresh", 4)}}}}); err != nil {
		t.Fatal(err)
	}
	twins, ids := map[string]bool{}, map[string]bool{}
	for _, p := range of[*evidence.Probe](k) {
		if ids[p.ID] {
			t.Errorf("ID %s came twice", p.ID)
		}
		ids[p.ID] = true
		if p.Role == "twin" {
			twins[p.ID] = true
		}
		if p.Window != "w" || p.Status != 403 || p.Body == "" {
			t.Errorf("record: %+v", p)
		}
	}
	asks := 0
	for _, p := range of[*evidence.Probe](k) {
		if p.Role == "ask" {
			asks++
			if !twins[p.Twin] {
				t.Errorf("ask %s has no twin", p.ID)
			}
		}
	}
	if asks != 4 || len(twins) != 4 {
		t.Errorf("%d asks, %d twins", asks, len(twins))
	}
	for _, r := range c.sent {
		if r.Header.Get(scenarios.HeaderProof) != "1" || r.Header.Get("X-Request-Id") != r.Header.Get(scenarios.HeaderID) ||
			r.Header.Get(scenarios.HeaderConnection) != "fresh" || !r.Fresh || r.Host != "cart.app.svc.cluster.local" {
			t.Errorf("request: %+v", r)
		}
	}
}

func TestAnEstablishedRoundAsksFromOnePodOneAtATime(t *testing.T) {
	env, c, k := setUp()
	asks := []verify.Ask{ask("established", 6), ask("established", 6)}
	if err := Run(t.Context(), env, verify.Plan{Rounds: []verify.Round{{Name: "w", Asks: asks}}}); err != nil {
		t.Fatal(err)
	}
	for uid, most := range c.most {
		if uid != "uid-shop-0" || most != 1 {
			t.Errorf("%s had %d requests under way at once", uid, most)
		}
	}
	if n := len(of[*evidence.Probe](k)); n != 24 {
		t.Errorf("%d probes, want 24", n)
	}
}

func TestAFreshRoundAsksFromEveryReplica(t *testing.T) {
	env, c, _ := setUp()
	if err := Run(t.Context(), env, verify.Plan{Rounds: []verify.Round{{Name: "w", Asks: []verify.Ask{ask("fresh", 4)}}}}); err != nil {
		t.Fatal(err)
	}
	if c.most["uid-shop-0"] == 0 || c.most["uid-shop-1"] == 0 {
		t.Errorf("asked from %v", c.most)
	}
}

func TestAFailedScrapeIsEvidenceAndNoSilence(t *testing.T) {
	env, c, k := setUp()
	c.scrape = errors.New("connection refused")
	if err := Observe(t.Context(), env, "w", "start"); err != nil {
		t.Fatal(err)
	}
	ss := of[*evidence.Scrape](k)
	if len(ss) != 3 || ss[0].Error != "connection refused" {
		t.Fatalf("scrapes: %+v", ss)
	}
}

func TestEachProxyOfAPodIsARecordOfItsOwnAndOneThatFailsHidesNoOther(t *testing.T) {
	env, c, k := setUp()
	c.pods = []clusters.Pod{{
		PodRef:     evidence.PodRef{Cluster: "east", Service: "ingress", Pod: "ingress-0", UID: "uid"},
		Containers: []string{"workload", "gateway"}, InitContainers: []string{"istio-proxy"},
	}}
	c.page = errors.New("connection refused")
	if err := Observe(t.Context(), env, "w", "end"); err != nil {
		t.Fatal(err)
	}
	ss := of[*evidence.Scrape](k)
	if len(ss) != 2 || ss[0].Proxy != "" || ss[0].Error != "connection refused" || ss[1].Proxy != "gateway" || ss[1].Error != "" || ss[1].Body != "g 1\n" {
		t.Errorf("scrapes: %+v", ss)
	}
	for _, s := range ss {
		if s.At.UID != "uid" || s.Window != "w" || s.Edge != "end" {
			t.Errorf("%+v", s)
		}
	}
}

func TestAMissingCallerIsAnError(t *testing.T) {
	env, _, _ := setUp()
	a := ask("fresh", 1)
	a.From = "nobody"
	err := Run(t.Context(), env, verify.Plan{Rounds: []verify.Round{{Name: "w", Asks: []verify.Ask{a}}}})
	if err == nil || !strings.Contains(err.Error(), "no pod of nobody") {
		t.Fatalf("got %v", err)
	}
}

func TestAStoppedRunRecordsNothingOfWhatWasUnderWay(t *testing.T) {
	env, c, k := setUp()
	ctx, cancel := context.WithCancel(t.Context())
	c.onSend = func(clusters.Pod, clusters.Request) { cancel() }
	err := Run(ctx, env, verify.Plan{Rounds: []verify.Round{{Name: "w", Asks: []verify.Ask{ask("fresh", 9)}}}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if ps := of[*evidence.Probe](k); len(ps) != 0 {
		t.Fatal(fmt.Sprint("recorded: ", len(ps)))
	}
}
