package layered_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	securityapi "istio.io/api/security/v1beta1"
	security "istio.io/client-go/pkg/apis/security/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/embedded"
	"github.com/meshproof/meshproof/clusters/embedded/layered"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/clusters/linkerdapi"
	"github.com/meshproof/meshproof/meshes"
	"github.com/meshproof/meshproof/scenarios"
)

func TestEachKindIsJudgedByItsOwnMeshAndWhatNeitherModelsIsRefused(t *testing.T) {
	add := func(o clusters.Object) func([]clusters.Object) []clusters.Object {
		return func(objs []clusters.Object) []clusters.Object { return append(objs, o) }
	}
	namespace := func(change func(*corev1.Namespace)) func([]clusters.Object) []clusters.Object {
		return func(objs []clusters.Object) []clusters.Object {
			change(objs[0].(*corev1.Namespace))
			return objs
		}
	}
	istioPolicy := &security.AuthorizationPolicy{}
	istioPolicy.Name, istioPolicy.Namespace = "p", "edge"
	istioPolicy.Spec.Action = securityapi.AuthorizationPolicy_CUSTOM
	linkerdPolicy := &linkerdapi.AuthorizationPolicy{}
	linkerdPolicy.Name, linkerdPolicy.Namespace = "p", "app"
	for name, tt := range map[string]struct {
		change func([]clusters.Object) []clusters.Object
		says   string // "": taken
	}{
		"as rendered":                       {func(objs []clusters.Object) []clusters.Object { return objs }, ""},
		"an AuthorizationPolicy, Istio's":   {add(istioPolicy), "AuthorizationPolicy edge/p: spec.action"},
		"an AuthorizationPolicy, Linkerd's": {add(linkerdPolicy), "AuthorizationPolicy app/p: spec.targetRef.name"},
		"a namespace for Istio's sidecars": {namespace(func(ns *corev1.Namespace) {
			ns.Labels["istio-injection"] = "enabled"
		}), "layered has Istio at its gateways alone"},
		"a pod for Istio's sidecar": {template(func(p *corev1.PodTemplateSpec) {
			p.Labels["sidecar.istio.io/inject"] = "true"
		}), "layered has Istio at its gateways alone"},
		"a setting of Istio's that nothing reads": {namespace(func(ns *corev1.Namespace) {
			ns.Labels["istio.io/rev"] = "x"
		}), "metadata.labels[istio.io/rev]"},
		"a setting of Linkerd's that nothing reads": {namespace(func(ns *corev1.Namespace) {
			ns.Annotations = map[string]string{"config.linkerd.io/proxy-cpu-limit": "1"}
		}), "metadata.annotations[config.linkerd.io/proxy-cpu-limit]"},
		"a variable of the gateway that nothing reads": {template(func(p *corev1.PodTemplateSpec) {
			p.Spec.Containers[1].Env = append(p.Spec.Containers[1].Env, corev1.EnvVar{Name: "ISTIO_MULTIROOT_MESH", Value: "true"})
		}), "spec.template.spec.containers[1]: environment of container gateway: ISTIO_MULTIROOT_MESH"},
		"an outside listener that Linkerd captures": {template(func(p *corev1.PodTemplateSpec) {
			p.Annotations["config.linkerd.io/skip-inbound-ports"] = "15021"
		}), "spec.template.spec.containers[1].ports[0].containerPort: 8081 is not in annotation"},
		"a range of skipped ports": {template(func(p *corev1.PodTemplateSpec) {
			p.Annotations["config.linkerd.io/skip-inbound-ports"] = "8081-8090, 15021"
		}), ""},
		"the workload's port past Linkerd's proxy": {template(func(p *corev1.PodTemplateSpec) {
			p.Annotations["config.linkerd.io/skip-inbound-ports"] = "8000-9000"
		}), "port 8080 would be reached past the proxy"},
		"skipped ports that are none": {template(func(p *corev1.PodTemplateSpec) {
			p.Annotations["config.linkerd.io/skip-inbound-ports"] = "http"
		}), `"http" is neither a port nor a range of ports`},
		"a container that is neither": {template(func(p *corev1.PodTemplateSpec) {
			p.Spec.Containers[1].Image = "envoyproxy/envoy:1.40"
		}), `image "envoyproxy/envoy:1.40"`},
		"two workloads": {template(func(p *corev1.PodTemplateSpec) {
			second := p.Spec.Containers[0]
			second.Name = "again"
			p.Spec.Containers = append(p.Spec.Containers, second)
		}), `container "again" beside the workload's, "workload"`},
		"two gateways": {template(func(p *corev1.PodTemplateSpec) {
			second := p.Spec.Containers[1]
			second.Name = "again"
			p.Spec.Containers = append(p.Spec.Containers, second)
		}), "2 gateways in one pod"},
		"no workload": {template(func(p *corev1.PodTemplateSpec) {
			p.Spec.Containers = p.Spec.Containers[1:]
		}), "a pod without a container of image"},
	} {
		t.Run(name, func(t *testing.T) {
			mesh, err := meshes.ByName(scenarios.MeshLayered)
			if err != nil {
				t.Fatal(err)
			}
			objs, err := mesh.Objects(shop(), scenarios.MeshEntry{}, "east")
			if err != nil {
				t.Fatal(err)
			}
			err = embedded.New(map[string]proxy.Factory{"layered": layered.Factory()}).Check("layered", tt.change(objs))
			switch {
			case tt.says == "" && err != nil:
				t.Error(err)
			case tt.says != "" && (!errors.Is(err, clusters.ErrNotModelled) || !strings.Contains(err.Error(), tt.says)):
				t.Errorf("error does not say %q: %v", tt.says, err)
			}
		})
	}
}

func TestAGatewayIsKnownByItsImage(t *testing.T) {
	for image, want := range map[string]bool{
		"registry.istio.io/release/proxyv2:1.30.3": true, "docker.io/istio/proxyv2:1.30.3-distroless": true, "proxyv2": true,
		"localhost:5000/proxyv2@sha256:00": true, "istio/pilot:1.30.3": false, "meshproof/agent:dev": false, "x/proxyv2x:1": false,
		"proxyv2/other:1": false, "": false,
	} {
		if got := layered.Factory().Gateway(corev1.Container{Name: "any", Image: image}); got != want {
			t.Errorf("%q: %v", image, got)
		}
	}
}

func TestANilObjectIsAnError(t *testing.T) {
	var ns *corev1.Namespace
	for _, objs := range [][]clusters.Object{{nil}, {ns}} {
		if err := layered.Factory().Check(slices.Clone(objs)); !errors.Is(err, clusters.ErrNotModelled) {
			t.Errorf("%v", err)
		}
	}
}
