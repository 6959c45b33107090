package verify

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// recordedLayered lays recordings into a record of mesh layered. The gateways of the recordings have the service account
// gw, and every gateway of Meshproof is named ingress: the pages are read with that name in them.
func recordedLayered(t *testing.T, gateway scenarios.LayeredGateway, window string, pods []recordedPod, envoy recordedPod, probes ...*evidence.Probe) *trial {
	t.Helper()
	rec, s, id := recordOfRecordings(t, scenarios.MeshLayered, window, pods, probes...)
	s.Spec.Meshes[0].Layered = &scenarios.Layered{Gateway: gateway}
	if envoy.before != "" {
		more, _, _ := recordOfRecordings(t, scenarios.MeshLayered, window, []recordedPod{envoy})
		for _, p := range more.Scrapes {
			p.Proxy = "gateway"
		}
		rec.Scrapes = append(rec.Scrapes, more.Scrapes...)
		if gateway == scenarios.GatewayDirect {
			rec.Pods = append(rec.Pods, more.Pods...)
		}
		rec.Accesses = append(rec.Accesses, more.Accesses...)
	}
	named := strings.NewReplacer("ns/edge/sa/gw", "ns/edge/sa/ingress", "gw.edge.serviceaccount", "ingress.edge.serviceaccount")
	for _, p := range rec.Scrapes {
		p.Body = named.Replace(p.Body)
	}
	return index(rec, s, []evidence.Trial{id})[id]
}

var recordedEnvoy = recordedPod{scenarios.IngressName, "ingress-0", "istio-gateway-before.prom", "istio-gateway-after.prom", "istio-gateway-access.jsonl"}

// recordedRefused are the requests of the meshed gateway of the recordings.
func recordedRefused() (out []*evidence.Probe) {
	for _, p := range recordedProbes() {
		if p.From.Service == "gw" {
			p.From.Service = scenarios.IngressName
		}
		out = append(out, p)
	}
	return out
}

func TestARecordedGatewayThatConnectsToPodsIsNotBalancedByLinkerd(t *testing.T) {
	pods := append(slices.Clone(strictLinkerd[:3]), recordedPod{scenarios.IngressName, "ingress-0", "linkerd-gateway-before.prom", "linkerd-gateway-after.prom", ""})
	x := recordedLayered(t, scenarios.GatewayMeshed, firstWindow, pods, recordedEnvoy, recordedRefused()...)
	ingress, _ := x.s.Workload(scenarios.IngressName)
	if p := poolOf(t, x, ingress.Name); len(p.tally.lack) > 0 {
		t.Errorf("beside Envoy's page, Linkerd's is not read: %v", findings(p.tally.lack))
	}
	var whole tally
	if x.restarts(&whole); len(whole.lack) > 0 {
		t.Errorf("two processes in one pod are taken for a restart: %v", findings(whole.lack))
	}
	out := x.departed(&tally{}, x.rounds[0], ingress)
	if len(out) != 1 || out[0].total() != 10 || out[0].parents[parentEndpoint] != 10 {
		t.Fatalf("departed: %+v", out)
	}
	var service, endpoint tally
	out[0].judge(&service, scenarios.BalancingService)
	if d := findings(service.disproof); len(d) != 1 || !strings.HasPrefix(d[0], "BalancingNotInUse: the gateway of kind sent 10 requests in proof window before/fresh to pods") {
		t.Errorf("where Linkerd should balance: %v", d)
	}
	out[0].judge(&endpoint, scenarios.BalancingEndpoint)
	if d := findings(append(endpoint.disproof, endpoint.lack...)); len(d) > 0 {
		t.Errorf("where Envoy should: %v", d)
	}
}

func TestARecordedGatewayThatConnectsToTheServiceIsBalancedByLinkerd(t *testing.T) {
	x := recordedLayered(t, scenarios.GatewayMeshed, windowLoad, []recordedPod{{scenarios.IngressName, "ingress-0", "", "linkerd-gateway-service-level.prom", ""}}, recordedPod{})
	ingress, _ := x.s.Workload(scenarios.IngressName)
	arrive := func(n int) {
		for i := range n {
			x.addRequest(&evidence.Request{ID: fmt.Sprint("load-", i), Window: windowLoad, Caller: "ingress@kind", At: evidence.PodRef{Cluster: "kind", Service: "web"}, Status: 200})
		}
	}
	for _, c := range []struct {
		more int // requests that arrived
		by   scenarios.LayeredBalancing
		want []string
	}{
		{20, scenarios.BalancingService, nil},
		{0, scenarios.BalancingEndpoint, []string{"BalancingInUse"}},
		{1, scenarios.BalancingService, []string{"MetricsDisagree"}},
	} {
		arrive(c.more)
		out := x.departedUnderLoad(&tally{}, ingress)
		if len(out) != 1 {
			t.Fatalf("departed: %+v", out)
		}
		var got tally
		out[0].judge(&got, c.by)
		var reasons []string
		for _, f := range append(got.disproof, got.lack...) {
			reasons = append(reasons, f.reason)
		}
		if d := cmp.Diff(c.want, reasons); d != "" {
			t.Errorf("%s, %d arrived (-want +got):\n%s\n%v", c.by, out[0].total(), d, findings(got.lack))
		}
	}
}

func TestARecordedDirectGatewayIsKnownByItsSPIFFEID(t *testing.T) {
	x := recordedLayered(t, scenarios.GatewayDirect, firstWindow, strictLinkerd[:3], recordedEnvoy)
	web, _ := x.s.Workload("web")
	ingress, _ := x.s.Workload(scenarios.IngressName)
	x.rounds = x.rounds[:1]
	let := map[client]int64{}
	for _, c := range poolOf(t, x, "web").requests {
		if c.allowed && c.n > 0 {
			let[c.client] += c.n
		}
	}
	if want := map[client]int64{{recordedCli, true}: 100, {ingress.SPIFFEID(), true}: 50}; !maps.Equal(let, want) {
		t.Errorf("let in %v, want %v", let, want)
	}
	var got tally
	x.proxyMetrics(&got, edge{ingress, web})
	if len(got.disproof) > 0 {
		t.Errorf("the gateway is taken for a stranger: %v", findings(got.disproof))
	}
	if d := findings(got.lack); len(d) != 1 || !strings.Contains(d[0], "counted 50 requests of "+ingress.SPIFFEID()) {
		t.Errorf("%v", d)
	}
	// The gateway's Envoy is heard, and nobody else's log.
	n := 0
	for id, lines := range x.lines {
		for _, l := range lines {
			n++
			if l.At.Service != scenarios.IngressName || l.code != 200 {
				t.Errorf("request %s: %+v", id, l.accessLine)
			}
		}
	}
	if n != 50 {
		t.Errorf("%d requests in the gateway's log, want 50", n)
	}
	var whole tally
	if x.restarts(&whole); len(whole.lack) > 0 {
		t.Errorf("two processes in one pod are taken for a restart: %v", findings(whole.lack))
	}
}
