package linkerd

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
)

func TestWhatTheModelDoesNotInterpretIsRefusedByObjectAndField(t *testing.T) {
	const (
		policy = "apiVersion: policy.linkerd.io/v1alpha1\n"
		meta   = "metadata: {name: p, namespace: app}\n"
		srv    = "apiVersion: policy.linkerd.io/v1beta3\nkind: Server\n" + meta
		route  = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n" + meta
		parent = "parentRefs: [{group: policy.linkerd.io, kind: Server, name: s}]"

		limit    = policy + "kind: HTTPLocalRateLimitPolicy\n" + meta
		toServer = "targetRef: {group: policy.linkerd.io, kind: Server, name: s}"
	)
	for _, tt := range []struct{ object, field string }{
		{srv + "spec: {podSelector: {}, port: 9090}", "spec.port"},
		{srv + "spec: {podSelector: {}, port: http}", "spec.port"},
		{srv + "spec: {port: 8080}", "spec.podSelector"},
		{srv + "spec: {externalWorkloadSelector: {}, podSelector: {}, port: 8080}", "spec.externalWorkloadSelector"},
		{srv + "spec: {podSelector: {}, port: 8080, proxyProtocol: gRPC}", "spec.proxyProtocol"},
		{srv + "spec: {podSelector: {}, port: 8080, proxyProtocol: HTTP/2}", "spec.proxyProtocol"},
		{srv + "spec: {podSelector: {}, port: 8080, accessPolicy: open}", "spec.accessPolicy"},
		{route + "spec: {rules: [{matches: []}]}", "spec.parentRefs"},
		{route + "spec: {" + parent + "}", "spec.rules"},
		{route + "spec: {parentRefs: [{kind: Service, name: s, group: core}], rules: [{}]}", "spec.parentRefs[0]"},
		{route + "spec: {" + parent + ", hostnames: [a.b], rules: [{}]}", "spec.hostnames[0]"},
		{route + "spec: {" + parent + ", rules: [{backendRefs: [{name: x}]}]}", "spec.rules[0].backendRefs[0].name"},
		{route + "spec: {" + parent + ", rules: [{filters: [{type: RequestMirror}]}]}", "spec.rules[0].filters[0].type"},
		{route + "spec: {" + parent + ", rules: [{matches: [{headers: [{type: RegularExpression, name: a, value: b}]}]}]}", "spec.rules[0].matches[0].headers[0].type"},
		{route + "spec: {" + parent + ", rules: [{matches: [{headers: [{name: \"a b\", value: b}]}]}]}", "spec.rules[0].matches[0].headers[0].name"},
		{route + "spec: {" + parent + ", rules: [{matches: [{headers: [{name: host, value: b}]}]}]}", "spec.rules[0].matches[0].headers[0].name"},
		{route + "spec: {" + parent + ", rules: [{matches: [{headers: [{name: a, value: b}, {name: A, value: c}]}]}]}", "spec.rules[0].matches[0].headers[1].name"},
		{route + "spec: {" + parent + ", rules: [{matches: [{queryParams: [{name: a, value: b}]}]}]}", "spec.rules[0].matches[0].queryParams[0].name"},
		{route + "spec: {" + parent + ", rules: [{matches: [{path: {type: RegularExpression, value: /a.*}}]}]}", "spec.rules[0].matches[0].path.type"},
		{route + "spec: {" + parent + ", rules: [{matches: [{path: {value: a}}]}]}", "spec.rules[0].matches[0].path.value"},
		{route + "spec: {" + parent + ", rules: [{matches: [{method: PURGE}]}]}", "spec.rules[0].matches[0].method"},
		{policy + "kind: AuthorizationPolicy\n" + meta + "spec: {targetRef: {group: policy.linkerd.io, kind: Server}, requiredAuthenticationRefs: []}", "spec.targetRef.name"},
		{policy + "kind: AuthorizationPolicy\n" + meta + "spec: {targetRef: {kind: Namespace, name: other}, requiredAuthenticationRefs: []}", "spec.targetRef.name"},
		{policy + "kind: AuthorizationPolicy\n" + meta + "spec: {targetRef: {kind: GRPCRoute, group: gateway.networking.k8s.io, name: x}, requiredAuthenticationRefs: []}", "spec.targetRef"},
		{policy + "kind: AuthorizationPolicy\n" + meta + "spec: {targetRef: {kind: Namespace, name: app}, requiredAuthenticationRefs: [{kind: Secret, name: x}]}", "spec.requiredAuthenticationRefs[0]"},
		{policy + "kind: AuthorizationPolicy\n" + meta + "spec: {targetRef: {kind: Namespace, name: app}, requiredAuthenticationRefs: [{kind: ServiceAccount, name: x}, {kind: ServiceAccount, name: z}]}", "spec.requiredAuthenticationRefs"},
		{policy + "kind: MeshTLSAuthentication\n" + meta + "spec: {}", "spec"},
		{policy + "kind: MeshTLSAuthentication\n" + meta + "spec: {identities: [a], identityRefs: [{kind: Namespace, name: a}]}", "spec"},
		{policy + "kind: MeshTLSAuthentication\n" + meta + "spec: {identities: [Shop.app]}", "spec.identities[0]"},
		{policy + "kind: MeshTLSAuthentication\n" + meta + "spec: {identities: [\"spiffe://a/../b\"]}", "spec.identities[0]"},
		{policy + "kind: MeshTLSAuthentication\n" + meta + "spec: {identities: [\"spiffe:///b\"]}", "spec.identities[0]"},
		{policy + "kind: MeshTLSAuthentication\n" + meta + "spec: {identityRefs: [{kind: Namespace, name: a, namespace: b}]}", "spec.identityRefs[0].namespace"},
		{policy + "kind: NetworkAuthentication\n" + meta + "spec: {networks: [{cidr: 10.0.0.0/8}]}", "spec.networks[0]"},
		{limit + "spec: {targetRef: {group: policy.linkerd.io, kind: HTTPRoute, name: s}}", "spec.targetRef"},
		{limit + "spec: {targetRef: {group: policy.linkerd.io, kind: Server}}", "spec.targetRef.name"},
		{limit + "spec: {targetRef: {group: policy.linkerd.io, kind: Server, name: s, namespace: app}}", "spec.targetRef.namespace"},
		{limit + "spec: {" + toServer + ", total: {requestsPerSecond: 0}}", "spec.total.requestsPerSecond"},
		{limit + "spec: {" + toServer + ", identity: {}}", "spec.identity.requestsPerSecond"},
		{limit + "spec: {" + toServer + ", total: {requestsPerSecond: 5}, identity: {requestsPerSecond: 6}}", "spec.identity.requestsPerSecond"},
		{limit + "spec: {" + toServer + ", overrides: [{clientRefs: []}]}", "spec.overrides[0].requestsPerSecond"},
		{limit + "spec: {" + toServer + ", total: {requestsPerSecond: 5}, overrides: [{requestsPerSecond: 6, clientRefs: []}]}", "spec.overrides[0].requestsPerSecond"},
		{limit + "spec: {" + toServer + ", overrides: [{requestsPerSecond: 6, clientRefs: [{kind: Namespace, name: app}]}]}", "spec.overrides[0].clientRefs[0]"},
		{"apiVersion: v1\nkind: Namespace\nmetadata: {name: app, annotations: {linkerd.io/inject: ingress}}", "metadata.annotations[linkerd.io/inject]"},
		{"apiVersion: v1\nkind: Namespace\nmetadata: {name: app, annotations: {config.linkerd.io/default-inbound-policy: open}}", "metadata.annotations[config.linkerd.io/default-inbound-policy]"},
		{"apiVersion: v1\nkind: Namespace\nmetadata: {name: app, annotations: {config.linkerd.io/skip-inbound-ports: \"80\"}}", "metadata.annotations[config.linkerd.io/skip-inbound-ports]"},
		{"apiVersion: v1\nkind: Service\nmetadata: {name: shop, namespace: app, annotations: {retry.linkerd.io/grpc: internal}}", "metadata.annotations[retry.linkerd.io/grpc]"},
		{"apiVersion: v1\nkind: Service\nmetadata: {name: shop, namespace: app, annotations: {timeout.linkerd.io/idle: 1s}}", "metadata.annotations[timeout.linkerd.io/idle]"},
		{"apiVersion: v1\nkind: Service\nmetadata: {name: shop, namespace: app, annotations: {retry.linkerd.io/http: sometimes}}", "metadata.annotations[retry.linkerd.io/http]"},
		{"apiVersion: v1\nkind: Service\nmetadata: {name: shop, namespace: app, annotations: {timeout.linkerd.io/request: 1.5s}}", "metadata.annotations[timeout.linkerd.io/request]"},
		{"apiVersion: v1\nkind: Service\nmetadata: {name: shop, namespace: app, annotations: {balancer.linkerd.io/failure-accrual: unified}}", "metadata.annotations[balancer.linkerd.io/failure-accrual]"},
		{"apiVersion: v1\nkind: Service\nmetadata: {name: shop, namespace: app, labels: {mirror.linkerd.io/exported: \"true\"}}", "metadata.labels[mirror.linkerd.io/exported]"},
		{"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop, namespace: app}\nspec: {template: {metadata: {annotations: {config.linkerd.io/opaque-ports: \"8080\"}}}}", "spec.template.metadata.annotations[config.linkerd.io/opaque-ports]"},
		{"apiVersion: multicluster.linkerd.io/v1alpha3\nkind: Link\nmetadata: {name: west, namespace: linkerd-multicluster}\nspec: {targetClusterName: west}", "kind"},
		{"apiVersion: v1\nkind: Service\nmetadata: {name: shop, namespace: app, labels: {mirror.linkerd.io/federated: member}}", "metadata.labels[mirror.linkerd.io/federated]"},
		{"apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p, namespace: app}\nspec: {}", "kind"},
	} {
		var raw map[string]any
		if err := yaml.Unmarshal([]byte(tt.object), &raw); err != nil {
			t.Fatal(err)
		}
		o, err := clusters.Decode(raw)
		if err != nil {
			t.Errorf("%v in:\n%s", err, tt.object)
			continue
		}
		err = check([]clusters.Object{o})
		if want := proxy.NameOf(o) + ": " + tt.field + ": "; err == nil || !errors.Is(err, clusters.ErrNotModelled) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q for:\n%s", err, want, tt.object)
		}
	}
	if err := check([]clusters.Object{nil, (*corev1.Service)(nil)}); err == nil {
		t.Error("nil was taken")
	}
}

func TestTwoServersForOnePortOfAPodAreRefused(t *testing.T) {
	m := newMesh(t, shopServer+adminServer)
	both := append(m.objs, m.decode(strings.Replace(shopServer, "name: shop,", "name: other,", 1))...)
	d := m.decode("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop, namespace: app}\nspec: {template: {metadata: {labels: {app: shop}}}}\n")
	if err := check(append(both, d...)); err == nil || !strings.Contains(err.Error(), "port 8080 of Deployment shop") {
		t.Errorf("%v", err)
	}
	if err := check(append(m.objs, d...)); err != nil {
		t.Error(err)
	}
}

func TestTwoLimitsOnTheRateOfOneServerAreRefused(t *testing.T) {
	m := newMesh(t, shopServer+limitShop("total: {requestsPerSecond: 5}"))
	second := m.decode(strings.Replace(limitShop("total: {requestsPerSecond: 6}"), "name: rate,", "name: rate-2,", 1))
	if err := check(append(m.objs, second...)); err == nil || !strings.Contains(err.Error(), "rate has Server shop already") {
		t.Errorf("%v", err)
	}
}

func TestTheInjectorSelectsByAnnotationAndSkipsSidecars(t *testing.T) {
	f := Factory()
	enabled, disabled := metaOf(map[string]string{injectKey: "enabled"}), metaOf(map[string]string{injectKey: "disabled"})
	for _, tt := range []struct {
		namespace, pod proxy.Meta
		want           bool
	}{
		{enabled, proxy.Meta{}, true},
		{enabled, disabled, false},
		{proxy.Meta{}, enabled, true},
		{proxy.Meta{}, proxy.Meta{}, false},
		{proxy.Meta{Labels: map[string]string{injectKey: "enabled"}}, proxy.Meta{}, false},
	} {
		if got := f.Inject(tt.namespace, tt.pod, corev1.PodSpec{}); (got.Mesh == meshName) != tt.want {
			t.Errorf("%+v, %+v: %+v", tt.namespace, tt.pod, got)
		}
	}
	one := func(name, image string) []corev1.Container { return []corev1.Container{{Name: name, Image: image}} }
	for _, tt := range []struct {
		spec corev1.PodSpec
		want bool
	}{
		{corev1.PodSpec{Containers: one("workload", "meshproof/agent:dev")}, false},
		{corev1.PodSpec{Containers: one("istio-proxy", "auto")}, true},
		{corev1.PodSpec{InitContainers: one("istio-init", "x")}, true},
		{corev1.PodSpec{Containers: one("envoy", "gcr.io/istio-release/proxyv2:1.30")}, true},
		{corev1.PodSpec{Containers: one("envoy", "envoyproxy/envoy:1.40")}, false},
		{corev1.PodSpec{InitContainers: one("linkerd-proxy", "x")}, true},
	} {
		if got := f.Inject(enabled, proxy.Meta{}, tt.spec); (got.Skipped == "pod has a sidecar injected already") != tt.want || (got.Mesh == "") != tt.want {
			t.Errorf("%+v: %+v", tt.spec, got)
		}
	}
}
