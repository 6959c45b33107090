package verify

import (
	"fmt"
	"strings"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// Between the proof windows nobody asks for what is forbidden; what load brings is held against three who saw it.

// loadArrived wants the workloads to have recorded at least as many answers to a service's traffic by one caller as the
// load generators counted, whatever is no error to them: a redirection is one of somebody on the way. A generator that is
// answered by somebody else, or by itself, measures nothing. Calls that the
// caller makes on behalf of other requests, whose IDs have a dot, are none of the load's.
func (x *trial) loadArrived(t *tally, of *scenarios.Traffic) {
	var answered int64
	var phases []evidence.Ref
	for i := range x.s.Spec.Traffic {
		tr := &x.s.Spec.Traffic[i]
		if tr.To != of.To || tr.Caller() != of.Caller() || tr.Cluster != of.Cluster {
			continue
		}
		for _, p := range x.phases[tr.Name] {
			phases = append(phases, p.Ref())
			for code, n := range p.Codes {
				if evidence.OutcomeOf(code) == evidence.OutcomeOK {
					answered += int64(n)
				}
			}
		}
	}
	recorded := map[string]bool{}
	caller := of.Caller() + "@" + of.Cluster
	for _, r := range x.received[edgeWindow{window: windowLoad, service: of.To}] {
		if r.Caller == caller && evidence.OutcomeOf(itoa(r.Status)) == evidence.OutcomeOK && !strings.Contains(r.ID, ".") {
			recorded[r.ID] = true
		}
	}
	if n := int64(len(recorded)); n < answered {
		t.invalid("NoRecord", phases, "the load generator counted %d good answers of %s to %s, and its workloads recorded %d: the others came from somebody else, or evidence is lost", answered, of.To, caller, n)
	}
}

// loadCalled wants every call that a well answered request made under load to be recorded where it went: the k-th call
// on behalf of a request has the request's ID with ".k" behind it, and a service answers well only when its calls were.
// Calls that only a share of the requests makes prove nothing by their absence.
func (x *trial) loadCalled(t *tally) {
	for i := range x.s.Spec.Topology.Services {
		from := &x.s.Spec.Topology.Services[i]
		for k, call := range from.Calls {
			if call.Share != nil && *call.Share < 1 {
				continue
			}
			arrived := map[string]bool{}
			for _, r := range x.received[edgeWindow{window: windowLoad, service: call.To}] {
				arrived[r.ID] = true
			}
			for _, r := range x.received[edgeWindow{window: windowLoad, service: from.Name}] {
				if id := fmt.Sprintf("%s.%d", r.ID, k+1); r.Status/100 == 2 && !arrived[id] {
					t.invalid("NoRecord", refsOf(r.Request), "%s answered request %s with %d, and its call %s to %s is not in the record: evidence is lost", podName(r.At), r.ID, r.Status, id, call.To)
				}
			}
		}
	}
}

// loadAllowed wants everything that a service received under load to have been allowed.
func (x *trial) loadAllowed(t *tally, to scenarios.Workload) {
	for _, r := range x.received[edgeWindow{window: windowLoad, service: to.Name}] {
		switch from, ok := x.s.Workload(r.caller); {
		case !ok:
			t.invalid("UnknownRequest", refsOf(r.Request), "%s recorded request %s under load, of %q, whom the scenario does not have", podName(r.At), r.ID, r.Caller)
		case !from.Meshed || !x.s.Spec.Policy.Allows(r.caller, to.Name, r.Method, r.Path):
			t.fail(reasonHole, refsOf(r.Request), "%s %s of %s is forbidden, and got through to %s under load: request %s", r.Method, r.Path, r.Caller, podName(r.At), r.ID)
		}
	}
}

// loadCounted holds the good answers that every proxy of a callee counted under load against what its workload recorded,
// which is at least as much: a workload records before it answers, and its proxy counts the answer. That more was
// recorded than counted proves nothing; requests may be on their way when a pod dies or a client gives up.
func (x *trial) loadCounted(t *tally, e edge) {
	if len(x.s.Spec.Traffic) == 0 || !x.counted {
		return
	}
	early := x.d.traits().countsEarly
	recorded := map[string][]*evidence.Request{} // by UID
	for _, r := range x.arrived(windowLoad, e) {
		if r.Status/100 == 2 {
			recorded[r.At.UID] = append(recorded[r.At.UID], r)
		}
	}
	for _, pod := range x.loadDeltas(t, e.to) {
		var n int64
		for _, c := range pod.requests {
			switch {
			case c.n == 0:
			case !c.secured && (c.allowed || !x.d.traits().readsPlain):
				t.fail("PlaintextAccepted", pod.used, "the proxy of %s counted at least %d requests with %s under load", podName(pod.PodRef), c.n, c.security)
			case !c.allowed:
			case c.principal == x.d.identity(e.from):
				n += c.n
			case !x.known(c.client):
				t.fail("WrongIdentity", pod.used, "the proxy of %s let in at least %d requests of %s under load", podName(pod.PodRef), c.n, c.client)
			}
		}
		if early { // let in is not yet answered
			n = pod.answered[client{x.d.identity(e.from), true}]
		}
		if have := recorded[pod.UID]; n > int64(len(have)) {
			t.invalid("MetricsDisagree", append(pod.used, refsOf(have...)...), "the proxy of %s counted %d good answers to %s under load, and its workload recorded %d", podName(pod.PodRef), n, e.from.Name, len(have))
		}
	}
}

// loadCount is what the proxy of one pod counted under load.
type loadCount struct {
	podCounts
	used []evidence.Ref
}

// loadDeltas counts what each proxy of a service gained under load: from the load's start, or from 0 for a pod that came
// later, until its end, or until the last page of a pod that ended. What cannot be told of a pod is left out.
func (x *trial) loadDeltas(t *tally, w scenarios.Workload) (out []loadCount) {
	all := x.loadPages(t, w)
	for _, uid := range sortedKeys(all) {
		from, to := all[uid][0], all[uid][1]
		last, err := x.page(to)
		if err != nil {
			continue // the run's own check says so
		}
		was, used := &page{start: last.start}, refsOf(to) // of a pod that was born under load
		if from != nil {
			used = refsOf(from, to)
			if was, err = x.page(from); err != nil {
				continue
			}
		}
		// However long the load was: what was dropped for idleness in its midst lowers the count, and no more is claimed.
		deltas, err := increase(was, last, x.d.traits().idle > 0)
		if err != nil {
			t.invalid("EpochBroken", used, "metrics of pod %s under load: %v", podName(to.At), err)
			continue
		}
		out = append(out, loadCount{podCounts{to.At, x.d.counts(deltas)}, used})
	}
	return out
}

// loadPages finds, for every pod of a service, the page from the start of the load, nil for a pod that came later, and
// the last page under load. What is missing of those that stood at an edge is noted in t.
func (x *trial) loadPages(t *tally, w scenarios.Workload) map[string][2]*evidence.Scrape {
	out := map[string][2]*evidence.Scrape{}
	old := map[string]bool{}
	for _, edge := range []string{"start", "end"} {
		pods := x.inventory[edgeWindow{windowLoad, edge, w.Name}]
		if edge == "start" && len(pods) != podsOf(w) {
			t.invalid("NoInventory", refsOf(pods...), "the inventory of the start of the load names %d pods of %s, want %d", len(pods), w.Name, podsOf(w))
		}
		if edge == "start" {
			t.use(refsOf(pods...)...)
		}
		for _, p := range pods {
			old[p.At.UID] = old[p.At.UID] || edge == "start"
			found := x.scrapes[podWindow{windowLoad, edge, p.At.UID}]
			if len(found) != 1 || found[0].Error != "" {
				t.invalid("NoScrape", refsOf(found...), "pod %s was not scraped once at the %s of the load", podName(p.At), edge)
				continue
			}
			t.use(found[0].Ref())
			pages := out[p.At.UID]
			pages[map[string]int{"start": 0, "end": 1}[edge]] = found[0]
			out[p.At.UID] = pages
		}
	}
	for _, s := range x.allScrapes { // in the order of time
		if pages := out[s.At.UID]; s.At.Service == w.Name && s.Proxy == "" && s.Window == "" && s.Error == "" && (pages[1] == nil || pages[1].Edge == "") {
			pages[1] = s
			out[s.At.UID] = pages
		}
	}
	for uid, pages := range out {
		if pages[1] == nil || pages[0] == nil && old[uid] {
			delete(out, uid)
		}
	}
	return out
}
