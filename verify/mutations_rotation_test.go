package verify

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/trust"
	"github.com/meshproof/meshproof/scenarios"
)

// looks lists the handshakes that watched a rotation, of one service.
func looks(t *testing.T, rec *evidence.Record, fault, service string) (before, after *evidence.Handshake) {
	t.Helper()
	var found []*evidence.Handshake
	for _, h := range rec.Handshakes {
		if h.Window == scenarios.RotationWindow(fault) && h.At.Service == service {
			found = append(found, h)
		}
	}
	if len(found) != 2 {
		t.Fatalf("%d handshakes with %s were made for %s, want 2", len(found), service, fault)
	}
	return found[0], found[1]
}

// loseSome makes some requests of a slice of time fail, from one moment to another after the start of the load.
func loseSome(t *testing.T, rec *evidence.Record, from, to time.Duration, n func(done int64) int64) {
	t.Helper()
	lost := int64(0)
	for _, k := range rec.Ticks {
		if k.AtMicros < from.Microseconds() || k.AtMicros >= to.Microseconds() {
			continue
		}
		d := n(k.Done)
		k.Errors += d
		k.Codes = map[string]int{"200": int(k.Done - k.Errors), "503": int(k.Errors)}
		for _, p := range rec.Phases {
			if p.Phase == k.Phase {
				p.Errors += d
				p.Codes = map[string]int{"200": int(p.Done - p.Errors), "503": int(p.Errors)}
			}
		}
		lost += d
	}
	if lost == 0 {
		t.Fatal("nothing was lost")
	}
}

func one(int64) int64        { return 1 }
func all(done int64) int64   { return done }
func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// carts lists the records of carts in a cluster between two moments after the start of the load.
func carts(t *testing.T, rec *evidence.Record, cluster string, from, to time.Duration) (out []*evidence.Request) {
	t.Helper()
	i := slices.IndexFunc(rec.Events, func(e *evidence.Event) bool { return e.Kind == evidence.EventLoadStart })
	zero := rec.Events[i].T
	for _, r := range rec.Requests {
		if r.At.Service == "cart" && r.At.Cluster == cluster && !r.T.Before(zero.Add(from)) && r.T.Before(zero.Add(to)) {
			out = append(out, r)
		}
	}
	if len(out) == 0 {
		t.Fatalf("the carts in %s recorded nothing then", cluster)
	}
	return out
}

func TestWhatSpoilsOrDisprovesARotation(t *testing.T) {
	for _, mesh := range []scenarios.MeshName{scenarios.MeshIstio, scenarios.MeshLinkerd} {
		spoilScenario(t, func() *scenarios.Scenario { return rotationScenario(mesh) }, rotationMutations(mesh))
	}
}

func rotationMutations(mesh scenarios.MeshName) []mutation {
	named := func(s string) string { return string(mesh) + ": " + s }
	return []mutation{
		{named("a pod serves its old certificate at the deadline"), func(t *testing.T, rec *evidence.Record) {
			before, after := looks(t, rec, "leaves", "cart")
			after.Chain, after.T = before.Chain, after.T.Add(ms(700))
		}, "rotation/leaves", Fail, "NotRotated"},
		{named("a pod serves its old certificate and is not watched until the deadline"), func(t *testing.T, rec *evidence.Record) {
			before, after := looks(t, rec, "leaves", "cart")
			after.Chain = before.Chain
		}, "rotation/leaves", Invalid, "NotWatched"},
		{named("a pod is late"), func(t *testing.T, rec *evidence.Record) {
			_, after := looks(t, rec, "leaves", "shop")
			after.T = after.T.Add(ms(800))
		}, "rotation/leaves", Fail, "TooSlow"},
		{named("a session was resumed"), func(t *testing.T, rec *evidence.Record) {
			_, after := looks(t, rec, "leaves", "cart")
			after.Resumed = true
		}, "rotation/leaves", Invalid, "Resumed"},
		{named("a new certificate of another root"), func(t *testing.T, rec *evidence.Record) {
			root, err := trust.NewRoot("another")
			must(t, err)
			ca, err := root.Issuer("another")
			must(t, err)
			leaf, err := ca.Issue(trust.Leaf{URI: cartID, Lifetime: time.Hour})
			must(t, err)
			_, after := looks(t, rec, "leaves", "cart")
			after.Chain = leaf.Certificate
		}, "rotation/leaves", Fail, "ForeignChain"},
		{named("a pod has no certificate"), func(t *testing.T, rec *evidence.Record) {
			before, after := looks(t, rec, "leaves", "cart")
			for _, h := range []*evidence.Handshake{before, after} {
				h.Chain, h.Error = nil, "not TLS"
			}
		}, "rotation/leaves", Fail, reasonNotTLS},
		{named("no pod has another certificate"), func(t *testing.T, rec *evidence.Record) {
			before, after := looks(t, rec, "issuer", "cart")
			after.Chain, after.T = before.Chain, after.T.Add(ms(700))
		}, "rotation/issuer", Invalid, "NoEffect"},
		{named("the new issuer is not in evidence"), func(_ *testing.T, rec *evidence.Record) {
			for _, e := range rec.Events {
				if e.Kind == evidence.EventTrust && e.Data["root"] == "" {
					e.Kind = evidence.EventApplied
				}
			}
		}, "rotation/issuer", Invalid, "NoEffect"},
		{named("the fault says that it was skipped, and pods have no certificate"), func(t *testing.T, rec *evidence.Record) {
			before, after := looks(t, rec, "issuer", "cart")
			for _, h := range []*evidence.Handshake{before, after} {
				h.Chain, h.Error = nil, "not TLS"
			}
			for _, f := range rec.Faults {
				if f.Name == "issuer" && f.Action == evidence.FaultInject {
					f.Action = evidence.FaultSkipped
				}
			}
		}, "rotation/issuer", Fail, reasonNotTLS},
		{named("a request is dropped while certificates change"), func(t *testing.T, rec *evidence.Record) {
			loseSome(t, rec, ms(750), ms(1000), one)
		}, "rotation/leaves", Fail, "Dropped"},
		{named("a request is dropped right after"), func(t *testing.T, rec *evidence.Record) {
			loseSome(t, rec, ms(1500), ms(1750), one)
		}, "rotation/issuer", Fail, "Dropped"},
		{named("an attempt is repeated by a proxy"), func(t *testing.T, rec *evidence.Record) {
			carts(t, rec, "west", ms(600), ms(1000))[0].Attempt = 2
		}, "rotation/issuer", Fail, "Dropped"},
		{named("a slice of the load is lost"), func(_ *testing.T, rec *evidence.Record) {
			rec.Ticks = slices.DeleteFunc(rec.Ticks, func(k *evidence.Tick) bool { return k.Index == 3 })
		}, "rotation/leaves", Invalid, "EvidenceLost"},

		{named("nobody served in place of those that were gone"), func(t *testing.T, rec *evidence.Record) {
			for _, r := range carts(t, rec, "east", ms(3000), ms(4000)) {
				r.Status = 503
			}
		}, "failover/gone", Fail, "NoFailover"},
		{named("those that were gone served"), func(t *testing.T, rec *evidence.Record) {
			carts(t, rec, "east", ms(3300), ms(4000))[0].At.Cluster = "west"
		}, "failover/gone", Invalid, "NoEffect"},
		{named("those that are about to go serve nobody"), func(t *testing.T, rec *evidence.Record) {
			for _, r := range carts(t, rec, "west", 0, ms(3000)) {
				r.At.Cluster = "east"
			}
		}, "failover/gone", Invalid, "NotWellBefore"},
		{named("all fails as long as they are gone"), func(t *testing.T, rec *evidence.Record) {
			loseSome(t, rec, ms(3000), ms(4000), all)
		}, "failover/gone", Fail, "NoFailover"},
		{named("those that were gone never serve again"), func(t *testing.T, rec *evidence.Record) {
			for _, r := range carts(t, rec, "west", ms(4000), time.Hour) {
				r.At.Cluster = "east"
			}
		}, "failover/gone", Fail, "NotBack"},
		{named("a pod is ready during the outage"), func(_ *testing.T, rec *evidence.Record) {
			for _, f := range rec.Faults {
				if f.Probe != nil && f.Probe.Stage == "during" {
					f.Probe.OK = true
				}
			}
		}, "fault/gone", Invalid, "NoEffect"},
		{named("pods end for another reason"), func(_ *testing.T, rec *evidence.Record) {
			for _, e := range rec.Events {
				if e.Message == "workload-outage gone" {
					e.Message = "evicted"
				}
			}
		}, "run/whole", Invalid, "PodEnded"},
	}
}

func TestWhatIsLostWithoutARotationIsNotLaidToIt(t *testing.T) {
	rec := goodRecord(t, rotationScenario(scenarios.MeshIstio))
	loseSome(t, rec, 0, ms(250), one)
	loseSome(t, rec, ms(750), ms(1000), one)
	expectPass(t, Evaluate(rec), "rotation/leaves")
	loseSome(t, rec, ms(1000), ms(1250), all) // and no more than that
	expectCheck(t, Evaluate(rec), "rotation/leaves", Fail, "Dropped")
}

func TestAFailoverThatTakesTooLongFails(t *testing.T) {
	s := rotationScenario(scenarios.MeshIstio)
	s.Spec.Expect.Failover[0].Within = scenarios.Duration(ms(400))
	rec := goodRecord(t, s)
	loseSome(t, rec, ms(3000), ms(3500), all)
	res := Evaluate(rec)
	expectCheck(t, res, "failover/gone", Fail, "TooSlow")
	for _, f := range res.Faults {
		if f.Name == "gone" && f.FailoverMicros != 500_000 {
			t.Errorf("the failover took %d µs", f.FailoverMicros)
		}
	}
}

func TestAPodThatGoesBackToItsOldCertificateHasNotChangedIt(t *testing.T) {
	rec := goodRecord(t, rotationScenario(scenarios.MeshIstio), func(b *builder) { b.relapse = "leaves" })
	expectCheck(t, Evaluate(rec), "rotation/leaves", Fail, "NotRotated")
}

func TestNoRotationOrFailoverPassesWithoutAnyPieceOfTheEvidenceThatItUsed(t *testing.T) {
	for _, mesh := range []scenarios.MeshName{scenarios.MeshIstio, scenarios.MeshLinkerd} {
		t.Run(string(mesh), func(t *testing.T) {
			t.Parallel()
			s := rotationScenario(mesh)
			s.Spec.Expect.MTLS, s.Spec.Expect.Policy = nil, nil // proved from the same record elsewhere
			takeAway(t, goodRecord(t, s), func(id string) bool {
				kind, _, _ := strings.Cut(id, "/")
				return slices.Contains([]string{KindRotation, KindFailover, KindFault, KindRecovery}, kind)
			}, 30)
		})
	}
}
