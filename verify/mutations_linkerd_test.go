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

const (
	l5dShop    = "shop.app.serviceaccount.identity.linkerd.cluster.local"
	l5dIngress = "ingress.edge.serviceaccount.identity.linkerd.cluster.local"
	l5dNobody  = "nobody.app.serviceaccount.identity.linkerd.cluster.local"
)

// with changes labels of a series.
func with(series string, pairs ...string) string {
	return strings.NewReplacer(pairs...).Replace(series)
}

// cut takes a series out of the pages of a service in a window, at one edge.
func cut(t *testing.T, rec *evidence.Record, service, window, edge, series string) {
	t.Helper()
	found := false
	for _, s := range rec.Scrapes {
		if s.At.Service != service || s.Window != window || s.Edge != edge {
			continue
		}
		lines := strings.Split(s.Body, "\n")
		less := slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return strings.HasPrefix(l, series+" ") })
		found = found || len(less) < len(lines)
		s.Body = strings.Join(less, "\n")
	}
	if !found {
		t.Fatal("there is no such series")
	}
}

// rename replaces a text in all pages of a service.
func rename(rec *evidence.Record, service, from, to string) {
	for _, s := range rec.Scrapes {
		if s.At.Service == service {
			s.Body = strings.ReplaceAll(s.Body, from, to)
		}
	}
}

// reissue gives the first pod of a service another leaf from the run's own intermediate.
func reissue(t *testing.T, service string, leaf trust.Leaf) func(*builder) {
	return func(b *builder) {
		b.onPod = func(p *simPod) {
			if p.Service != service {
				return
			}
			c, err := b.issuer(p.Cluster).Issue(leaf)
			must(t, err)
			p.chain = c.Certificate
		}
	}
}

func TestWhatSpoilsOrDisprovesARecordOfLinkerd(t *testing.T) {
	fresh, established := "before/fresh", "after/established"
	ask := func(t *testing.T, rec *evidence.Record, window string, match func(*evidence.Probe) bool) *evidence.Probe {
		return firstProbe(t, rec, window, match)
	}
	grow := func(service, window, series string, n int) func(*testing.T, *evidence.Record) {
		return func(t *testing.T, rec *evidence.Record) { raise(t, rec, service, window, "end", series, n) }
	}
	spoil(t, scenarios.MeshLinkerd, []mutation{
		{"a caller arrives under another's identity", func(t *testing.T, rec *evidence.Record) {
			recordOf(t, rec, ask(t, rec, fresh, allowedTo("shop", "cart")).ID).L5dClientID = l5dNobody
		}, "mtls/shop->cart", Fail, "WrongIdentity"},
		{"a caller arrives without identity under load", func(t *testing.T, rec *evidence.Record) {
			recordOf(t, rec, "load-3").L5dClientID = ""
		}, "mtls/ingress->shop", Fail, "NoIdentity"},
		{"an identity that stands in X-Forwarded-Client-Cert alone, which Linkerd passes on unread", func(t *testing.T, rec *evidence.Record) {
			r := recordOf(t, rec, ask(t, rec, fresh, allowedTo("shop", "cart")).ID)
			r.L5dClientID, r.XFCC = "", "By="+cartID+";URI="+shopID
		}, "mtls/shop->cart", Fail, "NoIdentity"},
		{"plaintext let in, in a series born in the window", grow("cart", fresh, l5dAllowed(""), 1), "mtls/shop->cart", Fail, "PlaintextAccepted"},
		{"plaintext let in under load", grow("cart", windowLoad, l5dAllowed(""), 1), "mtls/shop->cart", Fail, "PlaintextAccepted"},
		{"plaintext let in by a policy that is named like the kubelet's", grow("cart", fresh, with(l5dAllowed(""), `"web-0"`, `"probe"`), 1), "mtls/shop->cart", Fail, "PlaintextAccepted"},
		{"an opaque TLS stream let in", grow("cart", fresh, with(l5dAllowed(""), `"no_identity",no_tls_reason="no_tls_from_remote"`, `"opaque",sni="x"`), 1), "mtls/shop->cart", Fail, "PlaintextAccepted"},
		{"TLS without a client certificate let in", grow("cart", fresh, with(l5dAllowed("x"), `"x"`, `""`), 1), "mtls/shop->cart", Fail, "WrongIdentity"},
		{"a SPIFFE ID let in", grow("cart", established, l5dAllowed(shopID), 1), "mtls/shop->cart", Fail, "WrongIdentity"},
		{"the outsider let in, under an identity of this mesh", grow("cart", fresh, l5dAllowed("outsider.outside.serviceaccount.identity.linkerd.cluster.local"), 1), "mtls/shop->cart", Fail, "WrongIdentity"},
		{"a stranger let in under load", grow("cart", windowLoad, l5dAllowed(l5dNobody), 1), "mtls/shop->cart", Fail, "WrongIdentity"},
		{"one request more in the metrics than arrived", grow("cart", fresh, l5dAllowed(l5dShop), 1), "mtls/shop->cart", Invalid, "MetricsDisagree"},
		{"a series that vanished with what it counted", func(t *testing.T, rec *evidence.Record) {
			cut(t, rec, "cart", fresh, "end", l5dAllowed(l5dShop))
		}, "mtls/shop->cart", Invalid, "MetricsDisagree"},
		{"no count of what was let in", func(_ *testing.T, rec *evidence.Record) {
			rename(rec, "cart", "inbound_http_authz_allow_total", "inbound_http_authz_let_in_total")
		}, "mtls/shop->cart", Invalid, "MetricsDisagree"},
		{"no scrape at all", func(_ *testing.T, rec *evidence.Record) {
			for _, s := range rec.Scrapes {
				s.Body, s.Error = "", "connection refused"
			}
		}, "mtls/shop->cart", Invalid, "NoScrape"},
		{"plaintext denied once more than was asked", grow("cart", fresh, l5dDenied(""), 1), "mtls/shop->cart", Invalid, "MetricsDisagree"},
		{"plaintext that no proxy denied", func(_ *testing.T, rec *evidence.Record) {
			rename(rec, "cart", l5dDenied(""), with(l5dDenied(""), `srv_port="8080"`, `srv_port="4191"`))
		}, "mtls/shop->cart", Invalid, "MetricsDisagree"},
		{"a denial more than clients saw", grow("cart", fresh, l5dDenied(l5dIngress), 1), "policy/cart", Invalid, "MetricsDisagree"},
		{"a denial less than clients saw", grow("cart", fresh, l5dDenied(l5dIngress), -1), "policy/cart", Invalid, "MetricsDisagree"},
		{"a missing route more than clients saw", grow("cart", fresh, l5dNoRoute(l5dShop), 1), "policy/cart", Invalid, "MetricsDisagree"},
		{"a denial of somebody who asked nothing", grow("shop", fresh, l5dDenied(l5dNobody), 1), "policy/shop", Invalid, "MetricsDisagree"},
		{"the denials of one counted for another", func(_ *testing.T, rec *evidence.Record) {
			rename(rec, "cart", l5dDenied(l5dIngress), l5dDenied(l5dNobody))
		}, "policy/cart", Invalid, "MetricsDisagree"},
		{"a 404 where a proxy denied", func(t *testing.T, rec *evidence.Record) {
			ask(t, rec, fresh, func(p *evidence.Probe) bool { return p.From.Service == "ingress" && p.To == "cart" && p.Status == 403 }).Status = 404
		}, "policy/cart", Invalid, "MetricsDisagree"},
		{"a pod that plaintext never met", func(t *testing.T, rec *evidence.Record) {
			var ends []*evidence.Scrape
			for _, s := range rec.Scrapes {
				if s.At.Service == "cart" && s.Window == fresh && s.Edge == "end" {
					ends = append(ends, s)
				}
			}
			var n [2]int
			for i, s := range ends {
				_, after, _ := strings.Cut(s.Body, l5dDenied("")+" ")
				_, err := fmt.Sscan(after, &n[i])
				must(t, err)
			}
			ends[0].Body = strings.Replace(ends[0].Body, fmt.Sprintf("%s %d\n", l5dDenied(""), n[0]), "", 1)
			ends[1].Body = strings.Replace(ends[1].Body, fmt.Sprintf("%s %d\n", l5dDenied(""), n[1]), fmt.Sprintf("%s %d\n", l5dDenied(""), n[0]+n[1]), 1)
		}, "mtls/shop->cart", Invalid, "NotCovered"},
		{"a limit on the rate that took a refusal's place", func(t *testing.T, rec *evidence.Record) {
			grow("cart", fresh, with(l5dNoRoute(l5dIngress), "route_not_found", "local_ratelimit"), 1)(t, rec)
		}, "policy/cart", Invalid, "RateLimited"},
		{"an allowed request that a limit on the rate turned away after it was let in", func(t *testing.T, rec *evidence.Record) {
			p := ask(t, rec, fresh, allowedTo("shop", "cart"))
			rec.Requests = slices.DeleteFunc(rec.Requests, func(r *evidence.Request) bool { return r.ID == p.ID })
			renumber(rec)
			p.Status = 429
			grow("cart", fresh, with(l5dNoRoute(l5dShop), "route_not_found", "local_ratelimit"), 1)(t, rec)
		}, "policy/cart", Invalid, "Unanswered"},
		{"a connection opened in the established round", grow("cart", established, l5dOpened(l5dShop), 1), "policy/cart", Invalid, "NotEstablished"},
		{"an outsider that asked twice on one connection", grow("cart", fresh, l5dOpened(""), -1), "policy/cart", Invalid, "NotFresh"},
		{"no count of connections", func(_ *testing.T, rec *evidence.Record) {
			rename(rec, "cart", "tcp_open_total", "tcp_open")
		}, "policy/cart", Invalid, "NoMetrics"},
		{"no count of connections of a client that was always refused", func(_ *testing.T, rec *evidence.Record) {
			rename(rec, "cart", l5dOpened(l5dIngress), with(l5dOpened(l5dIngress), `srv_port="8080"`, `srv_port="9090"`))
		}, "policy/cart", Invalid, "NoMetrics"},
		{"one pod that does not count connections", func(t *testing.T, rec *evidence.Record) {
			blind := scrapeOf(t, rec, "cart", established, "end").At.UID
			for _, s := range rec.Scrapes {
				if s.At.UID == blind {
					s.Body = strings.ReplaceAll(s.Body, "tcp_open_total", "tcp_open")
				}
			}
		}, "policy/cart", Invalid, "NoMetrics"},
		{"a process restarted in the window", func(t *testing.T, rec *evidence.Record) {
			s := scrapeOf(t, rec, "cart", fresh, "end")
			s.Body = strings.Replace(s.Body, "start_time_seconds 1.79", "start_time_seconds 1.80", 1)
		}, "mtls/shop->cart", Invalid, "EpochBroken"},
		{"a handshake under the service's host name, which is not what the proxy answers under", func(_ *testing.T, rec *evidence.Record) {
			rec.Handshakes[0].ServerName = "shop.app.svc.cluster.local"
			rec.Handshakes[0].Chain, rec.Handshakes[0].Error = nil, "not TLS"
		}, "mtls/ingress->shop", Invalid, "WrongServerName"},
		{"TLS 1.2", func(_ *testing.T, rec *evidence.Record) { rec.Handshakes[0].Version = "TLS 1.2" }, "mtls/ingress->shop", Fail, "OldTLS"},
		{"a pod that does not speak TLS", func(_ *testing.T, rec *evidence.Record) {
			rec.Handshakes[0].Chain, rec.Handshakes[0].Error = nil, "not TLS"
		}, "mtls/ingress->shop", Fail, "NotTLS"},
		{"a chain of another root", func(t *testing.T, rec *evidence.Record) {
			rec.Handshakes[0].Chain = chainOf(t, shopID)
		}, "mtls/ingress->shop", Fail, "ForeignChain"},
		{"another workload's certificate", func(_ *testing.T, rec *evidence.Record) {
			for _, h := range rec.Handshakes {
				if h.At.Service == "cart" && h.At.Cluster == "east" {
					rec.Handshakes[0].Chain = h.Chain
				}
			}
		}, "mtls/ingress->shop", Fail, "WrongIdentity"},
		{"a pod that the injector skipped", func(_ *testing.T, rec *evidence.Record) {
			for _, p := range rec.Pods {
				if p.At.Service == "cart" {
					p.InitContainers = nil
				}
			}
		}, "mtls/shop->cart", Fail, "WrongSidecarSet"},
		{"a pod without capture", func(_ *testing.T, rec *evidence.Record) {
			rec.Pods[len(rec.Pods)-1].InitContainers = []string{"linkerd-proxy"} // the new cart
		}, "mtls/shop->cart", Fail, "WrongSidecarSet"},
		{"a pod with both meshes' sidecars", func(_ *testing.T, rec *evidence.Record) {
			rec.Pods[len(rec.Pods)-1].Containers = []string{"workload", "istio-proxy"}
		}, "mtls/shop->cart", Fail, "WrongSidecarSet"},
		{"an outsider inside the mesh", func(_ *testing.T, rec *evidence.Record) {
			for _, p := range rec.Pods {
				if p.At.Service == scenarios.OutsiderName {
					p.InitContainers = []string{"linkerd-init", "linkerd-proxy"}
				}
			}
		}, "mtls/shop->cart", Invalid, "OutsiderMeshed"},
		{"plaintext that got through", func(t *testing.T, rec *evidence.Record) {
			p := ask(t, rec, fresh, refusedTo("outsider", "cart"))
			p.Status = 200
			recordOf(t, rec, ask(t, rec, fresh, allowedTo("shop", "cart")).ID).ID = p.ID
		}, "mtls/shop->cart", Fail, "PlaintextAccepted"},
		{"plaintext that the proxy took and could not deliver", func(t *testing.T, rec *evidence.Record) {
			ask(t, rec, fresh, refusedTo("outsider", "cart")).Status = 503
		}, "mtls/shop->cart", Fail, "PlaintextAccepted"},
		{"plaintext that found no route where others may ask", func(_ *testing.T, rec *evidence.Record) {
			rename(rec, "shop", "inbound_http_authz_deny_total{", "inbound_http_route_not_found_total{")
			for _, p := range rec.Probes {
				if p.From.Service == scenarios.OutsiderName && p.To == "shop" {
					p.Status = 404
				}
			}
		}, "mtls/ingress->shop", Invalid, "NoCause"},
		{"one request in plaintext that found no route where others may ask", func(t *testing.T, rec *evidence.Record) {
			ask(t, rec, fresh, func(p *evidence.Probe) bool { return p.From.Service == "outsider" && p.To == "cart" && p.Status == 403 }).Status = 404
			raise(t, rec, "cart", fresh, "end", l5dDenied(""), -1)
			raise(t, rec, "cart", fresh, "end", l5dNoRoute(""), 1)
		}, "mtls/shop->cart", Invalid, "NoCause"},
		{"plaintext that was closed, with nobody to say why", func(t *testing.T, rec *evidence.Record) {
			p := ask(t, rec, fresh, func(p *evidence.Probe) bool { return p.From.Service == "outsider" && p.To == "cart" && p.Status == 403 })
			p.Status, p.Error = 0, "closed"
			raise(t, rec, "cart", fresh, "end", l5dDenied(""), -1)
		}, "mtls/shop->cart", Invalid, "NoCause"},
		{"a forbidden request that a workload recorded", func(t *testing.T, rec *evidence.Record) {
			p := ask(t, rec, established, refusedTo("ingress", "cart"))
			recordOf(t, rec, ask(t, rec, established, allowedTo("shop", "cart")).ID).ID = p.ID
		}, "policy/cart", Fail, "PolicyHole"},
		{"a forbidden request that hung", func(t *testing.T, rec *evidence.Record) {
			p := ask(t, rec, fresh, refusedTo("ingress", "cart"))
			p.Status, p.Error = 0, "timeout"
		}, "policy/cart", Invalid, "NoCause"},
		{"a forbidden request that failed at its own proxy", func(t *testing.T, rec *evidence.Record) {
			ask(t, rec, fresh, refusedTo("ingress", "cart")).Status = 502
		}, "policy/cart", Invalid, "NoCause"},
		{"a refusal without a twin", func(t *testing.T, rec *evidence.Record) {
			ask(t, rec, fresh, refusedTo("ingress", "cart")).Twin = ""
		}, "policy/cart", Invalid, "NoTwin"},
		{"an allowed request that found no route", func(t *testing.T, rec *evidence.Record) {
			p := ask(t, rec, fresh, allowedTo("shop", "cart"))
			p.Status = 404
			rec.Requests = slices.DeleteFunc(rec.Requests, func(r *evidence.Request) bool { return r.ID == p.ID })
		}, "policy/cart", Fail, "OverBlocked"},
	})
}

func TestACertificateThatLinkerdWouldNotIssueIsADisproof(t *testing.T) {
	for _, c := range []struct {
		name   string
		leaf   trust.Leaf
		reason string
	}{
		{"an RSA key", trust.Leaf{DNS: l5dShop, Key: trust.RSA2048, Backdate: time.Minute, Lifetime: time.Hour}, "WrongKey"},
		{"a SPIFFE ID", trust.Leaf{URI: shopID, Backdate: time.Minute, Lifetime: time.Hour}, "WrongIdentity"},
		{"another service account", trust.Leaf{DNS: l5dNobody, Backdate: time.Minute, Lifetime: time.Hour}, "WrongIdentity"},
	} {
		for _, k := range Evaluate(goodRecord(t, testScenario(scenarios.MeshLinkerd), reissue(t, "shop", c.leaf))).Checks {
			if k.ID == "mtls/ingress->shop" && (k.Verdict != Fail || k.Reason != c.reason) {
				t.Errorf("%s: %s %s: %s", c.name, k.Verdict, k.Reason, k.Message)
			}
		}
	}
}

func TestWhatMustNotDisturbARecordOfLinkerd(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*testing.T, *evidence.Record)
	}{
		{"a client that sends an X-Forwarded-Client-Cert of its own", func(t *testing.T, rec *evidence.Record) {
			recordOf(t, rec, firstProbe(t, rec, "before/fresh", allowedTo("shop", "cart")).ID).XFCC = `By=x;URI=spiffe://evil/ns/a/sa/b`
		}},
		{"sidecars that are no native ones, behind the CNI plug-in", func(_ *testing.T, rec *evidence.Record) {
			for _, p := range rec.Pods {
				if len(p.InitContainers) > 0 {
					p.Containers, p.InitContainers = []string{"workload", "linkerd-proxy"}, []string{"linkerd-network-validator"}
				}
			}
		}},
		{"an idle series that was dropped", func(t *testing.T, rec *evidence.Record) {
			cut(t, rec, "cart", "before/established", "end", l5dOpened(""))
			cut(t, rec, "cart", "before/established", "end", l5dDenied(""))
		}},
		{"connections between proxies that were fresh after all", func(t *testing.T, rec *evidence.Record) {
			raise(t, rec, "cart", "before/fresh", "end", l5dOpened(l5dShop), 500)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := goodRecord(t, testScenario(scenarios.MeshLinkerd))
			c.change(t, rec)
			if res := Evaluate(rec); res.Verdict != Pass {
				t.Errorf("%s %s: %s", res.Verdict, res.Reason, res.Message)
			}
		})
	}
}

func TestEachSeriesThatMovedInAProofWindowIsNeeded(t *testing.T) {
	rec := goodRecord(t, testScenario(scenarios.MeshLinkerd))
	tried := 0
	for _, s := range rec.Scrapes {
		if s.Edge != "end" || s.Window == windowLoad || s.Window == "" || s.At.Service == scenarios.IngressName {
			continue
		}
		start := scrapeOf(t, &evidence.Record{Scrapes: slices.DeleteFunc(slices.Clone(rec.Scrapes), func(o *evidence.Scrape) bool { return o.At.UID != s.At.UID })}, s.At.Service, s.Window, "start")
		body := s.Body
		for _, l := range strings.Split(body, "\n") {
			name, _, _ := strings.Cut(l, "{")
			moved := !strings.Contains("\n"+start.Body+"\n", "\n"+l+"\n")
			counts := strings.HasPrefix(name, "inbound_http_") || name == "tcp_open_total" && strings.Contains(l, "no_identity")
			if !counts || !moved || !strings.Contains(l, `srv_port="8080"`) || strings.Contains(l, `name="probe"`) {
				continue
			}
			tried++
			s.Body = strings.Replace(body, l+"\n", "", 1)
			if res := Evaluate(rec); res.Verdict == Pass {
				t.Errorf("it still passes without, at the end of %s on %s:\n%s", s.Window, podName(s.At), l)
			}
		}
		s.Body = body
	}
	if tried < 40 {
		t.Errorf("only %d series moved", tried)
	}
}
