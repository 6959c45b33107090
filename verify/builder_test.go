package verify

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/trust"
	"github.com/meshproof/meshproof/scenarios"
)

// builder plays a trial by the book and writes its record, as workloads, proxies, probes and the load generator would.
type builder struct {
	t     *testing.T
	s     *scenarios.Scenario
	trial evidence.Trial
	w     *evidence.Writer
	now   time.Time
	cas   *trust.Authorities
	pods  []*simPod
	turn  map[string]int // requests received by a service so far, to spread each kind over its pods
	// upstream leaves out istio_requests_total, as upstream Envoy does.
	upstream bool
	onPod    func(*simPod)     // may change a pod before it stands
	hasty    bool              // a controller makes a pod during an outage
	relapse  string            // rotation after which pods serve their old certificates again
	naming   func(*simPod)     // names one that comes again
	again    func(Round) []Ask // what is asked once more in a round
	slower   int64             // µs that every request under load takes longer
	errors   int64             // requests that fail when the pod is killed
	lost     string            // traffic whose sender is lost in its last phase
	mute     bool              // and nobody says so
}

// simPod is one pod with what its proxy counts.
type simPod struct {
	evidence.PodRef
	w      scenarios.Workload
	start  float64
	counts map[string]int64
	chain  [][]byte
	// clients are the proxies that hold a connection to this pod's, by UID: Linkerd's keep theirs.
	clients map[string]bool
	scrapes int64 // of the pod's page so far
	envoy   int64 // requests of the gateway's Envoy, where the pod has one beside Linkerd's proxy or alone
}

var testEpoch = time.Date(2026, 11, 23, 5, 0, 0, 0, time.UTC)

// testScenario is a small scenario that has one of everything.
func testScenario(mesh scenarios.MeshName, gaps ...scenarios.Gap) *scenarios.Scenario {
	d := func(v time.Duration) scenarios.Duration { return scenarios.Duration(v) }
	peak := 40.0
	return &scenarios.Scenario{
		APIVersion: scenarios.APIVersion, Kind: scenarios.Kind, Metadata: scenarios.Metadata{Name: "small"},
		Spec: scenarios.Spec{
			Meshes: []scenarios.MeshEntry{{Name: mesh, Gaps: gaps}}, Blocks: 1,
			Topology: scenarios.Topology{
				Clusters: []scenarios.Cluster{{Name: "east"}, {Name: "west"}},
				Services: []scenarios.Service{
					{Name: "shop", Namespace: "app", Clusters: []string{"east"}, Replicas: 1, Calls: []scenarios.Call{{To: "cart", Method: "GET", Path: "/carts/1"}}},
					{Name: "cart", Namespace: "app", Clusters: []string{"east", "west"}, Replicas: 1},
				},
			},
			Policy: scenarios.Policy{Default: scenarios.DefaultDeny, Allow: []scenarios.Rule{
				{From: "ingress", To: "shop"},
				{From: "shop", To: "cart", Paths: []string{"/carts/*"}},
			}},
			Traffic: []scenarios.Traffic{{Name: "visitors", To: "shop", Cluster: "east", Profile: scenarios.Profile{Stages: []scenarios.Stage{
				{Name: "calm", Rate: 20, For: d(2 * time.Second)}, {Name: "rough", Rate: 20, Peak: &peak, For: d(4 * time.Second)},
			}}}},
			Faults: []scenarios.Fault{
				{Name: "cart-dies", Kind: scenarios.PodKill, Target: &scenarios.FaultTarget{Service: "cart", Cluster: "east"}, At: d(time.Second)},
				{Name: "slow", Kind: scenarios.NetworkDelay, Between: []string{"east", "west"}, Delay: d(40 * time.Millisecond), At: d(2500 * time.Millisecond), For: d(500 * time.Millisecond)},
				{Name: "cut", Kind: scenarios.Partition, Between: []string{"east", "west"}, At: d(4 * time.Second), For: d(500 * time.Millisecond)},
			},
			Expect: scenarios.Expect{
				MTLS: &scenarios.ExpectMTLS{Everywhere: true}, Policy: &scenarios.ExpectPolicy{Matrix: "complete"},
				Latency: []scenarios.ExpectLatency{{Traffic: "visitors", P99: d(time.Second)}},
				Errors:  []scenarios.ExpectErrors{{Traffic: "visitors", Rate: new(0.05)}},
				Recovery: []scenarios.ExpectRecovery{
					{After: "cart-dies", Within: d(time.Second)}, {After: "slow", Within: d(time.Second)}, {After: "cut", Within: d(time.Second)},
				},
			},
		},
	}
}

// goodRecord is the sealed record of one trial in which everything went well.
func goodRecord(t *testing.T, s *scenarios.Scenario, change ...func(*builder)) *evidence.Record {
	t.Helper()
	return goodBlocks(t, s, [][]string{{string(s.Spec.Meshes[0].Name)}}, change...)
}

// goodBlocks is the sealed record of a run of several trials in which everything went well.
func goodBlocks(t *testing.T, s *scenarios.Scenario, order [][]string, change ...func(*builder)) *evidence.Record {
	t.Helper()
	doc, err := json.Marshal(s)
	must(t, err)
	dir := t.TempDir() + "/evidence"
	w, err := evidence.Create(dir, evidence.Manifest{Modelled: true, Order: order, Scenario: doc})
	must(t, err)
	now := testEpoch
	for block, row := range order {
		for _, mesh := range row {
			b := &builder{
				t: t, s: s, w: w, now: now, trial: evidence.Trial{Block: block + 1, Mesh: mesh},
				turn: map[string]int{}, errors: 1,
			}
			for _, c := range change {
				c(b)
			}
			b.run()
			now = b.now
		}
	}
	must(t, w.Append(&evidence.Event{Header: evidence.Header{Src: "runner", T: now}, Kind: evidence.EventRunEnd}))
	must(t, w.Seal())
	rec, err := evidence.Open(dir)
	must(t, err)
	if len(rec.Problems) > 0 || len(rec.Gaps()) > 0 {
		t.Fatalf("the builder's record is not whole: %v %v", rec.Problems, rec.Gaps())
	}
	return rec
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// linkerd reports whether the services are in Linkerd's mesh.
func (b *builder) linkerd() bool { return b.trial.Mesh == "linkerd" || b.layered() }

func (b *builder) meshed() bool { return b.trial.Mesh != "none" }

func (b *builder) put(item evidence.Item) { must(b.t, b.w.Append(item)) }

// head stamps a record; time goes on with each.
func (b *builder) head(src string) evidence.Header {
	b.now = b.now.Add(100 * time.Microsecond)
	return evidence.Header{Trial: b.trial, Src: src, T: b.now}
}

func (b *builder) event(kind, name string) {
	b.put(&evidence.Event{Header: b.head("runner"), Kind: kind, Name: name})
}

func (b *builder) trusted(certificates map[string]string) error {
	b.put(&evidence.Event{Header: b.head("fleet"), Kind: evidence.EventTrust, Data: certificates})
	return nil
}

// issuer is who signs what workloads of a cluster serve.
func (b *builder) issuer(cluster string) *trust.Issuer {
	mesh := scenarios.MeshName(b.trial.Mesh)
	if mesh == scenarios.MeshLayered {
		mesh = scenarios.MeshLinkerd
	}
	return b.cas.Issuer(mesh, cluster)
}

func (b *builder) run() {
	b.event(evidence.EventTrialStart, "")
	// Certificates are valid around the clock of the test: the chain is judged at the time of its handshake.
	var err error
	var names []string
	for _, c := range b.s.Spec.Topology.Clusters {
		names = append(names, c.Name)
	}
	b.cas, err = trust.NewAuthorities(scenarios.MeshName(b.trial.Mesh), names)
	must(b.t, err)
	b.now = time.Now().UTC().Truncate(time.Second)
	if b.meshed() {
		must(b.t, b.trusted(b.cas.Certificates()))
	}
	for _, w := range b.s.Workloads() {
		for _, c := range w.Clusters {
			for range w.Replicas {
				b.addPod(w, c)
			}
		}
	}
	b.proof(StageBefore)
	b.load()
	b.proof(StageAfter)
	for _, p := range b.pods {
		b.put(&evidence.Event{Header: b.head("fleet"), Kind: evidence.EventPodEnded, At: p.PodRef, Message: "the clusters are removed"})
	}
	b.event(evidence.EventTrialEnd, "")
	must(b.t, b.w.EndTrial(b.trial))
}

func (b *builder) addPod(w scenarios.Workload, cluster string) *simPod {
	n := len(b.pods)
	p := &simPod{
		PodRef: evidence.PodRef{Cluster: cluster, Namespace: w.Namespace, Service: w.Name, Pod: fmt.Sprintf("%s-%d", w.Name, n), UID: fmt.Sprintf("uid-%s-%d", b.trial, n)},
		w:      w, start: 1_790_000_000 + float64(n), counts: map[string]int64{}, clients: map[string]bool{},
	}
	if b.meshed() && w.Meshed {
		leaf, err := b.issuer(cluster).Issue(b.leafOf(w))
		must(b.t, err)
		p.chain = leaf.Certificate
	}
	if b.meshed() && w.Meshed && !b.linkerd() {
		keys := []string{envoyHandshakes + `{listener_address="0.0.0.0_15006"}`, envoyNoChain + `{listener_address="0.0.0.0_15006"}`}
		if b.judges() {
			keys = append(keys, rbac("allowed"), rbac("denied"))
		}
		if b.upstream {
			keys = append(keys, servedSeries)
		}
		for _, k := range keys {
			p.counts[k] = 0
		}
	}
	for _, change := range []func(*simPod){b.naming, b.onPod} {
		if change != nil {
			change(p)
		}
	}
	b.pods = append(b.pods, p)
	b.put(&evidence.Event{Header: b.head("fleet"), Kind: evidence.EventPodCreated, At: p.PodRef})
	b.put(&evidence.Event{Header: b.head("fleet"), Kind: evidence.EventPodReady, At: p.PodRef})
	return p
}

// judges reports whether Istio's proxies have filters for policy: where none is about them, they have not.
func (b *builder) judges() bool { return b.s.Spec.Policy.Default == scenarios.DefaultDeny }

const servedSeries = envoyServed + `{http_conn_manager_prefix="inbound_0.0.0.0_8080"}`

func rbac(result string) string {
	return fmt.Sprintf(`envoy_http_rbac{authz_enforce_result=%q,http_conn_manager_prefix="inbound_0.0.0.0_8080"}`, result)
}

func (b *builder) of(service, cluster string) (out []*simPod) {
	for _, p := range b.pods {
		if p.Service == service && (cluster == "" || p.Cluster == cluster) {
			out = append(out, p)
		}
	}
	return out
}

func (b *builder) proof(stage string) {
	for _, r := range NewPlan(b.s, stage).Rounds {
		n := 0
		send := func(asks []Ask, warmup bool) {
			for turn := range 1000 {
				for _, a := range asks {
					if turn >= a.Times {
						continue
					}
					n++
					id := fmt.Sprintf("proof-1-%s-%s-%d", b.trial.Mesh, r.Name, n)
					p := &evidence.Probe{ID: id, Role: "ask", Window: r.Name}
					if warmup {
						p.Role, p.Window = "warmup", r.Name+"/warmup"
					}
					if a.Twin != nil && !warmup {
						p.Twin = id + "t"
					}
					b.ask(a, p)
					if p.Twin != "" {
						b.ask(*a.Twin, &evidence.Probe{ID: p.Twin, Role: "twin", Window: r.Name})
					}
				}
			}
		}
		send(r.Warmup, true)
		if r.Handshakes {
			b.handshakes(r.Name)
		}
		b.event(evidence.EventWindowStart, r.Name)
		b.edge(r.Name, "start")
		send(r.Asks, false)
		if b.again != nil {
			send(b.again(r), false)
		}
		b.edge(r.Name, "end")
		b.event(evidence.EventWindowEnd, r.Name)
	}
}

func (b *builder) handshakes(window string) {
	for _, p := range b.pods {
		if p.w.Service == nil {
			continue
		}
		b.put(b.handshake(p, window))
	}
}

func (b *builder) handshake(p *simPod, window string) *evidence.Handshake {
	h := &evidence.Handshake{Header: b.head("probe"), Window: window, At: p.PodRef, ServerName: ServerName(scenarios.MeshName(b.trial.Mesh), p.w), Error: "not TLS"}
	if b.meshed() {
		h.Error, h.Version, h.Cipher, h.Chain = "", "TLS 1.3", "TLS_AES_128_GCM_SHA256", p.chain
	}
	return h
}

func (b *builder) edge(window, edge string) {
	for _, p := range b.pods {
		inv := &evidence.Pod{Header: b.head("probe"), Window: window, Edge: edge, At: p.PodRef, ServiceAccount: p.w.ServiceAccount, Containers: []string{"workload"}, Ready: true}
		if b.meshed() && p.w.Meshed {
			inv.InitContainers = []string{"istio-init", "istio-proxy"}
			if b.linkerd() {
				inv.InitContainers = []string{"linkerd-init", "linkerd-proxy"}
			}
			b.gatewayPod(inv, p)
		}
		b.put(inv)
		if b.meshed() && p.w.Meshed && !b.directGateway(p.w) {
			b.put(&evidence.Scrape{Header: b.head("probe"), At: p.PodRef, Window: window, Edge: edge, Body: b.page(p)})
		}
		b.gatewayPage(window, edge, p)
	}
}

func (b *builder) page(p *simPod) string {
	if b.linkerd() {
		return p.linkerdPage()
	}
	var s strings.Builder
	fmt.Fprintf(&s, "# TYPE istio_agent_process_start_time_seconds gauge\nistio_agent_process_start_time_seconds %v\n", p.start)
	keys := make([]string, 0, len(p.counts))
	for k := range p.counts {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	last := ""
	for _, k := range keys {
		if name, _, _ := strings.Cut(k, "{"); name != last {
			fmt.Fprintf(&s, "# TYPE %s counter\n", name)
			last = name
		}
		fmt.Fprintf(&s, "%s %d\n", k, p.counts[k])
	}
	fmt.Fprintf(&s, "# TYPE istio_request_duration_milliseconds histogram\nistio_request_duration_milliseconds_bucket{le=\"+Inf\"} 3\nistio_request_duration_milliseconds_sum 4.5\nistio_request_duration_milliseconds_count 3\n")
	return s.String()
}

// ask plays one proof request through to the callee.
func (b *builder) ask(a Ask, p *evidence.Probe) {
	if a.Token != nil {
		b.enter(a, p)
		return
	}
	from := b.of(a.From, a.Cluster)[0]
	p.Header = b.head("probe")
	p.Cell, p.From, p.To, p.Method, p.Path, p.Connection = a.Cell, from.PodRef, a.To, a.Method, a.Path, a.Connection
	p.Micros = 50
	p.Status, p.Error = b.arrive(from, a, p)
	if p.Status == 403 && !b.linkerd() {
		p.Body, p.Server = "RBAC: access denied", "istio-envoy"
	}
	b.put(p)
}

// arrive is what happens to a request at the callee.
func (b *builder) arrive(from *simPod, a Ask, p *evidence.Probe) (int, string) {
	side := fmt.Sprint(a.To, a.Path, a.Allowed, from.w.Meshed) // or an ask and its twin would always meet the same two pods
	b.turn[side]++
	pods := b.of(a.To, "")
	at := pods[b.turn[side]%len(pods)]
	caller := a.From + "@" + a.Cluster
	if !b.meshed() {
		b.receive(at, p.ID, p.Window, caller, a.Method, a.Path, "", 0)
		return 200, ""
	}
	if b.linkerd() {
		return b.arriveLinkerd(from, at, a, p)
	}
	if !from.w.Meshed {
		at.counts[envoyNoChain+`{listener_address="0.0.0.0_15006"}`]++
		return 0, "closed"
	}
	if a.Connection == connFresh {
		at.counts[envoyHandshakes+`{listener_address="0.0.0.0_15006"}`]++
	}
	code, details, result := 403, `rbac_access_denied_matched_policy[none]`, "denied"
	if b.s.Spec.Policy.Allows(a.From, a.To, a.Method, a.Path) {
		code, details, result = 200, "via_upstream", "allowed"
	}
	if b.judges() {
		at.counts[rbac(result)]++
	}
	if b.upstream {
		at.counts[servedSeries]++
	} else {
		at.counts[requestSeries(from.w.SPIFFEID(), "mutual_tls", code)]++
	}
	b.put(&evidence.Access{Header: b.head("proxy/" + at.Cluster + "/" + at.Pod), At: at.PodRef, Line: accessJSON(p.ID, from.w.SPIFFEID(), at.w.SPIFFEID(), "TLSv1.3", code, details)})
	if code == 200 {
		b.receive(at, p.ID, p.Window, caller, a.Method, a.Path, xfcc(from, at), 1)
	}
	return code, ""
}

func requestSeries(principal, security string, code int) string {
	return fmt.Sprintf(`istio_requests_total{reporter="destination",response_code="%d",connection_security_policy=%q,source_principal=%q}`, code, security, principal)
}

func accessJSON(id, peer, local, tls string, code int, details string) json.RawMessage {
	line, err := json.Marshal(map[string]any{
		"id": id, "peer": peer, "local": local, "tls": tls, "code": code, "details": details, "flags": "-", "method": "GET", "upstream": nil,
	})
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	return line
}

func xfcc(from, to *simPod) string {
	return fmt.Sprintf(`By=%s;Hash=%x;Subject="";URI=%s`, to.w.SPIFFEID(), sha256.Sum256(from.chain[0]), from.w.SPIFFEID())
}

// receive writes a workload's record. identity is what the mesh's header says of who sent the request.
func (b *builder) receive(at *simPod, id, window, caller, method, path, identity string, attempt int) {
	xfcc, l5d := identity, ""
	if b.linkerd() {
		xfcc, l5d = "", identity
	}
	b.put(&evidence.Request{
		Header: b.head("pod/" + at.Cluster + "/" + at.Pod), ID: id, Attempt: attempt, Window: window, Caller: caller,
		At: at.PodRef, Method: method, Path: path, XFCC: xfcc, L5dClientID: l5d, Remote: "127.0.0.1:1", Status: 200,
	})
}

// loadHop is a request under load that is answered well.
func (b *builder) loadHop(from, to *simPod, id, path string) {
	identity := ""
	switch {
	case b.linkerd():
		identity = b.l5dID(from.w)
		to.counts[l5dAllowed(identity)]++
		b.departs(from, to.w.Name)
	case b.meshed():
		identity = xfcc(from, to)
		if !b.upstream {
			to.counts[requestSeries(from.w.SPIFFEID(), "mutual_tls", 200)]++
		}
	}
	b.receive(to, id, windowLoad, from.w.Name+"@"+from.Cluster, "GET", path, identity, 1)
}

// load plays the load with its faults: 20 requests a second, a tick each 250 ms.
func (b *builder) load() {
	b.edge(windowLoad, "start")
	b.event(evidence.EventLoadStart, "")
	zero := b.now
	for i := range b.s.Spec.Traffic {
		prefix := "load-"
		if i > 0 {
			prefix += b.s.Spec.Traffic[i].Name + "-"
		}
		b.traffic(&b.s.Spec.Traffic[i], zero, prefix)
	}
	for i := range b.s.Spec.Faults {
		switch f := &b.s.Spec.Faults[i]; f.Kind {
		case scenarios.PodKill:
			b.kill(zero, f)
		case scenarios.WorkloadOutage:
			b.outage(zero, f)
		case scenarios.LeafRotation, scenarios.IssuerRotation:
			b.rotate(zero, f)
		default: // tests make others of the two that are on the link
			sample := evidence.FaultSample{Micros: 250_000, Error: "timeout"}
			if f.Name == "slow" {
				sample = evidence.FaultSample{OK: true, Micros: 82_000}
			}
			b.linkFault(zero, f, sample)
		}
	}
	b.now = zero.Add(6200 * time.Millisecond)
	b.event(evidence.EventLoadEnd, "")
	b.edge(windowLoad, "end")
}

// traffic plays one traffic: to shop, which calls cart, or to cart.
func (b *builder) traffic(tr *scenarios.Traffic, zero time.Time, prefix string) {
	at := func(d time.Duration) { b.now = zero.Add(d) }
	last := func(pods []*simPod) *simPod { return pods[len(pods)-1] } // of the carts, not the one that dies
	from, to := b.of(tr.Caller(), tr.Cluster)[0], last(b.of(tr.To, ""))
	kills := slices.ContainsFunc(b.s.Spec.Faults, func(f scenarios.Fault) bool { return f.Kind == scenarios.PodKill })
	phase, sums, sent := "", map[string]int64{}, 0
	for _, st := range stagesOf(tr, 0) {
		st.hits += 20 * int64(st.users)
		answered := int64(0)
		for k := range int(st.duration / (250 * time.Millisecond)) {
			if tr.Name == b.lost && st.start > 0 && k == 2 {
				b.senderLost(tr)
				return
			}
			start := st.start + time.Duration(k)*250*time.Millisecond
			slices := int64(st.duration / (250 * time.Millisecond))
			n := st.hits*int64(k+1)/slices - st.hits*int64(k)/slices
			at(start)
			codes := map[string]int{"200": int(n)}
			errs := int64(0)
			if start == time.Second && kills { // the kill shows
				codes, errs = map[string]int{"200": int(n - b.errors), "503": int(b.errors)}, b.errors
			}
			for range n - errs {
				id := fmt.Sprint(prefix, sent)
				if tr.To == "shop" {
					b.loadHop(from, to, id, "/")
					b.loadHop(to, b.serving("cart", start), id+".1", "/carts/1")
				} else {
					b.loadHop(from, to, id, "/carts/2")
				}
				sent++
			}
			at(start + 250*time.Millisecond)
			tick := &evidence.Tick{
				Header: b.head("loadgen"), Traffic: tr.Name, Phase: st.name, Index: int(start / (250 * time.Millisecond)),
				AtMicros: start.Microseconds(), Micros: 250_000, Offered: n, Sent: n, Done: n, Errors: errs, Codes: codes, Start: zero.Add(start),
			}
			slow, longest := evidence.NewHistogram(), int64(0)
			for range n {
				longest = 1000 + answered*100 + b.slower
				evidence.RecordMicros(slow, longest)
				answered++
			}
			must(b.t, evidence.SetLatency(tick, slow, longest))
			b.put(tick)
			sums[st.name] += errs
		}
		phase = st.name
		all, outcomes := latencies(b.t, st.hits, sums[phase], 1000+b.slower)
		codes := map[string]int{"200": int(st.hits - sums[phase])}
		if sums[phase] > 0 {
			codes["503"] = int(sums[phase])
		}
		b.put(&evidence.Phase{
			Header: b.head("loadgen"), Traffic: tr.Name, Phase: st.name, AtMicros: st.start.Microseconds(), ForMicros: st.duration.Microseconds(),
			Offered: st.hits, Achieved: st.hits, Done: st.hits, Errors: sums[phase], Codes: codes, Intended: all.Intended, Service: all.Service,
			Outcomes: outcomes, Lag: lags(b.t, st.hits), LagMicros: 40,
			Generators: []evidence.Generator{{Done: st.hits, Micros: st.duration.Microseconds(), CPUMicros: 100_000, CPUs: 2, MaxInFlight: 10_000, InFlight: 3, Opened: 3, Open: 3}},
		})
	}
}

// latencies makes the histograms of a phase with n requests, the first of which take from µs and each 100 µs more than
// the one before; the last of them failed.
func latencies(t *testing.T, n, failed, from int64) (all evidence.Outcome, outcomes map[string]evidence.Outcome) {
	outcomes = map[string]evidence.Outcome{}
	of := func(first, last int64) evidence.Outcome {
		h := evidence.NewHistogram()
		for j := first; j < last; j++ {
			evidence.RecordMicros(h, from+j*100)
		}
		text, err := evidence.EncodeHistogram(h)
		must(t, err)
		return evidence.Outcome{Done: last - first, Intended: text, Service: text}
	}
	if outcomes[evidence.OutcomeOK] = of(0, n-failed); failed > 0 {
		outcomes["5xx"] = of(n-failed, n)
	}
	return of(0, n), outcomes
}

// lags makes the histogram of the send lag of n requests.
func lags(t *testing.T, n int64) string {
	h := evidence.NewHistogram()
	for range n {
		evidence.RecordMicros(h, 40)
	}
	text, err := evidence.EncodeHistogram(h)
	must(t, err)
	return text
}

func (b *builder) senderLost(tr *scenarios.Traffic) {
	if !b.mute {
		b.put(&evidence.Event{Header: b.head("runner"), Kind: evidence.EventSenderLost, Name: tr.Name, At: b.of(tr.From, tr.Cluster)[0].PodRef, Message: "it is gone"})
	}
}

func (b *builder) faultStep(f *scenarios.Fault, at time.Time, action, uid string, sample *evidence.FaultSample) {
	b.put(&evidence.Fault{
		Header: evidence.Header{Trial: b.trial, Src: "faults", T: at}, Name: f.Name, Kind: string(f.Kind), Action: action,
		Target: strings.Join(f.Between, "|"), UID: uid, Probe: sample,
	})
}

func (b *builder) kill(zero time.Time, f *scenarios.Fault) {
	victim := b.of("cart", "east")[0]
	at := zero.Add(f.At.D())
	ms := func(n int) time.Time { return at.Add(time.Duration(n) * time.Millisecond) }
	b.faultStep(f, ms(-50), evidence.FaultProbe, "", &evidence.FaultSample{Stage: "before", Connection: "fresh", OK: true, UID: victim.UID})
	b.faultStep(f, ms(0), evidence.FaultInject, victim.UID, nil)
	b.now = ms(1)
	b.put(&evidence.Event{Header: b.head("fleet"), Kind: evidence.EventPodEnded, At: victim.PodRef, Message: "pod-kill " + f.Name})
	b.pods = slices.DeleteFunc(b.pods, func(p *simPod) bool { return p == victim })
	b.faultStep(f, ms(2), evidence.FaultInjected, victim.UID, nil)
	b.faultStep(f, ms(60), evidence.FaultProbe, "", &evidence.FaultSample{Stage: "during", Connection: "fresh", Error: "gone"})
	b.now = ms(300)
	n := b.addPod(victim.w, victim.Cluster)
	n.Pod, n.UID = "cart-new", fmt.Sprintf("uid-%s-new", b.trial)
	// addPod announced it under its first name; announce it as it is.
	b.put(&evidence.Event{Header: b.head("fleet"), Kind: evidence.EventPodReady, At: n.PodRef})
	b.faultStep(f, ms(310), evidence.FaultProbe, "", &evidence.FaultSample{Stage: "after", Connection: "fresh", UID: n.UID})
	b.faultStep(f, ms(311), evidence.FaultReverted, n.UID, nil)
}

func (b *builder) linkFault(zero time.Time, f *scenarios.Fault, during evidence.FaultSample) {
	at, end := zero.Add(f.At.D()), zero.Add(f.At.D()+f.For.D())
	sample := func(t time.Time, stage string, s evidence.FaultSample) {
		for _, conn := range []string{connFresh, connEstablished} {
			s := s
			s.Stage, s.Connection = stage, conn
			b.faultStep(f, t, evidence.FaultProbe, "", &s)
		}
	}
	well := evidence.FaultSample{OK: true, Micros: 2000}
	for i := range minSamples {
		sample(at.Add(time.Duration(i-10)*time.Millisecond), "before", well)
	}
	b.faultStep(f, at, evidence.FaultInject, "", nil)
	b.faultStep(f, at.Add(time.Millisecond), evidence.FaultInjected, "", nil)
	for i := range minSamples {
		sample(at.Add(time.Duration(i+2)*time.Millisecond), "during", during)
	}
	b.faultStep(f, end, evidence.FaultRevert, "", nil)
	b.faultStep(f, end.Add(time.Millisecond), evidence.FaultReverted, "", nil)
	sample(end.Add(2*time.Millisecond), "after", well)
}
