package verify

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/trust"
	"github.com/meshproof/meshproof/scenarios"
)

// rotationScenario is the small scenario with rotations and an outage in place of its faults.
func rotationScenario(mesh scenarios.MeshName, gaps ...scenarios.Gap) *scenarios.Scenario {
	s := testScenario(mesh, gaps...)
	d := func(n int) scenarios.Duration { return scenarios.Duration(time.Duration(n) * time.Millisecond) }
	s.Spec.Identity.LeafLifetime = d(4000)
	s.Spec.Faults = []scenarios.Fault{
		{Name: "leaves", Kind: scenarios.LeafRotation, Target: &scenarios.FaultTarget{Cluster: "east"}, At: d(500)},
		{Name: "issuer", Kind: scenarios.IssuerRotation, Target: &scenarios.FaultTarget{Cluster: "west"}, At: d(500)},
		{Name: "gone", Kind: scenarios.WorkloadOutage, Target: &scenarios.FaultTarget{Service: "cart", Cluster: "west"}, At: d(3000), For: d(1000)},
	}
	s.Spec.Expect.Recovery = []scenarios.ExpectRecovery{{After: "gone", Within: d(1000)}}
	s.Spec.Expect.Rotation = []scenarios.ExpectRotation{{After: "leaves", Within: d(1000)}, {After: "issuer", Within: d(1000)}}
	s.Spec.Expect.Failover = []scenarios.ExpectFailover{{After: "gone", To: "east", Within: d(1000)}}
	return s
}

// serving is the pod of a service that takes a request under load: the last, unless it is away.
func (b *builder) serving(service string, at time.Duration) *simPod {
	pods := b.of(service, "")
	for i := range b.s.Spec.Faults {
		f := &b.s.Spec.Faults[i]
		if f.Kind == scenarios.WorkloadOutage && f.Target.Service == service && at >= f.At.D() && at < f.At.D()+f.For.D() {
			pods = slices.DeleteFunc(pods, func(p *simPod) bool { return p.Cluster == f.Target.Cluster })
		}
	}
	return pods[len(pods)-1]
}

// leafOf is what a pod's certificate holds.
func (b *builder) leafOf(w scenarios.Workload) trust.Leaf {
	if b.linkerd() && !b.directGateway(w) {
		return trust.Leaf{DNS: l5dID(w), Backdate: 20 * time.Second, Lifetime: time.Hour}
	}
	return trust.Leaf{URI: w.SPIFFEID(), Backdate: 2 * time.Minute, Lifetime: time.Hour}
}

// rotate plays a rotation: one handshake with each pod before it, and one after.
func (b *builder) rotate(zero time.Time, f *scenarios.Fault) {
	at := zero.Add(f.At.D())
	var pods []*simPod
	for _, name := range f.RotatedServices(b.s) {
		pods = append(pods, b.of(name, f.Target.Cluster)...)
	}
	look := func(t time.Time) {
		for _, p := range pods {
			h := b.handshake(p, scenarios.RotationWindow(f.Name))
			h.Header = evidence.Header{Trial: b.trial, Src: "faults", T: t}
			b.put(h)
		}
	}
	look(at.Add(-300 * time.Millisecond))
	if !b.meshed() {
		b.put(&evidence.Fault{Header: evidence.Header{Trial: b.trial, Src: "faults", T: at}, Name: f.Name, Kind: string(f.Kind), Action: evidence.FaultSkipped, Message: "no pod speaks TLS"})
		return
	}
	b.faultStep(f, at, evidence.FaultInject, "", nil)
	if f.Kind == scenarios.IssuerRotation {
		b.now = at.Add(time.Millisecond)
		must(b.t, b.cas.Rotate(f.Target.Cluster, b.trusted))
	}
	b.faultStep(f, at.Add(10*time.Millisecond), evidence.FaultInjected, "", nil)
	old := map[*simPod][][]byte{}
	for _, p := range pods {
		old[p] = p.chain
		leaf, err := b.issuer(f.Target.Cluster).Issue(b.leafOf(p.w))
		must(b.t, err)
		p.chain = leaf.Certificate
	}
	look(at.Add(300 * time.Millisecond))
	if b.relapse == f.Name {
		for _, p := range pods {
			p.chain = old[p]
		}
		look(at.Add(305 * time.Millisecond))
	}
	b.faultStep(f, at.Add(310*time.Millisecond), evidence.FaultReverted, "", nil)
}

// outage plays an outage of a service in one cluster.
func (b *builder) outage(zero time.Time, f *scenarios.Fault) {
	at := zero.Add(f.At.D())
	ms := func(n int) time.Time { return at.Add(time.Duration(n) * time.Millisecond) }
	end := int(f.For.D().Milliseconds())
	sample := func(t time.Time, stage string, ok bool) {
		b.faultStep(f, t, evidence.FaultProbe, "", &evidence.FaultSample{Stage: stage, Connection: "fresh", OK: ok})
	}
	sample(ms(-50), "before", true)
	b.faultStep(f, ms(0), evidence.FaultInject, "", nil)
	b.now = ms(1)
	var away []*simPod
	for _, p := range b.of(f.Target.Service, f.Target.Cluster) {
		away = append(away, p)
		b.put(&evidence.Event{Header: b.head("fleet"), Kind: evidence.EventPodEnded, At: p.PodRef, Message: string(f.Kind) + " " + f.Name})
		if b.hasty { // the controller makes another at once, and takes it away when it learns that none shall be there
			next := p.PodRef
			next.Pod, next.UID = p.Pod+"-hasty", p.UID+"-hasty"
			b.put(&evidence.Event{Header: b.head("fleet"), Kind: evidence.EventPodCreated, At: next})
			b.put(&evidence.Event{Header: b.head("fleet"), Kind: evidence.EventPodEnded, At: next, Message: string(f.Kind) + " " + f.Name})
		}
	}
	b.pods = slices.DeleteFunc(b.pods, func(p *simPod) bool { return slices.Contains(away, p) })
	b.faultStep(f, ms(2), evidence.FaultInjected, "", nil)
	sample(ms(60), "during", false)
	b.faultStep(f, ms(end), evidence.FaultRevert, "", nil)
	b.faultStep(f, ms(end+1), evidence.FaultReverted, "", nil)
	b.now = ms(end + 100)
	for i, p := range away {
		b.naming = func(n *simPod) {
			n.Pod, n.UID = fmt.Sprint(p.Pod, "-again"), fmt.Sprintf("uid-%s-again-%d", b.trial, i)
		}
		b.addPod(p.w, p.Cluster)
		b.naming = nil
	}
	sample(ms(end+200), "after", true)
}

func TestAGoodRecordOfRotationsAndAnOutagePassesEveryCheck(t *testing.T) {
	for _, mesh := range []scenarios.MeshName{scenarios.MeshIstio, scenarios.MeshLinkerd} {
		res := Evaluate(goodRecord(t, rotationScenario(mesh)))
		for id, v := range verdicts(res) {
			if v != "PASS" {
				t.Errorf("%s: %s: %s", mesh, id, v)
			}
		}
		for _, id := range []string{"rotation/leaves", "rotation/issuer", "failover/gone", "recovery/gone", "fault/gone"} {
			expectPass(t, res, id)
		}
		for _, c := range res.Checks {
			switch c.Kind {
			case KindRotation:
				if c.Observed != "300ms, 0 dropped" || c.Limit != "1s, 0 dropped" {
					t.Errorf("%s: %q of %q", c.ID, c.Observed, c.Limit)
				}
			case KindFailover:
				if !strings.HasPrefix(c.Observed, "1") && c.Observed != "0s" {
					t.Errorf("%s took %q", c.ID, c.Observed)
				}
			}
		}
	}
}

func TestAPodThatAControllerMadeDuringAnOutageIsNoneOfThoseThatWereGone(t *testing.T) {
	s := rotationScenario(scenarios.MeshIstio)
	hasty := func(b *builder) { b.hasty = true }
	for id, v := range verdicts(Evaluate(goodRecord(t, s, hasty))) {
		if v != "PASS" {
			t.Errorf("%s: %s", id, v)
		}
	}
	// It does not stand for one that was there: that one was killed for another reason.
	rec := goodRecord(t, s, hasty)
	for _, e := range rec.Events {
		if e.Message == "workload-outage gone" && !strings.HasSuffix(e.At.Pod, "-hasty") {
			e.Message = "pod-kill another"
		}
	}
	expectCheck(t, Evaluate(rec), "fault/gone", Invalid, "NoEffect")
}

func TestWithoutAMeshARotationIsAGapThatIsShown(t *testing.T) {
	res := Evaluate(goodRecord(t, rotationScenario(scenarios.MeshNone, scenarios.GapMTLS, scenarios.GapPolicy)))
	for _, id := range []string{"rotation/leaves", "rotation/issuer"} {
		if v := verdicts(res)[id]; !strings.HasPrefix(v, "GAP DeclaredGap") {
			t.Errorf("%s is %s", id, v)
		}
	}
	expectPass(t, res, "failover/gone")
	if res.Verdict != Pass {
		t.Errorf("%s: %s", res.Verdict, res.Message)
	}
	res = Evaluate(goodRecord(t, rotationScenario(scenarios.MeshNone)))
	expectCheck(t, res, "rotation/leaves", Fail, reasonNotTLS)
}
