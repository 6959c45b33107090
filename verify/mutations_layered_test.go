package verify

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

const ingressSPIFFE = "spiffe://cluster.local/ns/edge/sa/ingress"

// gatewayPods changes every record of the gateway's pods.
func gatewayPods(rec *evidence.Record, containers, init []string) {
	for _, p := range rec.Pods {
		if p.At.Service == scenarios.IngressName {
			p.Containers, p.InitContainers = containers, init
		}
	}
}

// stockGateway makes the gateway one that Linkerd's injector skipped: it has no proxy of Linkerd's, and nobody behind it
// hears an identity.
func stockGateway(_ *testing.T, rec *evidence.Record) {
	gatewayPods(rec, []string{"workload", "istio-proxy"}, []string{"istio-init"})
	for _, r := range rec.Requests {
		if r.Caller == "ingress@east" {
			r.L5dClientID = ""
		}
	}
	rec.Scrapes = slices.DeleteFunc(rec.Scrapes, func(s *evidence.Scrape) bool { return s.At.Service == scenarios.IngressName && s.Proxy == "" })
}

// grow adds to a series of the gateway's Linkerd proxy at the end of a window, and from there on.
func grow(window, series string, n int) func(*testing.T, *evidence.Record) {
	return func(t *testing.T, rec *evidence.Record) {
		raise(t, rec, scenarios.IngressName, window, "end", series, n)
	}
}

func TestTheClassicMistakesWithALayeredGatewayAreNamed(t *testing.T) {
	whole := []string{"linkerd-init", "linkerd-proxy"}
	pods := func(containers, init []string) func(*testing.T, *evidence.Record) {
		return func(_ *testing.T, rec *evidence.Record) { gatewayPods(rec, containers, init) }
	}
	for _, c := range []struct {
		gateway   scenarios.LayeredGateway
		balancing scenarios.LayeredBalancing
		mutations []mutation
	}{
		{scenarios.GatewayMeshed, scenarios.BalancingService, []mutation{
			{"a stock gateway that the injector skipped", stockGateway, "mtls/ingress->shop", Fail, reasonNotMeshed},
			{"the same, by who balances", stockGateway, "balancing/gateway", Fail, reasonNotMeshed},
			{"a gateway that nobody asked to be injected", pods([]string{"workload", "gateway"}, nil), "mtls/ingress->shop", Fail, reasonNotMeshed},
			{"both sidecars in one pod", pods([]string{"workload", "gateway", "istio-proxy"}, whole), "mtls/ingress->shop", Fail, reasonSidecars},
			{"two proxies of Linkerd's", pods([]string{"workload", "gateway", "linkerd-proxy"}, whole), "mtls/ingress->shop", Fail, reasonSidecars},
			{"no Envoy at the gateway", pods([]string{"workload"}, whole), "mtls/ingress->shop", Fail, reasonSidecars},
			{"two Envoys at the gateway", pods([]string{"workload", "gateway", "gateway"}, whole), "mtls/ingress->shop", Fail, reasonSidecars},
			{"nothing that captures the gateway's traffic", pods([]string{"workload", "gateway"}, whole[1:]), "mtls/ingress->shop", Fail, reasonSidecars},
			{"an Envoy beside a service", func(_ *testing.T, rec *evidence.Record) {
				rec.Pods[len(rec.Pods)-1].Containers = []string{"workload", "gateway"} // the new cart
			}, "mtls/shop->cart", Fail, reasonSidecars},
			{"a gateway under the identity that Istio gave it", func(t *testing.T, rec *evidence.Record) {
				recordOf(t, rec, firstProbe(t, rec, "before/fresh", allowedTo("ingress", "shop")).ID).L5dClientID = ingressSPIFFE
			}, "mtls/ingress->shop", Fail, "WrongIdentity"},
			{"a gateway that connects to pods", func(_ *testing.T, rec *evidence.Record) {
				rename(rec, scenarios.IngressName, sentTo("Service", "shop"), sentTo("default", "endpoint"))
			}, "balancing/gateway", Fail, reasonNotInUse},
			{"a gateway that connects to a pod once", grow("after/established", sentTo("default", "endpoint"), 1), "balancing/gateway", Fail, reasonNotInUse},
			{"a gateway that connects to a pod under load", grow(windowLoad, sentTo("default", "endpoint"), 1), "balancing/gateway", Fail, reasonNotInUse},
			{"a gateway whose requests Linkerd takes for outside traffic", func(_ *testing.T, rec *evidence.Record) {
				rename(rec, scenarios.IngressName, sentTo("Service", "shop"), sentTo("Service", "elsewhere"))
			}, "balancing/gateway", Invalid, "MetricsDisagree"},
			{"no count of what was sent", func(_ *testing.T, rec *evidence.Record) {
				rename(rec, scenarios.IngressName, linkerdSent, "outbound_requests_total")
			}, "balancing/gateway", Invalid, "NoMetrics"},
			{"one request more than anybody sent", grow("before/fresh", sentTo("Service", "shop"), 1), "balancing/gateway", Invalid, "MetricsDisagree"},
			{"one request less than was sent", grow("before/fresh", sentTo("Service", "cart"), -1), "balancing/gateway", Invalid, "MetricsDisagree"},
			{"one request less than arrived under load", grow(windowLoad, sentTo("Service", "shop"), -1), "balancing/gateway", Invalid, "MetricsDisagree"},
			{"nothing that arrived under load", func(_ *testing.T, rec *evidence.Record) {
				rec.Requests = slices.DeleteFunc(rec.Requests, func(r *evidence.Request) bool { return r.Window == windowLoad && r.At.Service == "shop" })
				renumber(rec)
			}, "balancing/gateway", Invalid, "NothingSent"},
			{"a series that vanished with what it counted", func(t *testing.T, rec *evidence.Record) {
				cut(t, rec, scenarios.IngressName, "before/established", "end", sentTo("Service", "shop"))
			}, "balancing/gateway", Invalid, "MetricsDisagree"},
			{"a request of the gateway's that was answered and that nobody recorded", func(t *testing.T, rec *evidence.Record) {
				lose(t, rec, firstProbe(t, rec, "before/fresh", allowedTo("ingress", "shop")).ID)
			}, "balancing/gateway", Invalid, "MetricsDisagree"},
			{"Linkerd's page taken for Envoy's", func(_ *testing.T, rec *evidence.Record) {
				for _, s := range rec.Scrapes {
					if s.At.Service == scenarios.IngressName {
						s.Proxy = "gateway"
					}
				}
			}, "balancing/gateway", Invalid, "NoScrape"},
			{"Envoy's page taken for Linkerd's", func(_ *testing.T, rec *evidence.Record) {
				for _, s := range rec.Scrapes {
					s.Proxy = ""
				}
			}, "balancing/gateway", Invalid, "NoScrape"},
			{"an Envoy that was restarted", func(t *testing.T, rec *evidence.Record) {
				i := slices.IndexFunc(rec.Scrapes, func(s *evidence.Scrape) bool { return s.Proxy == "gateway" && s.Window == "after/fresh" })
				rec.Scrapes[i].Body = strings.Replace(rec.Scrapes[i].Body, "seconds 1.79", "seconds 1.80", 1)
			}, "run/whole", Invalid, "Restarted"},
		}},
		{scenarios.GatewayMeshed, scenarios.BalancingEndpoint, []mutation{
			{"a gateway that Linkerd balances for after all", func(_ *testing.T, rec *evidence.Record) {
				rename(rec, scenarios.IngressName, sentTo("default", "endpoint"), sentTo("Service", "shop"))
			}, "balancing/gateway", Invalid, "BalancingInUse"},
			{"a gateway that Linkerd balances for once, under load", grow(windowLoad, sentTo("Service", "cart"), 1), "balancing/gateway", Invalid, "BalancingInUse"},
			{"an Envoy that chooses pods of another cluster, which Linkerd's proxy does not know", func(t *testing.T, rec *evidence.Record) {
				grow("before/fresh", sentTo("default", "endpoint"), -1)(t, rec)
				grow("before/fresh", sentTo("default", "egress-fallback"), 1)(t, rec)
			}, "balancing/gateway", Invalid, "UnknownPods"},
			{"one request to pods more than anybody sent", grow("before/fresh", sentTo("default", "endpoint"), 1), "balancing/gateway", Invalid, "MetricsDisagree"},
			{"one request to pods less than arrived under load", grow(windowLoad, sentTo("default", "endpoint"), -1), "balancing/gateway", Invalid, "MetricsDisagree"},
			{"no count of what was sent", func(_ *testing.T, rec *evidence.Record) {
				rename(rec, scenarios.IngressName, linkerdSent, "outbound_requests_total")
			}, "balancing/gateway", Invalid, "NoMetrics"},
			{"a stock gateway that the injector skipped", stockGateway, "balancing/gateway", Fail, reasonNotMeshed},
		}},
		{scenarios.GatewayDirect, "", []mutation{
			{"a direct gateway with Linkerd's proxy", pods([]string{"workload", "gateway"}, whole), "mtls/ingress->shop", Fail, reasonSidecars},
			{"a direct gateway without Envoy", pods([]string{"workload"}, nil), "mtls/ingress->shop", Fail, reasonSidecars},
			{"a direct gateway with a sidecar of Istio's", pods([]string{"workload", "gateway"}, []string{"istio-proxy"}), "mtls/ingress->shop", Fail, reasonSidecars},
			{"a direct gateway under an identity of Linkerd's", func(t *testing.T, rec *evidence.Record) {
				recordOf(t, rec, firstProbe(t, rec, "before/fresh", allowedTo("ingress", "shop")).ID).L5dClientID = l5dIngress
			}, "mtls/ingress->shop", Fail, "WrongIdentity"},
			{"Linkerd's identity of the gateway let in", func(t *testing.T, rec *evidence.Record) {
				raise(t, rec, "shop", "before/fresh", "end", l5dAllowed(l5dIngress), 1)
			}, "mtls/ingress->shop", Fail, "WrongIdentity"},
			{"a direct gateway that came in plaintext", func(t *testing.T, rec *evidence.Record) {
				recordOf(t, rec, firstProbe(t, rec, "before/fresh", allowedTo("ingress", "shop")).ID).L5dClientID = ""
			}, "mtls/ingress->shop", Fail, "NoIdentity"},
			{"requests of the gateway's that its callee did not count", func(_ *testing.T, rec *evidence.Record) {
				rename(rec, "shop", `client_id="`+ingressSPIFFE, `client_id="`+shopID)
			}, "mtls/ingress->shop", Fail, "WrongIdentity"},
			{"an Envoy that was restarted", func(_ *testing.T, rec *evidence.Record) {
				i := slices.IndexFunc(rec.Scrapes, func(s *evidence.Scrape) bool { return s.Proxy == "gateway" && s.Window == "after/fresh" })
				rec.Scrapes[i].Body = strings.Replace(rec.Scrapes[i].Body, "seconds 1.79", "seconds 1.80", 1)
			}, "run/whole", Invalid, "Restarted"},
		}},
	} {
		t.Run(string(c.gateway)+" "+string(c.balancing), func(t *testing.T) {
			spoilScenario(t, func() *scenarios.Scenario { return layeredScenario(c.gateway, c.balancing) }, c.mutations)
		})
	}
}

func TestAGatewayThatTheInjectorSkippedIsShownWithTheInjectorsWords(t *testing.T) {
	rec := goodRecord(t, layeredScenario(scenarios.GatewayMeshed, scenarios.BalancingService), func(b *builder) {
		b.onPod = func(p *simPod) {
			if p.Service == scenarios.IngressName {
				b.put(&evidence.Event{Header: b.head("fleet"), Kind: evidence.EventInjectionSkipped, At: p.PodRef, Message: "pod has a sidecar injected already"})
			}
		}
	})
	stockGateway(t, rec)
	res := Evaluate(rec)
	for _, id := range []string{"mtls/ingress->shop", "balancing/gateway"} {
		c := checkOf(t, res, id)
		for _, want := range []string{"pod east/ingress-0", "istio-proxy", "linkerd.io/inject: enabled", "pod has a sidecar injected already"} {
			if !strings.Contains(c.Message, want) {
				t.Errorf("%s does not say %q: %s", id, want, c.Message)
			}
		}
		if !slices.ContainsFunc(c.Used, func(r evidence.Ref) bool { return r.Stream == evidence.Events }) {
			t.Errorf("%s does not show the injector's event: %v", id, c.Used)
		}
	}
	if c := checkOf(t, res, "balancing/gateway"); c.Observed != balanceNo {
		t.Errorf("observed %q", c.Observed)
	}
}

func TestTheGatewayOfLayeredAnswersForTokens(t *testing.T) {
	const edge = "before/edge"
	for _, c := range []struct {
		name   string
		change func(*testing.T, *evidence.Record)
		want   Verdict
		reason string
	}{
		{"a token that Envoy let in and the harness's gateway alone refused", func(t *testing.T, rec *evidence.Record) {
			p := firstProbe(t, rec, edge, ofKind(TokenExpired))
			i := slices.IndexFunc(rec.Requests, func(r *evidence.Request) bool { return r.At.Service == scenarios.IngressName })
			r := *rec.Requests[i]
			r.ID, r.Status, r.Refused, r.At.Cluster = p.ID, p.Status, "Jwt is expired", p.From.Cluster
			rec.Requests = append(rec.Requests, &r)
		}, Fail, reasonToken},
		{"a token that got through", func(t *testing.T, rec *evidence.Record) { admit(t, rec, TokenForeignKey) }, Fail, reasonToken},
		{"a claim that nobody looked at", func(t *testing.T, rec *evidence.Record) { admit(t, rec, TokenWrongClaim) }, Fail, reasonClaims},
		{"a refusal that Envoy's log does not name", func(t *testing.T, rec *evidence.Record) {
			p := firstProbe(t, rec, edge, ofKind(TokenExpired))
			lineOf(t, rec, p.ID).Line = accessJSON(p.ID, "", "", "", 401, "via_upstream")
		}, Invalid, "NoCause"},
		{"a refusal that a service's log names, where no proxy writes one", func(t *testing.T, rec *evidence.Record) {
			lineOf(t, rec, firstProbe(t, rec, edge, ofKind(TokenExpired)).ID).At.Service = "shop"
		}, Invalid, "NoCause"},
		{"a good token that came to the service under no identity", func(t *testing.T, rec *evidence.Record) {
			recordOf(t, rec, firstProbe(t, rec, edge, ofKind(TokenGood)).ID).L5dClientID = ""
		}, Fail, "NoIdentity"},
	} {
		for _, way := range layeredWays {
			t.Run(c.name+", "+way.name, func(t *testing.T) {
				t.Parallel()
				rec := goodRecord(t, layeredEdgeScenario(way.gateway, way.balancing))
				c.change(t, rec)
				expectCheck(t, Evaluate(rec), "identity/shop", c.want, c.reason)
			})
		}
	}
}

func TestTheProofOfWhoBalancesDoesNotStandWithoutAnyPieceOfItsEvidence(t *testing.T) {
	for _, way := range layeredWays[:2] {
		s := layeredEdgeScenario(way.gateway, way.balancing)
		s.Spec.Expect.MTLS, s.Spec.Expect.Policy = nil, nil // what is asked from outside is enough to prove it
		rec := goodRecord(t, s)
		c := checkOf(t, Evaluate(rec), "balancing/gateway")
		if c.Verdict != Pass {
			t.Errorf("%s: %s %s: %s", way.name, c.Verdict, c.Reason, c.Message)
		}
		streams := map[evidence.Stream]int{}
		for i, ref := range c.Used {
			streams[ref.Stream]++
			if hurried() && i%7 != 0 {
				continue
			}
			if after := checkOf(t, Evaluate(without(rec, ref)), "balancing/gateway"); after.Verdict == Pass {
				t.Errorf("%s: still PASS without %s:%d", way.name, ref.Stream, ref.Line)
			}
		}
		for _, want := range []evidence.Stream{evidence.Probes, evidence.Requests, evidence.Scrapes, evidence.Pods, evidence.Events} {
			if streams[want] == 0 {
				t.Errorf("%s: uses no %s: %v", way.name, want, streams)
			}
		}
	}
}

func TestEachSeriesOfTheGatewayThatMovedInAProofWindowIsNeeded(t *testing.T) {
	for _, way := range layeredWays[:2] {
		rec := goodRecord(t, layeredEdgeScenario(way.gateway, way.balancing))
		tried := 0
		for _, s := range rec.Scrapes {
			if s.At.Service != scenarios.IngressName || s.Proxy != "" || s.Edge != "end" {
				continue
			}
			body := s.Body
			start := slices.IndexFunc(rec.Scrapes, func(o *evidence.Scrape) bool {
				return o.At.UID == s.At.UID && o.Proxy == "" && o.Window == s.Window && o.Edge == "start"
			})
			for _, to := range []string{sentTo("Service", "shop"), sentTo("Service", "cart"), sentTo("default", "endpoint")} {
				was, is := countIn(t, rec.Scrapes[start].Body, to), countIn(t, body, to)
				if is == was {
					continue
				}
				tried++
				s.Body = strings.Replace(body, fmt.Sprintf("%s %d\n", to, is), "", 1)
				if res := Evaluate(rec); res.Verdict == Pass {
					t.Errorf("%s: it still passes without, at the end of %s on %s:\n%s", way.name, s.Window, podName(s.At), to)
				}
			}
			s.Body = body
		}
		if tried < 12 {
			t.Errorf("%s: only %d series moved", way.name, tried)
		}
	}
}

func TestWhoBalancesIsJudgedOnlyWhereLayeredIsAsked(t *testing.T) {
	s := layeredScenario(scenarios.GatewayMeshed, scenarios.BalancingService)
	s.Spec.Expect.MTLS, s.Spec.Expect.Policy = nil, nil
	for _, s := range []*scenarios.Scenario{s, testScenario(scenarios.MeshLinkerd)} {
		for _, c := range Evaluate(goodRecord(t, s)).Checks {
			if c.Kind == KindBalancing {
				t.Errorf("mesh %s has the check %s", c.Trial.Mesh, c.ID)
			}
		}
	}
}

func TestAGatewayThatThisVersionDoesNotKnowIsNotJudged(t *testing.T) {
	for _, l := range []scenarios.Layered{{Gateway: "waypoint"}, {Gateway: scenarios.GatewayMeshed, Balancing: "ring-hash"}} {
		s := layeredScenario(l.Gateway, l.Balancing)
		if c := checkOf(t, Evaluate(goodRecord(t, s)), "run/whole"); c.Verdict != Invalid || c.Reason != "UnknownMesh" || !strings.Contains(c.Message, "waypoint") && !strings.Contains(c.Message, "ring-hash") {
			t.Errorf("%+v: %s %s: %s", l, c.Verdict, c.Reason, c.Message)
		}
	}
}

func TestIdentityOfTheGatewayIsThatOfHowItIsBuilt(t *testing.T) {
	s := layeredScenario(scenarios.GatewayDirect, "")
	ingress, _ := s.Workload(scenarios.IngressName)
	shop, _ := s.Workload("shop")
	entry := func(l *scenarios.Layered) scenarios.MeshEntry {
		return scenarios.MeshEntry{Name: scenarios.MeshLayered, Layered: l}
	}
	for _, c := range []struct {
		entry scenarios.MeshEntry
		w     scenarios.Workload
		want  string
	}{
		{entry(nil), ingress, l5dIngress},
		{entry(&scenarios.Layered{Gateway: scenarios.GatewayMeshed}), ingress, l5dIngress},
		{entry(&scenarios.Layered{Gateway: scenarios.GatewayDirect}), ingress, ingressSPIFFE},
		{entry(&scenarios.Layered{Gateway: scenarios.GatewayDirect}), shop, l5dShop},
		{entry(&scenarios.Layered{Gateway: "?"}), ingress, ""},
	} {
		if got := Identity(c.entry, c.w); got != c.want {
			t.Errorf("%+v %s: %q, want %q", c.entry.Layered, c.w.Name, got, c.want)
		}
	}
	if got := ServerName(scenarios.MeshLayered, shop); got != l5dShop {
		t.Errorf("server name %q", got)
	}
}
