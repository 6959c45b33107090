package layered_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	networkingapi "istio.io/api/networking/v1alpha3"
	networking "istio.io/client-go/pkg/apis/networking/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/linkerdapi"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

const (
	ingressDNS    = "ingress.edge.serviceaccount.identity.linkerd.cluster.local"
	ingressSPIFFE = "spiffe://cluster.local/ns/edge/sa/ingress"
	shopDNS       = "shop.app.serviceaccount.identity.linkerd.cluster.local"
	backends      = "outbound_http_route_backend_requests_total"
)

func TestPodsHaveTheProxiesOfTheirMesh(t *testing.T) {
	for name, tt := range map[string]struct {
		how   scenarios.Layered
		inits []string
		pages []string
	}{
		"meshed": {byService, []string{"linkerd-init", "linkerd-proxy"}, []string{"", "gateway"}},
		"direct": {direct, nil, []string{"gateway"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := build(t, tt.how, nil)
			for service, want := range map[string][2][]string{
				"ingress": {{"workload", "gateway"}, tt.inits}, "shop": {{"workload"}, {"linkerd-init", "linkerd-proxy"}}, "outsider": {{"workload"}, nil},
			} {
				if p := w.pods(service)[0]; !slices.Equal(p.Containers, want[0]) || !slices.Equal(p.InitContainers, want[1]) {
					t.Errorf("%s: containers %v, init containers %v, want %v", service, p.Containers, p.InitContainers, want)
				}
			}
			if got := slices.Sorted(maps.Keys(w.pages())); !slices.Equal(got, tt.pages) {
				t.Errorf("metric pages of the ingress: %q, want %q", got, tt.pages)
			}
		})
	}
}

func TestServicesSeeTheGatewayAsTheWayOfReachingThemSays(t *testing.T) {
	const n = 20
	for name, tt := range map[string]struct {
		how      scenarios.Layered
		identity string
		parent   []string // in the metrics of Linkerd's proxy at the gateway
	}{
		"Linkerd balances": {byService, ingressDNS, []string{"parent_kind", "Service", "parent_name", "shop", "parent_namespace", "app"}},
		"Envoy balances":   {byEndpoint, ingressDNS, []string{"parent_kind", "default", "parent_name", "endpoint"}},
		"direct":           {direct, ingressSPIFFE, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := build(t, tt.how, nil)
			asked := map[string]bool{}
			for range n {
				resp, got := w.ask("ingress", "shop")
				if resp.Status != 200 || got == nil || got.L5dClientID != tt.identity {
					t.Fatalf("%+v, %+v", resp, got)
				}
				asked[got.At.UID] = true
			}
			if len(asked) != 2 {
				t.Errorf("%d of 2 replicas were asked", len(asked))
			}
			pages := w.pages()
			if tt.parent == nil {
				if _, ok := pages[""]; ok {
					t.Error("a direct gateway has a page of Linkerd's")
				}
				return
			}
			if got, all := sum(t, pages[""], backends, tt.parent...), sum(t, pages[""], backends); got != n || all != n {
				t.Errorf("%v of %v requests have %v, want %d", got, all, tt.parent, n)
			}
		})
	}
}

// star makes every authentication one for whoever has a certificate.
func star(objs []clusters.Object) []clusters.Object {
	for _, o := range objs {
		if a, ok := o.(*linkerdapi.MeshTLSAuthentication); ok {
			a.Spec.Identities = []string{"*"}
		}
	}
	return objs
}

func TestAStarAdmitsLinkerdsIdentitiesAlone(t *testing.T) {
	for name, tt := range map[string]struct {
		how  scenarios.Layered
		want int
	}{"meshed": {byService, 200}, "direct": {direct, 403}} {
		t.Run(name, func(t *testing.T) {
			w := build(t, tt.how, star)
			if resp, _ := w.ask("ingress", "shop"); resp.Status != tt.want {
				t.Errorf("the gateway: %+v", resp)
			}
			if resp, got := w.ask("shop", "cart"); resp.Status != 200 || got.L5dClientID != shopDNS {
				t.Errorf("a client of Linkerd: %+v, %+v", resp, got)
			}
		})
	}
}

func TestADirectGatewayFailsWhereRealOnesDo(t *testing.T) {
	rule := func(change func(*networkingapi.ClientTLSSettings)) func([]clusters.Object) []clusters.Object {
		return func(objs []clusters.Object) []clusters.Object {
			for _, o := range objs {
				if d, ok := o.(*networking.DestinationRule); ok {
					change(d.Spec.TrafficPolicy.Tls)
				}
			}
			return objs
		}
	}
	for name, tt := range map[string]struct {
		change func([]clusters.Object) []clusters.Object
		says   string
	}{
		"an RSA certificate, as Istio's are by default": {template(func(p *corev1.PodTemplateSpec) {
			c := &p.Spec.Containers[1]
			c.Env = slices.DeleteFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == "ECC_SIGNATURE_ALGORITHM" })
		}), "NO_COMMON_SIGNATURE_ALGORITHMS"},
		"the SNI of Istio": {rule(func(t *networkingapi.ClientTLSSettings) { t.Sni = "" }), "TLS_error"},
		"the SNI of another": {rule(func(t *networkingapi.ClientTLSSettings) {
			t.Sni = strings.ReplaceAll(t.Sni, "shop.app", "other.app")
		}), "TLS_error"},
		"another server expected": {rule(func(t *networkingapi.ClientTLSSettings) {
			t.SubjectAltNames = []string{"other.app.serviceaccount.identity.linkerd.cluster.local"}
		}), "TLS_error"},
	} {
		t.Run(name, func(t *testing.T) {
			w := build(t, direct, tt.change)
			resp, got := w.ask("ingress", "shop")
			if resp.Status != 503 || got != nil || !strings.Contains(resp.Body, tt.says) {
				t.Errorf("%+v, %+v", resp, got)
			}
			if n := sum(t, w.pages()["gateway"], "istio_requests_total", "reporter", "source", "response_code", "503", "response_flags", "UF"); n != 1 {
				t.Errorf("%v requests with flag UF", n)
			}
			if resp, _ := w.ask("shop", "cart"); resp.Status != 200 {
				t.Errorf("behind the gateway: %+v", resp)
			}
		})
	}
}

// stock gives the gateway the name that Istio's own have.
var stock = template(func(p *corev1.PodTemplateSpec) { p.Spec.Containers[1].Name = "istio-proxy" })

func TestAGatewayCalledIstioProxyGetsNoLinkerdAndSendsPlaintext(t *testing.T) {
	w := build(t, byService, stock)
	p := w.pods("ingress")[0]
	if !slices.Equal(p.Containers, []string{"workload", "istio-proxy"}) || p.InitContainers != nil {
		t.Errorf("containers %v, init containers %v", p.Containers, p.InitContainers)
	}
	skipped := false
	for _, e := range of[*evidence.Event](&w.sink) {
		skipped = skipped || e.Kind == evidence.EventInjectionSkipped && e.At.UID == p.UID && e.Message == "pod has a sidecar injected already"
	}
	if !skipped {
		t.Error("no event says that injection was skipped")
	}
	if resp, got := w.ask("ingress", "shop"); resp.Status != 403 || got != nil {
		t.Errorf("%+v, %+v", resp, got)
	}
	shop, err := w.cluster.Scrape(t.Context(), w.pods("shop")[0])
	if err != nil {
		t.Fatal(err)
	}
	other, err := w.cluster.Scrape(t.Context(), w.pods("shop")[1])
	if err != nil {
		t.Fatal(err)
	}
	denied := 0.0
	for _, page := range []string{shop[0].Body, other[0].Body} {
		denied += sum(t, page, "inbound_http_authz_deny_total", "tls", "no_identity", "target_port", "8080")
	}
	if denied != 1 {
		t.Errorf("%v requests denied in plaintext", denied)
	}
}

func TestWithoutAPolicyAGatewayCalledIstioProxyPassesUnnoticed(t *testing.T) {
	open := func(objs []clusters.Object) []clusters.Object {
		for _, o := range objs {
			switch o := o.(type) {
			case *corev1.Namespace:
				delete(o.Annotations, "config.linkerd.io/default-inbound-policy")
			case *linkerdapi.Server:
				o.Spec.AccessPolicy = "all-unauthenticated"
			}
		}
		return slices.DeleteFunc(objs, func(o clusters.Object) bool {
			return strings.Contains(clusters.Key(o), "/HTTPRoute/") || strings.HasPrefix(clusters.Key(o), "policy.linkerd.io/AuthorizationPolicy/")
		})
	}
	w := build(t, byService, func(objs []clusters.Object) []clusters.Object { return open(stock(objs)) })
	if resp, got := w.ask("ingress", "shop"); resp.Status != 200 || got == nil || got.L5dClientID != "" {
		t.Errorf("%+v, %+v", resp, got)
	}
}

// TestAMeshedGatewayBreaksWithTheRuleOfADirectOne is what happened on a cluster whose two gateways shared a namespace.
func TestAMeshedGatewayBreaksWithTheRuleOfADirectOne(t *testing.T) {
	w := build(t, byEndpoint, func(objs []clusters.Object) []clusters.Object {
		for _, o := range objs {
			if d, ok := o.(*networking.DestinationRule); ok && d.Name == "shop" {
				d.Spec.WorkloadSelector = nil
				d.Spec.TrafficPolicy = &networkingapi.TrafficPolicy{Tls: &networkingapi.ClientTLSSettings{
					Mode: networkingapi.ClientTLSSettings_ISTIO_MUTUAL, Sni: shopDNS, SubjectAltNames: []string{shopDNS},
				}}
			}
		}
		return objs
	})
	if resp, got := w.ask("ingress", "shop"); resp.Status != 503 || got != nil {
		t.Errorf("%+v, %+v", resp, got)
	}
}

func TestAGatewayThatMistakesItsClusterDoesNotStart(t *testing.T) {
	w := begin(t, byService, template(func(p *corev1.PodTemplateSpec) {
		for i, e := range p.Spec.Containers[1].Env {
			if e.Name == "ISTIO_META_CLUSTER_ID" {
				p.Spec.Containers[1].Env[i].Value = "Kubernetes"
			}
		}
	}))
	if err := w.ready(); err == nil || !strings.Contains(err.Error(), "ISTIO_META_CLUSTER_ID") || !strings.Contains(err.Error(), "keeps an old configuration") {
		t.Errorf("%v", err)
	}
}

func TestTheGatewayWritesAnAccessLogLineForEachRequestFromOutside(t *testing.T) {
	w := build(t, byService, nil)
	base, err := w.cluster.Ingress(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if code := get(t, base, "shop.app.svc.cluster.local", "from-outside-1"); code != 200 {
		t.Fatalf("status %d", code)
	}
	lines := of[*evidence.Access](&w.sink)
	if len(lines) != 1 || lines[0].At != w.pods("ingress")[0].PodRef {
		t.Fatalf("%+v", lines)
	}
	var line struct {
		Code     int
		ID, Peer *string
	}
	if err := json.Unmarshal(lines[0].Line, &line); err != nil || line.Code != 200 || line.ID == nil || *line.ID != "from-outside-1" || line.Peer != nil {
		t.Errorf("%s, %v", lines[0].Line, err)
	}
}
