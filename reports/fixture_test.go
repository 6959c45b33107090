package reports

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/verify"
)

var zero = time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)

// fixture is a run of two meshes with three phases and three faults: istio has a hole in its policy and misses a
// budget, none shows its declared gaps, and one fault had no effect.
func fixture(t *testing.T) (*evidence.Record, *verify.Result) {
	t.Helper()
	return record(t, 1), result(1)
}

type phaseSpec struct {
	name     string
	from, to int // seconds
	rate     float64
}

var (
	phaseSpecs = []phaseSpec{{"warm", 0, 4, 50}, {"spike", 4, 8, 400}, {"cool", 8, 14, 50}}
	twoMeshes  = []string{"none", "istio"}
	fourMeshes = []string{"none", "istio", "linkerd", "layered"}
)

func manifest(blocks int) evidence.Manifest { return manifestOf(twoMeshes, blocks) }

func manifestOf(meshes []string, blocks int) evidence.Manifest {
	var entries []string
	for _, m := range meshes {
		entries = append(entries, fmt.Sprintf(`{"name":%q}`, m))
	}

	m := evidence.Manifest{
		SchemaVersion: evidence.SchemaVersion,
		RunID:         "checkout-spike-20260314T092653Z", Version: "v0.1.0", GoVersion: "go1.26.0", Started: zero, Seed: 7,
		Driver: "embedded", Modelled: true,
		Models:     []string{"Istio sidecars interpret AuthorizationPolicy, PeerAuthentication and DestinationRule.", "Pod scheduling is immediate; there is no kubelet."},
		Components: map[string]string{"istio (modelled)": "1.31", "kubernetes (modelled)": "1.35"},
		Host:       evidence.Host{OS: "linux", Arch: "amd64", CPUs: 2, MemoryMiB: 3932, Kernel: "6.1.0"},
		Scenario: json.RawMessage(fmt.Sprintf(`{"apiVersion":"meshproof/v1alpha1","kind":"Scenario",
			"metadata":{"name":"checkout-spike","description":"A shop on two clusters takes an eightfold spike while a cart pod dies and the network between the clusters slows down."},
			"spec":{"meshes":[%s],"blocks":%d,
			"topology":{"clusters":[{"name":"east"},{"name":"west"}],"services":[{"name":"shop"},{"name":"cart"},{"name":"stock"}]},
			"expect":{"latency":[{"traffic":"buyers","phase":"spike","p99":"250ms"},{"traffic":"buyers","phase":"warm","p50":"20ms","p99":"100ms"}]}}}`, strings.Join(entries, ","), blocks)),
		Command: []string{"meshproof", "run", "checkout-spike", "--seed", "7"},
	}
	for range blocks {
		m.Order = append(m.Order, backwards(meshes))
	}
	return m
}

// backwards is the order in which the fixture's meshes ran.
func backwards(meshes []string) []string {
	order := slices.Clone(meshes)
	slices.Reverse(order)
	return order
}

func record(t *testing.T, blocks int) *evidence.Record {
	t.Helper()
	return recordOf(t, twoMeshes, blocks)
}

func recordOf(t *testing.T, meshes []string, blocks int) *evidence.Record {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "evidence")
	w, err := evidence.Create(dir, manifestOf(meshes, blocks))
	if err != nil {
		t.Fatal(err)
	}
	add := func(i evidence.Item) {
		t.Helper()
		if err := w.Append(i); err != nil {
			t.Fatal(err)
		}
	}
	for b := 1; b <= blocks; b++ {
		for mi, mesh := range backwards(meshes) {
			tr := evidence.Trial{Block: b, Mesh: mesh}
			start := zero.Add(time.Duration(b*50*len(meshes)+mi*40) * time.Second)
			h := func(src string, after time.Duration) evidence.Header {
				return evidence.Header{Trial: tr, Src: src, T: start.Add(after)}
			}
			add(&evidence.Event{Header: h("runner", 0), Kind: evidence.EventTrialStart})
			for i := range 4 {
				add(&evidence.Request{
					Header: h("pod/west/stock-0", time.Duration(i)*time.Second), ID: fmt.Sprintf("%s-%d", mesh, i), Window: "before/fresh", Caller: "cart@east",
					At:     evidence.PodRef{Cluster: "west", Namespace: "app", Service: "stock", Pod: "stock-0", UID: "0b7c"},
					Method: "DELETE", Path: "/items/1", XFCC: `By=spiffe://cluster.local/ns/app/sa/stock;URI="spiffe://cluster.local/ns/app/sa/cart"`,
					Remote: "127.0.0.1:40112", Status: 200,
				})
				add(&evidence.Probe{
					Header: h("probe", time.Duration(i)*time.Second), ID: fmt.Sprintf("%s-%d", mesh, i), Window: "before/fresh", Cell: "cart@east->stock DELETE /items/1 (fresh)",
					Role: "ask", Twin: "t1", From: evidence.PodRef{Cluster: "east", Namespace: "app", Service: "cart", Pod: "cart-0", UID: "9a1d"},
					To: "stock", Method: "DELETE", Path: "/items/1", Connection: "fresh", Status: 200, Server: "istio-envoy", Micros: 2310,
				})
			}
			ticks(add, h, mi)
			add(&evidence.Event{Header: h("runner", 32500*time.Millisecond), Kind: evidence.EventTrialEnd})
			if err := w.EndTrial(tr); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	rec, err := evidence.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	// The seal holds the time at which it was made, so a sealed record would differ from run to run.
	rec.Sealed, rec.Root, rec.Problems = true, "5d41402abc4b2a76b9719d911017c592", nil
	return rec
}

// ticks is a load in quarters of a second, with a spike and with errors and slowness while faults last.
func ticks(add func(evidence.Item), h func(string, time.Duration) evidence.Header, mesh int) {
	i := 0
	for _, p := range phaseSpecs {
		for q := p.from * 4; q < p.to*4; q++ {
			at := float64(q) / 4
			rate := p.rate
			if p.name == "spike" {
				rate = 50 + 350*(1-math.Abs(at-6)/2)
			}
			offered := int64(rate / 4)
			tick := &evidence.Tick{
				Header: h("loadgen", time.Duration(at*1e9)), Traffic: "buyers", Phase: p.name, Index: i, AtMicros: int64(at * 1e6), Micros: 250000,
				Offered: offered, Sent: offered, Done: offered, P50Micros: 6000 + int64(1500*mesh) + int64(q%3)*310, P99Micros: 17000 + int64(q%5)*1900,
			}
			if at >= 5 && at < 6.2 {
				tick.Sent -= offered / 12
				tick.Errors = offered / int64(9+5*mesh)
				tick.P99Micros *= 9
			}
			if at >= 9 && at < 11 {
				tick.P50Micros += 40000
				tick.P99Micros += 80000
			}
			add(tick)
			i++
		}
	}
}

func result(blocks int) *verify.Result { return resultOf(twoMeshes, blocks) }

// resultOf is what the record of such a run proves. Of four meshes linkerd lets other claims in, as it declares, and
// budgets over a baseline are asked for, which one block cannot judge.
func resultOf(meshes []string, blocks int) *verify.Result {
	res := &verify.Result{Verdict: verify.Fail, Reason: "PolicyHole", Message: "istio: cart may delete items of stock, which the policy forbids.", Modelled: true}
	ref := func(s evidence.Stream, lines ...int) (out []evidence.Ref) {
		for _, l := range lines {
			out = append(out, evidence.Ref{Stream: s, Line: l})
		}
		return out
	}
	for b := 1; b <= blocks; b++ {
		for mi, mesh := range meshes {
			tr := evidence.Trial{Block: b, Mesh: mesh}
			none := mesh == "none"
			first := ((b-1)*len(meshes)+len(meshes)-1-mi)*4 + 1 // of the trial's requests
			check := func(kind, subject string, v verify.Verdict, reason, message, observed, limit string, ws ...verify.Witness) {
				res.Checks = append(res.Checks, verify.Check{
					ID: kind + "/" + subject, Kind: kind, Subject: subject, Trial: tr, Verdict: v, Reason: reason, Message: message,
					Observed: observed, Limit: limit, Witnesses: ws, Used: ref(evidence.Requests, first, first+1),
				})
			}
			for _, edge := range []string{"ingress→shop", "shop→cart", "shop→stock"} {
				if none {
					check(verify.KindMTLS, edge, verify.Gap, "DeclaredGap", "Declared gap, demonstrated: 24 requests crossed in plaintext.", "plaintext", "",
						verify.Witness{Name: "refused plaintext", Verdict: verify.Gap, Message: "plaintext was answered with 200", Used: ref(evidence.Probes, first)})
				} else {
					check(verify.KindMTLS, edge, verify.Pass, "Proved", "Each of 24 requests carried the caller’s identity.", "24 of 24", "",
						verify.Witness{Name: "workload record", Verdict: verify.Pass, Message: "24 requests with the right peer identity", Used: ref(evidence.Requests, first, first+2)},
						verify.Witness{Name: "served chain", Verdict: verify.Pass, Message: "TLS 1.3, SPIFFE ID as expected"})
				}
			}
			switch {
			case none:
				check(verify.KindPolicy, "matrix", verify.Gap, "DeclaredGap", "Declared gap, demonstrated: 8 forbidden requests got through.", "8 of 8 open", "")
			case mesh != "istio":
				check(verify.KindPolicy, "matrix", verify.Pass, "Proved", "all 40 cells are as the policy says, 24 of them refused", "", "")
			default:
				check(verify.KindPolicy, "matrix", verify.Fail, "PolicyHole", "DELETE /items/1 from cart to stock must be refused, and was answered with 200 in 4 of 4 requests.", "4 let through", "0",
					verify.Witness{Name: "workload record", Verdict: verify.Fail, Message: "stock received 4 requests that must be refused", Used: ref(evidence.Requests, first, first+1, first+2, first+3)},
					verify.Witness{Name: "client record", Verdict: verify.Fail, Message: "the client saw 200", Used: ref(evidence.Probes, first, first+1, first+2, first+3, 9999)},
					verify.Witness{Name: "access log", Verdict: verify.Pass, Message: "agrees with the workload"})
			}
			if len(meshes) > 2 {
				v := verify.Pass
				if none || mesh == "linkerd" {
					v = verify.Gap
				}
				check(verify.KindIdentity, "shop", v, "Claims", "what came of users' tokens at shop", "", "")
			}
			check(verify.KindLatency, "buyers warm p99", verify.Pass, "WithinBudget", "p99 stayed within its budget.", "24.1 ms", "100 ms")
			if mesh != "none" && mesh != "istio" {
				check(verify.KindLatency, "buyers spike p99", verify.Pass, "WithinBudget", "p99 stayed within its budget.", fmt.Sprintf("%dms", 120+60*mi-7*b), "250 ms")
				check(verify.KindRecovery, "cart-pod-dies", verify.Pass, "Recovered", "Back in time.", fmt.Sprintf("%dms", 1800-400*mi+b), "3 s")
			} else if none {
				check(verify.KindLatency, "buyers spike p99", verify.Pass, "WithinBudget", "p99 stayed within its budget.", "198 ms", "250 ms")
				check(verify.KindRecovery, "cart-pod-dies", verify.Invalid, "NoSteadyState", "The error rate was above its budget before the fault already.", "", "3 s")
			} else {
				check(verify.KindLatency, "buyers spike p99", verify.Fail, "OverBudget", "p99 of 312 ms is over the budget of 250 ms.", "312 ms", "250 ms")
				check(verify.KindRecovery, "cart-pod-dies", verify.Pass, "Recovered", "Back after 1.2 s.", "1.2 s", "3 s")
			}
			check(verify.KindErrors, "buyers", verify.Pass, "WithinBudget", "0.71 % of requests failed.", "0.71 %", "1 %")
			check(verify.KindRun, "record", verify.Pass, "Whole", "The record is whole.", "", "")
			verdict, message := verify.Invalid, "Recovery cannot be told."
			switch mesh {
			case "istio":
				verdict, message = verify.Fail, "2 checks were disproved."
			case "linkerd", "layered":
				verdict, message = verify.Pass, "everything that was expected was proved"
			}
			res.Trials = append(res.Trials, verify.Trial{Trial: tr, Verdict: verdict, Reason: "SeeChecks", Message: message})
			resultPhases(res, tr, mi)
			resultCells(res, tr)
			resultTokens(res, tr)
			res.Faults = append(res.Faults,
				verify.Fault{Trial: tr, Name: "cart-pod-dies", Kind: "pod-kill", Target: "cart-7d4f-x2x9", StartMicros: 5e6, EndMicros: 6.2e6, Effect: "the pod stopped answering after 3 ms; its replacement answered after 1.2 s", Verdict: verify.Pass, RecoveryMicros: 1.2e6},
				verify.Fault{Trial: tr, Name: "slow-west", Kind: "network-delay", Target: "east|west", StartMicros: 9e6, EndMicros: 11e6, Effect: "round trip 2.1 ms before, 82.3 ms during, 2.2 ms after", Verdict: verify.Pass, RecoveryMicros: 180e3},
				verify.Fault{Trial: tr, Name: "split", Kind: "partition", Target: "east|west", StartMicros: 10.5e6, EndMicros: 12.5e6, Effect: "probes passed all the time", Verdict: verify.Invalid, RecoveryMicros: -1})
		}
	}
	if len(meshes) > 2 {
		for _, mesh := range meshes[1:] {
			over := verify.Check{
				ID: "errors/buyers/spike/over-none", Kind: verify.KindErrors, Subject: "buyers/spike/over-none", Trial: evidence.Trial{Mesh: mesh},
				Verdict: verify.Skipped, Reason: "NeedsBlocks", Message: "not judged, 6 blocks needed: run again with --blocks 6", Limit: "2%",
			}
			if blocks >= 6 {
				over.Verdict, over.Reason, over.Message, over.Observed = verify.Pass, "Proved", "the median of 6 differences lies between -0.1% and 0.4%", "0.4%"
				over.Used = ref(evidence.Requests, 1)
			}
			slow := over
			slow.ID, slow.Kind, slow.Subject = "latency/buyers/spike/p99/over-none", verify.KindLatency, "buyers/spike/p99/over-none"
			slow.Verdict, slow.Reason, slow.Message, slow.Observed, slow.Limit = verify.Skipped, "Modelled", "the data planes are models, which cost what models cost", "", "10ms"
			res.Checks = append(res.Checks, over, slow)
		}
	}
	return res
}

func resultPhases(res *verify.Result, tr evidence.Trial, mesh int) {
	for i, p := range phaseSpecs {
		base := int64(6000 + 1700*mesh + 200*tr.Block)
		slow := []int64{1, 9, 4}[i] + int64(i%2*mesh)
		ph := verify.Phase{
			Trial: tr, Traffic: "buyers", Phase: p.name, StartMicros: int64(p.from) * 1e6, ForMicros: int64(p.to-p.from) * 1e6,
			Offered: int64(p.rate) * int64(p.to-p.from), Achieved: int64(p.rate) * int64(p.to-p.from), ErrorRate: 0.0071 * float64(i%2),
			Codes:    map[string]int{"200": 800, "503": 6 * i},
			Intended: map[string]int64{"p50": base, "p90": base*2 + 900*slow, "p99": base*3 + slow*10000, "p999": base*4 + slow*14000, "max": base*5 + slow*15000},
			Service:  map[string]int64{"p50": base, "p90": base*2 + 900*slow, "p99": base*3 + slow*8000, "p999": base*4 + slow*9000, "max": base*5 + slow*9100},
			Verdict:  verify.Pass,
			Sending: verify.Sending{
				Workers: 1, Lag: map[string]int64{"p50": 60, "p99": 400 * slow, "max": 900 * slow}, CPU: 0.09 * float64(slow), Collections: 2 * slow, PauseMicros: 300 * slow,
				LongestMicros: 120 * slow, Opened: 4 * slow, Open: 4 * slow, Verdict: verify.Pass, Reason: "Proved", Message: "nothing shows that the load generator made its latency itself",
			},
		}
		if p.name != "spike" {
			ph.Sessions = &verify.Sessions{Sessions: 40, OnePod: 40 - 11*i, Most: 1 + i, Pods: 3}
		}
		if mesh == 0 && p.name == "spike" {
			ph.Achieved -= 90
			ph.Verdict = verify.Invalid
			ph.Sending.Verdict, ph.Sending.Reason, ph.Sending.Message = verify.Invalid, "LoadShortfall", "the load generator sent 1510 of 1600 requests of phase spike in time, 5.63% short of what was asked for (at most 2%): what it measured is not this load"
		}
		res.Phases = append(res.Phases, ph)
	}
}

// resultTokens is what came of users' tokens: without a mesh nobody looks at claims.
func resultTokens(res *verify.Result, tr evidence.Trial) {
	none := tr.Mesh == "none"
	role := map[string]string{"role": "customer"}
	for _, c := range []verify.Cell{
		{Token: verify.TokenGood, Claims: role, Expected: "allowed", Wanted: "200", Observed: "allowed", Status: "200", Verdict: verify.Pass},
		{Token: verify.TokenExpired, Claims: role, Expected: "refused", Wanted: "401", Observed: "refused", Status: "401", Cause: "ingress proxy: jwt_authn_access_denied{Jwt_is_expired}", Verdict: verify.Pass},
		{Token: verify.TokenNone, Expected: "refused", Wanted: "403", Observed: "refused", Status: "403", Cause: "ingress proxy: rbac_access_denied_matched_policy[none]", Verdict: verify.Pass},
		{Token: verify.TokenWrongClaim, Claims: map[string]string{"role": "guest"}, Expected: "refused", Wanted: "403", Observed: "refused", Status: "403", Cause: "ingress proxy: rbac_access_denied_matched_policy[none]", Verdict: verify.Pass},
	} {
		c.Trial, c.From, c.Cluster, c.To, c.Method, c.Path, c.Connection = tr, "outside", "east", "shop", "GET", "/", "fresh"
		c.ID = fmt.Sprintf("outside@east->shop GET / (token %s)", c.Token)
		if none && c.Cause != "" {
			c.Cause = "gateway: Jwt is expired"
		}
		if (none || tr.Mesh == "linkerd") && c.Token == verify.TokenWrongClaim {
			c.Observed, c.Status, c.Cause, c.Verdict, c.Message = "allowed", "200", "", verify.Gap, "it got through"
		}
		res.Tokens = append(res.Tokens, c)
	}
}

func resultCells(res *verify.Result, tr evidence.Trial) {
	none := tr.Mesh == "none"
	asks := []struct {
		from, to, method, path string
		allowed                bool
	}{
		{"ingress", "shop", "GET", "/", true},
		{"ingress", "shop", "POST", "/", true},
		{"ingress", "cart", "GET", "/", false},
		{"shop", "cart", "GET", "/", true},
		{"shop", "stock", "GET", "/items/1", true},
		{"shop", "stock", "GET", "/", false},
		{"cart", "stock", "DELETE", "/items/1", false},
		{"outsider", "shop", "GET", "/", false},
		{"outsider", "cart", "GET", "/", false},
		{"outsider", "stock", "GET", "/items/1", false},
	}
	for _, a := range asks {
		for _, cluster := range []string{"east", "west"} {
			for _, conn := range []string{"fresh", "established"} {
				c := verify.Cell{
					ID: fmt.Sprintf("%s@%s->%s %s %s (%s)", a.from, cluster, a.to, a.method, a.path, conn), Trial: tr,
					From: a.from, Cluster: cluster, To: a.to, Method: a.method, Path: a.path, Connection: conn, Verdict: verify.Pass,
					Expected: "allowed", Observed: "allowed", Status: "200",
				}
				if !a.allowed {
					c.Expected = "refused"
					switch {
					case none:
						c.Verdict, c.Message = verify.Gap, "declared gap: it got through"
					case a.from == "cart" && tr.Mesh == "istio":
						c.Verdict, c.Message = verify.Fail, "it got through"
					case a.from == "outsider":
						c.Observed, c.Status = "refused", "closed"
					default:
						c.Observed, c.Status = "refused", "403"
					}
				}
				res.Cells = append(res.Cells, c)
			}
		}
	}
}
