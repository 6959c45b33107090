package verify

import (
	"strings"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// sameMoment is how far an ask and its twin may lie apart.
const sameMoment = time.Second

// answered finds the asks of a cell in a round, each as planned, and as many as the plan has or more: a round that covers
// repeats some.
func (x *trial) answered(t *tally, r *round, a Ask) []*evidence.Probe {
	found := x.asks[cellWindow{r.Name, a.Cell}]
	if len(found) < a.Times || len(found) > a.Times && !r.Cover {
		t.invalid("NotAsked", refsOf(found...), "%s has %d records of its clients in proof window %s, want %d", a.Cell, len(found), r.Name, a.Times)
	}
	for _, p := range found {
		if p.From.Service != a.From || p.From.Cluster != a.Cluster || p.To != a.To || p.Method != a.Method || p.Path != a.Path || p.Connection != a.Connection {
			t.invalid("NotAsked", refsOf(p), "request %s was not made as its cell %s says", p.ID, a.Cell)
		}
	}
	t.use(refsOf(found...)...)
	return found
}

// heard finds the workload's record of a request that was answered: exactly one, and of the same request.
func (x *trial) heard(t *tally, p *evidence.Probe) *evidence.Request {
	recs := x.requests[p.ID]
	t.use(p.Ref())
	t.use(refsOf(recs...)...)
	used := append(refsOf(p), refsOf(recs...)...)
	switch {
	case len(x.probes[p.ID]) != 1:
		t.invalid("RecordedTwice", used, "there are %d proof requests with the ID %s", len(x.probes[p.ID]), p.ID)
		return nil
	case len(recs) == 0:
		t.invalid("NoRecord", used, "request %s was answered %s, and no workload recorded it", p.ID, status(p))
		return nil
	case len(recs) > 1:
		t.invalid("RecordedTwice", used, "request %s was recorded %d times", p.ID, len(recs))
		return nil
	}
	rec := recs[0]
	switch {
	case rec.Attempt > 1:
		t.invalid("Retried", used, "request %s arrived at attempt %d: retries must be off for proofs", p.ID, rec.Attempt)
	case rec.At.Service != p.To:
		t.invalid("WrongWorkload", used, "request %s to %s arrived at %s", p.ID, p.To, rec.At.Service)
	case rec.Window != p.Window || rec.Method != p.Method || rec.Path != p.Path || rec.Caller != p.From.Service+"@"+p.From.Cluster:
		t.invalid("Altered", used, "request %s arrived as %s %s of %s in window %s: not as it was sent", p.ID, rec.Method, rec.Path, rec.Caller, rec.Window)
	}
	return rec
}

// identified checks that the proxies named caller and callee of a recorded request rightly.
func (x *trial) identified(t *tally, rec *evidence.Request, from, to scenarios.Workload) {
	peer, self, err := x.d.peer(rec)
	wantPeer, wantSelf := x.d.identity(from), x.d.identity(to)
	switch {
	case err != nil:
		t.invalid("BadIdentity", refsOf(rec), "request %s: %v", rec.ID, err)
	case peer == "":
		t.fail("NoIdentity", refsOf(rec), "request %s arrived at %s without an identity of its caller", rec.ID, podName(rec.At))
	case peer != wantPeer:
		t.fail("WrongIdentity", refsOf(rec), "request %s of %s arrived at %s as %s, want %s", rec.ID, from.Name, podName(rec.At), peer, wantPeer)
	case x.d.traits().namesReceiver && self != wantSelf:
		t.fail("WrongIdentity", refsOf(rec), "request %s was received at %s under the identity %q, want %s", rec.ID, podName(rec.At), self, wantSelf)
	default:
		x.origin(t, rec, from)
	}
}

// twin checks the authorised twin of a refused request: sent to the same service at the same moment, allowed, answered
// and recorded. Without it a refusal may be anything, such as a service that is down.
func (x *trial) twin(t *tally, p *evidence.Probe) {
	if p.Twin == "" {
		t.invalid("NoTwin", refsOf(p), "request %s was refused, and had no authorised twin to show that %s was there", p.ID, p.To)
		return
	}
	found := x.probes[p.Twin]
	if len(found) != 1 || found[0].Role != roleTwin {
		t.invalid("NoTwin", append(refsOf(p), refsOf(found...)...), "the authorised twin %s of request %s has %d records, want 1", p.Twin, p.ID, len(found))
		return
	}
	w := found[0]
	used := refsOf(p, w)
	from, ok := x.s.Workload(w.From.Service)
	to, ok2 := x.s.Workload(w.To)
	if !ok || !ok2 || !from.Meshed || w.To != p.To || w.Window != p.Window ||
		!x.s.Spec.Policy.Allows(w.From.Service, w.To, w.Method, w.Path) {
		t.invalid("NoTwin", used, "the twin %s of request %s is not an authorised request to the same service in the same window", w.ID, p.ID)
		return
	}
	if d := apart(p, w); d > sameMoment {
		t.invalid("NoTwin", used, "the twin %s of request %s was sent %s apart from it, want at most %s", w.ID, p.ID, d, sameMoment)
		return
	}
	if w.Status/100 != 2 {
		t.invalid("TwinFailed", used, "the authorised twin %s of request %s was answered %s: %s was not there for anybody", w.ID, p.ID, status(w), p.To)
		return
	}
	if x.ownPod(w) != nil {
		t.invalid("NoTwin", used, "the authorised twin %s of request %s was answered by the very pod that sent it: it shows nothing of what others can reach", w.ID, p.ID)
		return
	}
	if rec := x.heard(t, w); rec != nil && x.d.proxied() {
		x.identified(t, rec, from, to)
	}
}

// apart is the time between two requests; 0 where they overlap.
func apart(a, b *evidence.Probe) time.Duration {
	if b.T.Before(a.T) {
		a, b = b, a
	}
	return max(0, b.T.Sub(a.T)-time.Duration(a.Micros)*time.Microsecond)
}

// status is what a client saw, in a word.
func status(p *evidence.Probe) string {
	if p.Status != 0 {
		return itoa(p.Status)
	}
	if p.Error == "" {
		return "nothing"
	}
	word, _, _ := strings.Cut(p.Error, ":")
	return word
}
