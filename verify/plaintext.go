package verify

import (
	"net/http"
	"slices"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// refusedPlaintext looks at what a pod without any mesh asked of the callee: everything must have been turned away
// (before it was read, where the mesh does that), while an authorised twin was served, and the proxies must have counted
// it.
func (x *trial) refusedPlaintext(t *tally, to scenarios.Workload) {
	asked := 0
	for _, r := range x.rounds {
		closed := int64(0)
		var used []evidence.Ref
		for _, a := range r.Asks {
			if a.From != scenarios.OutsiderName || a.To != to.Name {
				continue
			}
			for _, p := range x.answered(t, r, a) {
				asked++
				used = append(used, p.Ref())
				if x.gotThrough(t, p) {
					continue
				}
				switch {
				case p.Status == 0:
					closed++
				case p.Status == http.StatusNotFound:
					x.notRouted(t, p)
				}
				x.twin(t, p)
			}
		}
		if len(used) == 0 {
			continue
		}
		t.add(&r.tally)
		x.unmeshed(t, r)
		if !x.d.proxied() {
			if closed > 0 {
				t.invalid("NoCause", used, "%d requests in plaintext to %s were not answered in proof window %s, and there is no proxy to say why", closed, to.Name, r.Name)
			}
			continue
		}
		x.turnedAway(t, r, to, closed, used)
		if p := x.pool(r, to); x.d.traits().readsPlain {
			t.add(&p.tally)
			for _, code := range x.d.traits().refusals {
				p.agree(t, r, to, refusal{code: code})
			}
			for _, pod := range p.pods {
				if !slices.ContainsFunc(pod.requests, func(c requestCount) bool { return !c.secured && c.code == http.StatusForbidden && c.n > 0 }) {
					t.invalid("NotCovered", refs(p.tally.used), "pod %s refused none of %d requests in plaintext to %s for want of an identity in proof window %s, so nothing is known of it", podName(pod.PodRef), len(used), to.Name, r.Name)
				}
			}
		}
	}
	if asked == 0 {
		t.invalid("NotAsked", nil, "nobody asked %s in plaintext", to.Name)
	}
}

// gotThrough reports, and notes as disproof, that a request in plaintext was read by anybody.
func (x *trial) gotThrough(t *tally, p *evidence.Probe) bool {
	recs := x.requests[p.ID]
	used := append(refsOf(p), refsOf(recs...)...)
	switch {
	case len(recs) > 0:
		t.use(used...)
		if len(recs) > 1 || p.Status == 0 {
			// It got in all the same; that is enough to disprove mutual TLS, and not clear enough to show a gap.
			t.invalid("RecordedTwice", used, "request %s was recorded %d times, and its client saw %s", p.ID, len(recs), status(p))
		}
		t.fail("PlaintextAccepted", used, "request %s in plaintext from outside the mesh got through to %s and was answered %s", p.ID, podName(recs[0].At), status(p))
	case x.d.traits().readsPlain && slices.Contains(x.d.traits().refusals, p.Status):
		return false
	case p.Status != 0 && x.d.proxied():
		t.fail("PlaintextAccepted", used, "request %s in plaintext from outside the mesh was read by a proxy of %s and answered %s", p.ID, p.To, status(p))
	case p.Status != 0:
		t.invalid("NoRecord", used, "request %s was answered %s, and no workload recorded it", p.ID, status(p))
	default:
		return false
	}
	return true
}

// notRouted judges a request in plaintext that no route of the callee's matched. That says nothing of plaintext: a route
// is looked for before it is asked who may use it. It may be so only for what nobody may ask.
func (x *trial) notRouted(t *tally, p *evidence.Probe) {
	for _, w := range x.s.Workloads() {
		if w.Meshed && x.s.Spec.Policy.Allows(w.Name, p.To, p.Method, p.Path) {
			t.invalid("NoCause", refsOf(p), "request %s in plaintext found no route at %s, where %s may ask the same: plaintext is not why it was refused", p.ID, p.To, w.Name)
			return
		}
	}
}

// turnedAway wants the callee's proxies to have counted at least as many closed connections as there were.
func (x *trial) turnedAway(t *tally, r *round, to scenarios.Workload, closed int64, used []evidence.Ref) {
	if closed == 0 {
		return
	}
	p := x.pool(r, to)
	t.add(&p.tally)
	scrapes := refs(p.tally.used)
	switch {
	case !p.countsTurns:
		t.invalid("NoCause", scrapes, "the proxies of %s do not export how many connections they turned away", to.Name)
	case p.turnedAway < closed:
		t.invalid("NoCause", append(scrapes, used...), "%d requests in plaintext to %s went unanswered in proof window %s, and its proxies turned away %d connections", closed, to.Name, r.Name, p.turnedAway)
	default:
		for _, pod := range p.pods {
			if pod.turnedAway == 0 {
				t.invalid("NotCovered", scrapes, "none of %d requests in plaintext to %s met pod %s in proof window %s, so nothing is known of it", closed, to.Name, podName(pod.PodRef), r.Name)
			}
		}
	}
}

// unmeshed wants the outsider to be outside: with a sidecar it would prove nothing.
func (x *trial) unmeshed(t *tally, r *round) {
	w, ok := x.s.Workload(scenarios.OutsiderName)
	if !ok {
		return
	}
	for _, p := range x.pods(t, r, w) {
		if f := foreignSidecars(p); len(f) > 0 {
			t.invalid("OutsiderMeshed", refsOf(p), "pod %s, which is to ask in plaintext, has %v", podName(p.At), slices.Compact(f))
		}
	}
}
