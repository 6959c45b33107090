package conformance

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
)

func readyPods(t *testing.T, e *env) {
	uids := map[string]bool{}
	for _, c := range e.fleet.Clusters() {
		pods, err := c.Pods(e.ctx)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range pods {
			got = append(got, p.Namespace+"/"+p.Service)
			if !p.Ready || p.Cluster != c.Name() || p.Pod == "" || p.UID == "" || p.ServiceAccount != p.Service {
				t.Errorf("%+v is not whole", p)
			}
			if uids[p.UID] {
				t.Errorf("UID %s stands twice", p.UID)
			}
			uids[p.UID] = true
		}
		want := []string{"app/shop", "app/shop", "app/stock", "edge/ingress", "outside/outsider"}
		if c.Name() == "west" {
			want = []string{"app/cart", "edge/ingress", "outside/outsider"}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("pods of %s: %s", c.Name(), d)
		}
	}
	for _, kind := range []string{evidence.EventPodCreated, evidence.EventPodReady} {
		if got := len(e.whole.events(kind)); got != len(uids) {
			t.Errorf("%d events %s for %d pods", got, kind, len(uids))
		}
	}
	if e.fleet.Cluster("north") != nil || e.fleet.Link("east", "north") != nil || e.fleet.Link("east", "east") != nil {
		t.Error("a cluster or a link that nobody asked for exists")
	}
}

func kill(t *testing.T, e *env) {
	before := e.pods("east", "shop")
	victim, survivor := before[0], before[1]
	east := e.fleet.Cluster("east")
	if err := east.KillPod(e.ctx, victim.UID, "pod-kill shop-dies"); err != nil {
		t.Fatal(err)
	}
	for _, p := range e.pods("east", "shop") {
		if p.UID == victim.UID {
			t.Error("the pod still stands")
		}
	}
	if resp := east.Send(e.ctx, victim, e.proof(victim, "stock", "/")); resp.Status != 0 || !strings.HasPrefix(resp.Error, "other: ") {
		t.Errorf("a dead pod sent: %+v", resp)
	}
	if err := east.KillPod(e.ctx, victim.UID, "pod-kill again"); err == nil {
		t.Error("the pod was killed twice")
	}
	if err := east.WaitReady(e.ctx); err != nil {
		t.Fatal(err)
	}
	after := e.pods("east", "shop")
	if len(after) != 2 || after[0].UID != survivor.UID || after[1].UID == victim.UID || !after[1].Ready {
		t.Errorf("after %+v were %+v killed, %+v stand", before, victim, after)
	}
	if after[1].Pod == victim.Pod {
		t.Errorf("the replacement has the name %s of the pod that it replaces", victim.Pod)
	}
	var reasons []string
	for _, ev := range e.sink.events(evidence.EventPodEnded) {
		if ev.At == victim.PodRef {
			reasons = append(reasons, ev.Message)
		}
	}
	if !slices.Equal(reasons, []string{"pod-kill shop-dies"}) {
		t.Errorf("reasons journalled: %q", reasons)
	}
	stock := e.pod("east", "stock")
	for range 4 { // what was learned of the dead pod is forgotten
		e.send(stock, "shop", "/")
	}
}

func scale(t *testing.T, e *env) {
	east := e.fleet.Cluster("east")
	for _, n := range []int32{3, 1, 2} { // in the end as many as it had
		for _, obj := range e.objects("east") {
			if d, ok := obj.(*appsv1.Deployment); ok && d.Name == "shop" {
				d.Spec.Replicas = &n
				if err := east.Apply(e.ctx, d); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := east.WaitReady(e.ctx); err != nil {
			t.Fatal(err)
		}
		if got := len(e.pods("east", "shop")); got != int(n) {
			t.Errorf("%d pods, want %d", got, n)
		}
	}
	e.send(e.pod("east", "stock"), "shop", "/")
}

func refusedObjects(t *testing.T, e *env) {
	east := e.fleet.Cluster("east")
	for name, obj := range map[string]clusters.Object{
		"a kind that nobody knows": func() clusters.Object {
			s := new(corev1.Secret)
			s.Name, s.Namespace = "s", "app"
			return s
		}(),
		"an object in a namespace that is not there": func() clusters.Object {
			a := new(corev1.ServiceAccount)
			a.Name, a.Namespace = "a", "nowhere"
			return a
		}(),
		"a Deployment whose selector misses its own pods": func() clusters.Object {
			for _, obj := range e.objects("east") {
				if d, ok := obj.(*appsv1.Deployment); ok && d.Name == "shop" {
					d.Spec.Selector.MatchLabels = map[string]string{"app": "other"}
					return d
				}
			}
			return nil
		}(),
	} {
		marker := new(corev1.Namespace)
		marker.Name = "marker"
		applied := len(e.sink.events(evidence.EventApplied))
		if err := east.Apply(e.ctx, marker, obj); err == nil {
			t.Errorf("%s was applied", name)
		} else if !strings.Contains(err.Error(), obj.GetName()) || !strings.Contains(err.Error(), "east") {
			t.Errorf("%s: the error does not name object and cluster: %v", name, err)
		}
		if got := len(e.sink.events(evidence.EventApplied)); got != applied {
			t.Errorf("%s: %d objects beside it were applied", name, got-applied)
		}
	}
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	if err := east.Apply(ctx, new(corev1.Namespace)); !errors.Is(err, context.Canceled) {
		t.Errorf("Apply with an ended context: %v", err)
	}
}

func noServiceAccount(t *testing.T, e *env) {
	east := e.fleet.Cluster("east")
	apply := func(account string) {
		t.Helper()
		for _, obj := range e.objects("east") {
			if d, ok := obj.(*appsv1.Deployment); ok && d.Name == "stock" {
				d.Name = "lonely"
				d.Spec.Template.Spec.ServiceAccountName = account
				if err := east.Apply(e.ctx, d); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	apply("nobody")
	ctx, cancel := context.WithTimeout(e.ctx, 2*time.Second)
	defer cancel()
	err := east.WaitReady(ctx)
	if err == nil {
		t.Fatal("ready without a service account")
	}
	for _, want := range []string{"lonely", "east", "nobody", "0 of 1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
	apply("stock")
	if err := east.WaitReady(e.ctx); err != nil {
		t.Errorf("with a service account: %v", err)
	}
}

func handshakeAndScrape(t *testing.T, e *env) {
	east := e.fleet.Cluster("east")
	shop := e.pod("east", "shop")
	trust := e.whole.events(evidence.EventTrust)
	if len(trust) != 1 {
		t.Fatalf("%d events about trust", len(trust))
	}
	pool := func(names ...string) *x509.CertPool {
		p := x509.NewCertPool()
		for _, n := range names {
			if b, _ := pem.Decode([]byte(trust[0].Data[n])); b == nil || !p.AppendCertsFromPEM([]byte(trust[0].Data[n])) {
				t.Fatalf("no certificate %s in evidence", n)
			}
		}
		return p
	}
	w, _ := e.scenario.Workload("shop")
	serverName := "outbound_.80_._.shop.app.svc.cluster.local"
	if e.behindLinkerd() {
		serverName = w.LinkerdID() // for any other the proxy terminates no TLS
	}
	res := east.Handshake(e.ctx, shop, serverName)
	pages, scrapeErr := east.Scrape(e.ctx, shop)
	if !shop.Meshed() {
		if res.Error != "not TLS" || res.Chain != nil {
			t.Errorf("a pod without a proxy answered the handshake: %+v", res)
		}
		if !errors.Is(scrapeErr, clusters.ErrNoProxy) {
			t.Errorf("Scrape of a pod without a proxy: %v", scrapeErr)
		}
		return
	}
	if scrapeErr != nil || len(pages) != 1 || pages[0].Proxy() != "" || pages[0].Err != nil || !strings.Contains(pages[0].Body, "# TYPE ") {
		t.Errorf("Scrape = %+v, %v", pages, scrapeErr)
	}
	if res.Error != "" || len(res.Chain) == 0 || !strings.HasPrefix(res.Version, "TLS 1.") || res.Cipher == "" || res.Resumed {
		t.Fatalf("handshake: %+v", res)
	}
	leaf, err := x509.ParseCertificate(res.Chain[0])
	if err != nil {
		t.Fatal(err)
	}
	opts := x509.VerifyOptions{Roots: pool(evidence.TrustRoot), Intermediates: pool(e.issuerOf("east")), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	if _, err := leaf.Verify(opts); err != nil {
		t.Errorf("the served chain does not lead to the root in evidence by the mesh's intermediate in the cluster: %v", err)
	}
	_ = pool(e.issuerOf("west"))
	var got []string
	for _, u := range leaf.URIs {
		got = append(got, u.String())
	}
	want := w.SPIFFEID()
	if e.behindLinkerd() {
		want = w.LinkerdID()
	}
	if got = append(got, leaf.DNSNames...); len(got) != 1 || got[0] != want {
		t.Errorf("identities %v, want %s", got, want)
	}

	outsider := e.pod("east", "outsider")
	if outsider.Meshed() {
		t.Error("the outsider is in the mesh")
	}
}

func closed(t *testing.T, e *env) {
	shop := e.pod("east", "shop")
	if err := e.fleet.Close(e.ctx); err != nil {
		t.Fatal(err)
	}
	said := e.sink.len()
	if resp := e.fleet.Cluster("east").Send(e.ctx, shop, e.proof(shop, "stock", "/")); resp.Status != 0 || resp.Error == "" {
		t.Errorf("a removed pod sent: %+v", resp)
	}
	if err := e.fleet.Cluster("east").Apply(e.ctx, e.objects("east")...); err == nil {
		t.Error("a removed cluster takes objects")
	}
	ended := map[string]int{}
	for _, ev := range e.whole.events(evidence.EventPodEnded) {
		ended[ev.At.UID]++
	}
	for _, ev := range e.whole.events(evidence.EventPodCreated) {
		if ended[ev.At.UID] != 1 {
			t.Errorf("pod %s ended %d times in evidence", ev.At.Pod, ended[ev.At.UID])
		}
	}
	time.Sleep(time.Second)
	if got := e.sink.len(); got != said {
		t.Errorf("%d pieces of evidence came after Close", got-said)
	}
	if err := e.fleet.Close(e.ctx); err != nil {
		t.Errorf("closing again: %v", err)
	}
}
