package verify

import (
	"crypto/x509"
	"fmt"
	"math"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// rotationSettles is how long after the last pod has its new certificate attempts are still counted: connections that
// the old one was the reason of end later than it.
const rotationSettles = time.Second

// reasonNotTLS is why a pod disproves that it serves any certificate.
const reasonNotTLS = "NotTLS"

// rotatedPod is one pod that a rotation is about, with the handshakes that show a certificate, in the order of time.
type rotatedPod struct {
	at      evidence.PodRef
	to      scenarios.Workload
	before  []*evidence.Handshake
	old     []*evidence.Handshake // from the rotation on, that show the certificate of before, or one of the old issuer
	changed []*evidence.Handshake // from the rotation on, that show a new one
	plain   *evidence.Handshake   // shows that the pod does not speak TLS
}

// rotated lists the pods that a rotation is about, with what was seen of each. What is wrong with the list is noted in t.
func (x *trial) rotated(t *tally, st *faultState) []*rotatedPod {
	f := st.scenario
	fresh := x.newIssuers(t, st)
	var out []*rotatedPod
	for _, name := range f.RotatedServices(x.s) {
		w, _ := x.s.Workload(name)
		n := 0
		for _, p := range x.inventory[edgeWindow{windowLoad, "start", name}] {
			if p.At.Cluster != f.Target.Cluster {
				continue
			}
			n++
			t.use(p.Ref())
			out = append(out, x.rotatedPod(p.At, w, st, fresh))
		}
		if n != w.Replicas {
			t.invalid("NoInventory", nil, "the inventory of the start of the load names %d pods of %s in cluster %s, want %d", n, name, f.Target.Cluster, w.Replicas)
		}
	}
	return out
}

// newIssuers are the intermediates that a rotation of issuers brought: nil for a rotation of leaves, where any will do.
func (x *trial) newIssuers(t *tally, st *faultState) []*x509.Certificate {
	f := st.scenario
	if f.Kind != scenarios.IssuerRotation || !x.d.proxied() {
		return nil
	}
	was, e1, err := x.issuersAt(f.Target.Cluster, st.began)
	if err != nil {
		t.invalid("NoTrust", nil, "who issued certificates before the rotation is not known: %v", err)
		return nil
	}
	is, e2, err := x.issuersAt(f.Target.Cluster, st.Fault.Began)
	if err != nil {
		t.invalid("NoTrust", nil, "who issues certificates since the rotation is not known: %v", err)
		return nil
	}
	t.use(e1.Ref(), e2.Ref())
	fresh := []*x509.Certificate{}
	for _, c := range is {
		old := false
		for _, w := range was {
			old = old || w.Equal(c)
		}
		if !old {
			fresh = append(fresh, c)
		}
	}
	if len(fresh) == 0 {
		t.invalid("NoEffect", []evidence.Ref{e2.Ref()}, "cluster %s trusts no issuer since the rotation that it did not trust before", f.Target.Cluster)
	}
	return fresh
}

func (x *trial) rotatedPod(at evidence.PodRef, to scenarios.Workload, st *faultState, fresh []*x509.Certificate) *rotatedPod {
	p := &rotatedPod{at: at, to: to}
	was := ""
	for _, h := range x.handshakes[podWindow{window: scenarios.RotationWindow(st.scenario.Name), uid: at.UID}] {
		if h.Error == "not TLS" {
			p.plain = h
		}
		if h.Error != "" || len(h.Chain) == 0 {
			continue // shows nothing
		}
		leaf, err := x509.ParseCertificate(h.Chain[0])
		if err != nil {
			continue
		}
		serial := leaf.SerialNumber.String()
		switch {
		case h.T.Before(st.began):
			p.before, was = append(p.before, h), serial
		case serial != was && (fresh == nil || issuedBy(leaf, fresh)):
			p.changed = append(p.changed, h)
		default:
			p.old = append(p.old, h)
		}
	}
	return p
}

// issuedBy reports whether one of the certificates has signed another.
func issuedBy(leaf *x509.Certificate, by []*x509.Certificate) bool {
	for _, c := range by {
		if leaf.CheckSignatureFrom(c) == nil {
			return true
		}
	}
	return false
}

// rotationEffect wants at least one pod to have been seen with its certificate of before, and with a new one.
func (x *trial) rotationEffect(st *faultState) {
	t := &st.tally
	x.whole(t, evidence.Handshakes)
	pods := x.rotated(t, st)
	var seen []*rotatedPod
	last := time.Duration(0)
	for _, p := range pods {
		if len(p.before) > 0 && len(p.changed) > 0 {
			seen = append(seen, p)
			last = max(last, p.changed[0].T.Sub(st.began))
		}
	}
	if len(seen) == 1 { // of several, each can be spared
		t.use(atLeast(1, seen[0].before)...)
		t.use(atLeast(1, seen[0].changed)...)
	}
	if len(seen) == 0 {
		t.invalid("NoEffect", nil, "of %d pods of %s none was seen to serve another certificate", len(pods), rotationTarget(st.scenario))
		return
	}
	st.Fault.Target = rotationTarget(st.scenario)
	st.Fault.Effect = fmt.Sprintf("%d of %d pods serve another certificate, the last since %s after the beginning", len(seen), len(pods), last.Round(time.Millisecond))
}

func rotationTarget(f *scenarios.Fault) string {
	if f.Target.Service == "" {
		return f.Target.Cluster
	}
	return f.Target.Service + "@" + f.Target.Cluster
}

// rotation judges whether every pod of a rotation's target served a new certificate in time, as part of a chain to the
// same root, and how many attempts were dropped meanwhile.
func (x *trial) rotation(e scenarios.ExpectRotation, st *faultState, fault Check) Check {
	c := Check{Kind: KindRotation, Subject: e.After, Limit: fmt.Sprintf("%s, %d dropped", e.Within, e.Dropped)}
	t := &tally{}
	x.whole(t, evidence.Handshakes, evidence.Requests)
	if st.began.IsZero() { // it was not injected: what was seen before says whether there are certificates at all
		st.began = time.Unix(math.MaxInt32, 0)
	}
	pods := x.rotated(t, st)
	x.encrypted(t, pods)
	switch {
	case fault.Verdict == Skipped && len(t.disproof) == 0:
		return c.skippedWith(fault)
	case fault.Verdict == Skipped:
	case fault.Verdict != Pass:
		t.add(&st.tally)
	default:
		t.add(&st.tally)
		last := x.renewed(t, e, st, pods)
		lost, ok := x.dropped(t, e, st, last)
		c.Observed = last.Sub(st.began).Round(time.Millisecond).String()
		if ok {
			c.Observed += fmt.Sprintf(", %d dropped", lost)
		}
	}
	c.Verdict, c.Reason, c.Message, c.Used = t.judge(fmt.Sprintf("all %d pods serve a new certificate (%s), at most %s was expected", len(pods), c.Observed, c.Limit))
	if x.declares(scenarios.GapMTLS) {
		x.rotationGap(&c, t)
	}
	return c
}

// encrypted notes the pods that have no certificate at all.
func (x *trial) encrypted(t *tally, pods []*rotatedPod) {
	for _, p := range pods {
		if p.plain != nil && len(p.before)+len(p.changed) == 0 {
			t.use(p.plain.Ref())
			t.fail(reasonNotTLS, refsOf(p.plain), "pod %s does not speak TLS: it has no certificate that could be renewed", podName(p.at))
		}
	}
}

// rotationGap turns the verdict on a mesh that is known to have no certificates: it must be shown.
func (x *trial) rotationGap(c *Check, t *tally) {
	switch {
	case len(t.lack) > 0:
		c.Verdict, c.Reason, c.Message = Invalid, t.lack[0].reason, "the declared gap cannot be shown: "+t.lack[0].message
		c.Used = refs(t.lack[0].used)
	case len(t.disproof) == 0:
		c.Verdict, c.Reason = Invalid, "GapClosed"
		c.Message = "mutual TLS is declared as a gap of this mesh, and certificates were renewed: the declaration is stale, or the check is blind"
	case t.disproof[0].reason == reasonNotTLS:
		c.Verdict, c.Reason, c.Message, c.Used = Gap, "DeclaredGap", "as declared: "+t.disproof[0].message, refs(t.used)
	}
}

// renewed wants every pod to have been seen with its certificate of before and, before the time is over and from then on,
// with a new one. It returns when the last was seen, or the end of the time where one was not.
func (x *trial) renewed(t *tally, e scenarios.ExpectRotation, st *faultState, pods []*rotatedPod) time.Time {
	deadline, last := st.began.Add(e.Within.D()), st.began
	for _, p := range pods {
		if p.plain != nil && len(p.before)+len(p.changed) == 0 {
			continue // said
		}
		if len(p.before) == 0 {
			t.invalid("NoHandshake", nil, "what pod %s served before the rotation was not seen", podName(p.at))
			continue
		}
		t.use(atLeast(1, p.before)...)
		x.chain(t, p.before[len(p.before)-1], p.to)
		inTime := p.changed
		for i, h := range p.changed {
			if h.T.After(deadline) {
				inTime = p.changed[:i]
				break
			}
		}
		n := len(p.old)
		switch {
		case len(inTime) > 0 && n > 0 && p.old[n-1].T.After(inTime[0].T):
			t.fail("NotRotated", refsOf(inTime[0], p.old[n-1]), "pod %s served a new certificate, and then the old one again", podName(p.at))
			last = deadline
		case len(inTime) > 0:
			t.use(atLeast(1, inTime)...)
			x.chain(t, inTime[0], p.to)
			last = later(last, inTime[0].T)
		case n > 0 && !p.old[n-1].T.Before(deadline):
			t.fail("NotRotated", refsOf(p.old[n-1]), "pod %s still serves %s, %s after the rotation began; a new certificate was expected within %s",
				podName(p.at), oldOf(st.scenario), p.old[n-1].T.Sub(st.began).Round(time.Millisecond), e.Within)
			last = deadline
		case len(p.changed) > 0:
			t.fail("TooSlow", refsOf(p.changed[0]), "pod %s was seen with a new certificate only %s after the rotation began, at most %s was expected",
				podName(p.at), p.changed[0].T.Sub(st.began).Round(time.Millisecond), e.Within)
			last = deadline
		default:
			t.invalid("NotWatched", refsOf(p.old...), "pod %s was not watched until the time for its new certificate was over", podName(p.at))
			last = deadline
		}
	}
	return last
}

func oldOf(f *scenarios.Fault) string {
	if f.Kind == scenarios.IssuerRotation {
		return "a certificate of the old issuer"
	}
	return "its old certificate"
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// dropped counts the attempts that were lost from the beginning of a rotation until its end: requests of the load that
// failed, and attempts that proxies had to repeat, by the number that the workload recorded. What is lost without a
// rotation, before it and outside of other faults, is taken off.
func (x *trial) dropped(t *tally, e scenarios.ExpectRotation, st *faultState, last time.Time) (int64, bool) {
	until := last.Add(rotationSettles)
	var in, out struct {
		done, lost int64
		used       []evidence.Ref
	}
	for i := range x.s.Spec.Traffic {
		l := x.loadOf(&x.s.Spec.Traffic[i])
		t.lack = append(t.lack, l.lack()...)
		for _, k := range l.ticks {
			from := st.zero.Add(micro(k.AtMicros))
			to := from.Add(micro(k.Micros))
			switch {
			case to.After(st.began) && from.Before(until):
				in.done, in.lost, in.used = in.done+k.Done, in.lost+k.Errors, append(in.used, k.Ref())
			case !to.After(st.began) && !x.disturbed(st, from, to):
				out.done, out.lost = out.done+k.Done, out.lost+k.Errors
			}
		}
	}
	if in.done == 0 {
		t.invalid("NoLoad", nil, "nothing was sent during the rotation, so nobody saw what it drops")
		return 0, false
	}
	repeated := x.repeated()
	for _, r := range repeated {
		switch {
		case !r.T.Before(st.began) && r.T.Before(until):
			in.lost += int64(r.Attempt - 1)
			in.used = append(in.used, r.Ref())
		case r.T.Before(st.began) && !x.disturbed(st, r.T, r.T):
			out.lost += int64(r.Attempt - 1)
		}
	}
	usual := int64(0)
	if out.done > 0 {
		usual = int64(math.Floor(evidence.Round(float64(out.lost)/float64(out.done)*float64(in.done)) + 0.5))
	}
	lost := max(0, in.lost-usual)
	t.use(in.used...)
	if lost > int64(e.Dropped) {
		t.fail("Dropped", in.used, "%d of %d attempts were dropped during the rotation (%d are usual), at most %d were expected", in.lost, in.done, usual, e.Dropped)
	}
	return lost, true
}

// repeated lists, for each request under load that did not arrive at its first attempt, the record with the highest one.
func (x *trial) repeated() []*evidence.Request {
	var out []*evidence.Request
	for _, id := range sortedKeys(x.requests) {
		var most *evidence.Request
		for _, r := range x.requests[id] {
			if r.Window == windowLoad && r.Attempt > 1 && (most == nil || r.Attempt > most.Attempt) {
				most = r
			}
		}
		if most != nil {
			out = append(out, most)
		}
	}
	return out
}

// disturbed reports whether another fault, be it a rotation too, was active between two moments, or within a second before.
func (x *trial) disturbed(st *faultState, from, to time.Time) bool {
	for i := range x.s.Spec.Faults {
		f := &x.s.Spec.Faults[i]
		if f.Name == st.scenario.Name {
			continue
		}
		var began, ended time.Time
		for _, r := range x.faults[f.Name] {
			switch r.Action {
			case evidence.FaultInject:
				began = r.T
			case evidence.FaultReverted:
				ended = r.T.Add(rotationSettles)
			}
		}
		if !began.IsZero() && began.Before(to) && (ended.IsZero() || ended.After(from)) {
			return true
		}
	}
	return false
}
