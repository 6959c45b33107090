package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/trust"
	"github.com/meshproof/meshproof/scenarios"
)

// Handshake implements clusters.Cluster.
func (c *fakeCluster) Handshake(_ context.Context, to clusters.Pod, _ string) clusters.HandshakeResult {
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	leaf := c.leaves[to.UID]
	if leaf == nil {
		return clusters.HandshakeResult{Error: "not TLS"}
	}
	return clusters.HandshakeResult{Version: "TLS 1.3", Chain: [][]byte{leaf}}
}

// RotateIssuer implements clusters.Cluster.
func (c *fakeCluster) RotateIssuer(context.Context) error {
	c.world.say("rotate")
	return c.rotates()
}

// Outage implements clusters.Cluster.
func (c *fakeCluster) Outage(_ context.Context, namespace, service, reason string) (func(context.Context) error, error) {
	c.world.say("outage " + namespace + "/" + service + ": " + reason)
	if c.outageFails != nil {
		return nil, c.outageFails
	}
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	var gone []clusters.Pod
	c.pods = slices.DeleteFunc(c.pods, func(p clusters.Pod) bool {
		if p.Service == service {
			gone = append(gone, p)
		}
		return p.Service == service
	})
	return func(context.Context) error {
		c.world.say("restore")
		time.AfterFunc(c.respawn, func() {
			c.world.mu.Lock()
			defer c.world.mu.Unlock()
			for _, p := range gone {
				c.add(p.Pod+"-again", service, true)
			}
		})
		return nil
	}, nil
}

// certificates gives every pod a leaf of an issuer.
func (w *world) certificates(t *testing.T, by *trust.Issuer, service string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cluster.leaves == nil {
		w.cluster.leaves = map[string][]byte{}
	}
	for _, p := range w.cluster.pods {
		if p.Service != service {
			continue
		}
		leaf, err := by.Issue(trust.Leaf{DNS: p.Pod, Lifetime: time.Hour})
		if err != nil {
			t.Error(err)
			return
		}
		w.cluster.leaves[p.UID] = leaf.Certificate[0]
	}
}

func issuer(t *testing.T) *trust.Issuer {
	t.Helper()
	root, err := trust.NewRoot("root")
	if err != nil {
		t.Fatal(err)
	}
	i, err := root.Issuer("east")
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func rotate(kind scenarios.FaultKind, at, within time.Duration) Planned {
	return Planned{Services: []string{"cart"}, Within: within, Fault: scenarios.Fault{
		Name: "new", Kind: kind, Target: &scenarios.FaultTarget{Cluster: "east"}, At: scenarios.Duration(at),
	}}
}

func TestALeafRotationIsWatchedUntilEveryPodHasAnotherCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, by := newWorld(), issuer(t)
		w.certificates(t, by, "cart")
		time.AfterFunc(4050*time.Millisecond, func() { w.certificates(t, by, "cart") }) // 3.05 s after the zero of the plan, between two looks
		start, err := run(t, w, rotate(scenarios.LeafRotation, 2*time.Second, 5*time.Second))
		if err != nil || w.messages() != "" {
			t.Fatal(err, w.messages())
		}
		if got := w.of(evidence.FaultInject)[0].T.Sub(start); got != 2*time.Second {
			t.Errorf("it began after %v", got)
		}
		if got := w.of(evidence.FaultReverted)[0].T.Sub(start); got < 3*time.Second || got > 3*time.Second+2*rotationPause {
			t.Errorf("it was over after %v, and certificates changed after 3s", got)
		}
		first, last := map[string]evidence.Handshake{}, map[string]evidence.Handshake{}
		for _, h := range w.handshakes {
			if h.Window != "rotation/new" || h.Src != src || h.ServerName != "cart.app" || h.At.Service != "cart" {
				t.Errorf("a handshake is recorded as %+v", h)
			}
			if _, ok := first[h.At.UID]; !ok {
				first[h.At.UID] = h
			}
			last[h.At.UID] = h
		}
		if len(first) != 3 {
			t.Fatalf("%d pods were asked, want those of cart, 3", len(first))
		}
		for uid, f := range first {
			if l := last[uid]; string(f.Chain[0]) == string(l.Chain[0]) || !f.T.Before(start.Add(2*time.Second)) || !l.T.After(start.Add(3*time.Second)) {
				t.Errorf("pod %s was seen at %v and at %v, with another certificate: %v", uid, f.T.Sub(start), l.T.Sub(start), string(f.Chain[0]) != string(l.Chain[0]))
			}
		}
		w.before(t, "active new true", "active new false")
	})
}

func TestAPodThatKeepsItsCertificateIsSeenToAtTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.certificates(t, issuer(t), "cart")
		start, err := run(t, w, rotate(scenarios.LeafRotation, time.Second, 2*time.Second))
		if err != nil || w.messages() != "" {
			t.Fatal(err, w.messages())
		}
		seen := map[string]bool{}
		for _, h := range w.handshakes {
			if !h.T.Before(start.Add(3 * time.Second)) {
				seen[h.At.UID] = true
			}
		}
		if over := w.of(evidence.FaultReverted); len(seen) != 3 || len(over) != 1 || over[0].T.Sub(start) > 4*time.Second {
			t.Errorf("%d pods were seen at the deadline; the end: %v", len(seen), over)
		}
	})
}

func TestAnIssuerRotationIsOverWhenEveryPodIsServedByTheNewOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, by := newWorld(), issuer(t)
		w.certificates(t, by, "cart")
		w.cluster.rotates = func() error {
			time.AfterFunc(time.Second, func() { w.certificates(t, by, "cart") }) // renewed by the old one still
			time.AfterFunc(2*time.Second, func() {
				next, err := by.Successor()
				if err != nil {
					t.Error(err)
					return
				}
				w.certificates(t, next, "cart")
			})
			return nil
		}
		start, err := run(t, w, rotate(scenarios.IssuerRotation, time.Second, 9*time.Second))
		if err != nil || w.messages() != "" {
			t.Fatal(err, w.messages())
		}
		if got := w.of(evidence.FaultReverted)[0].T.Sub(start); got < 3*time.Second || got > 3*time.Second+2*rotationPause {
			t.Errorf("it was over after %v, and pods had certificates of the new issuer after 3s", got)
		}
		w.before(t, "intend new", "inject new")
		w.before(t, "rotate", "injected new")
	})
}

func TestARotationThatCannotBeIsSkippedOrFails(t *testing.T) {
	for name, c := range map[string]struct {
		spoil  func(*testing.T, *world)
		action string
		want   string
	}{
		"nobody speaks TLS": {func(_ *testing.T, w *world) { w.cluster.leaves = nil }, evidence.FaultSkipped, "no pod of east speaks TLS"},
		"no issuer": {func(_ *testing.T, w *world) {
			w.cluster.rotates = func() error { return fmt.Errorf("%w: without a mesh", clusters.ErrNotPossible) }
		}, evidence.FaultSkipped, "without a mesh"},
		"an issuer that is not taken": {func(_ *testing.T, w *world) {
			w.cluster.rotates = func() error { return errors.New("forbidden") }
		}, evidence.FaultFailed, "rotating the issuer: forbidden"},
		"no pods": {func(_ *testing.T, w *world) { w.cluster.pods = nil }, evidence.FaultFailed, "there is no pod of east"},
		"pods that cannot be listed": {func(_ *testing.T, w *world) {
			w.cluster.listFails = func() error { return errors.New("timeout") }
		}, evidence.FaultFailed, "listing the pods of cluster east: timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.certificates(t, issuer(t), "cart")
				c.spoil(t, w)
				if _, err := run(t, w, rotate(scenarios.IssuerRotation, time.Second, time.Second)); err != nil {
					t.Fatal(err)
				}
				got := w.of(c.action)
				if len(got) != 1 || !strings.Contains(got[0].Message, c.want) || len(w.of(evidence.FaultInjected)) > 0 {
					t.Errorf("%+v, want %q", got, c.want)
				}
			})
		})
	}
}

func away(at, lasts time.Duration) Planned {
	return Planned{Namespace: "app", Replicas: 3, Fault: scenarios.Fault{
		Name: "gone", Kind: scenarios.WorkloadOutage, Target: &scenarios.FaultTarget{Service: "cart", Cluster: "east"},
		At: scenarios.Duration(at), For: scenarios.Duration(lasts),
	}}
}

func TestAnOutageLastsAsLongAsPlannedAndIsWatchedUntilTheServiceIsWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		start, err := run(t, w, away(2*time.Second, time.Second))
		if err != nil || w.messages() != "" {
			t.Fatal(err, w.messages())
		}
		if from, to := w.of(evidence.FaultInjected)[0].T.Sub(start), w.of(evidence.FaultRevert)[0].T.Sub(start); from != 2*time.Second || to != 3*time.Second {
			t.Errorf("it lasted from %v to %v", from, to)
		}
		ok := map[string][]bool{}
		for _, r := range w.of(evidence.FaultProbe) {
			ok[r.Probe.Stage] = append(ok[r.Probe.Stage], r.Probe.OK)
			if r.Target != "cart@east" {
				t.Errorf("a sample is of %q", r.Target)
			}
		}
		if len(ok[stageBefore]) == 0 || slices.Contains(ok[stageBefore], false) || len(ok[stageDuring]) < MinSamples || slices.Contains(ok[stageDuring], true) ||
			!slices.Contains(ok[stageAfter], true) {
			t.Errorf("samples: %v", ok)
		}
		w.before(t, "intend gone", "inject gone")
		w.before(t, "inject gone", "outage app/cart: workload-outage gone")
		w.before(t, "revert gone", "restore")
		w.before(t, "reverted gone", "settle gone")
	})
}

func TestAnOutageIsUndoneWhenTheRunIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(1500*time.Millisecond, stop)
		err := Run(ctx, w.env(), []Planned{away(time.Second, time.Minute)}, time.Now())
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		w.before(t, "outage app/cart: workload-outage gone", "restore")
		w.before(t, "restore", "settle gone")
	})
}

func TestAnOutageThatCannotBeTakenBackStaysInTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.cluster.outageFails = errors.New("the API server is away")
		if _, err := run(t, w, away(time.Second, time.Second)); err != nil {
			t.Fatal(err)
		}
		if m := w.messages(); !strings.Contains(m, "injecting: the API server is away") {
			t.Errorf("it says %q", m)
		}
		if slices.Contains(w.log, "settle gone") {
			t.Error("what may have been changed is settled")
		}
	})
}

func TestAnOutageOfAServiceThatIsNotWholeIsNotInjected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := away(time.Second, time.Second)
		p.Replicas = 4
		if _, err := run(t, w, p); err != nil {
			t.Fatal(err)
		}
		if m := w.messages(); !strings.Contains(m, "fewer than 4 pods of cart@east are ready") || len(w.of(evidence.FaultInject)) > 0 {
			t.Errorf("it says %q", m)
		}
	})
}
