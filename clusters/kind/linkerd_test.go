package kind

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	gatewayapi "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/linkerdapi"
	"github.com/meshproof/meshproof/evidence"
)

var linkerdRefs = []string{"cr.l5d.io/linkerd/controller:edge-26.6.3", "cr.l5d.io/linkerd/proxy:edge-26.6.3"}

func TestAMeshOfWhichTheBundleHasNothingIsNotPossibleAndOneWithSomethingMissingIsAnError(t *testing.T) {
	charts := linkerd{}.charts()
	for _, tt := range []struct {
		name     string
		dir      string
		possible bool
		want     []string // in the error of Build
	}{
		{"all of it", bundleWith(t, charts, linkerdRefs...), true, nil},
		{"nothing of it", bundleWith(t, []string{"base"}, "docker.io/istio/pilot:1.30.3"), false, []string{"meshproof bundle add", "linkerd/proxy", "linkerd-control-plane"}},
		{"somebody else's proxy", bundleWith(t, nil, "docker.io/other/proxy:1", "docker.io/other/controller:1"), false, []string{"has nothing of what mesh linkerd needs"}},
		{"a chart is missing", bundleWith(t, charts[:1], linkerdRefs...), true, []string{"chart-linkerd-control-plane", "bundle add"}},
		{"an image is missing", bundleWith(t, charts, linkerdRefs[:1]...), true, []string{"image linkerd/proxy", "bundle add"}},
		{"no bundle", t.TempDir(), true, []string{"no bundle"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := New(Config{Bundle: tt.dir})
			err := p.Check("linkerd", []clusters.Object{&linkerdapi.Server{}, &gatewayapi.HTTPRoute{}})
			if errors.Is(err, clusters.ErrNotPossible) == tt.possible || tt.possible != (err == nil) {
				t.Errorf("Check: %v", err)
			}
			b, err := p.Build("linkerd")
			if (err == nil) != (tt.want == nil) {
				t.Fatalf("Build: %+v, %v", b, err)
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%v does not say %q", err, w)
				}
			}
			if err == nil && (b.Flavor != "" || len(b.Components) != 4) {
				t.Errorf("Build: %+v", b)
			}
		})
	}
}

func TestLayersAreNotPossibleWithoutLinkerdThoughIstioIsThere(t *testing.T) {
	p := New(Config{Bundle: bundleWith(t, []string{"base", "istiod"}, "docker.io/meshproof/pilot:1", "docker.io/meshproof/proxyv2:1")})
	for mesh, possible := range map[string]bool{"istio": true, "linkerd": false, "layered": false} {
		if err := p.Check(mesh, nil); (err == nil) != possible || err != nil && !errors.Is(err, clusters.ErrNotPossible) {
			t.Errorf("%s: %v", mesh, err)
		}
	}
}

func TestLinkerdsChartGetsTheBundlesImagesAndTheClustersOwnNetworks(t *testing.T) {
	images := map[string]image{}
	for i, name := range (linkerd{}).images() {
		ref := linkerdRefs[i]
		images[name] = image{ref: ref, repository: "cr.l5d.io/linkerd", tag: "edge-26.6.3"}
	}
	want := map[string]any{
		"imagePullPolicy": "IfNotPresent",
		"controllerImage": "cr.l5d.io/linkerd/controller", "controllerImageVersion": "edge-26.6.3",
		"proxy": map[string]any{"image": map[string]any{"name": "cr.l5d.io/linkerd/proxy", "version": "edge-26.6.3"}},
	}
	if d := cmp.Diff(want, linkerd{}.imageValues("linkerd-control-plane", images)); d != "" {
		t.Error(d)
	}
	list, _, err := pickRanges(1, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{ranges: list[0]}
	own := list[0].pods.String() + "," + list[0].services.String()
	if d := cmp.Diff(map[string]any{"clusterNetworks": own}, linkerd{}.clusterValues(c, "linkerd-control-plane")); d != "" {
		t.Error(d)
	}
	if got := (linkerd{}).imageValues("linkerd-crds", images); got != nil {
		t.Errorf("values of the definitions' chart: %v", got)
	}
	if got := (linkerd{}).clusterValues(c, "linkerd-crds"); got != nil {
		t.Errorf("values of the definitions' chart: %v", got)
	}
}

func TestLinkerdsProxyLeavesTheDriversCommandsAlone(t *testing.T) {
	tpl := &corev1.PodTemplateSpec{}
	linkerd{}.template(istioFleet(t), tpl)
	want := map[string]string{"config.linkerd.io/skip-inbound-ports": "8079", "config.linkerd.io/skip-subnets": "172.18.0.1/32"}
	if d := cmp.Diff(want, tpl.Annotations); d != "" {
		t.Error(d)
	}
	tpl.Annotations = map[string]string{"config.linkerd.io/skip-inbound-ports": "8081,15021"}
	f := istioFleet(t)
	f.hosts = nil
	linkerd{}.template(f, tpl)
	if d := cmp.Diff(map[string]string{"config.linkerd.io/skip-inbound-ports": "8081,15021,8079"}, tpl.Annotations); d != "" {
		t.Error(d)
	}
}

func TestPodsOfOtherClustersAreKnownByTheIdentityThatAllOfThemHave(t *testing.T) {
	member := func(account string, containers ...string) *pod {
		obj := &corev1.Pod{Spec: corev1.PodSpec{ServiceAccountName: account, Containers: []corev1.Container{{Name: "workload"}}}}
		for _, name := range containers {
			obj.Spec.InitContainers = append(obj.Spec.InitContainers, corev1.Container{Name: name})
		}
		return &pod{ref: evidence.PodRef{Namespace: "app", Service: "cart"}, obj: obj}
	}
	const id = "cart.app.serviceaccount.identity.linkerd.cluster.local"
	for _, tt := range []struct {
		name string
		pods []*pod
		want string
	}{
		{"one", []*pod{member("cart", "linkerd-init", "linkerd-proxy")}, id},
		{"two of one account", []*pod{member("cart", "linkerd-proxy"), member("cart", "linkerd-proxy")}, id},
		{"two accounts", []*pod{member("cart", "linkerd-proxy"), member("other", "linkerd-proxy")}, ""},
		{"one without a proxy", []*pod{member("cart", "linkerd-proxy"), member("cart")}, ""},
		{"first without a proxy", []*pod{member("cart"), member("cart", "linkerd-proxy")}, ""},
		{"nobody", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &discoveryv1.EndpointSlice{}
			linkerd{}.imported(s, tt.pods)
			if got := s.Annotations["mirror.linkerd.io/remote-gateway-identity"]; got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestWhatAProxyBalancesOverIsReadFromItsMetrics(t *testing.T) {
	body, err := os.ReadFile(filepath.Join("testdata", "linkerd-balancers.prom"))
	if err != nil {
		t.Fatal(err)
	}
	have, err := balancedOver(body)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]int{"lapp/web": 2}, have); d != "" {
		t.Error(d)
	}
	dropped := strings.ReplaceAll(string(body), `backend_section_name=""} 2`, `backend_section_name=""} 0`)
	if have, err := balancedOver([]byte(dropped)); err != nil || len(have) != 0 || dropped == string(body) {
		t.Errorf("a balancer that was dropped: %v, %v", have, err)
	}
	if have, err := balancedOver([]byte("process_start_time_seconds 1\n")); err != nil || len(have) != 0 {
		t.Errorf("a proxy that sends to nobody: %v, %v", have, err)
	}
	if _, err := balancedOver([]byte(balancerEndpoints + "{backend_kind=\"Service\"} many\n")); err == nil {
		t.Error("a page that is none was read")
	}
}

func FuzzBalancers(f *testing.F) {
	f.Add([]byte(balancerEndpoints + "{backend_kind=\"Service\",backend_namespace=\"a\",backend_name=\"b\"} 2\n"))
	f.Fuzz(func(_ *testing.T, page []byte) { _, _ = balancedOver(page) })
}

func TestTheBarrierIsARouteForOnePathThatTheProxyItselfAnswers(t *testing.T) {
	objs := policyBarrier("app", []string{"cart.http", "shop.http"}, "mark")
	text, err := clusters.Encode(objs)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "linkerd-barrier.golden")
	if *update {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(text)); d != "" {
		t.Errorf("-update writes it anew: %s", d)
	}
	for _, obj := range objs {
		if !(linkerd{}).takes(obj) {
			t.Errorf("%s is no kind of Linkerd's", clusters.KindName(obj))
		}
	}
}

func TestOnlyServersThatRefusePlaintextAreAskedForTheBarriersPath(t *testing.T) {
	var asked []string
	for _, policy := range []string{"", "deny", "all-authenticated", "cluster-authenticated", "all-unauthenticated", "cluster-unauthenticated", "audit"} {
		if refuses(policy) {
			asked = append(asked, policy)
		}
	}
	if !slices.Equal(asked, []string{"", "deny", "all-authenticated", "cluster-authenticated"}) {
		t.Errorf("%q", asked)
	}
}

func TestServersOfPortsThatAreNotReadAsHTTPAreNotAskedForTheBarriersPath(t *testing.T) {
	var asked []string
	for _, protocol := range []string{"", "unknown", "HTTP/1", "HTTP/2", "gRPC", "opaque", "TLS"} {
		if readsHTTP(protocol) {
			asked = append(asked, protocol)
		}
	}
	if !slices.Equal(asked, []string{"", "unknown", "HTTP/1", "HTTP/2"}) {
		t.Errorf("%q", asked)
	}
}
