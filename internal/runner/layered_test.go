package runner_test

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/linkerdapi"
	"github.com/meshproof/meshproof/internal/runner"
	"github.com/meshproof/meshproof/meshes"
	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

const layers = `
apiVersion: meshproof/v1alpha1
kind: Scenario
metadata: {name: layers}
spec:
  meshes: [{name: layered, layered: LAYERED}]
  topology:
    clusters: [{name: east}]
    services:
      - {name: shop, replicas: 2, calls: [{to: cart}]}
      - {name: cart, replicas: 2}
  policy: {default: deny, allow: [{from: ingress, to: shop, methods: [GET]}, {from: shop, to: cart}]}
  traffic:
    - name: users
      to: shop
      profile: {stages: [{rate: 40, for: 1s}]}
  expect:
    mtls: {everywhere: true}
    policy: {matrix: complete}
`

// gatewayOf finds the container of the gateway.
func gatewayOf(o clusters.Object) (*corev1.Container, bool) {
	d, ok := o.(*appsv1.Deployment)
	if !ok || len(d.Spec.Template.Spec.Containers) < 2 {
		return nil, false
	}
	return &d.Spec.Template.Spec.Containers[1], true
}

// TestTheMistakesOfLayeredAreFound has each of them applied in the place of the object that is right.
func TestTheMistakesOfLayeredAreFound(t *testing.T) {
	const meshed, endpoint, direct = "{gateway: meshed}", "{gateway: meshed, balancing: endpoint}", "{gateway: direct}"
	for _, tt := range []struct {
		name, layered string
		mistake       func(clusters.Object) bool // made in an object; false: it is another's
		want          verify.Verdict
	}{
		{"none, and Linkerd balances", meshed, nil, verify.Pass},
		{"none, and Envoy balances", endpoint, nil, verify.Pass},
		{"none, without Linkerd at the gateway", direct, nil, verify.Pass},
		{"a gateway that Linkerd's injector takes for a sidecar", meshed, func(o clusters.Object) bool {
			c, ok := gatewayOf(o)
			if ok {
				c.Name = "istio-proxy"
			}
			return ok
		}, verify.Fail},
		{"a gateway with an RSA certificate", direct, func(o clusters.Object) bool {
			c, ok := gatewayOf(o)
			if ok {
				c.Env = slices.DeleteFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == "ECC_SIGNATURE_ALGORITHM" })
			}
			return ok
		}, verify.Invalid}, // no request gets through, so that nothing is proved
		{"a star for a SPIFFE ID", direct, func(o clusters.Object) bool {
			a, ok := o.(*linkerdapi.MeshTLSAuthentication)
			if ok = ok && strings.HasPrefix(a.Name, "shop."); ok {
				a.Spec.Identities = []string{"*"}
			}
			return ok
		}, verify.Fail},
		{"a star for whoever has a certificate", meshed, func(o clusters.Object) bool {
			a, ok := o.(*linkerdapi.MeshTLSAuthentication)
			if ok = ok && strings.HasPrefix(a.Name, "shop."); ok {
				a.Spec.Identities = []string{"*"}
			}
			return ok
		}, verify.Fail},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(layers, "LAYERED", tt.layered, 1)
			if tt.mistake != nil {
				text = strings.Replace(text, "layered: "+tt.layered, "layered: "+tt.layered+", objects: "+replaced(t, text, tt.mistake), 1)
			}
			out, _ := run(t, text, 1, nil)
			if out.Result.Verdict != tt.want {
				t.Errorf("%s: %s", out.Result.Verdict, out.Result.Message)
			}
		})
	}
}

// replaced are the objects of a scenario's first mesh that a change was made in, as JSON.
func replaced(t *testing.T, text string, change func(clusters.Object) bool) string {
	t.Helper()
	s, err := scenarios.Parse("layers.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	objs, err := runner.Objects(s, s.Spec.Meshes[0], clusters.Build{}, "east")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, o := range objs {
		if !change(o) {
			continue
		}
		b, err := clusters.Encode([]clusters.Object{o})
		if err == nil {
			b, err = yaml.YAMLToJSON(b)
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(b))
	}
	if len(out) == 0 {
		t.Fatal("no object was changed")
	}
	return "[" + strings.Join(out, ", ") + "]"
}

func TestEveryMeshOfTheScenarioLanguageIsModelled(t *testing.T) {
	for _, m := range meshes.All() {
		if err := models().Check(string(m.Name()), nil); err != nil {
			t.Errorf("%s: %v", m.Name(), err)
		}
	}
}
