package verify

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/trust"
	"github.com/meshproof/meshproof/scenarios"
)

// firstProbe finds the first proof request in a window that matches.
func firstProbe(t *testing.T, rec *evidence.Record, window string, match func(*evidence.Probe) bool) *evidence.Probe {
	t.Helper()
	for _, p := range rec.Probes {
		if p.Window == window && match(p) {
			return p
		}
	}
	t.Fatal("there is no such proof request")
	return nil
}

func recordOf(t *testing.T, rec *evidence.Record, id string) *evidence.Request {
	t.Helper()
	for _, r := range rec.Requests {
		if r.ID == id {
			return r
		}
	}
	t.Fatalf("nobody recorded %s", id)
	return nil
}

func allowedTo(from, to string) func(*evidence.Probe) bool {
	return func(p *evidence.Probe) bool {
		return p.Role == "ask" && p.From.Service == from && p.To == to && p.Status == 200
	}
}

func refusedTo(from, to string) func(*evidence.Probe) bool {
	return func(p *evidence.Probe) bool {
		return p.Role == "ask" && p.From.Service == from && p.To == to && p.Status != 200
	}
}

// scrapeOf finds the scrape of the first pod of a service at an edge.
func scrapeOf(t *testing.T, rec *evidence.Record, service, window, edge string) *evidence.Scrape {
	t.Helper()
	for _, s := range rec.Scrapes {
		if s.At.Service == service && s.Window == window && s.Edge == edge {
			return s
		}
	}
	t.Fatal("there is no such scrape")
	return nil
}

// raise adds n to a counter from a scrape on, for the same pod.
func raise(t *testing.T, rec *evidence.Record, service, window, edge, series string, n int) {
	t.Helper()
	raiseAt(t, rec, scrapeOf(t, rec, service, window, edge), series, n)
}

// raiseAt adds n to a counter from one scrape of a pod on.
func raiseAt(t *testing.T, rec *evidence.Record, from *evidence.Scrape, series string, n int) {
	t.Helper()
	for _, s := range rec.Scrapes {
		if s.At.UID != from.At.UID || s.T.Before(from.T) {
			continue
		}
		lines, found := strings.Split(s.Body, "\n"), false
		for i, l := range lines {
			if v, ok := strings.CutPrefix(l, series+" "); ok {
				var was int
				_, err := fmt.Sscan(v, &was)
				must(t, err)
				lines[i], found = fmt.Sprintf("%s %d", series, was+n), true
			}
		}
		if !found {
			name, _, _ := strings.Cut(series, "{")
			at := slices.Index(lines, "# TYPE "+name+" counter")
			lines = slices.Insert(lines, at+1, fmt.Sprintf("%s %d", series, n))
		}
		s.Body = strings.Join(lines, "\n")
	}
}

func countIn(t *testing.T, body, series string) (n int) {
	t.Helper()
	for l := range strings.Lines(body) {
		if v, ok := strings.CutPrefix(l, series+" "); ok {
			_, err := fmt.Sscan(v, &n)
			must(t, err)
		}
	}
	return n
}

const shopID, cartID = "spiffe://cluster.local/ns/app/sa/shop", "spiffe://cluster.local/ns/app/sa/cart"

// mutation is one thing that is not as it should be, and what becomes of a check.
type mutation struct {
	name   string
	change func(*testing.T, *evidence.Record)
	check  string
	want   Verdict
	reason string
}

// spoil applies each mutation to a good record of a mesh.
func spoil(t *testing.T, mesh scenarios.MeshName, mutations []mutation) {
	t.Helper()
	spoilScenario(t, func() *scenarios.Scenario { return testScenario(mesh) }, mutations)
}

func spoilScenario(t *testing.T, scenario func() *scenarios.Scenario, mutations []mutation) {
	t.Helper()
	for _, c := range mutations {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			rec := goodRecord(t, scenario())
			c.change(t, rec)
			res := Evaluate(rec)
			found := false
			for _, k := range res.Checks {
				if k.ID == c.check {
					found = true
					if k.Verdict != c.want || k.Reason != c.reason {
						t.Errorf("%s is %s %s: %s\nwant %s %s", k.ID, k.Verdict, k.Reason, k.Message, c.want, c.reason)
					}
					if k.Message == "" {
						t.Errorf("%s has no message", k.ID)
					}
				}
			}
			if !found {
				t.Errorf("there is no check %s", c.check)
			}
			if c.want != Skipped && res.Verdict == Pass {
				t.Errorf("the run still passes")
			}
		})
	}
}

func TestWhatSpoilsOrDisprovesARecordOfIstio(t *testing.T) {
	fresh, established := "before/fresh", "after/established"
	spoil(t, scenarios.MeshIstio, []mutation{
		{"a caller arrives under another's identity", func(t *testing.T, rec *evidence.Record) {
			r := recordOf(t, rec, firstProbe(t, rec, fresh, allowedTo("shop", "cart")).ID)
			r.XFCC = strings.ReplaceAll(r.XFCC, "sa/shop", "sa/stranger")
		}, "mtls/shop->cart", Fail, "WrongIdentity"},
		{"an identity stands in an element that the proxy did not write", func(t *testing.T, rec *evidence.Record) {
			r := recordOf(t, rec, firstProbe(t, rec, fresh, allowedTo("shop", "cart")).ID)
			r.XFCC += ",By=" + cartID + ";URI=spiffe://cluster.local/ns/app/sa/stranger"
		}, "mtls/shop->cart", Fail, "WrongIdentity"},
		{"a caller arrives without identity under load", func(t *testing.T, rec *evidence.Record) {
			recordOf(t, rec, "load-3").XFCC = ""
		}, "mtls/ingress->shop", Fail, "NoIdentity"},
		{"the callee is somebody else", func(t *testing.T, rec *evidence.Record) {
			r := recordOf(t, rec, firstProbe(t, rec, established, allowedTo("shop", "cart")).ID)
			r.XFCC = strings.Replace(r.XFCC, "By="+cartID, "By="+shopID, 1)
		}, "mtls/shop->cart", Fail, "WrongIdentity"},
		{"a header that cannot be read", func(t *testing.T, rec *evidence.Record) {
			recordOf(t, rec, firstProbe(t, rec, fresh, allowedTo("shop", "cart")).ID).XFCC = `By="`
		}, "mtls/shop->cart", Invalid, "BadIdentity"},
		{"one request in plaintext more in the metrics, in a series born in the window", func(t *testing.T, rec *evidence.Record) {
			raise(t, rec, "cart", fresh, "end", requestSeries("unknown", "none", 200), 1)
		}, "mtls/shop->cart", Fail, "PlaintextAccepted"},
		{"one request more in the metrics than arrived", func(t *testing.T, rec *evidence.Record) {
			raise(t, rec, "cart", fresh, "end", requestSeries(shopID, "mutual_tls", 200), 1)
		}, "mtls/shop->cart", Invalid, "MetricsDisagree"},
		{"a stranger let in by the metrics", func(t *testing.T, rec *evidence.Record) {
			raise(t, rec, "cart", established, "end", requestSeries("spiffe://elsewhere/ns/a/sa/b", "mutual_tls", 200), 1)
		}, "mtls/shop->cart", Fail, "WrongIdentity"},
		{"a refusal more in the metrics than clients saw", func(t *testing.T, rec *evidence.Record) {
			raise(t, rec, "cart", fresh, "end", rbac("denied"), 1)
		}, "policy/cart", Invalid, "MetricsDisagree"},
		{"a refusal of somebody who asked nothing", func(t *testing.T, rec *evidence.Record) {
			raise(t, rec, "shop", fresh, "end", requestSeries("spiffe://elsewhere/ns/a/sa/b", "mutual_tls", 403), 1)
		}, "policy/shop", Invalid, "MetricsDisagree"},
		{"a handshake in the established round", func(t *testing.T, rec *evidence.Record) {
			raise(t, rec, "cart", established, "end", envoyHandshakes+`{listener_address="0.0.0.0_15006"}`, 1)
		}, "policy/cart", Invalid, "NotEstablished"},
		{"no more connections turned away than before", func(t *testing.T, rec *evidence.Record) {
			for _, s := range rec.Scrapes {
				s.Body = strings.ReplaceAll(s.Body, envoyNoChain+`{listener_address="0.0.0.0_15006"}`, envoyNoChain+`{listener_address="0.0.0.0_15001"}`)
			}
		}, "mtls/shop->cart", Invalid, "NoCause"},
		{"a scrape that failed at an edge", func(t *testing.T, rec *evidence.Record) {
			s := scrapeOf(t, rec, "cart", established, "end")
			s.Body, s.Error = "", "connection refused"
		}, "mtls/shop->cart", Invalid, "NoScrape"},
		{"a scrape from the middle of the window", func(t *testing.T, rec *evidence.Record) {
			s := scrapeOf(t, rec, "cart", established, "start")
			s.T = firstProbe(t, rec, established, allowedTo("shop", "cart")).T.Add(time.Microsecond)
		}, "mtls/shop->cart", Invalid, "NoScrape"},
		{"a metric page that is not one", func(t *testing.T, rec *evidence.Record) {
			scrapeOf(t, rec, "cart", fresh, "end").Body = "<html>"
		}, "mtls/shop->cart", Invalid, "BadScrape"},
		{"a process restarted in the window", func(t *testing.T, rec *evidence.Record) {
			s := scrapeOf(t, rec, "cart", fresh, "end")
			s.Body = strings.Replace(s.Body, "start_time_seconds 1.79", "start_time_seconds 1.80", 1)
		}, "mtls/shop->cart", Invalid, "EpochBroken"},
		{"a process restarted between windows, and counters gone back", func(t *testing.T, rec *evidence.Record) {
			s := scrapeOf(t, rec, "shop", windowLoad, "end")
			s.Body = strings.Replace(s.Body, "start_time_seconds 1.79", "start_time_seconds 1.80", 1)
		}, "run/whole", Invalid, "Restarted"},
		{"a counter gone back without a restart", func(t *testing.T, rec *evidence.Record) {
			raise(t, rec, "shop", fresh, "end", requestSeries("spiffe://cluster.local/ns/edge/sa/ingress", "mutual_tls", 200), -3)
		}, "mtls/ingress->shop", Invalid, "MetricsDisagree"},
		{"a pod that ended for no reason of the run's", func(_ *testing.T, rec *evidence.Record) {
			for _, f := range rec.Faults {
				if f.Action == evidence.FaultInject {
					f.UID = ""
				}
			}
		}, "run/whole", Invalid, "PodEnded"},
		{"a handshake that resumed a session", func(_ *testing.T, rec *evidence.Record) { rec.Handshakes[0].Resumed = true }, "mtls/ingress->shop", Invalid, "Resumed"},
		{"TLS 1.1", func(_ *testing.T, rec *evidence.Record) { rec.Handshakes[0].Version = "TLS 1.1" }, "mtls/ingress->shop", Fail, "OldTLS"},
		{"a pod that does not speak TLS", func(_ *testing.T, rec *evidence.Record) {
			rec.Handshakes[0].Chain, rec.Handshakes[0].Error = nil, "not TLS"
		}, "mtls/ingress->shop", Fail, "NotTLS"},
		{"a chain of another root", func(t *testing.T, rec *evidence.Record) {
			rec.Handshakes[0].Chain = chainOf(t, shopID)
		}, "mtls/ingress->shop", Fail, "ForeignChain"},
		{"a chain through the other cluster's intermediate", func(_ *testing.T, rec *evidence.Record) {
			for _, h := range rec.Handshakes {
				if h.At.Service == "cart" && h.At.Cluster == "east" {
					h.At.Cluster = "west"
				}
			}
		}, "mtls/shop->cart", Fail, "ForeignChain"},
		{"a chain without its intermediate", func(_ *testing.T, rec *evidence.Record) {
			rec.Handshakes[0].Chain = rec.Handshakes[0].Chain[:1]
		}, "mtls/ingress->shop", Fail, "ForeignChain"},
		{"another workload's certificate", func(_ *testing.T, rec *evidence.Record) {
			for _, h := range rec.Handshakes {
				if h.At.Service == "cart" && h.At.Cluster == "east" {
					rec.Handshakes[0].Chain = h.Chain
				}
			}
		}, "mtls/ingress->shop", Fail, "WrongIdentity"},
		{"trust material that came later", func(_ *testing.T, rec *evidence.Record) {
			for _, e := range rec.Events {
				if e.Kind == evidence.EventTrust {
					e.T = e.T.Add(time.Hour)
				}
			}
		}, "mtls/ingress->shop", Invalid, "NoTrust"},
		{"a pod without its sidecar", func(_ *testing.T, rec *evidence.Record) {
			for _, p := range rec.Pods {
				if p.At.Service == "cart" {
					p.InitContainers = nil
				}
			}
		}, "mtls/shop->cart", Fail, "WrongSidecarSet"},
		{"a pod with a sidecar too many", func(_ *testing.T, rec *evidence.Record) {
			rec.Pods[len(rec.Pods)-1].Containers = []string{"workload", "linkerd-proxy"} // the new cart
		}, "mtls/shop->cart", Fail, "WrongSidecarSet"},
		{"an outsider inside the mesh", func(_ *testing.T, rec *evidence.Record) {
			for _, p := range rec.Pods {
				if p.At.Service == scenarios.OutsiderName {
					p.Containers = []string{"workload", "istio-proxy"}
				}
			}
		}, "mtls/shop->cart", Invalid, "OutsiderMeshed"},
		{"plaintext that a proxy read and refused", func(t *testing.T, rec *evidence.Record) {
			p := firstProbe(t, rec, fresh, refusedTo("outsider", "cart"))
			p.Status, p.Error = 403, ""
		}, "mtls/shop->cart", Fail, "PlaintextAccepted"},
		{"an access log line in plaintext", func(t *testing.T, rec *evidence.Record) {
			p := firstProbe(t, rec, fresh, allowedTo("shop", "cart"))
			lineOf(t, rec, p.ID).Line = accessJSON(p.ID, "", "", "", 200, "via_upstream")
		}, "mtls/shop->cart", Fail, "PlaintextAccepted"},
		{"an access log line of another caller", func(t *testing.T, rec *evidence.Record) {
			p := firstProbe(t, rec, fresh, allowedTo("shop", "cart"))
			lineOf(t, rec, p.ID).Line = accessJSON(p.ID, "spiffe://x/y", cartID, "TLSv1.3", 200, "via_upstream")
		}, "mtls/shop->cart", Fail, "WrongIdentity"},
		{"an access log line that cannot be read", func(t *testing.T, rec *evidence.Record) {
			lineOf(t, rec, firstProbe(t, rec, fresh, allowedTo("shop", "cart")).ID).Line = json.RawMessage(`{"code":"200"}`)
		}, "mtls/shop->cart", Invalid, "BadAccessLine"},
		{"a refusal for another cause than policy", func(t *testing.T, rec *evidence.Record) {
			p := firstProbe(t, rec, fresh, refusedTo("ingress", "cart"))
			lineOf(t, rec, p.ID).Line = accessJSON(p.ID, "spiffe://cluster.local/ns/edge/sa/ingress", cartID, "TLSv1.3", 403, "via_upstream")
		}, "policy/cart", Invalid, "NoCause"},
		{"a refusal of another caller's request", func(t *testing.T, rec *evidence.Record) {
			p := firstProbe(t, rec, fresh, refusedTo("ingress", "cart"))
			lineOf(t, rec, p.ID).Line = accessJSON(p.ID, shopID, cartID, "TLSv1.3", 403, "rbac_access_denied_matched_policy[none]")
		}, "policy/cart", Fail, "WrongIdentity"},
		{"a forbidden request that a workload recorded", func(t *testing.T, rec *evidence.Record) {
			p := firstProbe(t, rec, established, refusedTo("ingress", "cart"))
			r := recordOf(t, rec, firstProbe(t, rec, established, allowedTo("shop", "cart")).ID)
			r.ID = p.ID
		}, "policy/cart", Fail, "PolicyHole"},
		{"a forbidden request that was answered by nobody knows whom", func(t *testing.T, rec *evidence.Record) {
			firstProbe(t, rec, fresh, refusedTo("ingress", "cart")).Status = 200
		}, "policy/cart", Invalid, "NoRecord"},
		{"a forbidden request that hung", func(t *testing.T, rec *evidence.Record) {
			p := firstProbe(t, rec, fresh, refusedTo("ingress", "cart"))
			p.Status, p.Error = 0, "timeout"
		}, "policy/cart", Invalid, "NoCause"},
		{"a refusal without a twin", func(t *testing.T, rec *evidence.Record) {
			firstProbe(t, rec, fresh, refusedTo("ingress", "cart")).Twin = ""
		}, "policy/cart", Invalid, "NoTwin"},
		{"a twin at another time", func(t *testing.T, rec *evidence.Record) {
			p := firstProbe(t, rec, fresh, refusedTo("ingress", "cart"))
			for _, q := range rec.Probes {
				if q.ID == p.Twin {
					p.T = q.T.Add(-2 * time.Second)
				}
			}
			for _, s := range rec.Scrapes {
				if s.Window == fresh && s.Edge == "start" {
					s.T = s.T.Add(-time.Hour)
				}
			}
			for _, e := range rec.Events {
				if e.Kind == evidence.EventWindowStart && e.Name == fresh {
					e.T = e.T.Add(-2 * time.Hour)
				}
			}
		}, "policy/cart", Invalid, "NoTwin"},
		{"a twin that failed", func(t *testing.T, rec *evidence.Record) {
			p := firstProbe(t, rec, fresh, refusedTo("ingress", "cart"))
			for _, q := range rec.Probes {
				if q.ID == p.Twin {
					q.Status = 503
				}
			}
		}, "policy/cart", Invalid, "TwinFailed"},
		{"a twin that is forbidden itself", func(t *testing.T, rec *evidence.Record) {
			p := firstProbe(t, rec, fresh, refusedTo("ingress", "cart"))
			for _, q := range rec.Probes {
				if q.ID == p.Twin {
					q.Path = "/elsewhere"
				}
			}
		}, "policy/cart", Invalid, "NoTwin"},
		{"an allowed request that was refused", func(t *testing.T, rec *evidence.Record) {
			p := firstProbe(t, rec, fresh, allowedTo("shop", "cart"))
			p.Status = 403
			rec.Requests = slices.DeleteFunc(rec.Requests, func(r *evidence.Request) bool { return r.ID == p.ID })
		}, "policy/cart", Fail, "OverBlocked"},
		{"an allowed request that was retried", func(t *testing.T, rec *evidence.Record) {
			recordOf(t, rec, firstProbe(t, rec, fresh, allowedTo("shop", "cart")).ID).Attempt = 2
		}, "policy/cart", Invalid, "Retried"},
		{"a request that another workload answered", func(t *testing.T, rec *evidence.Record) {
			recordOf(t, rec, firstProbe(t, rec, fresh, allowedTo("shop", "cart")).ID).At.Service = "shop"
		}, "policy/cart", Invalid, "WrongWorkload"},
		{"a load that fell short", func(_ *testing.T, rec *evidence.Record) { rec.Phases[0].Achieved -= 2 }, "load/visitors/calm", Invalid, "LoadShortfall"},
		{"latency under a load that fell short", func(_ *testing.T, rec *evidence.Record) { rec.Phases[0].Achieved -= 2 }, "latency/visitors/calm/p99", Invalid, "LoadShortfall"},
		{"a load that was not what the profile asks for", func(_ *testing.T, rec *evidence.Record) {
			rec.Phases[0].Offered, rec.Phases[0].Achieved = 20, 20
		}, "load/visitors/calm", Invalid, "WrongLoad"},
		{"counts that do not add up", func(_ *testing.T, rec *evidence.Record) { rec.Phases[0].Errors = 0 }, "errors/visitors/calm", Invalid, "CountsDisagree"},
		{"a histogram of other requests", func(_ *testing.T, rec *evidence.Record) { rec.Phases[0].Intended = rec.Phases[1].Intended }, "latency/visitors/calm/p99", Invalid, "CountsDisagree"},
		{"a histogram of rubbish", func(_ *testing.T, rec *evidence.Record) { rec.Phases[0].Intended = "rubbish" }, "latency/visitors/calm/p99", Invalid, "BadHistogram"},
		{"latency over its budget", func(t *testing.T, rec *evidence.Record) {
			tookAll(t, rec, 0, 2_000_000, 1_999_960, 40)
		}, "latency/visitors/calm/p99", Fail, "TooSlow"},
		{"errors over their budget", func(_ *testing.T, rec *evidence.Record) {
			fail(rec, 0, 3)
		}, "errors/visitors/calm", Fail, "TooManyErrors"},
		{"a fault that did nothing", func(_ *testing.T, rec *evidence.Record) {
			for _, f := range rec.Faults {
				if f.Probe != nil && f.Name == "slow" {
					f.Probe.Micros = 2000
				}
			}
		}, "fault/slow", Invalid, "NoEffect"},
		{"a delay that fresh connections did not feel", func(_ *testing.T, rec *evidence.Record) {
			for _, f := range rec.Faults {
				if f.Probe != nil && f.Name == "slow" && f.Probe.Connection == connFresh {
					f.Probe.Micros = 2000
				}
			}
		}, "fault/slow", Invalid, "NoEffect"},
		{"a partition that let a packet through", func(_ *testing.T, rec *evidence.Record) {
			for _, f := range rec.Faults {
				if f.Probe != nil && f.Name == "cut" && f.Probe.Stage == "during" {
					f.Probe.OK = true
					break
				}
			}
		}, "fault/cut", Invalid, "NoEffect"},
		{"a fault that was not cleared", func(_ *testing.T, rec *evidence.Record) {
			for _, f := range rec.Faults {
				if f.Probe != nil && f.Name == "cut" && f.Probe.Stage == "after" {
					f.Probe.OK = false
				}
			}
		}, "recovery/cut", Invalid, "NotCleared"},
		{"a kill that killed nobody", func(_ *testing.T, rec *evidence.Record) {
			for _, f := range rec.Faults {
				if f.Probe != nil && f.Name == "cart-dies" {
					f.Probe.UID, f.Probe.OK = "uid-1/istio-3", true
				}
			}
		}, "fault/cart-dies", Invalid, "NoEffect"},
		{"a fault that the injector gave up", func(_ *testing.T, rec *evidence.Record) {
			for _, f := range rec.Faults {
				if f.Name == "cut" && f.Action == evidence.FaultReverted {
					f.Action, f.Message = evidence.FaultFailed, "it said no"
				}
			}
		}, "fault/cut", Invalid, "FaultFailed"},
		{"a fault that is impossible here", func(_ *testing.T, rec *evidence.Record) {
			for _, f := range rec.Faults {
				if f.Name == "cut" && f.Action == evidence.FaultInject {
					f.Action, f.Message = evidence.FaultSkipped, "no kernel module"
				}
			}
		}, "fault/cut", Skipped, "NotPossibleHere"},
		{"a fault off its schedule", func(_ *testing.T, rec *evidence.Record) {
			for _, f := range rec.Faults {
				if f.Name == "cut" {
					f.T = f.T.Add(1200 * time.Millisecond)
				}
			}
		}, "fault/cut", Invalid, "OffSchedule"},
		{"errors that stay after the fault", func(_ *testing.T, rec *evidence.Record) {
			for i := 12; i < 24; i++ {
				fail(rec, i, 4)
			}
		}, "recovery/cut", Fail, "TooSlow"},
		{"a load that ended too soon to see the recovery", func(_ *testing.T, rec *evidence.Record) {
			for _, f := range rec.Faults {
				if f.Name == "cut" && (f.Action == evidence.FaultRevert || f.Action == evidence.FaultReverted || f.Probe != nil && f.Probe.Stage == "after") {
					f.T = f.T.Add(999 * time.Millisecond)
				}
			}
			fail(rec, 22, 4)
		}, "recovery/cut", Invalid, "NotWatched"},
		{"an interruption", func(_ *testing.T, rec *evidence.Record) {
			for _, e := range rec.Events {
				if e.Kind == evidence.EventTrialEnd {
					e.Kind = evidence.EventInterrupted
				}
			}
		}, "run/whole", Invalid, "Interrupted"},
		{"an environment that failed", func(_ *testing.T, rec *evidence.Record) {
			for _, e := range rec.Events {
				if e.Kind == evidence.EventTrialEnd {
					e.Kind, e.Message = evidence.EventError, "no port left"
				}
			}
		}, "run/whole", Error, "EnvironmentFailed"},
		{"a record of requests that was lost", func(_ *testing.T, rec *evidence.Record) {
			rec.Requests = slices.DeleteFunc(rec.Requests, func(r *evidence.Request) bool { return r.ID == "load-2" })
		}, "mtls/ingress->shop", Invalid, "EvidenceLost"},
		{"a sealed record that was changed", func(_ *testing.T, rec *evidence.Record) {
			rec.Problems = []string{"seal: requests-0001.jsonl was changed after it was sealed"}
		}, "latency/visitors/calm/p99", Invalid, "RecordNotWhole"},
	})
}

// fail turns n outcomes of a tick into errors, and those of its phase.
func fail(rec *evidence.Record, tick, n int) {
	k := rec.Ticks[tick]
	for _, p := range rec.Phases {
		if p.Phase == k.Phase {
			p.Codes["200"] -= n
			p.Codes["503"] += n
			p.Errors += int64(n)
			sortOutcomes(p)
		}
	}
	k.Codes["200"] -= n
	k.Codes["503"] += n
	k.Errors += int64(n)
}

func lineOf(t *testing.T, rec *evidence.Record, id string) *evidence.Access {
	t.Helper()
	for _, a := range rec.Accesses {
		if strings.Contains(string(a.Line), `"`+id+`"`) {
			return a
		}
	}
	t.Fatalf("the access log does not have %s", id)
	return nil
}

// chainOf is a good chain under a root that nobody here trusts.
func chainOf(t *testing.T, id string) [][]byte {
	t.Helper()
	root, err := trust.NewRoot("another")
	must(t, err)
	ca, err := root.Issuer("east")
	must(t, err)
	leaf, err := ca.Issue(trust.Leaf{URI: id, Lifetime: time.Hour})
	must(t, err)
	if _, err := x509.ParseCertificate(leaf.Certificate[0]); err != nil {
		t.Fatal(err)
	}
	return leaf.Certificate
}

func TestWhatKeepsAGapFromBeingShown(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*testing.T, *evidence.Record)
		check  string
		reason string
	}{
		{"plaintext that nobody answered", func(t *testing.T, rec *evidence.Record) {
			for _, p := range rec.Probes {
				if p.From.Service == scenarios.OutsiderName {
					p.Status, p.Error = 0, "closed"
					rec.Requests = slices.DeleteFunc(rec.Requests, func(r *evidence.Request) bool { return r.ID == p.ID })
				}
			}
			renumber(rec)
		}, "mtls/shop->cart", "NoCause"},
		{"a forbidden request that nobody answered", func(t *testing.T, rec *evidence.Record) {
			p := firstProbe(t, rec, "before/fresh", func(p *evidence.Probe) bool { return p.From.Service == "cart" && p.To == "shop" })
			p.Status, p.Error = 0, "closed"
			rec.Requests = slices.DeleteFunc(rec.Requests, func(r *evidence.Request) bool { return r.ID == p.ID })
			renumber(rec)
		}, "policy/shop", "NoCause"},
		{"a pod that nobody tried to shake hands with", func(_ *testing.T, rec *evidence.Record) {
			rec.Handshakes[0].Error = "timeout"
		}, "mtls/ingress->shop", "NoHandshake"},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := goodRecord(t, testScenario(scenarios.MeshNone, scenarios.GapMTLS, scenarios.GapPolicy))
			c.change(t, rec)
			for _, k := range Evaluate(rec).Checks {
				if k.ID == c.check && (k.Verdict != Invalid || k.Reason != c.reason) {
					t.Errorf("%s is %s %s: %s\nwant INVALID %s", k.ID, k.Verdict, k.Reason, k.Message, c.reason)
				}
			}
		})
	}
}

// renumber makes the workloads' records whole again after some were taken out.
func renumber(rec *evidence.Record) {
	n := map[string]uint64{}
	for _, r := range rec.Requests {
		n[r.Src]++
		r.N = n[r.Src]
	}
	for _, e := range rec.Events {
		if e.Kind == evidence.EventProducerEnd && e.Stream == evidence.Requests {
			e.Count = n[e.Of]
		}
	}
}

func TestARecordWithoutASealNeverPasses(t *testing.T) {
	rec := goodRecord(t, testScenario(scenarios.MeshIstio))
	rec.Sealed = false
	res := Evaluate(rec)
	if res.Verdict != Invalid || res.Reason != "Partial" || !res.Partial {
		t.Errorf("%s %s, partial %v", res.Verdict, res.Reason, res.Partial)
	}
}

func TestARunThatProvesNothingAboutAMeshIsInvalid(t *testing.T) {
	s := testScenario(scenarios.MeshIstio)
	s.Spec.Expect = scenarios.Expect{}
	res := Evaluate(goodRecord(t, s))
	if res.Verdict != Invalid || res.Reason != "NothingProved" {
		t.Errorf("%s %s: %s", res.Verdict, res.Reason, res.Message)
	}
}

func TestATrialThatWasNeverStartedIsInvalid(t *testing.T) {
	rec := goodRecord(t, testScenario(scenarios.MeshIstio))
	rec.Manifest.Order = append(rec.Manifest.Order, []string{"istio"})
	res := Evaluate(rec)
	if res.Verdict != Invalid || len(res.Trials) != 2 || res.Trials[0].Verdict != Pass || res.Trials[1].Verdict != Invalid {
		t.Errorf("%s; trials %+v", res.Verdict, res.Trials)
	}
	for _, c := range res.Checks {
		if c.Trial.Block == 2 && c.Verdict != Invalid {
			t.Errorf("%s is %s without any evidence", c.ID, c.Verdict)
		}
	}
}

func TestAMeshThatTheRunLeftOutIsNotPassedOver(t *testing.T) {
	s := testScenario(scenarios.MeshIstio)
	s.Spec.Meshes = append(s.Spec.Meshes, scenarios.MeshEntry{Name: scenarios.MeshNone})
	res := Evaluate(goodRecord(t, s))
	if res.Verdict != Invalid || res.Reason != "LeftOut" {
		t.Errorf("%s %s: %s", res.Verdict, res.Reason, res.Message)
	}
}

func TestAMeshThatCannotRunHereIsSkipped(t *testing.T) {
	rec := goodRecord(t, testScenario(scenarios.MeshIstio))
	for _, e := range rec.Events {
		if e.Kind == evidence.EventTrialEnd {
			e.Kind, e.Message = evidence.EventSkipped, "no images"
		}
	}
	res := Evaluate(rec)
	if res.Verdict != Invalid || res.Trials[0].Verdict != Skipped || len(res.Checks) != 1 || res.Checks[0].Message != "no images" {
		t.Errorf("%s; trials %+v", res.Verdict, res.Trials)
	}
	rec.Manifest.MaySkip = true // which is no proof of anything
	if res := Evaluate(rec); res.Verdict != Invalid || res.Reason != "NothingProved" {
		t.Errorf("%s %s", res.Verdict, res.Reason)
	}
}

func TestASkippedMeshSpoilsTheVerdictOnlyWhereItWasAskedForByName(t *testing.T) {
	s := testScenario(scenarios.MeshIstio)
	s.Spec.Blocks = 2
	rec := goodBlocks(t, s, [][]string{{"istio"}, {"istio"}})
	for _, e := range rec.Events {
		if e.Kind == evidence.EventTrialEnd && e.Trial.Block == 2 {
			e.Kind, e.Message = evidence.EventSkipped, "no images"
		}
	}
	if res := Evaluate(rec); res.Verdict != Invalid || res.Reason != "Skipped" {
		t.Errorf("asked for by name: %s %s", res.Verdict, res.Reason)
	}
	rec.Manifest.MaySkip = true
	if res := Evaluate(rec); res.Verdict != Pass {
		t.Errorf("not asked for by name: %s %s: %s", res.Verdict, res.Reason, res.Message)
	}
}

func TestARecordWithoutAReadableScenarioIsInvalid(t *testing.T) {
	res := Evaluate(&evidence.Record{Sealed: true, Manifest: evidence.Manifest{Scenario: json.RawMessage(`{"spec":[]}`)}})
	if res.Verdict != Invalid || res.Reason != "NoScenario" {
		t.Errorf("%s %s", res.Verdict, res.Reason)
	}
}
