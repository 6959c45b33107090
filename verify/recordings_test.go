package verify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// The true counts of all recordings are in testdata/recordings/README.md.

func recording(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "recordings", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// recordedPod is a pod of the recordings with what it said at the edges of a window; "" where nothing was read.
type recordedPod struct{ service, uid, before, after, access string }

// recorded lays recordings into a record as the runner would, and indexes that: from there on they take the way of the
// embedded driver's own scrapes.
func recorded(t testing.TB, mesh scenarios.MeshName, window string, pods []recordedPod, probes ...*evidence.Probe) *trial {
	t.Helper()
	rec, s, id := recordOfRecordings(t, mesh, window, pods, probes...)
	return index(rec, s, []evidence.Trial{id})[id]
}

func recordOfRecordings(t testing.TB, mesh scenarios.MeshName, window string, pods []recordedPod, probes ...*evidence.Probe) (*evidence.Record, *scenarios.Scenario, evidence.Trial) {
	t.Helper()
	service := func(name, ns string, replicas int) scenarios.Service {
		return scenarios.Service{Name: name, Namespace: ns, Clusters: []string{"kind"}, Replicas: replicas}
	}
	ns := map[scenarios.MeshName]string{scenarios.MeshIstio: "app", scenarios.MeshLinkerd: "lapp", scenarios.MeshLayered: "lapp"}[mesh]
	s := &scenarios.Scenario{Spec: scenarios.Spec{
		Meshes: []scenarios.MeshEntry{{Name: mesh}}, Blocks: 1,
		Topology: scenarios.Topology{
			Clusters: []scenarios.Cluster{{Name: "kind"}},
			Services: []scenarios.Service{service("web", ns, 2), service("cli", ns, 1), service("gw", "edge", 1)},
		},
		Policy: scenarios.Policy{Default: scenarios.DefaultDeny, Allow: []scenarios.Rule{{From: "cli", To: "web", Methods: []string{"GET"}, Paths: []string{"/ok*"}}}},
		Expect: scenarios.Expect{MTLS: &scenarios.ExpectMTLS{Everywhere: true}, Policy: &scenarios.ExpectPolicy{Matrix: "complete"}},
	}}
	id := evidence.Trial{Block: 1, Mesh: string(mesh)}
	at := func(sec int) evidence.Header {
		return evidence.Header{Trial: id, T: testEpoch.Add(time.Duration(sec) * time.Second)}
	}
	rec := &evidence.Record{Probes: probes, Events: []*evidence.Event{
		{Header: at(0), Kind: evidence.EventWindowStart, Name: window}, {Header: at(9), Kind: evidence.EventWindowEnd, Name: window},
	}}
	for _, p := range probes {
		p.Header, p.Window = at(4), window
	}
	for _, p := range pods {
		ref := evidence.PodRef{Cluster: "kind", Namespace: ns, Service: p.service, Pod: p.uid, UID: p.uid}
		for i, e := range []struct{ edge, name string }{{"start", p.before}, {"end", p.after}} {
			if e.name == "" {
				continue
			}
			h := at(1 + 7*i)
			rec.Pods = append(rec.Pods, &evidence.Pod{Header: h, Window: window, Edge: e.edge, At: ref, Ready: true})
			rec.Scrapes = append(rec.Scrapes, &evidence.Scrape{Header: h, Window: window, Edge: e.edge, At: ref, Body: recording(t, e.name)})
		}
		if p.access != "" {
			for l := range bytes.Lines([]byte(recording(t, p.access))) {
				rec.Accesses = append(rec.Accesses, &evidence.Access{Header: at(5), At: ref, Line: json.RawMessage(l)})
			}
		}
	}
	return rec, s, id
}

// poolOf counts what the proxies of a service counted in the first proof window.
func poolOf(t testing.TB, x *trial, service string) *pool {
	t.Helper()
	w, ok := x.s.Workload(service)
	if !ok {
		t.Fatalf("there is no workload %s", service)
	}
	return x.pool(x.rounds[0], w)
}

func findings(list []finding) (out []string) {
	for _, f := range list {
		out = append(out, f.reason+": "+f.message)
	}
	return out
}

const firstWindow = "before/fresh"

var strictIstio = []recordedPod{
	{"web", "web-0", "istio-web-0-before.prom", "istio-web-0-after.prom", "istio-web-0-access.jsonl"},
	{"web", "web-1", "istio-web-1-before.prom", "istio-web-1-after.prom", "istio-web-1-access.jsonl"},
	{"cli", "cli-0", "istio-cli-before.prom", "istio-cli-after.prom", ""},
	{"gw", "gw-0", "istio-gateway-before.prom", "istio-gateway-after.prom", "istio-gateway-access.jsonl"},
}

func TestRecordingsOfIstioGiveTheTrueCounts(t *testing.T) {
	x := recorded(t, scenarios.MeshIstio, firstWindow, strictIstio)
	if x.counted {
		t.Error("upstream Envoy is taken to count requests by identity")
	}
	p := poolOf(t, x, "web")
	if d := findings(p.tally.lack); len(d) > 0 {
		t.Error(d)
	}
	if !p.judged || p.allowed != 100 || p.denied != 20 {
		t.Errorf("allowed %d, denied %d (%v), want 100 and 20", p.allowed, p.denied, p.judged)
	}
	if !p.serves || p.served != 120 {
		t.Errorf("served %d (%v), want 120", p.served, p.serves)
	}
	if !p.handshook || p.handshakes != 2 {
		t.Errorf("%d handshakes (%v), want 2: keep-alive", p.handshakes, p.handshook)
	}
	if p.countsTurns {
		t.Error("a metric that is not there was read")
	}
	if len(p.requests) != 0 {
		t.Errorf("requests by identity: %v", p.requests)
	}
	for _, caller := range []string{"cli", "gw"} {
		if q := poolOf(t, x, caller); len(q.tally.lack) > 0 || q.allowed+q.denied+q.handshakes != 0 {
			t.Errorf("%s, which nobody asked: %+v", caller, q.counts)
		}
	}
}

func TestAccessLogsOfIstioGiveTheTrueCounts(t *testing.T) {
	x := recorded(t, scenarios.MeshIstio, firstWindow, strictIstio)
	const cli, web = "spiffe://cluster.local/ns/app/sa/cli", "spiffe://cluster.local/ns/app/sa/web"
	n := map[string]int{}
	for id, lines := range x.lines {
		if len(lines) != 1 {
			t.Errorf("request %s has %d lines", id, len(lines))
		}
		switch l := lines[0]; {
		case l.At.Service == "gw":
			n["through the gateway"]++
		case l.denied() && l.secured() && l.peer == cli && l.local == web:
			n["denied"]++
		case l.code == 200 && l.secured() && l.peer == cli && l.local == web:
			n["allowed"]++
		case l.code == 0 && l.tls == "" && l.details == "filter_chain_not_found":
			n["closed"]++
		default:
			t.Errorf("unexpected: %+v", l.accessLine)
		}
	}
	if want := map[string]int{"allowed": 100, "denied": 20, "through the gateway": 50}; !maps.Equal(n, want) {
		t.Errorf("%v, want %v", n, want)
	}
	// What was closed before it was read has no ID, and is no request in plaintext that was answered.
	if len(x.plain["web"]) > 0 || len(x.unread) > 0 {
		t.Errorf("answered in plaintext: %d, unread: %d", len(x.plain["web"]), len(x.unread["web"]))
	}
	closed := 0
	for _, name := range []string{"istio-web-0-access.jsonl", "istio-web-1-access.jsonl"} {
		for l := range strings.Lines(recording(t, name)) {
			if a, err := (istioDialect{}).access(json.RawMessage(l)); err == nil && a.id == "" && a.code == 0 && a.details == "filter_chain_not_found" {
				closed++
			}
		}
	}
	if closed != 3 {
		t.Errorf("%d connections in plaintext were closed, want 3", closed)
	}
}

func TestPlaintextUnderPermissiveIsADisproof(t *testing.T) {
	pod := func(name string) recordedPod {
		return recordedPod{
			"web", name, "permissive-before-web-5776669974-" + name + ".prom", "permissive-after-web-5776669974-" + name + ".prom",
			"permissive-access-web-5776669974-" + name + ".jsonl",
		}
	}
	x := recorded(t, scenarios.MeshIstio, firstWindow, []recordedPod{pod("mht78"), pod("pwfmq")})
	if n := len(x.plain["web"]); n != 8 {
		t.Errorf("%d requests in plaintext were answered, want 8", n)
	}
	secured := 0
	for _, lines := range x.lines {
		for _, l := range lines {
			var when struct{ Start time.Time }
			must(t, json.Unmarshal(l.Line, &when))
			if l.secured() && when.Start.After(time.Date(2026, 11, 23, 5, 45, 0, 0, time.UTC)) {
				secured++
			}
			if !l.secured() && l.peer != "" {
				t.Errorf("plaintext with an identity: %+v", l.accessLine)
			}
		}
	}
	if secured != 2 {
		t.Errorf("%d requests under mutual TLS since the policy changed, want the 2 of 4 that were logged in time", secured)
	}
	if p := poolOf(t, x, "web"); len(p.tally.lack) > 0 || p.handshakes != 1 {
		t.Errorf("%d handshakes, want 1: %v", p.handshakes, findings(p.tally.lack))
	}
	var log tally
	cli, _ := x.s.Workload("cli")
	web, _ := x.s.Workload("web")
	x.accessLog(&log, edge{cli, web})
	if v, reason, message, _ := log.judge(""); v != Fail || reason != "PlaintextAccepted" || !strings.Contains(message, "(and 7 more)") {
		t.Errorf("%s %s: %s", v, reason, message)
	}
}

const (
	recordedCli  = "cli.lapp.serviceaccount.identity.linkerd.cluster.local"
	recordedGW   = "gw.edge.serviceaccount.identity.linkerd.cluster.local"
	recordedGWID = "spiffe://cluster.local/ns/edge/sa/gw"
)

var strictLinkerd = []recordedPod{
	{"web", "web-0", "linkerd-web-0-before.prom", "linkerd-web-0-after.prom", ""},
	{"web", "web-1", "linkerd-web-1-before.prom", "linkerd-web-1-after.prom", ""},
	{"cli", "cli-0", "linkerd-cli-before.prom", "linkerd-cli-after.prom", ""},
	{"gw", "gw-0", "linkerd-gateway-before.prom", "linkerd-gateway-after.prom", ""},
}

// recordedProbes are what the clients of the recordings of Linkerd saw, as far as it was no success.
func recordedProbes() (out []*evidence.Probe) {
	for _, p := range []struct {
		from   string
		n      int
		path   string
		status int
	}{{"cli", 20, "/denied", 404}, {scenarios.OutsiderName, 3, "/ok", 403}, {"gw", 10, "/ok", 403}} {
		for i := range p.n {
			out = append(out, &evidence.Probe{
				ID: fmt.Sprintf("%s-%d", p.from, i), Role: roleAsk, From: evidence.PodRef{Cluster: "kind", Service: p.from}, To: "web",
				Method: "GET", Path: p.path, Status: p.status, Connection: connFresh,
			})
		}
	}
	return out
}

func TestRecordingsOfLinkerdGiveTheTrueCounts(t *testing.T) {
	x := recorded(t, scenarios.MeshLinkerd, firstWindow, strictLinkerd, recordedProbes()...)
	p := poolOf(t, x, "web")
	if d := findings(p.tally.lack); len(d) > 0 {
		t.Error(d)
	}
	allowed, attempts := map[client]int64{}, int64(0)
	for _, c := range p.requests {
		attempts += c.n
		if c.allowed && c.n > 0 {
			allowed[c.client] += c.n
		}
	}
	if want := map[client]int64{{recordedCli, true}: 100, {recordedGWID, true}: 50}; !maps.Equal(allowed, want) {
		t.Errorf("allowed %v, want %v", allowed, want)
	}
	refused := maps.Clone(p.refused)
	maps.DeleteFunc(refused, func(_ refusal, n int64) bool { return n == 0 })
	want := map[refusal]int64{{client{recordedCli, true}, 404}: 20, {client{}, 403}: 3, {client{recordedGW, true}, 403}: 10}
	if !maps.Equal(refused, want) {
		t.Errorf("refused %v, want %v", refused, want)
	}
	if attempts != 183 {
		t.Errorf("%d attempts, want 183: without the kubelet's and without what arrived at the proxy's own port", attempts)
	}
	opened := maps.Clone(p.opened)
	maps.DeleteFunc(opened, func(_ client, n int64) bool { return n == 0 })
	// 120 requests of cli rode on one connection to each pod, and 3 in plaintext on one.
	if want := map[client]int64{{recordedCli, true}: 2, {recordedGWID, true}: 4, {}: 1}; !maps.Equal(opened, want) {
		t.Errorf("opened %v, want %v", opened, want)
	}
	if p.turnedAway != 0 {
		t.Errorf("%d connections turned away", p.turnedAway)
	}
}

func TestRefusalsThatRecordingsOfLinkerdCountAgreeWithWhatClientsSaw(t *testing.T) {
	probes := recordedProbes()
	for _, c := range []struct {
		name   string
		probes []*evidence.Probe
		want   int
	}{{"all", probes, 0}, {"one less of each client", append(append(probes[1:20:20], probes[21:23]...), probes[24:]...), 3}} {
		x := recorded(t, scenarios.MeshLinkerd, firstWindow, strictLinkerd, c.probes...)
		web, _ := x.s.Workload("web")
		var got tally
		x.refusalsCounted(&got, x.rounds[0], web)
		if len(got.lack) != c.want || len(got.disproof) > 0 {
			t.Errorf("%s: %d findings, want %d: %v", c.name, len(got.lack), c.want, findings(got.lack))
		}
	}
}

// In the scenario of this test gw is a workload of Linkerd, and not the gateway that comes with a SPIFFE ID.
func TestASPIFFEIDThatARecordedLinkerdProxyLetInIsSeen(t *testing.T) {
	x := recorded(t, scenarios.MeshLinkerd, firstWindow, strictLinkerd)
	cli, _ := x.s.Workload("cli")
	web, _ := x.s.Workload("web")
	x.rounds = x.rounds[:1]
	var got tally
	x.proxyMetrics(&got, edge{cli, web})
	want := []string{
		"WrongIdentity: the proxies of web let in 29 requests of " + recordedGWID + " in proof window before/fresh",
		"WrongIdentity: the proxies of web let in 21 requests of " + recordedGWID + " in proof window before/fresh",
	}
	if d := cmp.Diff(want, findings(got.disproof)); d != "" {
		t.Errorf("disproof (-want +got):\n%s", d)
	}
	want = []string{"MetricsDisagree: the proxies of web counted 100 requests of " + recordedCli + " under mutual TLS in proof window before/fresh, and its workloads recorded 0"}
	if d := cmp.Diff(want, findings(got.lack)); d != "" {
		t.Errorf("lack (-want +got):\n%s", d)
	}
}

func TestRequestTotalOfLinkerdLeavesOutWhatWasRefused(t *testing.T) {
	families := []string{"request_total", "response_total"}
	served, misnamed := int64(0), int64(0)
	for _, pod := range strictLinkerd[:3] {
		from, err := parsePage(recording(t, pod.before), families)
		must(t, err)
		to, err := parsePage(recording(t, pod.after), families)
		must(t, err)
		deltas, err := increase(from, to, true)
		must(t, err)
		for _, d := range deltas {
			if d.name == "request_total" && d.labels["direction"] == "inbound" && d.labels["srv_port"] == "8080" {
				served += d.count
			}
			if d.name == "response_total" && d.labels["direction"] == "outbound" && d.labels["status_code"] == "404" && d.labels["classification"] == "success" {
				misnamed += d.count
			}
		}
	}
	if served != 150 {
		t.Errorf("request_total rose by %d, want 150 of 183", served)
	}
	if misnamed != 20 {
		t.Errorf("%d answers of 404 are called a success, want 20", misnamed)
	}
	for _, f := range (linkerdDialect{}).families() {
		if f == "request_total" { // response_total is read for good answers alone
			t.Errorf("the dialect reads %s", f)
		}
	}
}

func TestRecordingsTellWhetherLinkerdBalances(t *testing.T) {
	x := recorded(t, scenarios.MeshLinkerd, firstWindow, strictLinkerd)
	for service, want := range map[string]map[string]int64{"cli": {"Service/web": 120}, "gw": {"default/endpoint": 10}} {
		got := maps.Clone(poolOf(t, x, service).parents)
		maps.DeleteFunc(got, func(_ string, n int64) bool { return n == 0 })
		if !maps.Equal(got, want) {
			t.Errorf("%s sent %v, want %v", service, got, want)
		}
	}
	x = recorded(t, scenarios.MeshLinkerd, windowLoad, []recordedPod{{"gw", "gw-0", "", "linkerd-gateway-service-level.prom", ""}})
	gw, _ := x.s.Workload("gw")
	if got, want := x.loadDeltas(&tally{}, gw), (map[string]int64{"Service/web": 20, "default/egress-fallback": 2}); len(got) != 1 || !maps.Equal(got[0].parents, want) {
		t.Errorf("the gateway that dials the Service sent %+v, want %v", got, want)
	}
}

func TestARestartedPodLeavesALowerBound(t *testing.T) {
	uid := func(list, pod string) string {
		for l := range strings.Lines(recording(t, list)) {
			if f := strings.Fields(l); len(f) == 3 && strings.HasSuffix(f[0], pod) {
				return f[2]
			}
		}
		return ""
	}
	stays, dies, comes := uid("restart-pods-before.txt", "swjft"), uid("restart-pods-before.txt", "lnvlx"), uid("restart-pods-after.txt", "v9gnd")
	const before, after = "restart-before-web-6d6dfd858d-", "restart-after-web-6d6dfd858d-"
	pods := []recordedPod{
		{"web", stays, before + "swjft.prom", after + "swjft.prom", ""},
		{"web", dies, before + "lnvlx.prom", "", ""},
		{"web", comes, "", after + "v9gnd.prom", ""},
	}
	x := recorded(t, scenarios.MeshLinkerd, windowLoad, pods)
	web, _ := x.s.Workload("web")
	got, sum := map[string]int64{}, int64(0)
	var load tally
	for _, p := range x.loadDeltas(&load, web) {
		for _, c := range p.requests {
			if c.allowed && c.client == (client{recordedCli, true}) {
				got[p.UID] += c.n
				sum += c.n
			} else if c.n > 0 {
				t.Errorf("%s: %+v", p.UID, c)
			}
		}
		if answered := p.answered[client{recordedCli, true}]; answered != got[p.UID] {
			t.Errorf("%s let in %d and answered %d well", p.UID, got[p.UID], answered)
		}
	}
	if want := map[string]int64{stays: 27, comes: 18}; !maps.Equal(got, want) || len(load.lack) > 0 {
		t.Errorf("%v, want %v: %v", got, want, findings(load.lack))
	}
	if lost := 80 - sum; lost != 35 {
		t.Errorf("%d of 80 requests cannot be found, want 35", lost)
	}
	// In a proof window nobody may take a bound for a count.
	x = recorded(t, scenarios.MeshLinkerd, firstWindow, pods)
	if p := poolOf(t, x, "web"); !slices.ContainsFunc(findings(p.tally.lack), func(f string) bool { return strings.HasPrefix(f, "PodsChanged:") }) {
		t.Errorf("the pods changed in the window, and the pool says %v", findings(p.tally.lack))
	}
}
