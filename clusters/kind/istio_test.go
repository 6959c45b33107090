package kind

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	securityapi "istio.io/api/security/v1beta1"
	security "istio.io/client-go/pkg/apis/security/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/scenarios"
)

// Pages of a real istiod, of a fleet with the clusters east and west: of two of its proxies, of two Services, and of
// some objects.
func page(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "istiod-"+name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWhatIstiodKnowsIsReadFromItsPages(t *testing.T) {
	objects, err := knownObjects(page(t, "configz"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"security.istio.io/AuthorizationPolicy/app/to-cart": "650", "networking.istio.io/DestinationRule/app/cart": "656",
		"security.istio.io/PeerAuthentication/istio-system/default": "644", "networking.istio.io/VirtualService/app/cart": "655",
	}
	if d := cmp.Diff(want, objects); d != "" {
		t.Error(d)
	}
	endpoints, err := knownEndpoints(page(t, "endpointshardz"))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]int{"cart.app": 4, "stock.app": 2}, map[string]int{"cart.app": len(endpoints["cart.app"]), "stock.app": len(endpoints["stock.app"])}); d != "" {
		t.Errorf("%v: %s", endpoints, d)
	}
	if !slices.IsSorted(endpoints["cart.app"]) || !slices.Contains(endpoints["cart.app"], "10.96.0.8") {
		t.Errorf("cart is at %v", endpoints["cart.app"])
	}
	unready := strings.Replace(string(page(t, "endpointshardz")), `"HealthStatus": 1`, `"HealthStatus": 2`, 1)
	fewer, err := knownEndpoints([]byte(unready))
	if err != nil || len(fewer["cart.app"]) != 3 {
		t.Errorf("with one that is not ready: %v, %v", fewer, err)
	}
	for name, read := range map[string]func([]byte) error{
		"configz":        func(b []byte) error { _, err := knownObjects(b); return err },
		"endpointShardz": func(b []byte) error { _, err := knownEndpoints(b); return err },
		"syncz":          func(b []byte) error { _, err := readSyncs(b); return err },
	} {
		if err := read([]byte("404 page not found")); err == nil || !strings.Contains(err.Error(), "istiod") {
			t.Errorf("%s of nothing: %v", name, err)
		}
	}
}

func FuzzIstiodsPages(f *testing.F) {
	for _, name := range []string{"configz", "endpointshardz", "syncz"} {
		f.Add(page(f, name))
	}
	f.Fuzz(func(_ *testing.T, text []byte) {
		_, _ = knownObjects(text)
		_, _ = knownEndpoints(text)
		if s, err := readSyncs(text); err == nil {
			behind("east", []string{"a.b"}, s, s)
		}
	})
}

func TestAProxyIsCurrentWhenItConfirmedSomethingNewerOfEachKind(t *testing.T) {
	now := string(page(t, "syncz"))
	syncs := func(text string) map[string]syncStatus {
		s, err := readSyncs([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	all := syncs(now)
	var ids []string
	for id := range all {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	if len(ids) != 2 {
		t.Fatalf("proxies %v", ids)
	}
	// The nonces of both proxies' listeners, sent and acknowledged.
	listener := func(id string) (name, nonce string) {
		for name, r := range all[id].Resources {
			if strings.HasSuffix(name, ".Listener") {
				return name, r.Sent
			}
		}
		t.Fatalf("%s has no listeners", id)
		return "", ""
	}
	earlier := strings.NewReplacer(`sent": "`, `sent": "x`, `acked": "`, `acked": "x`).Replace(now)
	_, nonce := listener(ids[0])
	for _, tt := range []struct {
		name    string
		proxies []string
		before  string
		now     string
		want    []string
	}{
		{"all is newer", ids, earlier, now, nil},
		{"nothing was sent", ids[:1], now, now, []string{"has not sent its newest Cluster to", "has not sent its newest Listener to", "has not sent its newest RouteConfiguration to", "has not sent its newest ClusterLoadAssignment to"}},
		{"one is not confirmed", ids, earlier, strings.Replace(now, `acked": "`+nonce, `acked": "old`, 2), []string{ids[0] + " in cluster east has not confirmed its newest Listener"}},
		{"one is not connected", append(slices.Clone(ids), "new.app"), earlier, now, []string{"no connection of the proxy new.app"}},
		{"a proxy that came since", ids, "[]", now, nil},
		{"nobody is asked for", nil, now, now, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := behind("east", tt.proxies, syncs(tt.before), syncs(tt.now))
			if len(got) != len(tt.want) {
				t.Fatalf("%q, want %q", got, tt.want)
			}
			for i := range got {
				if !strings.Contains(got[i], tt.want[i]) {
					t.Errorf("%q, want %q", got[i], tt.want[i])
				}
			}
		})
	}
}

func istioFleet(t *testing.T) *fleet {
	t.Helper()
	f := newFleet(clusters.Spec{Mesh: "istio", Sink: &sink{}}, t.TempDir())
	f.hosts[scenarios.IssuerHost] = "172.18.0.1:40001"
	f.gateway = netip.MustParseAddr("172.18.0.1")
	return f
}

func TestIstiodFetchesTheIssuersKeysWherePodsReachThem(t *testing.T) {
	a := &security.RequestAuthentication{}
	a.Spec.JwtRules = []*securityapi.JWTRule{{Issuer: scenarios.IssuerURL, JwksUri: scenarios.IssuerKeys}, {JwksUri: "http://elsewhere.test/keys"}, {JwksUri: "::"}}
	got := istio{}.object(istioFleet(t), a).(*security.RequestAuthentication)
	var uris []string
	for _, r := range got.Spec.GetJwtRules() {
		uris = append(uris, r.GetJwksUri())
	}
	if d := cmp.Diff([]string{"http://172.18.0.1:40001/keys", "http://elsewhere.test/keys", "::"}, uris); d != "" {
		t.Error(d)
	}
	if a.Spec.GetJwtRules()[0].GetJwksUri() != scenarios.IssuerKeys || got.Spec.GetJwtRules()[0].GetIssuer() != scenarios.IssuerURL {
		t.Error("the scenario's object was changed, or who issues tokens")
	}
	other := &security.PeerAuthentication{}
	if (istio{}).object(istioFleet(t), other) != clusters.Object(other) {
		t.Error("an object that names no host was changed")
	}
}

func TestTheSidecarLeavesTheDriversCommandsAloneAndNothingElse(t *testing.T) {
	tpl := &corev1.PodTemplateSpec{}
	istio{}.template(istioFleet(t), tpl)
	want := map[string]string{
		"traffic.sidecar.istio.io/excludeInboundPorts":     "8079",
		"traffic.sidecar.istio.io/excludeOutboundIPRanges": "172.18.0.1/32",
		"sidecar.istio.io/rewriteAppHTTPProbers":           "false",
	}
	if d := cmp.Diff(want, tpl.Annotations); d != "" {
		t.Error(d)
	}
	tpl.Annotations = map[string]string{"traffic.sidecar.istio.io/excludeInboundPorts": "9000"}
	f := istioFleet(t)
	f.hosts = nil
	istio{}.template(f, tpl)
	if tpl.Annotations["traffic.sidecar.istio.io/excludeInboundPorts"] != "9000,8079" || len(tpl.Annotations) != 2 {
		t.Errorf("a pod's own annotations: %v", tpl.Annotations)
	}
}

func TestChartsNameTheImagesThatTheBundleHas(t *testing.T) {
	images := map[string]image{
		"pilot":   {ref: "docker.io/meshproof/pilot:1.31.0", repository: "docker.io/meshproof", tag: "1.31.0"},
		"proxyv2": {ref: "docker.io/other/proxyv2:1.30.3", repository: "docker.io/other", tag: "1.30.3"},
	}
	want := map[string]any{
		"image":  "docker.io/meshproof/pilot:1.31.0",
		"global": map[string]any{"imagePullPolicy": "IfNotPresent", "hub": "docker.io/other", "tag": "1.30.3"},
	}
	if d := cmp.Diff(want, istio{}.imageValues("istiod", images)); d != "" {
		t.Error(d)
	}
	if got := (istio{}).imageValues("base", images); got != nil {
		t.Errorf("values of a chart without images: %v", got)
	}
}
