package istio

import (
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/clusters/embedded/proxy/relay"
	"github.com/meshproof/meshproof/evidence"
)

func TestPeerAuthenticationIsResolvedFromWorkloadToMesh(t *testing.T) {
	pa := func(name, ns, created, spec string) string {
		return "kind: PeerAuthentication\nmetadata: {name: " + name + ", namespace: " + ns + ", creationTimestamp: \"" + created + "\"}\nspec: " + spec + "\n---\n"
	}
	const t1, t2 = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
	for _, tt := range []struct {
		name, objs string
		want       mtlsMode
	}{
		{"nothing is permissive", "", permissive},
		{"mesh", pa("default", "istio-system", t1, "{mtls: {mode: STRICT}}"), strict},
		{"mesh UNSET is permissive", pa("default", "istio-system", t1, "{mtls: {mode: UNSET}}"), permissive},
		{"namespace over mesh", pa("default", "istio-system", t1, "{mtls: {mode: STRICT}}") + pa("ns", "app", t1, "{mtls: {mode: DISABLE}}"), disabled},
		{"another namespace says nothing", pa("ns", "other", t1, "{mtls: {mode: STRICT}}"), permissive},
		{"namespace UNSET inherits", pa("default", "istio-system", t1, "{mtls: {mode: STRICT}}") + pa("ns", "app", t1, "{}"), strict},
		{"workload over namespace", pa("ns", "app", t1, "{mtls: {mode: STRICT}}") + pa("w", "app", t1, "{selector: {matchLabels: {app: shop}}, mtls: {mode: PERMISSIVE}}"), permissive},
		{"workload UNSET inherits", pa("ns", "app", t1, "{mtls: {mode: STRICT}}") + pa("w", "app", t1, "{selector: {matchLabels: {app: shop}}}"), strict},
		{"another workload", pa("w", "app", t1, "{selector: {matchLabels: {app: cart}}, mtls: {mode: STRICT}}"), permissive},
		{"every label must be there", pa("w", "app", t1, "{selector: {matchLabels: {app: shop, tier: x}}, mtls: {mode: STRICT}}"), permissive},
		{"an empty selector is the namespace", pa("w", "app", t1, "{selector: {matchLabels: {}}, mtls: {mode: STRICT}}"), strict},
		{"a selector in the root namespace selects nothing", pa("w", "istio-system", t1, "{selector: {matchLabels: {app: shop}}, mtls: {mode: STRICT}}"), permissive},
		{"the oldest of a namespace", pa("a", "app", t2, "{mtls: {mode: STRICT}}") + pa("b", "app", t1, "{mtls: {mode: DISABLE}}"), disabled},
		{"the oldest of a workload", pa("a", "app", t2, "{selector: {matchLabels: {app: shop}}, mtls: {mode: STRICT}}") +
			pa("b", "app", t1, "{selector: {matchLabels: {app: shop}}, mtls: {mode: DISABLE}}"), disabled},
		{"of the same age: by name", pa("b", "app", t1, "{mtls: {mode: DISABLE}}") + pa("a", "app", t1, "{mtls: {mode: STRICT}}"), strict},
		{"port over workload", pa("w", "app", t1, "{selector: {matchLabels: {app: shop}}, mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: DISABLE}}}"), disabled},
		{"another port", pa("w", "app", t1, "{selector: {matchLabels: {app: shop}}, mtls: {mode: STRICT}, portLevelMtls: {80: {mode: DISABLE}}}"), strict},
		{"port UNSET inherits", pa("w", "app", t1, "{selector: {matchLabels: {app: shop}}, mtls: {mode: STRICT}, portLevelMtls: {8080: {}}}"), strict},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set := settingsOf(decode(t, strings.TrimSuffix(tt.objs, "---\n")))
			if got := mtlsModeOf(set.peerAuthentications, "app", map[string]string{"app": "shop", "v": "1"}, 8080); got != tt.want {
				t.Errorf("mode %d, want %d", got, tt.want)
			}
		})
	}
}

func TestAuthorizationPoliciesDecideAsIstioSays(t *testing.T) {
	policy := func(name, ns, spec string) string {
		return "kind: AuthorizationPolicy\nmetadata: {name: " + name + ", namespace: " + ns + "}\nspec: " + spec + "\n---\n"
	}
	allow := func(rule string) string { return policy("p", "app", "{rules: ["+rule+"]}") }
	const cart = "spiffe://cluster.local/ns/app/sa/cart"
	type req = authzRequest
	get := func(id, path string) req { return req{principal: id, method: "GET", path: path, host: "shop.app"} }
	for _, tt := range []struct {
		name, objs string
		req        req
		want       bool
		policy     string
	}{
		// The order: DENY, then no ALLOW policy, then ALLOW, then nothing.
		{"no policy allows", "", get("", "/"), true, ""},
		{"DENY that matches denies", policy("d", "app", "{action: DENY, rules: [{}]}"), get(cart, "/"), false, "ns[app]-policy[d]-rule[0]"},
		{"DENY that does not match allows", policy("d", "app", "{action: DENY, rules: [{to: [{operation: {paths: [/x]}}]}]}"), get(cart, "/"), true, ""},
		{"DENY over ALLOW", policy("d", "app", "{action: DENY, rules: [{}]}") + allow("{}"), get(cart, "/"), false, "ns[app]-policy[d]-rule[0]"},
		{"ALLOW that matches", allow("{}"), get("", "/"), true, ""},
		{"ALLOW without rules denies all", policy("p", "app", "{}"), get(cart, "/"), false, "none"},
		{"ALLOW with empty rules denies all", policy("p", "app", "{rules: []}"), get(cart, "/"), false, "none"},
		{"ALLOW that does not match denies", allow("{to: [{operation: {paths: [/x]}}]}"), get(cart, "/"), false, "none"},
		{"one of several ALLOW policies", policy("a", "app", "{}") + policy("b", "app", "{rules: [{}]}"), get(cart, "/"), true, ""},
		{"one of several rules", allow("{to: [{operation: {paths: [/x]}}]}, {to: [{operation: {paths: [/y]}}]}"), get(cart, "/y"), true, ""},
		{"AUDIT decides nothing", policy("p", "app", "{action: AUDIT, rules: [{}]}"), get(cart, "/"), true, ""},
		// Where a policy holds.
		{"root namespace", policy("p", "istio-system", "{}"), get(cart, "/"), false, "none"},
		{"another namespace", policy("p", "other", "{}"), get(cart, "/"), true, ""},
		{"selector", policy("p", "app", "{selector: {matchLabels: {app: shop}}}"), get(cart, "/"), false, "none"},
		{"selector of another", policy("p", "app", "{selector: {matchLabels: {app: cart}}}"), get(cart, "/"), true, ""},
		{"selector in the root namespace", policy("p", "istio-system", "{selector: {matchLabels: {app: shop}}}"), get(cart, "/"), false, "none"},
		// Sources.
		{"principal", allow("{from: [{source: {principals: [cluster.local/ns/app/sa/cart]}}]}"), get(cart, "/"), true, ""},
		{"another principal", allow("{from: [{source: {principals: [cluster.local/ns/app/sa/car]}}]}"), get(cart, "/"), false, "none"},
		{"principal with scheme", allow("{from: [{source: {principals: [\"" + cart + "\"]}}]}"), get(cart, "/"), false, "none"},
		{"principal prefix", allow("{from: [{source: {principals: [cluster.local/ns/app/*]}}]}"), get(cart, "/"), true, ""},
		{"principal suffix", allow("{from: [{source: {principals: [\"*/sa/cart\"]}}]}"), get(cart, "/"), true, ""},
		{"any principal", allow("{from: [{source: {principals: [\"*\"]}}]}"), get(cart, "/"), true, ""},
		{"any principal, plaintext", allow("{from: [{source: {principals: [\"*\"]}}]}"), get("", "/"), false, "none"},
		{"notPrincipals", allow("{from: [{source: {notPrincipals: [cluster.local/ns/app/sa/cart]}}]}"), get(cart, "/"), false, "none"},
		{"notPrincipals, plaintext", allow("{from: [{source: {notPrincipals: [\"*\"]}}]}"), get("", "/"), true, ""},
		{"namespace", allow("{from: [{source: {namespaces: [app]}}]}"), get(cart, "/"), true, ""},
		{"namespace is not a prefix", allow("{from: [{source: {namespaces: [ap]}}]}"), get(cart, "/"), false, "none"},
		{"namespace with a star", allow("{from: [{source: {namespaces: [a*]}}]}"), get(cart, "/"), true, ""},
		{"namespace, plaintext", allow("{from: [{source: {namespaces: [app]}}]}"), get("", "/"), false, "none"},
		{"notNamespaces", allow("{from: [{source: {notNamespaces: [app]}}]}"), get(cart, "/"), false, "none"},
		{"service account with namespace", allow("{from: [{source: {serviceAccounts: [app/cart]}}]}"), get(cart, "/"), true, ""},
		{"service account of the policy's namespace", allow("{from: [{source: {serviceAccounts: [cart]}}]}"), get(cart, "/"), true, ""},
		{"service account of another namespace", allow("{from: [{source: {serviceAccounts: [other/cart]}}]}"), get(cart, "/"), false, "none"},
		{"service account, plaintext", allow("{from: [{source: {serviceAccounts: [app/cart]}}]}"), get("", "/"), false, "none"},
		{"notServiceAccounts", allow("{from: [{source: {notServiceAccounts: [app/cart]}}]}"), get(cart, "/"), false, "none"},
		{"fields of a source all hold", allow("{from: [{source: {principals: [\"*\"], notNamespaces: [app]}}]}"), get(cart, "/"), false, "none"},
		{"one of several sources", allow("{from: [{source: {namespaces: [x]}}, {source: {namespaces: [app]}}]}"), get(cart, "/"), true, ""},
		// Operations.
		{"method", allow("{to: [{operation: {methods: [POST, GET]}}]}"), get(cart, "/"), true, ""},
		{"another method", allow("{to: [{operation: {methods: [POST]}}]}"), get(cart, "/"), false, "none"},
		{"notMethods", allow("{to: [{operation: {notMethods: [GET]}}]}"), get(cart, "/"), false, "none"},
		{"exact path", allow("{to: [{operation: {paths: [/a]}}]}"), get(cart, "/a/"), false, "none"},
		{"path prefix", allow("{to: [{operation: {paths: [/a/*]}}]}"), get(cart, "/a/b"), true, ""},
		{"path prefix has its slash", allow("{to: [{operation: {paths: [/a/*]}}]}"), get(cart, "/a"), false, "none"},
		{"path suffix", allow("{to: [{operation: {paths: [\"*.html\"]}}]}"), get(cart, "/a.html"), true, ""},
		{"any path", allow("{to: [{operation: {paths: [\"*\"]}}]}"), get(cart, "/a"), true, ""},
		{"paths have case", allow("{to: [{operation: {paths: [/a]}}]}"), get(cart, "/A"), false, "none"},
		{"notPaths", allow("{to: [{operation: {notPaths: [/a*]}}]}"), get(cart, "/abc"), false, "none"},
		{"host without case", allow("{to: [{operation: {hosts: [SHOP.app]}}]}"), get(cart, "/"), true, ""},
		{"host suffix", allow("{to: [{operation: {hosts: [\"*.other\"]}}]}"), get(cart, "/"), false, "none"},
		{"notHosts", allow("{to: [{operation: {notHosts: [shop.app]}}]}"), get(cart, "/"), false, "none"},
		{"the workload's port", allow("{to: [{operation: {ports: [\"8080\"]}}]}"), get(cart, "/"), true, ""},
		{"the Service's port", allow("{to: [{operation: {ports: [\"80\"]}}]}"), get(cart, "/"), false, "none"},
		{"notPorts", allow("{to: [{operation: {notPorts: [\"8080\"]}}]}"), get(cart, "/"), false, "none"},
		{"fields of an operation all hold", allow("{to: [{operation: {methods: [GET], paths: [/x]}}]}"), get(cart, "/"), false, "none"},
		{"from and to both hold", allow("{from: [{source: {namespaces: [x]}}], to: [{operation: {methods: [GET]}}]}"), get(cart, "/"), false, "none"},
		// Conditions.
		{"header", allow("{when: [{key: \"request.headers[x-a]\", values: [v*]}]}"), req{header: http.Header{"X-A": {"v1"}}}, true, ""},
		{"header absent", allow("{when: [{key: \"request.headers[x-a]\", values: [\"*\"]}]}"), req{header: http.Header{}}, false, "none"},
		{"header there, but empty", allow("{when: [{key: \"request.headers[x-a]\", values: [\"*\"]}]}"), req{header: http.Header{"X-A": {""}}}, true, ""},
		{"header twice", allow("{when: [{key: \"request.headers[x-a]\", values: [\"1,2\"]}]}"), req{header: http.Header{"X-A": {"1", "2"}}}, true, ""},
		{"header not", allow("{when: [{key: \"request.headers[x-a]\", notValues: [v]}]}"), req{header: http.Header{"X-A": {"v"}}}, false, "none"},
		{"header not, absent", allow("{when: [{key: \"request.headers[x-a]\", notValues: [v]}]}"), req{header: http.Header{}}, true, ""},
		{"condition on principal", allow("{when: [{key: source.principal, values: [cluster.local/ns/app/sa/cart]}]}"), get(cart, "/"), true, ""},
		{"condition on namespace", allow("{when: [{key: source.namespace, values: [other]}]}"), get(cart, "/"), false, "none"},
		{"all conditions hold", allow("{when: [{key: source.namespace, values: [app]}, {key: source.principal, notValues: [\"*\"]}]}"), get(cart, "/"), false, "none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			objs := decode(t, strings.TrimSuffix(tt.objs, "---\n"))
			if err := check(objs); err != nil {
				t.Fatalf("check: %v", err)
			}
			a := newAuthorizer(settingsOf(objs).authorizationPolicies, "app", map[string]string{"app": "shop"})
			tt.req.port = 8080
			got := a.decide(&tt.req)
			if got.allowed != tt.want || got.policy != tt.policy {
				t.Errorf("%+v, want allowed %v by %q", got, tt.want, tt.policy)
			}
		})
	}
}

func TestEachFilterCountsForItself(t *testing.T) {
	objs := decode(t, `
kind: AuthorizationPolicy
metadata: {name: d, namespace: app}
spec: {action: DENY, rules: [{to: [{operation: {paths: [/d]}}]}]}
---
kind: AuthorizationPolicy
metadata: {name: a, namespace: app}
spec: {rules: [{to: [{operation: {paths: [/a]}}]}]}
`)
	a := newAuthorizer(settingsOf(objs).authorizationPolicies, "app", nil)
	for path, passed := range map[string]int{"/d": 0, "/x": 1, "/a": 2} {
		if got := a.decide(&authzRequest{path: path}); got.passed != passed {
			t.Errorf("%s: %+v", path, got)
		}
	}
}

func testService(host string, labels ...map[string]string) proxy.Service {
	s := proxy.Service{Namespace: "app", Name: "shop", Host: host, Port: 80}
	for i, l := range labels {
		s.Endpoints = append(s.Endpoints, proxy.Endpoint{PodRef: evidence.PodRef{Namespace: "app", UID: string(rune('a' + i))}, ServiceAccount: "shop", Labels: l, Mesh: meshName})
	}
	return s
}

func TestADestinationRuleIsFoundByNamespaceAndHost(t *testing.T) {
	rule := func(ns, host, lb string) string {
		return "kind: DestinationRule\nmetadata: {name: " + lb + ", namespace: " + ns + "}\nspec: {host: " + host + ", trafficPolicy: {loadBalancer: {simple: " + lb + "}}}\n---\n"
	}
	selecting := func(ns, name, selector, lb string) string {
		return "kind: DestinationRule\nmetadata: {name: " + name + ", namespace: " + ns + "}\nspec: {host: shop.app.svc.cluster.local, workloadSelector: {matchLabels: {" + selector + "}}, trafficPolicy: {loadBalancer: {simple: " + lb + "}}}\n---\n"
	}
	const host = "shop.app.svc.cluster.local"
	for _, tt := range []struct {
		name, objs string
		want       balancing
	}{
		{"none", "", leastRequest},
		{"the Service's namespace", rule("app", host, "RANDOM"), random},
		{"a short name", rule("app", "shop", "RANDOM"), random},
		{"a short name elsewhere", rule("other", "shop", "RANDOM"), leastRequest},
		{"the client's namespace first", rule("app", host, "RANDOM") + rule("web", host, "ROUND_ROBIN"), roundRobin},
		{"the root namespace last", rule("istio-system", host, "RANDOM"), random},
		{"the Service's namespace over root", rule("istio-system", host, "RANDOM") + rule("app", host, "ROUND_ROBIN"), roundRobin},
		{"a name with a dot is whole", rule("app", "shop.app", "RANDOM"), leastRequest},
		{"a selector that selects the client", selecting("web", "a", "app: gw", "RANDOM"), random},
		{"before a rule without one", rule("web", host, "ROUND_ROBIN") + selecting("web", "a", "app: gw", "RANDOM"), random},
		{"an empty selector selects every client", rule("web", host, "ROUND_ROBIN") + selecting("web", "a", "", "RANDOM"), random},
		{"a selector that selects another client", selecting("web", "a", "app: other", "RANDOM"), leastRequest},
		{"a rule without one for those that no selector selects", rule("web", host, "ROUND_ROBIN") + selecting("web", "a", "app: other", "RANDOM"), roundRobin},
		{"a namespace with a rule decides, also where it selects others", selecting("web", "a", "app: other", "RANDOM") + rule("app", host, "ROUND_ROBIN"), leastRequest},
		{"a selector of the Service's namespace selects no client elsewhere", selecting("app", "a", "app: gw", "RANDOM"), leastRequest},
		{"a selector of the root namespace neither", selecting("istio-system", "a", "app: gw", "RANDOM"), leastRequest},
		{"of two selectors the older", selecting("web", "a", "app: gw", "RANDOM") + selecting("web", "b", "", "ROUND_ROBIN"), random},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set := settingsOf(decode(t, strings.TrimSuffix(tt.objs, "---\n")))
			client := proxy.Pod{PodRef: evidence.PodRef{Namespace: "web"}, Labels: map[string]string{"app": "gw"}}
			if got := destinationsOf(set.destinationRules, testService(host), client)[0].balancing; got != tt.want {
				t.Errorf("balancing %d, want %d", got, tt.want)
			}
		})
	}
}

func TestASubsetInheritsWhatItDoesNotSet(t *testing.T) {
	set := settingsOf(decode(t, `
kind: DestinationRule
metadata: {name: shop, namespace: app}
spec:
  host: shop
  trafficPolicy: {tls: {mode: ISTIO_MUTUAL, sni: top, subjectAltNames: [top]}, loadBalancer: {simple: RANDOM}, connectionPool: {http: {maxRequestsPerConnection: 9}}}
  subsets:
    - {name: same}
    - {name: v1, labels: {v: "1"}, trafficPolicy: {tls: {mode: ISTIO_MUTUAL, sni: v1}, connectionPool: {http: {}}}}
    - {name: plain, trafficPolicy: {tls: {mode: DISABLE}}}
`))
	got := destinationsOf(set.destinationRules, testService("shop.app.svc.cluster.local"), proxy.Pod{PodRef: evidence.PodRef{Namespace: "app"}})
	top := []string{"top"}
	want := []destination{
		{balancing: random, maxRequests: 9, tls: tlsAlways, sni: "top", names: top},
		{subset: "same", balancing: random, maxRequests: 9, tls: tlsAlways, sni: "top", names: top},
		{subset: "v1", labels: map[string]string{"v": "1"}, balancing: random, tls: tlsAlways, sni: "v1"},
		{subset: "plain", balancing: random, maxRequests: 9, tls: tlsOff},
	}
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("%d: %+v, want %+v", i, got[i], want[i])
		}
	}
}

func TestAServiceEntryTakesNoNameFromAService(t *testing.T) {
	const host = "shop.app.svc.cluster.local"
	snap := &proxy.Snapshot{Cluster: "east", Services: map[string]proxy.Service{host: testService(host)}, Objects: decode(t, `
kind: ServiceEntry
metadata: {name: shop, namespace: app}
spec:
  hosts: [shop.app, shop.global]
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: shop.app.svc.cluster.local}]
`)}
	for range 20 { // the order of a map decides nothing
		c := compile(snap, proxy.Pod{PodRef: evidence.PodRef{Cluster: "east", Namespace: "web"}})
		for name, want := range map[string]string{"shop.app": host, host: host, "shop.global": "shop.global"} {
			if v := c.virtualHost(name); v == nil || v.service.host != want {
				t.Fatalf("%s leads to %+v, want %s", name, v, want)
			}
		}
	}
}

func TestASubsetHasTheEndpointsWithItsLabels(t *testing.T) {
	const host = "shop.app.svc.cluster.local"
	svc := testService(host, map[string]string{"v": "1"}, map[string]string{"v": "2"})
	u := newUpstream(svc, destination{subset: "v2", labels: map[string]string{"v": "2"}}, objects{})
	if u.name != "outbound|80|v2|"+host || u.sni != "outbound_.80_.v2_."+host || len(u.endpoints) != 1 || u.endpoints[0].UID != "b" {
		t.Errorf("%+v", u)
	}
	if len(u.identities) != 1 || u.identities[0] != "spiffe://cluster.local/ns/app/sa/shop" {
		t.Errorf("identities %v", u.identities)
	}
}

func TestRoutesAreTriedInTheirOrder(t *testing.T) {
	objs := decode(t, `
kind: VirtualService
metadata: {name: b, namespace: app, creationTimestamp: "2026-01-02T00:00:00Z"}
spec: {hosts: [shop], http: [{name: newer, route: [{destination: {host: shop}}]}]}
---
kind: VirtualService
metadata: {name: c, namespace: app, creationTimestamp: "2026-01-01T00:00:00Z"}
spec:
  hosts: [shop]
  http:
    - {match: [{headers: {x-a: {exact: "1"}, x-b: {}}}], timeout: 1s, route: [{destination: {host: shop}}]}
    - {match: [{uri: {prefix: /p}, method: {exact: GET}}, {uri: {exact: /e}}], timeout: 2s, route: [{destination: {host: shop}}]}
    - {match: [{headers: {x-a: {prefix: ab}}}], timeout: 3s, route: [{destination: {host: shop}}]}
    - {timeout: 4s, route: [{destination: {host: shop}}]}
`)
	snap := &proxy.Snapshot{Objects: objs, Services: map[string]proxy.Service{"shop.app.svc.cluster.local": testService("shop.app.svc.cluster.local")}}
	v := compile(snap, proxy.Pod{PodRef: evidence.PodRef{Namespace: "app"}}).virtualHost("shop")
	for _, tt := range []struct {
		method, path string
		header       http.Header
		want         time.Duration
	}{
		{"GET", "/", http.Header{"X-A": {"1"}, "X-B": {""}}, 1},
		{"GET", "/", http.Header{"X-A": {"1"}}, 4},
		{"GET", "/", http.Header{"X-A": {"1", "1"}, "X-B": {"x"}}, 4},
		{"GET", "/p/x", nil, 2},
		{"PUT", "/p/x", nil, 4},
		{"PUT", "/e", nil, 2},
		{"PUT", "/e/", nil, 4},
		{"GET", "/", http.Header{"X-A": {"abc"}}, 3},
	} {
		for _, r := range v.routes {
			if r.matchesRequest(tt.method, tt.path, tt.header) {
				if r.deadline != tt.want*time.Second {
					t.Errorf("%s %s %v: route %v, want %ds", tt.method, tt.path, tt.header, r.deadline, tt.want)
				}
				break
			}
		}
	}
}

func TestRetriesAreIstiosDefaultsUnlessARouteSaysOtherwise(t *testing.T) {
	d := defaultRetries()
	if d.attempts != 2 || d.reselected != 5 || !d.retriesFailure(relay.ConnectFailure) || d.retriesFailure(relay.ResetFailure) || d.retriesFailure(relay.TimedOut) ||
		d.retriesStatus(503) || d.retriesStatus(500) {
		t.Errorf("%+v", d)
	}
}

func TestPathsAreNormalised(t *testing.T) {
	for in, want := range map[string]string{
		"/": "/", "/a/b?x=/../y": "/a/b?x=/../y", "/a/../b": "/b", "/a/./b": "/a/b", "/a/..": "/", "/a/b/..": "/a/", "/a/.": "/a/",
		"/a/%2e%2E/b": "/b", "/a/%2e/b": "/a/b", `/a\b`: "/a/b", "/a/%2Fb": "/a/%2Fb", "//a": "//a", "/a/...": "/a/...", "/.a": "/.a",
		"*": "*", "/a/../b?q#f": "/b?q#f",
		// As seen of real sidecars: who writes an unreserved character in its code asks for the same path.
		"/%69tems": "/items", "/a%2eb%2Dc": "/a.b-c", "/%7euser?%61": "/~user?%61", "/%zz": "/%zz", "/a%": "/a%", "/%2525": "/%2525", "/%3F": "/%3F",
	} {
		if got, ok := normalizePath(in); !ok || got != want {
			t.Errorf("%s: %q, %v; want %q", in, got, ok, want)
		}
	}
	for _, in := range []string{"/..", "/../a", "/a/../../b", "", "a"} {
		if got, ok := normalizePath(in); ok {
			t.Errorf("%s: %q", in, got)
		}
	}
}

func FuzzNormalizePath(f *testing.F) {
	for _, s := range []string{"/", "/a/../b", "/%2e%2e/x", `/a\..\b?q`, "*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, ok := normalizePath(in)
		if !ok {
			return
		}
		if _, err := url.PathUnescape(withoutQuery(in)); err != nil {
			return // half an escape may become a whole one: it is written once, and not looked at again
		}
		if again, ok := normalizePath(got); !ok || again != got {
			t.Errorf("%q gives %q, which gives %q, %v", in, got, again, ok)
		}
		for _, s := range strings.Split(withoutQuery(got), "/") {
			if s == "." || s == ".." || strings.EqualFold(s, "%2e") || strings.EqualFold(s, "%2e%2e") {
				t.Errorf("%q still has a segment %q", got, s)
			}
		}
	})
}

func FuzzGlob(f *testing.F) {
	f.Add("a*b", "axb")
	f.Add("*", "")
	f.Add("a*a", "a")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		got := glob(pattern, s)
		if len(pattern) > 40 || len(s) > 40 {
			return
		}
		if want := slowGlob(pattern, s); got != want {
			t.Errorf("glob(%q, %q) = %v", pattern, s, got)
		}
	})
}

// slowGlob is the definition.
func slowGlob(p, s string) bool {
	switch {
	case p == "":
		return s == ""
	case p[0] == '*':
		return slowGlob(p[1:], s) || s != "" && slowGlob(p, s[1:])
	default:
		return s != "" && s[0] == p[0] && slowGlob(p[1:], s[1:])
	}
}

func TestTheInjectorSelects(t *testing.T) {
	label := func(v string) map[string]string { return map[string]string{injectKey: v} }
	enabled := map[string]string{"istio-injection": "enabled"}
	for _, tt := range []struct {
		name string
		ns   map[string]string
		pod  proxy.Meta
		want bool
	}{
		{"an enabled namespace", enabled, proxy.Meta{}, true},
		{"a namespace that says nothing", nil, proxy.Meta{}, false},
		{"a pod that asks", nil, proxy.Meta{Labels: label("true")}, true},
		{"a pod that asks by annotation alone", nil, proxy.Meta{Annotations: label("true")}, false},
		{"a pod that declines", enabled, proxy.Meta{Labels: label("false")}, false},
		{"a pod that declines by annotation", enabled, proxy.Meta{Annotations: label("false")}, false},
		{"the label over the annotation", enabled, proxy.Meta{Labels: label("true"), Annotations: label("false")}, true},
		{"a disabled namespace", map[string]string{"istio-injection": "disabled"}, proxy.Meta{Labels: label("true")}, false},
		{"nonsense is the default", enabled, proxy.Meta{Labels: label("maybe")}, true},
	} {
		if got := Factory().Inject(proxy.Meta{Labels: tt.ns}, tt.pod, corev1.PodSpec{}); (got.Mesh == meshName) != tt.want {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}
