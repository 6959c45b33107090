// Package conformance holds what is true of every driver: one test that each
// runs against its own Provider. It knows nothing of how clusters are made, and
// asks nothing of a data plane beyond what package clusters promises.
package conformance

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/meshes"
	"github.com/meshproof/meshproof/scenarios"
)

// latency is the one-way latency between the clusters of the test: well above what a busy machine adds by itself.
const latency = 20 * time.Millisecond

// Part is a part of the test that is a driver's own.
type Part struct {
	Name string
	Test func(ctx context.Context, t *testing.T, f clusters.Fleet)
}

// part is one promise, tried on a fleet that it shares with others: each leaves the scenario's objects applied and ready.
type part struct {
	name string
	test func(*testing.T, *env)
}

// Run holds a Provider to the promises of package clusters, with the objects of one mesh entry. A Provider that makes real
// clusters takes minutes: all parts share two fleets. The driver's own parts are the last on that with separate networks,
// and may leave it as they like.
func Run(t *testing.T, p clusters.Provider, entry scenarios.MeshEntry, separately ...Part) {
	mesh := entry.Name
	t.Run("what a cancelled Create began is gone", func(t *testing.T) { cancelledCreate(t, p, mesh) })
	t.Run("what it cannot make is refused", func(t *testing.T) { refusedSpecs(t, p, mesh) })
	t.Run("clusters of several nodes", func(t *testing.T) {
		s := spec(mesh, &sink{})
		s.Nodes = map[string]int{"east": 2, "west": 2} // the pods of shop then stand on both
		shared(t, p, entry, s, []part{
			{"applied Deployments become ready pods with identities of their own", readyPods}, // the first: as they were made
			{"a request reaches a service in its own cluster and in the other", sendAcross},
			{"the workload records what it received", workloadRecord},
			{"a load from a pod goes where it is sent, in the pod's name", attackAcross},
			{"a load from a pod is stopped as any, and says what it sent", attackStopped},
			{"a load whose pod is killed is lost", attackLost},
			{"a name that nobody has and a pod that is gone are errors", sendErrors},
			{"latency between clusters is felt, within a cluster there is none", latencyFelt},
			{"a delay is felt on fresh and established connections, and goes", delay},
			{"a partition holds fresh and established connections, and heals", partition},
			{"a killed pod is replaced by another with the reason in evidence", kill},
			{"in an outage all pods of a service are gone until it ends", outage},
			{"a Deployment that is applied again is scaled", scale},
			{"objects that cannot be applied are refused and change nothing", refusedObjects},
			{"a pod is not ready before it has its service account", noServiceAccount},
			{"a handshake and a scrape say what the pod serves", handshakeAndScrape},
			{"an issuer that is replaced issues no more", rotateIssuer},
			{"the ingress answers from the host, and a killed one is replaced", ingress},
			{"a closed fleet answers nothing and says nothing any more", closed}, // the last
		})
	})
	t.Run("clusters on separate networks", func(t *testing.T) { separate(t, p, entry, separately) })
}

// shared makes a fleet and tries parts on it, one after the other.
func shared(t *testing.T, p clusters.Provider, entry scenarios.MeshEntry, s clusters.Spec, parts []part) {
	t.Helper()
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	e := newEnv(t, p, entry, s)
	defer e.close()
	for _, tt := range parts {
		t.Run(tt.name, func(t *testing.T) {
			own := *e
			own.t = t
			own.sink = e.whole.now()
			defer func() { e.ids = own.ids }() // no ID is used twice
			own.ready()                        // also where the part before has failed
			tt.test(t, &own)
		})
	}
}

// env is a fleet with a scenario's objects applied and ready.
type env struct {
	t        *testing.T
	ctx      context.Context
	provider clusters.Provider
	fleet    clusters.Fleet
	whole    sight // of what the fleet said
	sink     sight // of what it said since this part began
	scenario *scenarios.Scenario
	mesh     meshes.Mesh
	build    clusters.Build
	entry    scenarios.MeshEntry
	ids      int
}

// scenario is small, with its defaults filled in: shop in east calls cart, which runs in west alone.
func scenario() *scenarios.Scenario {
	return &scenarios.Scenario{Spec: scenarios.Spec{Topology: scenarios.Topology{
		Clusters: []scenarios.Cluster{{Name: "east"}, {Name: "west"}},
		Services: []scenarios.Service{
			{Name: "shop", Namespace: "app", Clusters: []string{"east"}, Replicas: 2, Calls: []scenarios.Call{{To: "cart", Method: "GET", Path: "/items"}}},
			{Name: "cart", Namespace: "app", Clusters: []string{"west"}, Replicas: 1},
			{Name: "stock", Namespace: "app", Clusters: []string{"east"}, Replicas: 1},
		},
	}}}
}

func spec(mesh scenarios.MeshName, s *sink) clusters.Spec {
	return clusters.Spec{
		ID: "conf" + strings.ReplaceAll(uuid.NewString(), "-", "")[:8], Trial: evidence.Trial{Block: 1, Mesh: string(mesh)}, Clusters: []string{"east", "west"}, Latency: latency,
		Mesh: string(mesh), Seed: 7, Sink: s,
	}
}

func newEnv(t *testing.T, p clusters.Provider, entry scenarios.MeshEntry, made clusters.Spec) *env {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(cancel)
	e := &env{t: t, ctx: ctx, provider: p, scenario: scenario(), entry: entry}
	if made.Separate { // a mesh's control planes are installed for it
		e.scenario.Spec.Topology.Network.Kind = scenarios.NetworkSeparate
	}
	all, ok := made.Sink.(*sink)
	if !ok {
		t.Fatalf("a fleet of this test wants its sink, not %T", made.Sink)
	}
	e.whole, e.sink = sight{of: all}, sight{of: all}
	var err error
	if e.mesh, err = meshes.ByName(entry.Name); err != nil {
		t.Fatal(err)
	}
	if e.build, err = p.Build(string(entry.Name)); err != nil {
		t.Fatal(err)
	}
	made.Install = map[string]clusters.Installation{}
	for _, c := range made.Clusters {
		made.Install[c] = meshes.Install(e.mesh, entry, e.scenario, e.build, c)
	}
	if e.fleet, err = p.Create(ctx, made); err != nil {
		t.Fatal(err)
	}
	whole := false
	defer func() {
		if !whole {
			e.close()
		}
	}()
	for _, c := range e.fleet.Clusters() {
		if err := c.Apply(ctx, e.objects(c.Name())...); err != nil {
			t.Fatal(err)
		}
	}
	e.ready()
	whole = true
	return e
}

// ready waits until all clusters are.
func (e *env) ready() {
	e.t.Helper()
	for _, c := range e.fleet.Clusters() {
		if err := c.WaitReady(e.ctx); err != nil {
			e.t.Fatal(err)
		}
	}
}

func (e *env) close() {
	e.t.Helper()
	if err := e.fleet.Close(context.WithoutCancel(e.ctx)); err != nil {
		e.t.Errorf("Close: %v", err)
	}
}

func (e *env) objects(cluster string) []clusters.Object {
	e.t.Helper()
	objs, err := meshes.RenderFor(e.mesh, e.entry, e.scenario, e.build, cluster)
	if err != nil {
		e.t.Fatal(err)
	}
	if err := e.provider.Check(string(e.mesh.Name()), objs); err != nil {
		e.t.Fatal(err)
	}
	return objs
}

// behindLinkerd reports whether services have Linkerd's proxies.
func (e *env) behindLinkerd() bool {
	return e.entry.Name == scenarios.MeshLinkerd || e.entry.Name == scenarios.MeshLayered
}

// issuerOf is evidence's name of who issues services' certificates in a cluster.
func (e *env) issuerOf(cluster string) string {
	mesh := e.entry.Name
	if e.behindLinkerd() {
		mesh = scenarios.MeshLinkerd
	}
	return evidence.TrustIssuer(string(mesh), cluster)
}

func (e *env) pods(cluster, service string) []clusters.Pod {
	e.t.Helper()
	all, err := e.fleet.Cluster(cluster).Pods(e.ctx)
	if err != nil {
		e.t.Fatal(err)
	}
	var pods []clusters.Pod
	for _, p := range all {
		if p.Service == service {
			pods = append(pods, p)
		}
	}
	return pods
}

func (e *env) pod(cluster, service string) clusters.Pod {
	e.t.Helper()
	pods := e.pods(cluster, service)
	if len(pods) == 0 {
		e.t.Fatalf("no pod of %s in %s", service, cluster)
	}
	return pods[0]
}

// host is the DNS name of a service.
func (e *env) host(service string) string {
	e.t.Helper()
	w, ok := e.scenario.Workload(service)
	if !ok {
		e.t.Fatalf("no workload %s", service)
	}
	return w.Host()
}

// proof is a proof request with an ID of its own.
func (e *env) proof(from clusters.Pod, to, path string) clusters.Request {
	e.ids++
	req := clusters.Request{Host: e.host(to), Method: http.MethodGet, Path: path, Header: http.Header{}, Timeout: time.Minute}
	req.Header.Set(scenarios.HeaderID, "proof-"+strconv.Itoa(e.ids))
	req.Header.Set(scenarios.HeaderWindow, "before/fresh")
	req.Header.Set(scenarios.HeaderCaller, from.Service+"@"+from.Cluster)
	req.Header.Set(scenarios.HeaderProof, "1")
	return req
}

// recordLimit is how long a record may take to arrive.
const recordLimit = 10 * time.Second

// recorded waits for the workloads' records of a request, and returns those that are there when the first ones are.
func (e *env) recorded(id string) []*evidence.Request {
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if rs := e.sink.requests(id); len(rs) > 0 || time.Since(began) > recordLimit {
			return rs
		}
	}
}

// send sends a proof request that must be answered with 200, and returns how long it took.
func (e *env) send(from clusters.Pod, to, path string) (id string, took time.Duration) {
	e.t.Helper()
	req := e.proof(from, to, path)
	resp := e.fleet.Cluster(from.Cluster).Send(e.ctx, from, req)
	if resp.Status != 200 {
		e.t.Fatalf("%s in %s to %s%s: status %d %q, body %q", from.Service, from.Cluster, to, path, resp.Status, resp.Error, resp.Body)
	}
	return req.Header.Get(scenarios.HeaderID), resp.Took
}

func cancelledCreate(t *testing.T, p clusters.Provider, mesh scenarios.MeshName) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f, err := p.Create(ctx, spec(mesh, &sink{}))
	if f != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("Create = %v, %v, want nothing and the context's error", f, err)
	}
}

func refusedSpecs(t *testing.T, p clusters.Provider, mesh scenarios.MeshName) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	if b, err := p.Build("meshless"); err == nil {
		t.Errorf("a build of a mesh that nobody knows: %+v", b)
	}
	for name, change := range map[string]func(*clusters.Spec){
		"no clusters":               func(s *clusters.Spec) { s.Clusters = nil },
		"two clusters of one name":  func(s *clusters.Spec) { s.Clusters = []string{"east", "east"} },
		"a cluster without a name":  func(s *clusters.Spec) { s.Clusters = []string{""} },
		"a mesh that nobody knows":  func(s *clusters.Spec) { s.Mesh = "meshless" },
		"a latency that is no time": func(s *clusters.Spec) { s.Latency = -1 },
		"a cluster without nodes":   func(s *clusters.Spec) { s.Nodes = map[string]int{"east": 0} },
		"nodes of another cluster":  func(s *clusters.Spec) { s.Nodes = map[string]int{"north": 2} },
	} {
		s := spec(mesh, &sink{})
		change(&s)
		if f, err := p.Create(t.Context(), s); err == nil || f != nil {
			t.Errorf("%s: Create = %v, %v, want an error", name, f, err)
			if f != nil {
				_ = f.Close(t.Context())
			}
		}
	}
}
