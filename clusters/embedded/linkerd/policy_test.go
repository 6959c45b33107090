package linkerd

import (
	"net/http"
	"testing"

	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/evidence"
)

// compiled is the policy of port 8080 of a pod of shop.
func compiled(t *testing.T, objs string) *portPolicy {
	t.Helper()
	m := newMesh(t, objs)
	return compile(&proxy.Snapshot{Objects: m.objs}, proxy.Pod{
		PodRef: evidence.PodRef{Cluster: "east", Namespace: "app"}, Labels: map[string]string{"app": "shop"},
	}).app
}

func TestAuthenticationsAreMetByWhomTheyName(t *testing.T) {
	dns := func(name string) tlsState { return tlsState{established: true, client: clientID{name: name}} }
	uri := func(name string) tlsState {
		return tlsState{established: true, client: clientID{name: name, uri: true}}
	}
	policy := func(refs string) string {
		return shopServer + `apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: p, namespace: app}
spec:
  targetRef: {kind: Namespace, name: app}
  requiredAuthenticationRefs: [` + refs + `]
---
`
	}
	mesh := func(spec string) string {
		return `apiVersion: policy.linkerd.io/v1alpha1
kind: MeshTLSAuthentication
metadata: {name: a, namespace: app}
spec: {` + spec + `}
---
`
	}
	const (
		a       = "{group: policy.linkerd.io, kind: MeshTLSAuthentication, name: a}"
		network = "{group: policy.linkerd.io, kind: NetworkAuthentication, name: all}"
		all     = "apiVersion: policy.linkerd.io/v1alpha1\nkind: NetworkAuthentication\nmetadata: {name: all, namespace: app}\nspec: {networks: [{cidr: 0.0.0.0/0}]}\n---\n"
		other   = "cart.other.serviceaccount.identity.linkerd.cluster.local"
	)
	for _, tt := range []struct {
		name, objs string
		client     tlsState
		want       bool
	}{
		{"nothing is asked for", policy(""), tlsState{}, true},
		{"a ServiceAccount", policy("{kind: ServiceAccount, name: cart}"), dns(cartID), true},
		{"another ServiceAccount", policy("{kind: ServiceAccount, name: cart}"), dns(stockID), false},
		{"a ServiceAccount of another namespace", policy("{kind: ServiceAccount, name: cart, namespace: other}"), dns(other), true},
		{"a suffix", policy(a) + mesh(`identities: ["*.app.serviceaccount.identity.linkerd.cluster.local"]`), dns(cartID), true},
		{"a suffix of another namespace", policy(a) + mesh(`identities: ["*.app.serviceaccount.identity.linkerd.cluster.local"]`), dns(other), false},
		{"a suffix is none of a URI", policy(a) + mesh(`identities: ["*.gw", "*"]`), uri(gatewayID), false},
		{"a URI, exactly", policy(a) + mesh(`identities: ["`+gatewayID+`"]`), uri(gatewayID), true},
		{"a URI is no prefix", policy(a) + mesh(`identities: ["`+gatewayID+`"]`), uri(gatewayID + "2"), false},
		{"a reference to a ServiceAccount", policy(a) + mesh(`identityRefs: [{kind: ServiceAccount, name: cart}]`), dns(cartID), true},
		{"a reference to a Namespace", policy(a) + mesh(`identityRefs: [{kind: Namespace, name: other}]`), dns(other), true},
		{"a reference to another Namespace", policy(a) + mesh(`identityRefs: [{kind: Namespace, name: other}]`), dns(cartID), false},
		{"a star wants an identity", policy(a) + mesh(`identities: ["*"]`), tlsState{established: true}, false},
		{"a network", policy(network) + all, tlsState{}, true},
		{"a network that is not there", policy(network), tlsState{}, false},
		{"a network and an identity, without it", policy(network+", "+a) + all + mesh(`identities: ["*"]`), tlsState{}, false},
		{"a network and an identity", policy(network+", "+a) + all + mesh(`identities: ["*"]`), dns(cartID), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, got := compiled(t, tt.objs).authorizeHTTP(asked{method: "GET", path: "/"}, tt.client); (got != nil) != tt.want {
				t.Errorf("authorized: %v", got)
			}
		})
	}
}

func TestTheBestMatchDecidesWhichRouteARequestTakes(t *testing.T) {
	route := func(name, matches string) string {
		return `apiVersion: policy.linkerd.io/v1beta3
kind: HTTPRoute
metadata: {name: ` + name + `, namespace: app}
spec:
  parentRefs: [{group: policy.linkerd.io, kind: Server, name: shop}]
  rules: [{matches: [` + matches + `]}]
---
`
	}
	p := compiled(t, shopServer+
		route("all", "")+
		route("get", "{method: GET}")+
		route("items", "{path: {value: /items}}")+
		route("post-items", "{method: POST, path: {value: /items/}}")+
		route("item", "{path: {type: Exact, value: /items/1}}")+
		route("deep", "{path: {value: /items/1/parts}}")+
		route("equal-exact", "{path: {type: Exact, value: /equal}}")+
		route("equal-prefix", "{path: {value: /equal}}")+
		route("equal-put", "{method: PUT, path: {value: /equal}}")+
		route("even-first", "{path: {value: /even}}")+
		route("even-second", "{path: {type: Exact, value: /even}}")+
		route("canary", `{headers: [{name: x-canary, value: "1"}]}`)+
		route("canary-of-two", `{headers: [{name: x-canary, value: "1"}, {name: X-Region, type: Exact, value: west}]}`)+
		route("client", `{headers: [{name: l5d-client-id, value: `+cartID+`}]}`))
	canary := func(h ...string) http.Header {
		return http.Header{"X-Canary": {"0", "1"}, "X-Region": h}
	}
	for _, tt := range []struct {
		method, path string
		header       http.Header
		want         string
	}{
		{"PUT", "/", nil, "all"},
		{"GET", "/", nil, "get"},
		{"GET", "/itemsx", nil, "get"},
		{"GET", "/items", nil, "items"},
		{"GET", "/items/", nil, "items"},
		{"POST", "/items/2", nil, "post-items"},
		{"POST", "/items/1", nil, "item"},
		{"POST", "/items/1/parts/2", nil, "deep"},
		{"GET", "/", canary(), "canary"},
		{"GET", "/", canary("west"), "canary-of-two"},
		{"GET", "/", canary("West"), "canary"},
		{"GET", "/", http.Header{"X-Canary": {"1 "}}, "get"},
		{"GET", "/items/2", canary("west"), "items"},
		// By the Gateway API an exact path would go before a prefix, however long; in linkerd2-proxy the length alone counts,
		// then the method, and then which route is first.
		{"GET", "/equal", nil, "equal-exact"},
		{"PUT", "/equal", nil, "equal-put"},
		{"GET", "/even", nil, "even-first"},
	} {
		if r := p.find(asked{tt.method, tt.path, tt.header}); r == nil || r.meta.name != tt.want || r.meta.group != "policy.linkerd.io" {
			t.Errorf("%s %s %v: %+v, want %s", tt.method, tt.path, tt.header, r, tt.want)
		}
	}
}
