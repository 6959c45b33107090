package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/workload"
	"github.com/meshproof/meshproof/scenarios"
)

// memory is a sink, which may fail.
type memory struct {
	mu    sync.Mutex
	items []evidence.Item
	err   error
}

func (m *memory) Append(item evidence.Item) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	m.items = append(m.items, item)
	return nil
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

func (m *memory) endings() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	ends := map[string]string{}
	for _, i := range m.items {
		if e, ok := i.(*evidence.Event); ok && e.Kind == evidence.EventPodEnded {
			ends[e.At.UID] = e.Message
		}
	}
	return ends
}

func testSpec(mesh string, sink evidence.Sink) clusters.Spec {
	return clusters.Spec{Trial: evidence.Trial{Block: 1, Mesh: mesh}, Clusters: []string{"east", "west"}, Mesh: mesh, Seed: 1, Sink: sink}
}

// objects of one service with that many replicas, in a cluster.
func objects(t testing.TB, cluster string, replicas int) []clusters.Object {
	t.Helper()
	s := &scenarios.Scenario{Spec: scenarios.Spec{Topology: scenarios.Topology{
		Clusters: []scenarios.Cluster{{Name: "east"}, {Name: "west"}},
		Services: []scenarios.Service{{Name: "cart", Namespace: "app", Clusters: []string{"east", "west"}, Replicas: replicas}},
	}}}
	w, _ := s.Workload("cart")
	d, err := workload.Deployment(s, w, cluster)
	if err != nil {
		t.Fatal(err)
	}
	return []clusters.Object{workload.Namespace("app", nil), workload.ServiceAccount(w), workload.Service(w), d}
}

func create(t testing.TB, p *Provider, spec clusters.Spec) *fleet {
	t.Helper()
	f, err := p.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close(context.WithoutCancel(t.Context())) })
	return f.(*fleet)
}

func apply(t testing.TB, c clusters.Cluster, objs ...clusters.Object) {
	t.Helper()
	if err := c.Apply(t.Context(), objs...); err != nil {
		t.Fatal(err)
	}
}

func waitReady(t testing.TB, c clusters.Cluster) []clusters.Pod {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	pods, err := c.Pods(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return pods
}

func TestTheSameSeedGivesTheSamePodNamesAndNeverTheSameUIDs(t *testing.T) {
	names := func(seed int64) (names, uids []string) {
		spec := testSpec("none", &memory{})
		spec.Seed = seed
		f := create(t, New(nil), spec)
		for _, c := range f.Clusters() {
			apply(t, c, objects(t, c.Name(), 3)...)
			for _, p := range waitReady(t, c) {
				names, uids = append(names, p.Pod), append(uids, p.UID)
			}
		}
		return names, uids
	}
	a, aUIDs := names(1)
	b, bUIDs := names(1)
	c, _ := names(2)
	if !slices.Equal(a, b) {
		t.Errorf("names %v, then %v", a, b)
	}
	if slices.Equal(a, c) {
		t.Errorf("another seed gave the same names %v", a)
	}
	for _, n := range a {
		if parts := strings.Split(n, "-"); len(parts) != 3 || parts[0] != "cart" || len(parts[1]) != 9 || len(parts[2]) != 5 {
			t.Errorf("%s does not look like a pod's name", n)
		}
	}
	all := slices.Concat(aUIDs, bUIDs)
	slices.Sort(all)
	if got := len(slices.Compact(all)); got != 12 {
		t.Errorf("%d UIDs for 12 pods", got)
	}
}

func TestASnapshotListsTheReadyPodsOfEveryClusterThatHasTheService(t *testing.T) {
	f := create(t, New(nil), testSpec("none", &memory{}))
	east, west := f.Cluster("east"), f.Cluster("west")
	const host = "cart.app.svc.cluster.local"
	endpoints := func(c clusters.Cluster) []string {
		var pods []string
		for _, ep := range c.(*cluster).snapshot.Load().Services[host].Endpoints {
			pods = append(pods, ep.Cluster+"/"+ep.Pod)
		}
		return pods
	}
	apply(t, west, objects(t, "west", 2)...)
	waitReady(t, west)
	if _, ok := east.(*cluster).snapshot.Load().Services[host]; ok {
		t.Error("a Service is known where it was not applied")
	}
	apply(t, east, objects(t, "east", 1)...)
	pods := waitReady(t, east)
	got := endpoints(east)
	if len(got) != 3 || got[0] != "east/"+pods[0].Pod || !slices.Equal(got, endpoints(west)) {
		t.Errorf("endpoints %v in east, %v in west", got, endpoints(west))
	}

	// A killed pod leaves them a little later, everywhere.
	if err := east.KillPod(t.Context(), pods[0].UID, "pod-kill x"); err != nil {
		t.Fatal(err)
	}
	waitReady(t, east)
	now := endpoints(west)
	if len(now) != 3 || slices.Contains(now, "east/"+pods[0].Pod) {
		t.Errorf("endpoints after the kill: %v", now)
	}
	apply(t, west, objects(t, "west", 0)...)
	if now := endpoints(east); len(now) != 1 {
		t.Errorf("endpoints after west was scaled to 0: %v", now)
	}
}

func TestAChangedTemplateReplacesThePodsAndSaysWhy(t *testing.T) {
	sink := &memory{}
	f := create(t, New(nil), testSpec("none", sink))
	east := f.Cluster("east")
	objs := objects(t, "east", 2)
	apply(t, east, objs...)
	before := waitReady(t, east)
	apply(t, east, objs...) // the same once more changes nothing
	if again := waitReady(t, east); !slices.EqualFunc(before, again, func(a, b clusters.Pod) bool { return a.UID == b.UID }) {
		t.Errorf("pods %v became %v", before, again)
	}
	objs[3].(*appsv1.Deployment).Spec.Template.Annotations = map[string]string{"restarted": "now"}
	apply(t, east, objs...)
	after := waitReady(t, east)
	if len(after) != 2 {
		t.Fatalf("%d pods", len(after))
	}
	for _, p := range before {
		if why := sink.endings()[p.UID]; why != "its template was replaced" {
			t.Errorf("pod %s ended because %q", p.Pod, why)
		}
	}
}

func TestAStartThatFailsIsReportedAndTriedAgain(t *testing.T) {
	broken := errors.New("no room")
	var mu sync.Mutex
	fails := true
	factory := proxy.Factory{
		Inject: injectAll,
		Start: func(proxy.Pod, proxy.World, *proxy.Snapshot) (proxy.Proxy, error) {
			mu.Lock()
			defer mu.Unlock()
			if fails {
				return nil, fmt.Errorf("listening: %w", errors.Join(broken, syscall.EMFILE))
			}
			return idleProxy{}, nil
		},
	}
	p := New(map[string]proxy.Factory{"test": factory})
	p.timing.retry = 10 * time.Millisecond
	f := create(t, p, testSpec("test", &memory{}))
	east := f.Cluster("east")
	apply(t, east, objects(t, "east", 1)...)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := east.WaitReady(ctx)
	for _, want := range []string{"Deployment app/cart in cluster east: 0 of 1", "starting the proxy of pod cart-", "no room", "ulimit -n"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %q: %v", want, err)
		}
	}
	mu.Lock()
	fails = false
	mu.Unlock()
	for err != nil && ctx.Err() == nil {
		err = east.WaitReady(ctx)
		time.Sleep(10 * time.Millisecond)
	}
	pods := waitReady(t, east)
	if len(pods) != 1 || !slices.Equal(pods[0].InitContainers, []string{"side"}) || !pods[0].Meshed() {
		t.Errorf("pods %+v", pods)
	}
}

// injectAll gives every pod a sidecar.
func injectAll(_, _ proxy.Meta, _ corev1.PodSpec) proxy.Injection {
	return proxy.Injection{Mesh: "test", InitContainers: []string{"side"}}
}

// idleProxy is a sidecar that nothing is sent through.
type idleProxy struct{}

func (idleProxy) Inbound() string        { return "127.0.0.1:1" }
func (idleProxy) Outbound() string       { return "127.0.0.1:1" }
func (idleProxy) Pages() []proxy.Page    { return nil }
func (idleProxy) Update(*proxy.Snapshot) {}
func (idleProxy) Kill()                  {}

func TestAProxyHasEveryConfigurationWhenApplyReturns(t *testing.T) {
	var mu sync.Mutex
	has := map[string]*proxy.Snapshot{}
	factory := proxy.Factory{
		Inject: func(ns, pod proxy.Meta, spec corev1.PodSpec) (in proxy.Injection) {
			if ns.Labels["mesh"] == "on" {
				in = injectAll(ns, pod, spec)
			}
			return in
		},
		Start: func(p proxy.Pod, _ proxy.World, first *proxy.Snapshot) (proxy.Proxy, error) {
			return &recordingProxy{mu: &mu, uid: p.UID, has: has}, nil
		},
	}
	f := create(t, New(map[string]proxy.Factory{"test": factory}), testSpec("test", &memory{}))
	for _, c := range f.Clusters() {
		objs := objects(t, c.Name(), 3)
		objs[0] = workload.Namespace("app", map[string]string{"mesh": "on"})
		apply(t, c, objs...)
	}
	for _, c := range f.Clusters() {
		waitReady(t, c)
	}
	account := new(corev1.ServiceAccount)
	account.Name, account.Namespace = "late", "app"
	apply(t, f.Cluster("east"), account)
	mu.Lock()
	defer mu.Unlock()
	if len(has) != 6 {
		t.Fatalf("%d proxies", len(has))
	}
	for uid, s := range has {
		n := len(s.Services["cart.app.svc.cluster.local"].Endpoints)
		late := slices.ContainsFunc(s.Objects, func(o clusters.Object) bool { return o.GetName() == "late" })
		if n != 6 || late != (s.Cluster == "east") {
			t.Errorf("proxy %s in %s has %d endpoints, the late object: %v", uid, s.Cluster, n, late)
		}
	}
}

type recordingProxy struct {
	idleProxy
	mu  *sync.Mutex
	uid string
	has map[string]*proxy.Snapshot
}

func (p *recordingProxy) Update(s *proxy.Snapshot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.has[p.uid] = s
}

func TestAnObjectKeepsItsAgeWhenItIsAppliedAgain(t *testing.T) {
	f := create(t, New(nil), testSpec("none", &memory{}))
	age := func() time.Time {
		return f.cluster("east").snapshot.Load().Objects[0].GetCreationTimestamp().Time
	}
	ns := workload.Namespace("app", nil)
	apply(t, f.Cluster("east"), ns)
	born := age()
	ns.Labels["more"] = "yes"
	apply(t, f.Cluster("east"), ns)
	if born.IsZero() || !age().Equal(born) || !ns.CreationTimestamp.IsZero() {
		t.Errorf("born %s, then %s; the caller's own object %s", born, age(), ns.CreationTimestamp)
	}
}

func TestEvidenceThatCannotBeWrittenStopsTheFleet(t *testing.T) {
	sink := &memory{}
	f := create(t, New(nil), testSpec("none", sink))
	east := f.Cluster("east")
	apply(t, east, objects(t, "east", 1)...)
	pods := waitReady(t, east)
	full := errors.New("disk full")
	sink.fail(full)
	if err := east.KillPod(t.Context(), pods[0].UID, "pod-kill x"); !errors.Is(err, full) {
		t.Errorf("KillPod = %v", err)
	}
	if err := east.WaitReady(t.Context()); !errors.Is(err, full) {
		t.Errorf("WaitReady = %v", err)
	}
	if _, err := east.Pods(t.Context()); !errors.Is(err, full) {
		t.Errorf("Pods = %v", err)
	}
	if err := f.Close(t.Context()); !errors.Is(err, full) {
		t.Errorf("Close = %v", err)
	}
	if _, err := New(nil).Create(t.Context(), testSpec("none", sink)); !errors.Is(err, full) {
		t.Errorf("Create = %v", err)
	}
}

func TestAPodThatIsKilledWhileItStartsNeverBecomesReady(t *testing.T) {
	started, release := make(chan struct{}, 8), make(chan struct{})
	factory := proxy.Factory{
		Inject: injectAll,
		Start: func(proxy.Pod, proxy.World, *proxy.Snapshot) (proxy.Proxy, error) {
			started <- struct{}{}
			<-release
			return idleProxy{}, nil
		},
	}
	sink := &memory{}
	f := create(t, New(map[string]proxy.Factory{"test": factory}), testSpec("test", sink))
	east := f.Cluster("east")
	apply(t, east, objects(t, "east", 1)...)
	<-started
	pods, err := east.Pods(t.Context())
	if err != nil || len(pods) != 1 || pods[0].Ready {
		t.Fatalf("pods %+v, %v", pods, err)
	}
	if resp := east.Send(t.Context(), pods[0], clusters.Request{Host: "x"}); !strings.Contains(resp.Error, "still starting") {
		t.Errorf("%+v", resp)
	}
	if err := east.KillPod(t.Context(), pods[0].UID, "pod-kill x"); err != nil {
		t.Fatal(err)
	}
	close(release)
	after := waitReady(t, east)
	if len(after) != 1 || after[0].UID == pods[0].UID || sink.endings()[pods[0].UID] != "pod-kill x" {
		t.Errorf("after %+v stand %+v", pods, after)
	}
	if err := east.KillPod(t.Context(), after[0].UID, ""); err == nil {
		t.Error("a pod was killed without a reason")
	}
}
