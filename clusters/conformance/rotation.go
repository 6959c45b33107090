package conformance

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"testing"
	"time"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
)

// rotateIssuer: after it, pods get certificates of an issuer that evidence names as the cluster's own, beside the old one.
func rotateIssuer(t *testing.T, e *env) {
	east := e.fleet.Cluster("east")
	meshed := e.pod("east", "shop").Meshed()
	err := east.RotateIssuer(e.ctx)
	if !meshed {
		if !errors.Is(err, clusters.ErrNotPossible) {
			t.Errorf("a cluster without a mesh has another issuer: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	said := e.whole.events(evidence.EventTrust)
	if len(said) != 2 || said[1].Data[e.issuerOf("west")] != "" {
		t.Fatalf("%d events about trust, the last of %v", len(said), said[len(said)-1].Data)
	}
	old, both := certificates(t, said[0].Data[e.issuerOf("east")]), certificates(t, said[1].Data[e.issuerOf("east")])
	if len(old) != 1 || len(both) != 2 || both[0].Equal(old[0]) || !both[1].Equal(old[0]) {
		t.Fatalf("%d issuers before and %d after, want the new one and then the old one", len(old), len(both))
	}
	if err := both[0].CheckSignatureFrom(certificates(t, said[0].Data[evidence.TrustRoot])[0]); err != nil {
		t.Errorf("the new issuer is not of the same root: %v", err)
	}
	w, _ := e.scenario.Workload("shop")
	name := w.Host()
	if e.behindLinkerd() {
		name = w.LinkerdID()
	}
	// A new pod gets its certificate from the new issuer, as soon as the control plane has taken it up.
	for began := time.Now(); ; {
		if err := east.KillPod(e.ctx, e.pod("east", "shop").UID, "pod-kill for a new certificate"); err != nil {
			t.Fatal(err)
		}
		if err := east.WaitReady(e.ctx); err != nil {
			t.Fatal(err)
		}
		pods := e.pods("east", "shop")
		res := east.Handshake(e.ctx, pods[len(pods)-1], name)
		if res.Error != "" || len(res.Chain) == 0 {
			t.Fatalf("handshake: %+v", res)
		}
		leaf, err := x509.ParseCertificate(res.Chain[0])
		if err != nil {
			t.Fatal(err)
		}
		if leaf.CheckSignatureFrom(both[0]) == nil {
			break
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("a minute after its issuer was replaced, a new pod's certificate is issued by %s", leaf.Issuer)
		}
	}
	e.send(e.pod("east", "stock"), "shop", "/")
}

func certificates(t *testing.T, text string) (out []*x509.Certificate) {
	t.Helper()
	for rest := []byte(text); ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return out
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
}

func outage(t *testing.T, e *env) {
	east := e.fleet.Cluster("east")
	if _, err := east.Outage(e.ctx, "app", "shop", ""); err == nil {
		t.Error("an outage without a reason")
	}
	if _, err := east.Outage(e.ctx, "app", "nobody", "workload-outage gone"); err == nil {
		t.Error("an outage of a service that is not there")
	}
	before := map[string]bool{}
	for _, p := range e.pods("east", "shop") {
		before[p.UID] = true
	}
	restore, err := east.Outage(e.ctx, "app", "shop", "workload-outage gone")
	if err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); time.Since(began) < 2*time.Second; time.Sleep(100 * time.Millisecond) {
		for _, p := range e.pods("east", "shop") {
			if p.Ready {
				t.Fatalf("pod %s is ready during the outage", p.Pod)
			}
		}
	}
	if err := restore(e.ctx); err != nil {
		t.Fatal(err)
	}
	if err := east.WaitReady(e.ctx); err != nil {
		t.Fatal(err)
	}
	after := e.pods("east", "shop")
	if len(after) != len(before) {
		t.Errorf("%d pods after the outage, %d before", len(after), len(before))
	}
	for _, p := range after {
		if before[p.UID] {
			t.Errorf("pod %s survived", p.Pod)
		}
	}
	ended := 0
	for _, ev := range e.sink.events(evidence.EventPodEnded) {
		if before[ev.At.UID] && ev.Message == "workload-outage gone" {
			ended++
		}
	}
	if ended != len(before) {
		t.Errorf("%d of %d pods ended for the outage in evidence", ended, len(before))
	}
	e.send(e.pod("east", "stock"), "shop", "/")
}
