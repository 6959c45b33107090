package kind

import "k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

// outspoken writes out the defaults of Istio's objects where nothing else is said. Server-side apply turns an object that
// loses its last field into null, which the API server then refuses: a policy that had rules could not become one that
// allows nothing.
func outspoken(u *unstructured.Unstructured) {
	spec, ok := u.Object["spec"].(map[string]any)
	if !ok {
		return
	}
	unset := func(m map[string]any) {
		if len(m) == 0 {
			m["mode"] = "UNSET"
		}
	}
	switch u.GroupVersionKind().GroupKind().String() {
	case "AuthorizationPolicy.security.istio.io":
		if len(spec) == 0 {
			spec["action"] = "ALLOW"
		}
	case "PeerAuthentication.security.istio.io":
		if len(spec) == 0 {
			spec["mtls"] = map[string]any{}
		}
		if mtls, ok := spec["mtls"].(map[string]any); ok {
			unset(mtls)
		}
		ports, _ := spec["portLevelMtls"].(map[string]any)
		for _, p := range ports {
			if mtls, ok := p.(map[string]any); ok {
				unset(mtls)
			}
		}
	}
}
