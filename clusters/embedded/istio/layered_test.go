package istio

import (
	"cmp"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/embedded/linkerd"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// throughClusterIP has requests for shop go to its ClusterIP instead of its endpoints.
const throughClusterIP = `
kind: ServiceEntry
metadata: {name: shop, namespace: edge}
spec:
  hosts: [shop.linkerd]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 8000, name: http, protocol: HTTP}]
  endpoints: [{address: shop.app.svc.cluster.local, ports: {http: 80}}]
---
kind: VirtualService
metadata: {name: shop, namespace: edge}
spec:
  hosts: [shop.app.svc.cluster.local]
  http:
    - {match: [{uri: {prefix: /fresh}}], route: [{destination: {host: shop.linkerd, subset: fresh}}]}
    - {route: [{destination: {host: shop.linkerd}}]}
---
kind: DestinationRule
metadata: {name: shop, namespace: edge}
spec:
  host: shop.linkerd
  subsets: [{name: fresh, trafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 1}}}}]
`

// linkerdTLS is what the gateway needs to speak to Linkerd's proxies itself.
func linkerdTLS(sni, san string) string {
	return "kind: DestinationRule\nmetadata: {name: shop, namespace: edge}\nspec:\n  host: shop.app.svc.cluster.local\n" +
		"  workloadSelector: {matchLabels: {app: gw}}\n" +
		"  trafficPolicy: {tls: {mode: ISTIO_MUTUAL, sni: " + sni + ", subjectAltNames: [" + san + "]}}\n"
}

// linkerdObjects let in who is named.
func linkerdObjects(identity string) string {
	return `apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: shop, namespace: app}
spec: {podSelector: {matchLabels: {app: shop}}, port: 8080, proxyProtocol: HTTP/1}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: MeshTLSAuthentication
metadata: {name: clients, namespace: app}
spec: {identities: ["` + identity + `"]}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: shop, namespace: app}
spec:
  targetRef: {group: policy.linkerd.io, kind: Server, name: shop}
  requiredAuthenticationRefs: [{group: policy.linkerd.io, kind: MeshTLSAuthentication, name: clients}]
`
}

const (
	gatewayID    = "spiffe://cluster.local/ns/edge/sa/gw"
	shopIdentity = "shop.app.serviceaccount.identity.linkerd.cluster.local"
)

// layers is a gateway of Istio's in namespace edge before a Linkerd workload, shop in namespace app.
type layers struct {
	t     testing.TB
	world *fakeWorld
	shop  *testPod // without a sidecar of Istio's
	snap  proxy.Snapshot
}

// newLayers starts the Linkerd side in a world of its own: other, unless it is nil.
func newLayers(t testing.TB, linkerdObjs string, other *fakeWorld) *layers {
	t.Helper()
	l := &layers{t: t, world: newWorld(t), shop: &testPod{}}
	if other == nil {
		other = l.world
	}
	l.shop.app = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		l.shop.mu.Lock()
		defer l.shop.mu.Unlock()
		l.shop.seen = append(l.shop.seen, r.Clone(context.Background()))
	}))
	t.Cleanup(func() {
		l.shop.app.CloseClientConnections()
		l.shop.app.Close()
	})
	var objs []clusters.Object
	for _, doc := range strings.Split(linkerdObjs, "---\n") {
		var raw map[string]any
		if err := yaml.Unmarshal([]byte(doc), &raw); err != nil {
			t.Fatal(err)
		}
		if raw == nil {
			continue
		}
		o, err := clusters.Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		objs = append(objs, o)
	}
	l.snap = proxy.Snapshot{Cluster: "east", Services: map[string]proxy.Service{}}
	shop := l.linkerd(other, "shop", l.shop.app.Listener.Addr().String(), objs)
	l.snap.Services[shopHost] = proxy.Service{Namespace: "app", Name: "shop", Host: shopHost, Port: 80, Endpoints: []proxy.Endpoint{{
		PodRef: podRef("app", "shop"), ServiceAccount: "shop", Workload: "shop", Labels: map[string]string{"app": "shop"}, Mesh: "linkerd", Addr: shop.Inbound(),
	}}}
	l.world.ips = map[string]string{"east " + shopHost + ":80": shop.Inbound()}
	return l
}

const shopHost = "shop.app.svc.cluster.local"

func podRef(namespace, name string) evidence.PodRef {
	return evidence.PodRef{Cluster: "east", Namespace: namespace, Service: name, Pod: name + "-0", UID: "uid-" + name}
}

// linkerd starts a pod of Linkerd's.
func (l *layers) linkerd(w *fakeWorld, name, app string, objs []clusters.Object) proxy.Proxy {
	l.t.Helper()
	p, err := linkerd.Factory().Start(proxy.Pod{
		PodRef: podRef("app", name), ServiceAccount: name, Workload: name, Labels: map[string]string{"app": name}, AppAddr: app, Seed: 1,
	}, w, &proxy.Snapshot{Cluster: "east", Objects: objs, Services: l.snap.Services})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(p.Kill)
	return p
}

// gateway starts a gateway, with what it needs to speak to Linkerd, and settings.
func (l *layers) gateway(app, settings string, env ...corev1.EnvVar) *testPod {
	l.t.Helper()
	objs := decode(l.t, settings)
	if err := check(objs); err != nil {
		l.t.Fatal(err)
	}
	snap := l.snap
	snap.Objects = objs
	p, err := StartGateway(gatewayPod(app, env...), l.world, &snap)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(p.Kill)
	return &testPod{sidecar: p.(*sidecar)}
}

func gatewayPod(app string, env ...corev1.EnvVar) proxy.Pod {
	return proxy.Pod{
		PodRef: podRef("edge", app), ServiceAccount: app, Workload: app, Labels: map[string]string{"app": app}, Seed: 1,
		Gateway: &corev1.Container{Name: "envoy", Env: append([]corev1.EnvVar{{Name: "ISTIO_META_CLUSTER_ID", Value: "east"}}, env...)},
	}
}

var (
	ecdsaKey = corev1.EnvVar{Name: "ECC_SIGNATURE_ALGORITHM", Value: "ECDSA"}
	once     = "\n---\nkind: VirtualService\nmetadata: {name: once, namespace: edge}\nspec: {hosts: [" + shopHost + "], http: [{route: [{destination: {host: " + shopHost + "}}], retries: {}}]}\n"
)

func TestAGatewayWithAnECDSALeafAndTheRightNamesSpeaksToLinkerd(t *testing.T) {
	l := newLayers(t, linkerdObjects(gatewayID), nil)
	gw := l.gateway("gw", linkerdTLS(shopIdentity, shopIdentity), ecdsaKey)
	if a := gw.out(t, "GET", "/", "l5d-client-id", "cart.app.serviceaccount.identity.linkerd.cluster.local"); a.code != 200 {
		t.Fatalf("%+v", a)
	}
	seen := l.shop.requests()
	if len(seen) != 1 || seen[0].Header.Get("L5d-Client-Id") != gatewayID {
		t.Errorf("the workload saw %+v", seen)
	}
	if got := gw.scrape(t, "envoy_cluster_ssl_handshake", "cluster_name", shopUpstream); got != 1 {
		t.Errorf("%v handshakes", got)
	}
	if got := gw.scrape(t, "istio_requests_total", "response_code", "200", "source_principal", gatewayID, "destination_principal", "unknown", "destination_workload", "shop"); got != 1 {
		t.Errorf("%v in metrics", got)
	}
}

func TestAnyOfTheNamesOfARuleMayBeTheServers(t *testing.T) {
	l := newLayers(t, linkerdObjects(gatewayID), nil)
	gw := l.gateway("gw", linkerdTLS(shopIdentity, "spiffe://cluster.local/ns/app/sa/shop, "+shopIdentity), ecdsaKey)
	if a := gw.out(t, "GET", "/"); a.code != 200 {
		t.Errorf("%+v", a)
	}
}

func TestAnyMemberOfTheMeshIsNotTheGateway(t *testing.T) {
	l := newLayers(t, linkerdObjects("*"), nil)
	gw := l.gateway("gw", linkerdTLS(shopIdentity, shopIdentity), ecdsaKey)
	cart := l.linkerd(l.world, "cart", l.shop.app.Listener.Addr().String(), nil)
	if a := ask(t, client(t, cart.Outbound()), "GET", "http://"+shopHost+"/"); a.code != 200 {
		t.Errorf("a client of Linkerd's: %+v", a)
	}
	if a := gw.out(t, "GET", "/"); a.code != 403 {
		t.Errorf("the gateway: %+v", a)
	}
	if seen := l.shop.requests(); len(seen) != 1 {
		t.Errorf("the workload saw %d requests, of the one that is allowed", len(seen))
	}
}

func TestWhatIsWrongBetweenGatewayAndLinkerdFailsAsEnvoyDoes(t *testing.T) {
	const spiffeShop = "spiffe://cluster.local/ns/app/sa/shop"
	for _, tt := range []struct {
		name        string
		policy      string // of Linkerd's; "": the gateway may
		sni, san    string
		env         []corev1.EnvVar
		otherRoot   bool // of Linkerd's side
		code        int
		flags, text string
		metric      string
	}{
		{name: "an RSA leaf", sni: shopIdentity, san: shopIdentity, code: 503, flags: "UF", text: "TLS_error: handshake with outbound|80||shop.app.svc.cluster.local: NO_COMMON_SIGNATURE_ALGORITHMS", metric: "envoy_cluster_ssl_connection_error"},
		{name: "a wrong SNI", sni: "cart.app.serviceaccount.identity.linkerd.cluster.local", san: shopIdentity, env: []corev1.EnvVar{ecdsaKey}, code: 503, flags: "UF", text: "TLS_error", metric: "envoy_cluster_ssl_connection_error"},
		{name: "a wrong SNI where Linkerd lets anybody in", policy: " ", sni: "cart.app.serviceaccount.identity.linkerd.cluster.local", san: shopIdentity, env: []corev1.EnvVar{ecdsaKey}, code: 503, flags: "UF", text: "TLS_error", metric: "envoy_cluster_ssl_connection_error"},
		{name: "Istio's own SNI", sni: "\"\"", san: shopIdentity, env: []corev1.EnvVar{ecdsaKey}, code: 503, flags: "UF", text: "TLS_error", metric: "envoy_cluster_ssl_connection_error"},
		{name: "a wrong SAN", sni: shopIdentity, san: "cart.app.serviceaccount.identity.linkerd.cluster.local", env: []corev1.EnvVar{ecdsaKey}, code: 503, flags: "UF", text: "TLS_error", metric: "envoy_cluster_ssl_fail_verify_san"},
		{name: "the SPIFFE ID that Istio would give", sni: shopIdentity, san: spiffeShop, env: []corev1.EnvVar{ecdsaKey}, code: 503, flags: "UF", text: "TLS_error", metric: "envoy_cluster_ssl_fail_verify_san"},
		{name: "no SAN, for which Istio takes the service accounts", sni: shopIdentity, env: []corev1.EnvVar{ecdsaKey}, code: 503, flags: "UF", text: "TLS_error", metric: "envoy_cluster_ssl_fail_verify_san"},
		{name: "a foreign root on the other side", sni: shopIdentity, san: shopIdentity, env: []corev1.EnvVar{ecdsaKey}, otherRoot: true, code: 503, flags: "UF", text: "TLS_error", metric: "envoy_cluster_ssl_fail_verify_error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var other *fakeWorld
			if tt.otherRoot {
				other = newWorld(t)
			}
			l := newLayers(t, cmp.Or(tt.policy, linkerdObjects(gatewayID)), other)
			gw := l.gateway("gw", linkerdTLS(tt.sni, tt.san)+once, tt.env...)
			a := gw.out(t, "GET", "/")
			if a.code != tt.code || !strings.Contains(a.body, tt.text) {
				t.Errorf("%+v, want %d and %s", a, tt.code, tt.text)
			}
			if got := gw.scrape(t, "istio_requests_total", "response_code", "503", "response_flags", tt.flags); got != 1 {
				t.Errorf("flags %s: %v", tt.flags, got)
			}
			if got := gw.scrape(t, tt.metric, "cluster_name", shopUpstream); got != 1 {
				t.Errorf("%s = %v", tt.metric, got)
			}
			if n := len(l.shop.requests()); n != 0 {
				t.Errorf("the workload saw %d requests", n)
			}
		})
	}
}

// In TLS 1.3 a client has done its part before the server looks at its certificate: the refusal comes as an alert, after
// the request was sent, and Envoy sees a connection that ends.
func TestALeafUnderAForeignRootIsRefusedByLinkerd(t *testing.T) {
	l := newLayers(t, linkerdObjects(gatewayID), nil)
	gw := l.gateway("gw", linkerdTLS(shopIdentity, shopIdentity), ecdsaKey)
	cert, err := newWorld(t).Issuer(scenarios.MeshIstio, "east").Issue(gw.id.Leaf)
	if err != nil {
		t.Fatal(err)
	}
	gw.id.Now.Store(cert)
	if a := gw.out(t, "GET", "/"); a.code != 503 {
		t.Errorf("%+v", a)
	}
	if got := gw.scrape(t, "istio_requests_total", "response_code", "503", "response_flags", "UC"); got != 1 {
		t.Errorf("UC: %v", got)
	}
	if n := len(l.shop.requests()); n != 0 {
		t.Errorf("the workload saw %d requests", n)
	}
}

func TestARuleWithAWorkloadSelectorLeavesOtherClientsAlone(t *testing.T) {
	l := newLayers(t, "", nil) // whoever comes may
	settings := linkerdTLS(shopIdentity, shopIdentity)
	for app, want := range map[string]string{"gw": gatewayID, "other": ""} {
		before := len(l.shop.requests())
		if a := l.gateway(app, settings, ecdsaKey).out(t, "GET", "/"); a.code != 200 {
			t.Errorf("%s: %+v", app, a)
		}
		if seen := l.shop.requests()[before:]; len(seen) != 1 || seen[0].Header.Get("L5d-Client-Id") != want {
			t.Errorf("%s: the workload saw %+v, want identity %q", app, seen, want)
		}
	}
	everyone := strings.Replace(settings, "  workloadSelector: {matchLabels: {app: gw}}\n", "", 1)
	if a := l.gateway("other", everyone, ecdsaKey).out(t, "GET", "/"); a.code != 200 {
		t.Errorf("%+v", a)
	}
	if seen := l.shop.requests(); seen[len(seen)-1].Header.Get("L5d-Client-Id") != "spiffe://cluster.local/ns/edge/sa/other" {
		t.Errorf("a rule without a selector does not hold for all: %+v", seen)
	}
}

func TestAServiceEntryLeadsToTheClusterIPInPlaintext(t *testing.T) {
	l := newLayers(t, "", nil)
	svc := l.snap.Services[shopHost]
	svc.Endpoints = nil // so that none can be asked but by way of the ClusterIP
	l.snap.Services[shopHost] = svc
	gw := l.gateway("gw", throughClusterIP)
	c := client(t, gw.Outbound())
	for _, url := range []string{"http://shop.app/", "http://shop.linkerd/", "http://shop.linkerd:8000/", "http://shop.app/fresh", "http://shop.app/fresh"} {
		if a := ask(t, c, "GET", url); a.code != 200 {
			t.Fatalf("%s: %+v", url, a)
		}
	}
	for _, r := range l.shop.requests() {
		if r.Header.Get("L5d-Client-Id") != "" {
			t.Error("the gateway has an identity")
		}
	}
	if got := gw.scrape(t, "istio_requests_total", "response_code", "200", "destination_service", "shop.linkerd", "destination_service_namespace", "edge",
		"destination_workload", "unknown", "source_principal", "unknown"); got != 5 {
		t.Errorf("%v in metrics", got)
	}
	gone := l.snap
	gone.Objects, gone.Services = decode(t, throughClusterIP), nil
	gw.Update(&gone)
	if a := ask(t, c, "GET", "http://shop.linkerd/"); a.code != 503 || a.body != "no healthy upstream" {
		t.Errorf("a name that does not resolve: %+v", a)
	}
}

func TestAServiceEntryWithTLSSpeaksToTheWorkloadBehindTheClusterIP(t *testing.T) {
	l := newLayers(t, linkerdObjects(gatewayID), nil)
	tls := strings.Replace(throughClusterIP, "  host: shop.linkerd\n",
		"  host: shop.linkerd\n  trafficPolicy: {tls: {mode: ISTIO_MUTUAL, sni: "+shopIdentity+", subjectAltNames: ["+shopIdentity+"]}}\n", 1)
	if a := l.gateway("gw", tls, ecdsaKey).out(t, "GET", "/"); a.code != 200 {
		t.Errorf("%+v", a)
	}
	if seen := l.shop.requests(); len(seen) != 1 || seen[0].Header.Get("L5d-Client-Id") != gatewayID {
		t.Errorf("%+v", seen)
	}
	if a := l.gateway("gw", tls).out(t, "GET", "/"); a.code != 503 || !strings.Contains(a.body, "NO_COMMON_SIGNATURE_ALGORITHMS") {
		t.Errorf("an RSA leaf: %+v", a)
	}
}
