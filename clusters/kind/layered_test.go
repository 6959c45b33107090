package kind

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	security "istio.io/client-go/pkg/apis/security/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/linkerdapi"
	"github.com/meshproof/meshproof/internal/agent"
	"github.com/meshproof/meshproof/meshes"
	"github.com/meshproof/meshproof/scenarios"
)

// ingressOf is the Deployment of a scenario's ingress, as mesh layered renders it, and a fleet for it.
func ingressOf(t *testing.T, entry scenarios.MeshEntry) (*appsv1.Deployment, *fleet) {
	t.Helper()
	s, _, err := scenarios.Resolve("checkout-spike")
	if err != nil {
		t.Fatal(err)
	}
	m, err := meshes.ByName(scenarios.MeshLayered)
	if err != nil {
		t.Fatal(err)
	}
	entry.Name = scenarios.MeshLayered
	objs, err := meshes.Render(m, entry, s, "east")
	if err != nil {
		t.Fatal(err)
	}
	if err := checkObjects(string(scenarios.MeshLayered), objs); err != nil {
		t.Fatal(err)
	}
	f := newFleet(clusters.Spec{Mesh: string(scenarios.MeshLayered), Sink: &sink{}, Install: map[string]clusters.Installation{
		"east": m.Install(s, entry, "", "east"),
	}}, t.TempDir())
	f.images = map[string]image{istioProxy: {ref: "docker.io/meshproof/proxyv2:1"}}
	for _, obj := range objs {
		if d, ok := obj.(*appsv1.Deployment); ok && d.Name == scenarios.IngressName {
			return d, f
		}
	}
	t.Fatal("no ingress was rendered")
	return nil, nil
}

func TestTheGatewayBesideTheIngressIsMadeWhole(t *testing.T) {
	for _, tt := range []struct {
		name  string
		entry scenarios.MeshEntry
		skips string
		ecc   bool
	}{
		{"with Linkerd's proxy", scenarios.MeshEntry{}, "8081,15020,15021,8079", false},
		{"direct", scenarios.MeshEntry{Layered: &scenarios.Layered{Gateway: scenarios.GatewayDirect}}, "8079", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, f := ingressOf(t, tt.entry)
			tpl := d.Spec.Template.DeepCopy()
			layered{}.template(f, tpl)
			if got := tpl.Annotations["config.linkerd.io/skip-inbound-ports"]; got != tt.skips {
				t.Errorf("Linkerd's proxy skips %q, want %q", got, tt.skips)
			}
			g := outside(&tpl.Spec, &tpl.Spec.Containers[0])
			if g.Name != "gateway" || g.Image != "docker.io/meshproof/proxyv2:1" || g.Ports[0].ContainerPort != 8081 {
				t.Fatalf("the outside enters at %s of %s, ports %v", g.Name, g.Image, g.Ports)
			}
			env := map[string]string{}
			for _, e := range g.Env {
				env[e.Name] = e.Value
			}
			if env["ISTIO_META_CLUSTER_ID"] != "east" || (env["ECC_SIGNATURE_ALGORITHM"] != "") != tt.ecc {
				t.Errorf("environment %v", env)
			}
			var cfg map[string]any
			if err := json.Unmarshal([]byte(env["PROXY_CONFIG"]), &cfg); err != nil || cfg["proxyStatsMatcher"] == nil || cfg["proxyMetadata"] != nil {
				t.Errorf("PROXY_CONFIG %s: %v", env["PROXY_CONFIG"], err)
			}
			for _, m := range g.VolumeMounts {
				if !slices.ContainsFunc(tpl.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name }) {
					t.Errorf("%s has no volume", m.Name)
				}
			}
			var via []string
			for _, e := range tpl.Spec.Containers[0].Env {
				if e.Name == agent.EnvVia {
					via = append(via, e.Value)
				}
			}
			if d := cmp.Diff([]string{"127.0.0.1:15080"}, via); d != "" {
				t.Errorf("the workload sends via %s", d)
			}
		})
	}
}

func TestOnlyIstiosProxyIsAGatewayWhateverItsNameAndRegistry(t *testing.T) {
	for img, want := range map[string]bool{
		"registry.istio.io/release/proxyv2:1.30.3": true, "localhost:5000/proxyv2@sha256:00": true, "proxyv2": true,
		"docker.io/istio/proxyv2-debug:1": false, "meshproof/agent:dev": false, "proxyv2/other:1": false,
	} {
		if got := isGateway(&corev1.Container{Name: istioSidecar, Image: img}); got != want {
			t.Errorf("%s: %v", img, got)
		}
	}
	pod := &appsv1.Deployment{}
	pod.Spec.Template.Spec.Containers = []corev1.Container{{Name: "gateway", Image: "proxyv2:1"}}
	for mesh, refused := range map[scenarios.MeshName]bool{scenarios.MeshLayered: false, scenarios.MeshLinkerd: true, scenarios.MeshNone: true} {
		err := checkObjects(string(mesh), []clusters.Object{pod})
		if (err != nil) != refused || err != nil && !strings.Contains(err.Error(), "no node has") {
			t.Errorf("mesh %s: %v", mesh, err)
		}
	}
}

func TestLayeredClustersTakeTheSettingsOfBothMeshesAndTheirParts(t *testing.T) {
	l := layered{}
	for _, obj := range []clusters.Object{&linkerdapi.Server{}, &security.RequestAuthentication{}} {
		if !l.takes(obj) {
			t.Errorf("%T is refused", obj)
		}
	}
	if d := cmp.Diff([]string{"base", "istiod", "linkerd-crds", "linkerd-control-plane"}, l.charts()); d != "" {
		t.Error(d)
	}
	var containers []string
	for _, p := range l.proxies() {
		containers = append(containers, p.container)
	}
	if d := cmp.Diff([]string{"linkerd-proxy", "gateway"}, containers); d != "" {
		t.Error(d)
	}
	images := map[string]image{
		"pilot": {ref: "docker.io/meshproof/pilot:1"}, "proxyv2": {repository: builtHere, tag: "1"},
		linkerdCtl: {ref: "cr.l5d.io/linkerd/controller:2", tag: "2"}, linkerdImage: {ref: "cr.l5d.io/linkerd/proxy:2", tag: "2"},
	}
	if l.flavor(images) != clusters.FlavorUpstreamEnvoy {
		t.Error("an edge of upstream Envoy is not said to be one")
	}
	if l.imageValues("istiod", images)["image"] != "docker.io/meshproof/pilot:1" || l.imageValues(linkerdChart, images)["controllerImage"] != "cr.l5d.io/linkerd/controller" {
		t.Error("a chart does not name the bundle's images")
	}
}
