package verify

import (
	"fmt"
	"slices"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// Linkerd balances, routes and retries what is sent to a Service. A gateway's Envoy knows the pods and connects to them,
// unless it is told otherwise: then Linkerd's proxy beside it still gives mutual TLS, and all else that it could do is
// not in use, without a word from anybody. Its own count of what it sent, by what it was sent to, tells the two apart.

const (
	// parentEndpoint is what was sent to a pod that somebody else had chosen.
	parentEndpoint = "default/endpoint"
	parentService  = "Service/" // and its name
	// parentNobody is what was sent to an address behind which the proxy knows nobody: in plaintext.
	parentNobody = "default/egress-fallback"

	reasonNotInUse = "BalancingNotInUse"
)

// What a report shows of who balances.
const (
	balances  = "Linkerd's in use"
	balanceNo = "Linkerd's not in use"
)

// balanced judges who chose the pods for what the gateway sent: Linkerd, where it should, or Envoy, where the scenario
// asks for that. As much as arrived by the workloads' records, or was refused by the clients', must have gone out the one
// way, and nothing the other; exactly so in proof windows, and at least so much under load, where requests get lost.
//
// A gateway that was to leave Linkerd's balancing aside and has it all the same is INVALID and no FAIL, like a declared
// gap that turns out closed: the mesh does more than was asked, but what was to be compared did not run.
func (x *trial) balanced(d layeredDialect) Check {
	c := Check{Kind: KindBalancing, Subject: gatewayContainer}
	if d.gateway == scenarios.GatewayDirect {
		c.Verdict, c.Reason, c.Observed = Skipped, "NoLinkerdProxy", balanceNo
		c.Message = "a direct gateway has no proxy of Linkerd: Envoy chooses the pods, and Linkerd's balancing, routes and retries are not in use for what it sends"
		return c
	}
	ingress, _ := x.s.Workload(scenarios.IngressName)
	var all, set, proof, load tally
	x.whole(&all, evidence.Requests, evidence.Probes, evidence.Scrapes, evidence.Pods, evidence.Events)
	x.sidecarsOf(&set, ingress)
	sent := int64(0)
	for _, r := range slices.Concat(x.edge, x.rounds) {
		x.pods(&set, r, ingress)
		for _, g := range x.departed(&proof, r, ingress) {
			sent += g.total()
			g.judge(&proof, d.balancing)
		}
	}
	way, means, observed := "went out over Services", "Linkerd's balancing, routes and retries are in use", balances
	if d.balancing == scenarios.BalancingEndpoint {
		way, observed = "went to pods that Envoy chose", balanceNo
		means = "Linkerd's balancing, routes and retries are not in use at the gateway, as the scenario asks (balancing: endpoint)"
	}
	ok := fmt.Sprintf("all %d requests that the gateway sent in proof windows %s", sent, way)
	c.Witnesses = append(c.Witnesses,
		set.witness("sidecar set", "every gateway pod has Linkerd's proxy beside its Envoy"),
		proof.witness("proof windows", ok))
	all.add(&set)
	all.add(&proof)
	entered := slices.ContainsFunc(x.s.Spec.Traffic, func(t scenarios.Traffic) bool { return !t.Inside() })
	if entered {
		sent = 0
		for _, g := range x.departedUnderLoad(&load, ingress) {
			sent += g.total()
			g.judge(&load, d.balancing)
		}
		if sent == 0 {
			load.invalid("NothingSent", nil, "no workload recorded anything of the gateway's under load, so nothing is known of who balanced it")
		}
		ok += fmt.Sprintf(", and all %d that are recorded under load", sent)
		all.add(&load)
		c.Witnesses = append(c.Witnesses, load.witness("load", fmt.Sprintf("all %d requests of the gateway's that are recorded under load %s", sent, way)))
	}
	c.Verdict, c.Reason, c.Message, c.Used = all.judge(ok + ": " + means)
	switch {
	case c.Verdict == Pass:
		c.Observed = observed
	case c.Verdict == Fail && c.Reason == reasonNotInUse, c.Reason == reasonNotMeshed:
		c.Observed = balanceNo
	}
	return c
}

// departure is what went out of one cluster's gateway in one window.
type departure struct {
	cluster, when string
	exact         bool                      // more than is known of must not have gone out
	sent          map[string][]evidence.Ref // by service: what arrived there, or was refused
	parents       map[string]int64          // by the proxy's count
	used          []evidence.Ref            // the pages that the count is from
}

func (g *departure) total() (n int64) {
	for _, list := range g.sent {
		n += int64(len(list))
	}
	return n
}

// departed is what the gateways sent in a proof window.
func (x *trial) departed(t *tally, r *round, ingress scenarios.Workload) (out []*departure) {
	p := x.pool(r, ingress)
	t.add(&p.tally)
	for _, a := range r.Asks {
		if a.From == ingress.Name || a.Token != nil && a.Allowed {
			x.answered(t, r, a)
		}
	}
	for _, cluster := range ingress.Clusters {
		g := x.departure(r.Name, cluster, "in proof window "+r.Name, refs(p.tally.used))
		g.exact = true
		for _, a := range x.asked[r.Name] {
			// What was answered well and is in no record is not taken at the client's word.
			if a.From.Service == ingress.Name && a.From.Cluster == cluster && a.Status/100 != 2 && len(x.requests[a.ID]) == 0 {
				g.sent[a.To] = append(g.sent[a.To], a.Ref())
			}
		}
		for _, pod := range p.pods {
			g.count(pod)
		}
		out = append(out, g)
	}
	return out
}

// departedUnderLoad is what the gateways sent under load, as far as it arrived.
func (x *trial) departedUnderLoad(t *tally, ingress scenarios.Workload) (out []*departure) {
	pods := x.loadDeltas(t, ingress)
	for _, cluster := range ingress.Clusters {
		g := x.departure(windowLoad, cluster, "under load", nil)
		for _, pod := range pods {
			if pod.Cluster == cluster {
				g.used = append(g.used, pod.used...)
				g.count(pod.podCounts)
			}
		}
		out = append(out, g)
	}
	return out
}

// departure gathers what the workloads recorded of a cluster's gateway in a window.
func (x *trial) departure(window, cluster, when string, used []evidence.Ref) *departure {
	g := &departure{cluster: cluster, when: when, used: used, sent: map[string][]evidence.Ref{}, parents: map[string]int64{}}
	for _, w := range x.s.Workloads() {
		if w.Service == nil {
			continue
		}
		g.sent[w.Name] = nil
		for _, rec := range x.received[edgeWindow{window: window, service: w.Name}] {
			if rec.Caller == scenarios.IngressName+"@"+cluster {
				g.sent[w.Name] = append(g.sent[w.Name], rec.Ref())
			}
		}
	}
	return g
}

// count adds what the proxy of a pod sent, if it is one of this gateway's.
func (g *departure) count(pod podCounts) {
	if pod.Cluster != g.cluster {
		return
	}
	for parent, n := range pod.parents {
		g.parents[parent] += n
	}
}

// judge holds what the proxies counted against what was sent.
func (g *departure) judge(t *tally, by scenarios.LayeredBalancing) {
	t.use(g.used...)
	total := g.total()
	if len(g.parents) == 0 {
		if g.exact || total > 0 {
			t.invalid("NoMetrics", g.used, "Linkerd's proxy beside the gateway of %s does not export by what it sent requests %s (%s), so who balanced them cannot be told", g.cluster, g.when, linkerdSent)
		}
		return
	}
	if by == scenarios.BalancingEndpoint {
		g.overEndpoints(t, total)
		return
	}
	if n := g.parents[parentEndpoint]; n > 0 {
		t.fail(reasonNotInUse, g.used, "the gateway of %s sent %d requests %s to pods that its Envoy had chosen, so Linkerd's balancing, routes and retries are not in use: "+
			"let Envoy connect to the Service instead, by a ServiceEntry with resolution: DNS whose endpoint is the Service's own name (name.namespace.svc.%s)", g.cluster, n, g.when, scenarios.TrustDomain)
		return
	}
	for _, to := range sortedKeys(g.sent) {
		g.agree(t, "over the Service "+to, g.parents[parentService+to], g.sent[to])
	}
}

// overEndpoints wants everything to have gone to pods that Envoy chose.
func (g *departure) overEndpoints(t *tally, total int64) {
	var sent []evidence.Ref
	for _, to := range sortedKeys(g.sent) {
		sent = append(sent, g.sent[to]...)
		if n := g.parents[parentService+to]; n > 0 {
			t.invalid("BalancingInUse", g.used, "the gateway of %s sent %d requests %s over the Service %s, so that Linkerd balanced them, and the scenario asks for balancing: endpoint, where Envoy does: what was to be compared did not run", g.cluster, n, g.when, to)
			return
		}
	}
	if n := total - g.parents[parentEndpoint]; g.exact && n > 0 && g.parents[parentNobody] >= n {
		t.invalid("UnknownPods", append(slices.Clone(g.used), sent...), "of %d requests that the gateway of %s sent %s, %d went to addresses behind which Linkerd's proxy knows nobody, in plaintext: "+
			"it knows the pods of its own cluster alone by their addresses, so what Envoy sends to another cluster has no mutual TLS; with several clusters leave the choice to Linkerd (balancing: service)", total, g.cluster, g.when, n)
		return
	}
	g.agree(t, "to pods that Envoy chose", g.parents[parentEndpoint], sent)
}

// agree wants as much to have gone out one way as is known to have been sent.
func (g *departure) agree(t *tally, way string, counted int64, sent []evidence.Ref) {
	if g.exact {
		t.use(sent...)
	}
	if n := int64(len(sent)); counted < n || g.exact && counted != n {
		t.invalid("MetricsDisagree", append(slices.Clone(g.used), sent...), "Linkerd's proxy beside the gateway of %s counted %d requests %s %s, and %d are known to have been sent", g.cluster, counted, g.when, way, n)
	}
}
