package verify

import (
	"fmt"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// edge is one caller and one callee.
type edge struct{ from, to scenarios.Workload }

// edgesOf lists every edge that may exist: what traffic and calls use, and what the policy allows.
func edgesOf(s *scenarios.Scenario) []edge {
	used := map[[2]string]bool{}
	for _, t := range s.Spec.Traffic {
		used[[2]string{t.Caller(), t.To}] = true
	}
	for _, v := range s.Spec.Topology.Services {
		for _, c := range v.Calls {
			used[[2]string{v.Name, c.To}] = true
		}
	}
	if s.Spec.Policy.Default == scenarios.DefaultDeny {
		for _, r := range s.Spec.Policy.Allow {
			used[[2]string{r.From, r.To}] = true
		}
	}
	everybody := s.Spec.Policy.Default != scenarios.DefaultDeny
	var out []edge
	for _, from := range s.Workloads() {
		for _, to := range s.Workloads() {
			if from.Meshed && to.Service != nil && (everybody || used[[2]string{from.Name, to.Name}]) {
				out = append(out, edge{from, to})
			}
		}
	}
	return out
}

// mtls judges one edge: all its witnesses must agree that every request between the two was under mutual TLS with the
// right identities, and that nothing else gets in.
func (x *trial) mtls(e edge) Check {
	c := Check{Kind: KindMTLS, Subject: e.from.Name + "->" + e.to.Name}
	type witness struct {
		name, ok string
		tally    tally
	}
	ws := []*witness{
		{name: "workload record", ok: "every request arrived once, from " + x.d.identity(e.from) + " at " + x.d.identity(e.to)},
		{name: "served chain", ok: "every pod serves a chain to the run's root through its mesh's intermediate in its cluster, for " + x.d.identity(e.to)},
		{name: "refused plaintext", ok: "every request in plaintext was turned away, and its authorised twin was answered"},
		{name: "sidecar set", ok: "every pod has the sidecars that it should have, and no others"},
	}
	x.workloadRecord(&ws[0].tally, e)
	x.servedChain(&ws[1].tally, e.to)
	x.refusedPlaintext(&ws[2].tally, e.to)
	x.sidecarSet(&ws[3].tally, e)
	if x.d.proxied() {
		m := &witness{name: "proxy metrics", ok: "the proxies count as many requests under mutual TLS as arrived, and let in none without"}
		x.proxyMetrics(&m.tally, e)
		ws = append(ws, m)
	}
	if x.d.traits().logs {
		l := &witness{name: "access log", ok: "the proxies log every request with its caller's identity and TLS"}
		x.accessLog(&l.tally, e)
		ws = append(ws, l)
	}
	var all tally
	x.whole(&all, evidence.Requests, evidence.Probes, evidence.Handshakes, evidence.Accesses, evidence.Scrapes, evidence.Pods, evidence.Events)
	for _, w := range ws {
		all.add(&w.tally)
		c.Witnesses = append(c.Witnesses, w.tally.witness(w.name, w.ok))
	}
	// Whose pods have no sidecar, or a wrong one, has lost everything else by that.
	all.lead(reasonSidecars)
	all.lead(reasonNotMeshed)
	c.Verdict, c.Reason, c.Message, c.Used = all.judge(fmt.Sprintf("every request from %s to %s was under mutual TLS", e.from.Name, e.to.Name))
	if own, others := x.ownOf(e); own > 0 && c.Verdict == Pass {
		if others == 0 {
			c.Verdict, c.Reason, c.Message = Skipped, reasonLoopback, onLoopback
			return c
		}
		c.Message += fmt.Sprintf("; %d of %d were answered by the very pod that sent them, which meets no proxy, and are left out", own, own+others)
	}
	if c.Verdict == Pass && !x.d.proxied() {
		// Never by the workloads' word alone.
		c.Verdict, c.Reason, c.Message = Invalid, "NoProxy", "requests carry identities, and there is no proxy to vouch for them"
	}
	if x.declares(scenarios.GapMTLS) {
		x.mtlsGap(&c, &all, ws[2].tally)
	}
	return c
}

// mtlsGap turns a verdict into that of a declared gap: it must be demonstrated by plaintext that got through, with
// nothing left in doubt.
func (x *trial) mtlsGap(c *Check, all *tally, plaintext tally) {
	switch {
	case len(all.lack) > 0:
		c.Verdict, c.Reason, c.Message = Invalid, all.lack[0].reason, "the declared gap cannot be shown: "+all.lack[0].message
		c.Used = refs(all.lack[0].used)
	case len(all.disproof) == 0:
		c.Verdict, c.Reason = Invalid, "GapClosed"
		c.Message = "mutual TLS is declared as a gap of this mesh, and nothing got through without it: the declaration is stale, or the check is blind"
	case len(plaintext.disproof) == 0:
		c.Verdict, c.Reason = Invalid, "GapNotShown"
		c.Message = "mutual TLS is declared as a gap of this mesh, and no plaintext got through: " + all.disproof[0].message
	default:
		c.Verdict, c.Reason = Gap, "DeclaredGap"
		c.Message = "as declared: " + plaintext.disproof[0].message
		c.Used = refs(all.used)
		for i := range c.Witnesses {
			if c.Witnesses[i].Verdict == Fail {
				c.Witnesses[i].Verdict = Gap
			}
		}
	}
}

// edgeProbes lists the requests of an edge that are allowed, asks and twins, in one round.
func (x *trial) edgeProbes(t *tally, r *round, e edge) []*evidence.Probe {
	cells := 0
	for _, a := range r.Asks {
		if a.From == e.from.Name && a.To == e.to.Name && a.Allowed {
			cells++
			x.answered(t, r, a)
		}
	}
	if cells == 0 {
		t.invalid("NotAllowed", nil, "the policy allows no request from %s to %s, so nothing can be proved about it", e.from.Name, e.to.Name)
	}
	var out []*evidence.Probe
	for _, p := range x.asked[r.Name] {
		if p.From.Service == e.from.Name && p.To == e.to.Name && x.s.Spec.Policy.Allows(p.From.Service, p.To, p.Method, p.Path) {
			out = append(out, p)
		}
	}
	return out
}

// arrived lists the workloads' records of an edge in a window, by what the caller says of itself.
func (x *trial) arrived(window string, e edge) []*evidence.Request {
	var out []*evidence.Request
	for _, rec := range x.received[edgeWindow{window: window, service: e.to.Name}] {
		if rec.caller == e.from.Name {
			out = append(out, rec.Request)
		}
	}
	return out
}

func (x *trial) workloadRecord(t *tally, e edge) {
	for _, r := range x.rounds {
		t.add(&r.tally)
		for _, p := range x.edgeProbes(t, r, e) {
			if p.Status/100 != 2 {
				t.invalid("Unanswered", refsOf(p), "request %s from %s to %s was allowed, and its client saw %s", p.ID, e.from.Name, e.to.Name, status(p))
				continue
			}
			if rec := x.heard(t, p); rec != nil {
				x.identified(t, rec, e.from, e.to)
			}
		}
		for _, rec := range x.arrived(r.Name, e) {
			x.sentBy(t, r, rec)
		}
	}
	for _, rec := range x.arrived(windowLoad, e) {
		x.identified(t, rec, e.from, e.to)
	}
	for _, rec := range x.received[edgeWindow{window: windowLoad, service: e.to.Name}] {
		if from, ok := x.s.Workload(rec.caller); !ok || !from.Meshed {
			t.invalid("UnknownRequest", refsOf(rec.Request), "%s recorded request %s under load, of %q, who has no part in it", podName(rec.At), rec.ID, rec.Caller)
		}
	}
}

// sentBy wants one client to say that it sent what a workload recorded in a round.
func (x *trial) sentBy(t *tally, r *round, rec *evidence.Request) {
	if n := len(x.probes[rec.ID]); n != 1 {
		t.invalid("UnknownRequest", refsOf(rec), "%s recorded request %s in proof window %s, and %d clients say that they sent it", podName(rec.At), rec.ID, r.Name, n)
	}
}

// proxyMetrics holds what the callee's proxies counted in each round against what its workloads recorded.
func (x *trial) proxyMetrics(t *tally, e edge) {
	x.loadCounted(t, e)
	for _, r := range x.rounds {
		p := x.pool(r, e.to)
		t.add(&p.tally)
		scrapes := refs(p.tally.used)
		if !x.counted {
			x.upstreamMetrics(t, r, e, p)
			continue
		}
		arrived := x.arrived(r.Name, e)
		t.use(refsOf(arrived...)...)
		var n int64
		for _, c := range p.requests {
			switch {
			case !c.secured && c.n > 0 && (c.allowed || !x.d.traits().readsPlain):
				t.fail("PlaintextAccepted", scrapes, "the proxies of %s counted %d requests with %s in proof window %s", e.to.Name, c.n, c.security, r.Name)
			case !c.allowed || c.n == 0:
			case c.principal == x.d.identity(e.from):
				n += c.n
			case !x.known(c.client):
				t.fail("WrongIdentity", scrapes, "the proxies of %s let in %d requests of %s in proof window %s", e.to.Name, c.n, c.client, r.Name)
			}
		}
		if n != int64(len(arrived)) {
			t.invalid("MetricsDisagree", append(scrapes, refsOf(arrived...)...), "the proxies of %s counted %d requests of %s under mutual TLS in proof window %s, and its workloads recorded %d",
				e.to.Name, n, x.d.identity(e.from), r.Name, len(arrived))
		}
	}
}

// known reports whether a client is a workload of the mesh.
func (x *trial) known(c client) bool {
	for _, w := range x.s.Workloads() {
		if w.Meshed && c.principal == x.d.identity(w) {
			return true
		}
	}
	return false
}

// upstreamMetrics is for proxies that do not count requests by identity: as many requests must have passed the policy
// as were recorded, and on connections under TLS. Where no policy is about a pod, its proxy has no filter to count what
// passes, and everything that it answered must have passed. The access log says by whom.
func (x *trial) upstreamMetrics(t *tally, r *round, e edge, p *pool) {
	scrapes := refs(p.tally.used)
	passed, counted := p.allowed, p.judged
	if !counted {
		passed, counted = p.served, p.serves
	}
	if !counted || !p.handshook {
		t.invalid("NoMetrics", scrapes, "the proxies of %s export neither istio_requests_total nor envoy_http_rbac or envoy_http_downstream_rq_completed with envoy_listener_ssl_handshake", e.to.Name)
		return
	}
	var arrived []*evidence.Request
	for _, rec := range x.received[edgeWindow{window: r.Name, service: e.to.Name}] {
		arrived = append(arrived, rec.Request)
	}
	t.use(refsOf(arrived...)...)
	if passed != int64(len(arrived)) {
		t.invalid("MetricsDisagree", append(scrapes, refsOf(arrived...)...), "the proxies of %s let %d requests pass in proof window %s, and its workloads recorded %d", e.to.Name, passed, r.Name, len(arrived))
	}
	if r.connection == connFresh && p.handshakes == 0 {
		t.fail("PlaintextAccepted", scrapes, "the proxies of %s made no TLS handshake in proof window %s, and served requests on fresh connections", e.to.Name, r.Name)
	}
}

// accessLog wants one line for each allowed request, with the caller's identity and a version of TLS.
func (x *trial) accessLog(t *tally, e edge) {
	for _, l := range x.unread[e.to.Name] {
		t.invalid("BadAccessLine", refsOf(l), "access log of %s: %v", podName(l.At), l.err)
	}
	for _, l := range x.plain[e.to.Name] {
		t.fail("PlaintextAccepted", refsOf(l), "the access log of %s has a request in plaintext that was answered %d", podName(l.At), l.code)
	}
	for _, r := range x.rounds {
		for _, p := range x.edgeProbes(t, r, e) {
			l := x.logged(t, p)
			if l == nil {
				continue
			}
			t.use(p.Ref())
			used := append(refsOf(p), l.Ref())
			switch {
			case !l.secured():
				t.fail("PlaintextAccepted", used, "the access log of %s has request %s with TLS version %q", podName(l.At), p.ID, l.tls)
			case l.peer != x.d.identity(e.from):
				t.fail("WrongIdentity", used, "the access log of %s has request %s of %s as from %q", podName(l.At), p.ID, e.from.Name, l.peer)
			case l.local != "" && l.local != x.d.identity(e.to):
				t.fail("WrongIdentity", used, "the access log of %s has request %s as received by %q", podName(l.At), p.ID, l.local)
			case l.code != p.Status:
				t.invalid("LogDisagrees", used, "the access log of %s has request %s with code %d, and its client saw %s", podName(l.At), p.ID, l.code, status(p))
			}
		}
	}
}

// logged finds the one access log line of a request at the callee's proxies.
func (x *trial) logged(t *tally, p *evidence.Probe) *line {
	var found []line
	var used []evidence.Ref
	for _, l := range x.lines[p.ID] {
		if l.At.Service == p.To {
			found = append(found, l)
			used = append(used, l.Ref())
		}
	}
	if len(found) != 1 {
		t.invalid("NoAccessLine", append(used, p.Ref()), "the proxies of %s have %d access log lines of request %s, want 1", p.To, len(found), p.ID)
		return nil
	}
	t.use(used...)
	return &found[0]
}

// sidecarSet looks at every pod of caller and callee in every inventory. Those at the edges of the rounds must be whole.
func (x *trial) sidecarSet(t *tally, e edge) {
	for _, w := range []scenarios.Workload{e.from, e.to} {
		for _, r := range x.rounds {
			t.add(&r.tally)
			x.pods(t, r, w)
		}
		x.sidecarsOf(t, w)
	}
}

// sidecarsOf wants the pods of a workload to have the sidecars that they should have in every inventory, in the version of
// the run. Where the
// mesh's injector says why it gave a pod none, so does the finding.
func (x *trial) sidecarsOf(t *tally, w scenarios.Workload) {
	for _, p := range x.allPods {
		if p.At.Service != w.Name {
			continue
		}
		reason, wrong := x.d.sidecars(p)
		if reason == "" {
			x.proxyImages(t, p)
			continue
		}
		used := refsOf(p)
		for _, e := range x.events[evidence.EventInjectionSkipped] {
			if e.At.UID == p.At.UID {
				used = append(used, e.Ref())
				wrong += fmt.Sprintf(" (the injector skipped it: %s)", e.Message)
			}
		}
		t.fail(reason, used, "pod %s %s", podName(p.At), wrong)
	}
}

// proxyImages wants the proxies of a pod to be of the images that the run's control planes bring. On clusters that were
// kept, or whose mesh was upgraded, one of another version may stand.
func (x *trial) proxyImages(t *tally, p *evidence.Pod) {
	for _, name := range sortedKeys(x.proxies) {
		if howMany(p.Containers, name)+howMany(p.InitContainers, name) == 0 {
			continue // another workload's, or none is wanted
		}
		switch got := p.Images[name]; got {
		case x.proxies[name]:
		case "":
			t.invalid("NoImages", refsOf(p), "of which image %s of pod %s is was not recorded, so nobody knows its version", name, podName(p.At))
		default:
			t.fail(reasonSidecars, refsOf(p), "pod %s has %s of image %s, and the mesh of this run is installed with %s", podName(p.At), name, got, x.proxies[name])
		}
	}
}
