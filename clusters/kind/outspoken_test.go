package kind

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func TestAnObjectThatSaysNothingIsAppliedWithItsDefault(t *testing.T) {
	for _, tc := range []struct{ name, kind, spec, want string }{
		{"nothing is allowed", "AuthorizationPolicy", "{}", "{action: ALLOW}"},
		{"something is", "AuthorizationPolicy", "{rules: [{}]}", "{rules: [{}]}"},
		{"an empty mode", "PeerAuthentication", "{mtls: {}}", "{mtls: {mode: UNSET}}"},
		{"nothing about mutual TLS", "PeerAuthentication", "{}", "{mtls: {mode: UNSET}}"},
		{"a port's", "PeerAuthentication", "{mtls: {mode: STRICT}, portLevelMtls: {'8080': {}, '80': {mode: DISABLE}}}", "{mtls: {mode: STRICT}, portLevelMtls: {'8080': {mode: UNSET}, '80': {mode: DISABLE}}}"},
		{"a selector alone", "PeerAuthentication", "{selector: {matchLabels: {app: shop}}}", "{selector: {matchLabels: {app: shop}}}"},
		{"another kind", "RequestAuthentication", "{}", "{}"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			read := func(spec string) (out map[string]any) {
				if err := yaml.Unmarshal([]byte(spec), &out); err != nil {
					t.Fatal(err)
				}
				return out
			}
			u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "security.istio.io/v1", "kind": tc.kind, "spec": read(tc.spec)}}
			outspoken(u)
			if d := cmp.Diff(read(tc.want), u.Object["spec"]); d != "" {
				t.Error(d)
			}
		})
	}
}
