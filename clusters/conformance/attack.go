package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/loadgen"
	"github.com/meshproof/meshproof/scenarios"
)

// attackRate is the load of the attacks here, in requests per second.
const attackRate = 20

// attack is a load of shop in east on cart, which runs in west alone.
func (e *env) attack(d time.Duration) loadgen.Attack {
	e.ids++
	return loadgen.Attack{
		Trial: evidence.Trial{Block: 1, Mesh: string(e.mesh.Name())}, Base: fmt.Sprintf("http://%s:%d", e.host("cart"), scenarios.ServicePort), Host: e.host("cart"),
		Caller: "shop@east", IDPrefix: fmt.Sprintf("load%d", e.ids), Seed: 7, Start: time.Now().Add(500 * time.Millisecond),
		Traffic: scenarios.Traffic{
			Name: "inner", From: "shop", To: "cart", Cluster: "east", Timeout: scenarios.Duration(time.Minute), MaxInFlight: 100,
			Requests: []scenarios.RequestKind{{Method: "GET", Path: "/items/7", Weight: 1}},
			Profile:  scenarios.Profile{Stages: []scenarios.Stage{{Name: "calm", Rate: attackRate, For: scenarios.Duration(d)}, {Name: "late", Rate: attackRate, For: scenarios.Duration(time.Second)}}},
		},
	}
}

func attackAcross(t *testing.T, e *env) {
	shop, cart := e.pod("east", "shop"), e.pod("west", "cart")
	reports, early := 0, false
	a := e.attack(time.Second)
	if err := e.fleet.Cluster("east").Attack(e.ctx, shop, a, func(p loadgen.Progress) {
		reports++
		_, phases := e.sink.load("inner")
		early = early || len(phases) < 2
	}); err != nil {
		t.Fatal(err)
	}
	if reports == 0 || !early {
		t.Errorf("%d reports of progress, before the end %v", reports, early)
	}
	const total = 2 * attackRate
	ticks, phases := e.sink.load("inner")
	done := int64(0)
	for i, k := range ticks {
		done += k.Done
		if k.Index != i || k.Errors != 0 {
			t.Errorf("slice %d: %+v", i, k)
		}
	}
	if len(phases) != 2 || done != total {
		t.Fatalf("%d phases, and %d of %d requests in %d slices of time", len(phases), done, total, len(ticks))
	}
	for _, p := range phases {
		h, err := evidence.DecodeHistogram(p.Intended)
		if err != nil || h.TotalCount() != attackRate || p.Done != attackRate || p.Errors != 0 || p.Codes["200"] != attackRate || p.Trial.Mesh != string(e.mesh.Name()) {
			t.Errorf("%+v, %v", p, err)
			continue
		}
		// Whatever else it takes, an answer comes from the other cluster and not from this process or the own one.
		if least := time.Duration(h.Min()) * time.Microsecond; least < 2*latency-latency/10 {
			t.Errorf("phase %s: a request took %s, and both ways take %s", p.Phase, least, 2*latency)
		}
	}
	for n := range total {
		rs := e.recorded(fmt.Sprintf("%s-inner-%d", a.IDPrefix, n))
		if len(rs) != 1 {
			t.Fatalf("request %d has %d records", n, len(rs))
		}
		r := rs[0]
		if r.Caller != "shop@east" || r.Window != "load" || r.At != cart.PodRef || r.Path != "/items/7" || r.Status != 200 {
			t.Fatalf("request %d was recorded as %+v", n, r)
		}
		w, _ := e.scenario.Workload("shop")
		if peer := r.XFCC + r.L5dClientID; cart.Meshed() && !containsAny(peer, w.SPIFFEID(), w.LinkerdID()) || !cart.Meshed() && peer != "" {
			t.Fatalf("request %d came from %q", n, peer)
		}
	}
}

func attackStopped(t *testing.T, e *env) {
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	err := e.fleet.Cluster("east").Attack(ctx, e.pod("east", "shop"), e.attack(time.Hour), func(p loadgen.Progress) {
		if p.Elapsed > time.Second {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a stopped load: %v", err)
	}
	ticks, phases := e.sink.load("inner")
	sent := int64(0)
	for _, k := range ticks {
		sent += k.Sent
	}
	if len(phases) != 1 || phases[0].Done == 0 || phases[0].Done >= phases[0].Offered || sent < attackRate/2 {
		t.Errorf("a stopped load said that it sent %d; phases %+v", sent, phases)
	}
	// It has made way for another.
	if err := e.fleet.Cluster("east").Attack(e.ctx, e.pod("east", "shop"), e.attack(time.Second), nil); err != nil {
		t.Error(err)
	}
}

func attackLost(t *testing.T, e *env) {
	east, shop := e.fleet.Cluster("east"), e.pod("east", "shop")
	killed := false
	err := east.Attack(e.ctx, shop, e.attack(time.Hour), func(p loadgen.Progress) {
		if p.Elapsed > time.Second && !killed {
			killed = true
			if err := east.KillPod(e.ctx, shop.UID, "the test of a lost sender"); err != nil {
				t.Error(err)
			}
		}
	})
	if !errors.Is(err, clusters.ErrSenderLost) {
		t.Errorf("a load whose pod was killed: %v", err)
	}
	// A pod that notices its end may say what it had sent by then.
	if _, phases := e.sink.load("inner"); slices.ContainsFunc(phases, func(p *evidence.Phase) bool { return p.Done >= p.Offered }) {
		t.Errorf("it finished %+v", phases)
	}
	if err := east.Attack(e.ctx, shop, e.attack(time.Second), nil); err == nil {
		t.Error("a pod that is gone sent a load")
	}
}

func containsAny(s string, parts ...string) bool {
	return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(s, p) })
}
