package verify

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshproof/meshproof/scenarios"
)

// extraPolicy is an AuthorizationPolicy of the scenario's own.
func extraPolicy(app string, rules ...any) map[string]any {
	return map[string]any{
		"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
		"metadata": map[string]any{"name": "temporary", "namespace": "app"},
		"spec":     map[string]any{"selector": map[string]any{"matchLabels": map[string]any{"app": app}}, "rules": rules},
	}
}

func operation(fields map[string]any) map[string]any {
	return map[string]any{"to": []any{map[string]any{"operation": fields}}}
}

func TestThePlanAsksWhatTheObjectsOfAMeshDistinguish(t *testing.T) {
	for _, c := range []struct {
		name           string
		object         map[string]any
		methods, paths []string
	}{
		{"another method", extraPolicy("cart", operation(map[string]any{"methods": []any{"DELETE"}})), []string{"DELETE", "GET"}, []string{"/carts/meshproof-any", unlisted}},
		{"all methods but one", extraPolicy("cart", operation(map[string]any{"notMethods": []any{"GET"}})), []string{"GET", "POST"}, []string{"/carts/meshproof-any", unlisted}},
		{"a pattern of methods", extraPolicy("cart", operation(map[string]any{"methods": []any{"P*"}})), commonMethods, []string{"/carts/meshproof-any", unlisted}},
		{
			"other paths", extraPolicy("cart", operation(map[string]any{"paths": []any{"/admin", "*.php", "/cart*", "/a/{*}/b"}})),
			[]string{"GET"},
			[]string{"/carts/meshproof-any", "/admin", "/meshproof-any.php", "/cartmeshproof-any", "/a/meshproof-any/b", unlisted},
		},
		{
			"all paths but those that are asked", extraPolicy("cart", operation(map[string]any{"notPaths": []any{"/carts/*", unlisted}})),
			[]string{"GET"},
			[]string{"/carts/meshproof-any", unlisted, unlisted + "-either"},
		},
		{"a rule for another service", extraPolicy("shop", operation(map[string]any{"methods": []any{"DELETE"}})), []string{"GET"}, []string{"/carts/meshproof-any", unlisted}},
		{"an object that is none", map[string]any{"kind": "AuthorizationPolicy", "spec": "?"}, []string{"GET"}, []string{"/carts/meshproof-any", unlisted}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := testScenario(scenarios.MeshIstio)
			s.Spec.Meshes[0].Objects = []map[string]any{c.object}
			methods, paths := classes(s, "cart")
			if d := cmp.Diff(c.methods, methods) + cmp.Diff(c.paths, paths); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestAConditionThatNoQuestionVariesKeepsTheMatrixFromBeingProved(t *testing.T) {
	when := func(key string) map[string]any {
		return map[string]any{"when": []any{map[string]any{"key": key, "values": []any{"1"}}}}
	}
	for _, c := range []struct {
		name string
		rule map[string]any
		want Verdict
	}{
		{"a header", when("request.headers[x-debug]"), Invalid},
		{"a host", operation(map[string]any{"hosts": []any{"debug.local"}}), Invalid},
		{"an address", map[string]any{"from": []any{map[string]any{"source": map[string]any{"ipBlocks": []any{"10.0.0.0/8"}}}}}, Invalid},
		{"who calls", when("source.principal"), Pass},
		{"the port", operation(map[string]any{"ports": []any{"8080"}}), Pass},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := testScenario(scenarios.MeshIstio)
			s.Spec.Meshes[0].Objects = []map[string]any{extraPolicy("cart", c.rule)}
			for _, check := range Evaluate(goodRecord(t, s)).Checks {
				if check.ID == "policy/cart" && check.Verdict != c.want {
					t.Errorf("policy/cart is %s (%s), want %s", check.Verdict, check.Message, c.want)
				}
			}
		})
	}
}
