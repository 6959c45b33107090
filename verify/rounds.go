package verify

import (
	"fmt"
	"slices"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// round is one round of the plan with what encloses it in evidence.
type round struct {
	Round
	stage      string
	connection string
	start, end *evidence.Event // of the window; nil where absent
	tally      tally           // whether the window was recorded
}

// roundsOf lays the plan beside the evidence: the rounds between workloads, and those from outside.
func roundsOf(x *trial) (matrix, edge []*round) {
	for _, stage := range stages {
		for _, r := range NewPlan(x.s, stage).Rounds {
			w := &round{Round: r, stage: stage, connection: connFresh}
			if r.Name == stage+"/"+connEstablished {
				w.connection = connEstablished
			}
			w.start = x.edgeEvent(w, evidence.EventWindowStart)
			w.end = x.edgeEvent(w, evidence.EventWindowEnd)
			if r.Name == stage+"/"+windowEdge {
				edge = append(edge, w)
			} else {
				matrix = append(matrix, w)
			}
		}
	}
	return matrix, edge
}

func (x *trial) edgeEvent(r *round, kind string) *evidence.Event {
	var found []*evidence.Event
	for _, e := range x.events[kind] {
		if e.Name == r.Name {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		r.tally.invalid("NoWindow", refsOf(found...), "the proof window %s has %d records of its %s, want 1", r.Name, len(found), kind)
		return nil
	}
	r.tally.use(found[0].Ref())
	return found[0]
}

// pods is the inventory of a service at both edges of a round: the same pods, as many as the scenario says, all ready.
// What is wrong is noted in t.
func (x *trial) pods(t *tally, r *round, w scenarios.Workload) []*evidence.Pod {
	start := x.inventory[edgeWindow{r.Name, "start", w.Name}]
	end := x.inventory[edgeWindow{r.Name, "end", w.Name}]
	for _, list := range [][]*evidence.Pod{start, end} {
		perCluster := map[string]int{}
		for _, p := range list {
			perCluster[p.At.Cluster]++
			if !p.Ready {
				t.invalid("NotReady", refsOf(p), "pod %s was not ready in proof window %s", podName(p.At), r.Name)
			}
		}
		for _, c := range w.Clusters {
			if perCluster[c] != w.Replicas {
				t.invalid("NoInventory", refsOf(list...), "the inventory of proof window %s names %d pods of %s in cluster %s, want %d",
					r.Name, perCluster[c], w.Name, c, w.Replicas)
			}
		}
		if len(list) != podsOf(w) {
			t.invalid("NoInventory", refsOf(list...), "the inventory of proof window %s names %d pods of %s, want %d", r.Name, len(list), w.Name, podsOf(w))
		}
		t.use(refsOf(list...)...)
	}
	uids := func(list []*evidence.Pod) []string {
		var out []string
		for _, p := range list {
			out = append(out, p.At.UID)
		}
		slices.Sort(out)
		return out
	}
	s, e := uids(start), uids(end)
	if !slices.Equal(s, e) || len(slices.Compact(s)) != len(start) {
		t.invalid("PodsChanged", append(refsOf(start...), refsOf(end...)...), "the pods of %s were not the same throughout proof window %s", w.Name, r.Name)
	}
	return end
}

// pool is what all proxies of one service counted in one round.
type pool struct {
	tally tally // evidence of it, and what is wrong with that
	counts
	pods    []podCounts
	refused map[refusal]int64          // by the proxies' counters
	seen    map[refusal][]evidence.Ref // by clients
}

// podCounts is what the proxy of one pod counted.
type podCounts struct {
	evidence.PodRef
	counts
}

// pool sums the counts over every pod of a service in every cluster. Each pod is one epoch: a process that was
// restarted within the round spoils it.
func (x *trial) pool(r *round, w scenarios.Workload) *pool {
	key := edgeWindow{window: r.Name, service: w.Name}
	if p := x.pools[key]; p != nil {
		return p
	}
	p := &pool{}
	x.pools[key] = p
	p.tally.add(&r.tally)
	var deltas []sample
	for _, pod := range x.pods(&p.tally, r, w) {
		from, a := x.edgePage(&p.tally, r, pod.At, "start")
		to, b := x.edgePage(&p.tally, r, pod.At, "end")
		if from == nil || to == nil {
			continue
		}
		d, err := increase(from, to, b.T.Sub(a.T) < x.d.traits().idle)
		if err != nil {
			p.tally.invalid("EpochBroken", refsOf(a, b), "metrics of pod %s in proof window %s: %v", podName(pod.At), r.Name, err)
			continue
		}
		deltas = append(deltas, d...)
		p.pods = append(p.pods, podCounts{pod.At, x.d.counts(d)})
	}
	p.counts = x.d.counts(deltas)
	p.refused, p.seen = map[refusal]int64{}, map[refusal][]evidence.Ref{}
	for _, c := range p.requests {
		if !c.allowed && slices.Contains(x.d.traits().refusals, c.code) {
			p.refused[refusal{c.client, c.code}] += c.n
		}
	}
	for _, a := range x.asked[r.Name] {
		if a.To == w.Name && slices.Contains(x.d.traits().refusals, a.Status) {
			k := refusal{x.clientOf(a), a.Status}
			p.seen[k] = append(p.seen[k], a.Ref())
		}
	}
	return p
}

// clientOf is how a proxy should tell the sender of a request.
func (x *trial) clientOf(p *evidence.Probe) client {
	if w, ok := x.s.Workload(p.From.Service); ok && w.Meshed {
		return client{x.d.identity(w), true}
	}
	return client{}
}

// agree wants the proxies to have counted as many refusals of a client, under a code, as clients saw.
func (p *pool) agree(t *tally, r *round, to scenarios.Workload, k refusal) {
	if n := int64(len(p.seen[k])); p.refused[k] != n {
		t.invalid("MetricsDisagree", append(refs(p.tally.used), p.seen[k]...), "the proxies of %s counted %d refusals of %s by %d in proof window %s, and clients saw %d",
			to.Name, p.refused[k], k.client, k.code, r.Name, n)
	}
}

// edgePage finds the page that was scraped from a pod at an edge of a round, outside of everything that was asked.
func (x *trial) edgePage(t *tally, r *round, at evidence.PodRef, edge string) (*page, *evidence.Scrape) {
	found := x.scrapes[podWindow{r.Name, edge, at.UID}]
	where := fmt.Sprintf("pod %s at the %s of proof window %s", podName(at), edge, r.Name)
	if len(found) != 1 {
		t.invalid("NoScrape", refsOf(found...), "there are %d scrapes of %s, want 1", len(found), where)
		return nil, nil
	}
	s := found[0]
	t.use(s.Ref())
	if s.Error != "" {
		t.invalid("NoScrape", refsOf(s), "scraping %s failed: %s", where, s.Error)
		return nil, nil
	}
	if r.start != nil && s.T.Before(r.start.T) || r.end != nil && s.T.After(r.end.T) {
		t.invalid("NoScrape", refsOf(s), "the scrape of %s was taken outside of the window", where)
		return nil, nil
	}
	for _, a := range x.asked[r.Name] {
		if edge == "start" && a.T.Before(s.T) || edge == "end" && a.T.After(s.T) {
			t.invalid("NoScrape", refsOf(s), "the scrape of %s does not enclose proof request %s", where, a.ID)
			return nil, nil
		}
	}
	p, err := x.page(s)
	if err != nil {
		t.invalid("BadScrape", refsOf(s), "the metric page of %s: %v", where, err)
		return nil, nil
	}
	return p, s
}

func podName(p evidence.PodRef) string { return p.Cluster + "/" + p.Pod }
