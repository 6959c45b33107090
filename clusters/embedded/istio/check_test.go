package istio

import (
	"errors"
	"strings"
	"testing"

	networkingapi "istio.io/api/networking/v1alpha3"
	securityapi "istio.io/api/security/v1beta1"
	networking "istio.io/client-go/pkg/apis/networking/v1"
	networkingv1alpha3 "istio.io/client-go/pkg/apis/networking/v1alpha3"
	security "istio.io/client-go/pkg/apis/security/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshproof/meshproof/clusters"
)

func TestCheckTakesWhatTheModelReads(t *testing.T) {
	for _, objs := range []string{strictMesh, disabledMesh, onlyCartReads, proofRoutes, edgeMesh, throughClusterIP, linkerdTLS("sni", "spiffe://a/ns/b/sa/c")} {
		if err := Factory().Check(decode(t, objs)); err != nil {
			t.Error(err)
		}
	}
	if err := check([]clusters.Object{&corev1.Namespace{}, &corev1.ServiceAccount{}, &corev1.Service{}, &appsv1.Deployment{}}); err != nil {
		t.Error(err)
	}
}

func TestCheckRefusesByObjectAndField(t *testing.T) {
	ap := func(spec string) string {
		return "kind: AuthorizationPolicy\nmetadata: {name: p, namespace: app}\nspec: " + spec
	}
	pa := func(spec string) string {
		return "kind: PeerAuthentication\nmetadata: {name: p, namespace: app}\nspec: " + spec
	}
	vs := func(http string) string {
		return "kind: VirtualService\nmetadata: {name: p, namespace: app}\nspec: {hosts: [shop], http: [" + http + "]}"
	}
	ra := func(rules string) string {
		return "kind: RequestAuthentication\nmetadata: {name: p, namespace: app}\nspec: {jwtRules: [" + rules + "]}"
	}
	to := "route: [{destination: {host: shop}}]"
	dr := func(policy string) string {
		return "kind: DestinationRule\nmetadata: {name: p, namespace: app}\nspec: {host: shop, trafficPolicy: " + policy + "}"
	}
	se := func(spec string) string {
		return "kind: ServiceEntry\nmetadata: {name: p, namespace: app}\nspec: " + spec
	}
	const web, clusterIP = "{number: 80, name: http, protocol: HTTP}", "{address: shop.app.svc.cluster.local}"
	for _, tt := range []struct{ objs, object, field string }{
		// AuthorizationPolicy
		{ap("{action: CUSTOM, provider: {name: x}, rules: [{}]}"), "AuthorizationPolicy app/p", "spec.action"},
		{ap("{action: CUSTOM, provider: {name: x}, rules: [{}]}"), "AuthorizationPolicy app/p", "spec.provider"},
		{ap("{action: DENY}"), "AuthorizationPolicy app/p", "spec.rules"},
		{ap("{targetRefs: [{kind: Gateway, name: x}]}"), "AuthorizationPolicy app/p", "spec.targetRefs"},
		{ap("{targetRef: {kind: Gateway, name: x}}"), "AuthorizationPolicy app/p", "spec.targetRef"},
		{ap("{rules: [{}, {from: [{source: {ipBlocks: [10.0.0.0/8]}}]}]}"), "AuthorizationPolicy app/p", "spec.rules[1].from[0].source.ipBlocks"},
		{ap("{rules: [{from: [{source: {notIpBlocks: [10.0.0.0/8]}}]}]}"), "AuthorizationPolicy app/p", "spec.rules[0].from[0].source.notIpBlocks"},
		{ap("{rules: [{from: [{source: {remoteIpBlocks: [10.0.0.0/8]}}]}]}"), "AuthorizationPolicy app/p", "spec.rules[0].from[0].source.remoteIpBlocks"},
		{ap("{rules: [{from: [{source: {requestPrincipals: [\"\"]}}]}]}"), "AuthorizationPolicy app/p", "spec.rules[0].from[0].source.requestPrincipals[0]"},
		{ap("{rules: [{from: [{source: {trustDomains: [x]}}]}]}"), "AuthorizationPolicy app/p", "spec.rules[0].from[0].source.trustDomains"},
		{ap("{rules: [{from: [{source: {principals: [\"\"]}}]}]}"), "AuthorizationPolicy app/p", "spec.rules[0].from[0].source.principals[0]"},
		{ap("{rules: [{from: [{source: {}}]}]}"), "AuthorizationPolicy app/p", "spec.rules[0].from[0].source"},
		{ap("{rules: [{from: [{}]}]}"), "AuthorizationPolicy app/p", "spec.rules[0].from[0].source"},
		{ap("{rules: [{to: [{}]}]}"), "AuthorizationPolicy app/p", "spec.rules[0].to[0].operation"},
		{ap("{rules: [{from: [{source: {serviceAccounts: [a/b], namespaces: [x]}}]}]}"), "AuthorizationPolicy app/p", "spec.rules[0].from[0].source.serviceAccounts"},
		{ap("{rules: [{from: [{source: {serviceAccounts: [\"a/*\"]}}]}]}"), "AuthorizationPolicy app/p", "spec.rules[0].from[0].source.serviceAccounts"},
		{ap("{rules: [{to: [{operation: {paths: [\"/a/{*}\"]}}]}]}"), "AuthorizationPolicy app/p", "spec.rules[0].to[0].operation.paths[0]"},
		{ap("{rules: [{to: [{operation: {ports: [http]}}]}]}"), "AuthorizationPolicy app/p", "spec.rules[0].to[0].operation.ports[0]"},
		{ap("{rules: [{to: [{operation: {notPorts: [\"65536\"]}}]}]}"), "AuthorizationPolicy app/p", "spec.rules[0].to[0].operation.notPorts[0]"},
		{ap("{rules: [{when: [{key: source.ip, values: [10.0.0.1]}]}]}"), "AuthorizationPolicy app/p", "spec.rules[0].when[0].key"},
		{ap("{rules: [{when: [{key: \"request.auth.claims[a][b]\", values: [x]}]}]}"), "AuthorizationPolicy app/p", "spec.rules[0].when[0].key"},
		{ap("{rules: [{when: [{key: \"request.headers[x\", values: [x]}]}]}"), "AuthorizationPolicy app/p", "spec.rules[0].when[0].key"},
		{ap("{rules: [{when: [{key: source.namespace}]}]}"), "AuthorizationPolicy app/p", "spec.rules[0].when[0]"},
		{"kind: AuthorizationPolicy\nmetadata: {name: p, namespace: app, annotations: {istio.io/dry-run: \"true\"}}", "AuthorizationPolicy app/p", "metadata.annotations[istio.io/dry-run]"},
		{"kind: AuthorizationPolicy\nmetadata: {name: p, namespace: app, labels: {istio.io/rev: canary}}", "AuthorizationPolicy app/p", "metadata.labels[istio.io/rev]"},
		// PeerAuthentication
		{pa("{portLevelMtls: {8080: {mode: STRICT}}}"), "PeerAuthentication app/p", "spec.portLevelMtls"},
		{"kind: PeerAuthentication\nmetadata: {name: p, namespace: istio-system}\nspec: {selector: {matchLabels: {a: b}}}", "PeerAuthentication istio-system/p", "spec.selector"},
		// VirtualService
		{"kind: VirtualService\nmetadata: {name: p, namespace: app}\nspec: {hosts: [shop], tcp: [{route: [{destination: {host: x}}]}], http: [{" + to + "}]}", "VirtualService app/p", "spec.tcp"},
		{"kind: VirtualService\nmetadata: {name: p, namespace: app}\nspec: {hosts: [shop], gateways: [gw], http: [{" + to + "}]}", "VirtualService app/p", "spec.gateways[0]"},
		{"kind: VirtualService\nmetadata: {name: p, namespace: app}\nspec: {hosts: [shop], exportTo: [.], http: [{" + to + "}]}", "VirtualService app/p", "spec.exportTo[0]"},
		{"kind: VirtualService\nmetadata: {name: p, namespace: app}\nspec: {hosts: [\"*\"], http: [{" + to + "}]}", "VirtualService app/p", "spec.hosts[0]"},
		{"kind: VirtualService\nmetadata: {name: p, namespace: app}\nspec: {hosts: [shop.app], http: [{" + to + "}]}", "VirtualService app/p", "spec.hosts[0]"},
		{"kind: VirtualService\nmetadata: {name: p, namespace: app}\nspec: {http: [{" + to + "}]}", "VirtualService app/p", "spec.hosts"},
		{"kind: VirtualService\nmetadata: {name: p, namespace: app}\nspec: {hosts: [shop]}", "VirtualService app/p", "spec.http"},
		{vs("{redirect: {uri: /x}}"), "VirtualService app/p", "spec.http[0].redirect"},
		{vs("{directResponse: {status: 200}}"), "VirtualService app/p", "spec.http[0].directResponse"},
		{vs("{" + to + ", rewrite: {uri: /}}"), "VirtualService app/p", "spec.http[0].rewrite"},
		{vs("{" + to + ", mirror: {host: x}}"), "VirtualService app/p", "spec.http[0].mirror"},
		{vs("{" + to + ", headers: {request: {remove: [x]}}}"), "VirtualService app/p", "spec.http[0].headers"},
		{vs("{" + to + ", corsPolicy: {}}"), "VirtualService app/p", "spec.http[0].corsPolicy"},
		{vs("{" + to + ", retries: {attempts: 1, retryRemoteLocalities: true}}"), "VirtualService app/p", "spec.http[0].retries.retryRemoteLocalities"},
		{vs("{" + to + ", retries: {attempts: 1, backoff: 1s}}"), "VirtualService app/p", "spec.http[0].retries.backoff"},
		{vs("{" + to + ", retries: {attempts: 1, retryOn: sometimes}}"), "VirtualService app/p", "spec.http[0].retries.retryOn"},
		{vs("{" + to + ", fault: {abort: {httpStatus: 99}}}"), "VirtualService app/p", "spec.http[0].fault.abort.httpStatus"},
		{vs("{" + to + ", fault: {abort: {httpStatus: 503, percentage: {value: 101}}}}"), "VirtualService app/p", "spec.http[0].fault.abort.percentage.value"},
		{vs("{" + to + ", fault: {abort: {httpStatus: 503}, delay: {exponentialDelay: 1s}}}"), "VirtualService app/p", "spec.http[0].fault.delay.exponentialDelay"},
		{vs("{" + to + ", fault: {delay: {fixedDelay: 0s}}}"), "VirtualService app/p", "spec.http[0].fault.delay.fixedDelay"},
		{vs("{" + to + ", retries: {attempts: -1}}"), "VirtualService app/p", "spec.http[0].retries.attempts"},
		{vs("{" + to + ", timeout: -1s}"), "VirtualService app/p", "spec.http[0].timeout"},
		{vs("{" + to + ", match: [{uri: {regex: .*}}]}"), "VirtualService app/p", "spec.http[0].match[0].uri.regex"},
		{vs("{" + to + ", match: [{uri: {}}]}"), "VirtualService app/p", "spec.http[0].match[0].uri"},
		{vs("{" + to + ", match: [{headers: {x-a: {regex: .*}}}]}"), "VirtualService app/p", "spec.http[0].match[0].headers[x-a].regex"},
		{vs("{" + to + ", match: [{headers: {X-A: {exact: a}}}]}"), "VirtualService app/p", "spec.http[0].match[0].headers[X-A]"},
		{vs("{" + to + ", match: [{sourceLabels: {app: x}}]}"), "VirtualService app/p", "spec.http[0].match[0].sourceLabels"},
		{vs("{" + to + ", match: [{port: 80}]}"), "VirtualService app/p", "spec.http[0].match[0].port"},
		{vs("{" + to + ", match: [{withoutHeaders: {x: {}}}]}"), "VirtualService app/p", "spec.http[0].match[0].withoutHeaders"},
		{vs("{route: [{destination: {host: shop, port: {number: 80}}}]}"), "VirtualService app/p", "spec.http[0].route[0].destination.port"},
		{vs("{route: [{destination: {host: example.com}}]}"), "VirtualService app/p", "spec.http[0].route[0].destination.host"},
		{vs("{route: [{destination: {host: shop}}, {destination: {host: shop}}]}"), "VirtualService app/p", "spec.http[0].route"},
		// RequestAuthentication
		{ra("{issuer: a}"), "RequestAuthentication app/p", "spec.jwtRules[0].jwksUri"},
		{ra("{jwksUri: \"http://a/k\"}"), "RequestAuthentication app/p", "spec.jwtRules[0].issuer"},
		{ra("{issuer: a, jwksUri: \"https://a/k\"}"), "RequestAuthentication app/p", "spec.jwtRules[0].jwksUri"},
		{ra("{issuer: a, jwksUri: \"http://a/k\", audiences: [\"\"]}"), "RequestAuthentication app/p", "spec.jwtRules[0].audiences[0]"},
		{ra("{issuer: a, jwksUri: \"http://a/k\"}, {issuer: a, jwksUri: \"http://a/k\"}"), "RequestAuthentication app/p", "spec.jwtRules[1].issuer"},
		{ra("{issuer: a, jwks: \"{}\"}"), "RequestAuthentication app/p", "spec.jwtRules[0].jwks"},
		{ra("{issuer: a, jwksUri: \"http://a/k\", fromHeaders: [{name: x}]}"), "RequestAuthentication app/p", "spec.jwtRules[0].fromHeaders"},
		{ra("{issuer: a, jwksUri: \"http://a/k\", fromParams: [x]}"), "RequestAuthentication app/p", "spec.jwtRules[0].fromParams"},
		{ra("{issuer: a, jwksUri: \"http://a/k\", outputPayloadToHeader: x}"), "RequestAuthentication app/p", "spec.jwtRules[0].outputPayloadToHeader"},
		{"kind: RequestAuthentication\nmetadata: {name: p, namespace: app}\nspec: {targetRefs: [{kind: Gateway, name: x}]}", "RequestAuthentication app/p", "spec.targetRefs"},
		// DestinationRule
		{dr("{outlierDetection: {}}"), "DestinationRule app/p", "spec.trafficPolicy.outlierDetection"},
		{dr("{connectionPool: {tcp: {maxConnections: 1}}}"), "DestinationRule app/p", "spec.trafficPolicy.connectionPool.tcp"},
		{dr("{connectionPool: {http: {http1MaxPendingRequests: 1}}}"), "DestinationRule app/p", "spec.trafficPolicy.connectionPool.http.http1MaxPendingRequests"},
		{dr("{connectionPool: {http: {maxRequestsPerConnection: -1}}}"), "DestinationRule app/p", "spec.trafficPolicy.connectionPool.http.maxRequestsPerConnection"},
		{dr("{loadBalancer: {consistentHash: {httpHeaderName: x}}}"), "DestinationRule app/p", "spec.trafficPolicy.loadBalancer.consistentHash"},
		{dr("{loadBalancer: {simple: PASSTHROUGH}}"), "DestinationRule app/p", "spec.trafficPolicy.loadBalancer.simple"},
		{dr("{loadBalancer: {localityLbSetting: {}}}"), "DestinationRule app/p", "spec.trafficPolicy.loadBalancer.localityLbSetting"},
		{dr("{tls: {mode: SIMPLE}}"), "DestinationRule app/p", "spec.trafficPolicy.tls.mode"},
		{dr("{tls: {mode: ISTIO_MUTUAL, subjectAltNames: [\"*\"]}}"), "DestinationRule app/p", "spec.trafficPolicy.tls.subjectAltNames[0]"},
		{dr("{tls: {mode: ISTIO_MUTUAL, subjectAltNames: [a, \"\"]}}"), "DestinationRule app/p", "spec.trafficPolicy.tls.subjectAltNames[1]"},
		{dr("{tls: {mode: ISTIO_MUTUAL, caCertificates: /x}}"), "DestinationRule app/p", "spec.trafficPolicy.tls.caCertificates"},
		{dr("{tls: {mode: ISTIO_MUTUAL, insecureSkipVerify: true}}"), "DestinationRule app/p", "spec.trafficPolicy.tls.insecureSkipVerify"},
		{dr("{portLevelSettings: [{port: {number: 80}}]}"), "DestinationRule app/p", "spec.trafficPolicy.portLevelSettings"},
		{"kind: DestinationRule\nmetadata: {name: p, namespace: app}\nspec: {host: shop, workloadSelector: {matchLabels: {a: \"*\"}}}", "DestinationRule app/p", "spec.workloadSelector.matchLabels"},
		{"kind: DestinationRule\nmetadata: {name: p, namespace: app}\nspec: {host: shop, workloadSelector: {matchLabels: {a: b}}}\n---\nkind: DestinationRule\nmetadata: {name: q, namespace: app}\nspec: {host: shop, workloadSelector: {matchLabels: {a: b}}}", "DestinationRule app/q", "spec.host"},
		{"kind: DestinationRule\nmetadata: {name: p, namespace: app}\nspec: {host: shop.global}", "DestinationRule app/p", "spec.host"},
		{"kind: DestinationRule\nmetadata: {name: p, namespace: app}\nspec: {host: \"*.local\"}", "DestinationRule app/p", "spec.host"},
		{"kind: DestinationRule\nmetadata: {name: p, namespace: app}\nspec: {host: shop, subsets: [{name: a}, {name: a}]}", "DestinationRule app/p", "spec.subsets[1].name"},
		{"kind: DestinationRule\nmetadata: {name: p, namespace: app}\nspec: {host: shop}\n---\nkind: DestinationRule\nmetadata: {name: q, namespace: app}\nspec: {host: shop.app.svc.cluster.local}", "DestinationRule app/q", "spec.host"},
		// ServiceEntry
		{se("{location: MESH_INTERNAL, resolution: DNS, ports: [" + web + "], endpoints: [" + clusterIP + "]}"), "ServiceEntry app/p", "spec.hosts"},
		{se("{hosts: [\"*.global\"], resolution: DNS, ports: [" + web + "], endpoints: [" + clusterIP + "]}"), "ServiceEntry app/p", "spec.hosts[0]"},
		{se("{hosts: [shop], resolution: DNS, ports: [" + web + "], endpoints: [" + clusterIP + "]}"), "ServiceEntry app/p", "spec.hosts[0]"},
		{se("{hosts: [a.b, \"a b.c\"], resolution: DNS, ports: [" + web + "], endpoints: [" + clusterIP + "]}"), "ServiceEntry app/p", "spec.hosts[1]"},
		{se("{hosts: [shop.app.svc.cluster.local], resolution: DNS, ports: [" + web + "], endpoints: [" + clusterIP + "]}"), "ServiceEntry app/p", "spec.hosts[0]"},
		{se("{hosts: [shop.global], ports: [" + web + "], endpoints: [" + clusterIP + "]}"), "ServiceEntry app/p", "spec.resolution"},
		{se("{hosts: [shop.global], resolution: STATIC, ports: [" + web + "], endpoints: [{address: 10.0.0.1}]}"), "ServiceEntry app/p", "spec.resolution"},
		{se("{hosts: [shop.global], resolution: STATIC, ports: [" + web + "], endpoints: [{address: 10.0.0.1}]}"), "ServiceEntry app/p", "spec.endpoints[0].address"},
		{se("{hosts: [shop.global], resolution: DNS, ports: [" + web + "]}"), "ServiceEntry app/p", "spec.endpoints"},
		{se("{hosts: [shop.global], resolution: DNS, endpoints: [" + clusterIP + "]}"), "ServiceEntry app/p", "spec.ports"},
		{se("{hosts: [shop.global], resolution: DNS, ports: [" + web + ", {number: 81, name: b, protocol: HTTP}], endpoints: [" + clusterIP + "]}"), "ServiceEntry app/p", "spec.ports"},
		{se("{hosts: [shop.global], resolution: DNS, ports: [{number: 0, name: a, protocol: HTTP}], endpoints: [" + clusterIP + "]}"), "ServiceEntry app/p", "spec.ports[0].number"},
		{se("{hosts: [shop.global], resolution: DNS, ports: [{number: 80, protocol: HTTP}], endpoints: [" + clusterIP + "]}"), "ServiceEntry app/p", "spec.ports[0].name"},
		{se("{hosts: [shop.global], resolution: DNS, ports: [{number: 80, name: a, protocol: HTTPS}], endpoints: [" + clusterIP + "]}"), "ServiceEntry app/p", "spec.ports[0].protocol"},
		{se("{hosts: [shop.global], resolution: DNS, ports: [{number: 80, name: a, protocol: HTTP, targetPort: 70000}], endpoints: [" + clusterIP + "]}"), "ServiceEntry app/p", "spec.ports[0].targetPort"},
		{se("{hosts: [shop.global], resolution: DNS, ports: [" + web + "], endpoints: [{address: example.com}]}"), "ServiceEntry app/p", "spec.endpoints[0].address"},
		{se("{hosts: [shop.global], resolution: DNS, ports: [" + web + "], endpoints: [{address: a.b.c.svc.cluster.local}]}"), "ServiceEntry app/p", "spec.endpoints[0].address"},
		{se("{hosts: [shop.global], resolution: DNS, ports: [" + web + "], endpoints: [{address: shop.app.svc.cluster.local, ports: {other: 80}}]}"), "ServiceEntry app/p", "spec.endpoints[0].ports[other]"},
		{se("{hosts: [shop.global], resolution: DNS, ports: [" + web + "], endpoints: [{address: shop.app.svc.cluster.local, ports: {http: 0}}]}"), "ServiceEntry app/p", "spec.endpoints[0].ports[http]"},
		{se("{hosts: [shop.global], resolution: DNS, ports: [" + web + "], endpoints: [{address: shop.app.svc.cluster.local, labels: {a: b}}]}"), "ServiceEntry app/p", "spec.endpoints[0].labels"},
		{se("{hosts: [shop.global], addresses: [240.0.0.1], resolution: DNS, ports: [" + web + "], endpoints: [" + clusterIP + "]}"), "ServiceEntry app/p", "spec.addresses"},
		{se("{hosts: [shop.global], subjectAltNames: [a], resolution: DNS, ports: [" + web + "], endpoints: [" + clusterIP + "]}"), "ServiceEntry app/p", "spec.subjectAltNames"},
		{se("{hosts: [shop.global], workloadSelector: {labels: {a: b}}, resolution: DNS, ports: [" + web + "], endpoints: [" + clusterIP + "]}"), "ServiceEntry app/p", "spec.workloadSelector"},
		{se("{hosts: [shop.global], exportTo: [.], resolution: DNS, ports: [" + web + "], endpoints: [" + clusterIP + "]}"), "ServiceEntry app/p", "spec.exportTo[0]"},
		{se("{hosts: [shop.global, shop.global], resolution: DNS, ports: [" + web + "], endpoints: [" + clusterIP + "]}"), "ServiceEntry app/p", "spec.hosts[1]"},
	} {
		t.Run(tt.field, func(t *testing.T) {
			err := check(decode(t, tt.objs))
			if err == nil || !errors.Is(err, clusters.ErrNotModelled) || !strings.Contains(err.Error(), tt.object+": "+tt.field+": ") {
				t.Errorf("%s\ngave %v\nwant %s: %s", tt.objs, err, tt.object, tt.field)
			}
		})
	}
}

func TestCheckRefusesWhatIstioReadsOfWorkloads(t *testing.T) {
	deployment := func(labels, annotations map[string]string) *appsv1.Deployment {
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "shop", Namespace: "app"}}
		d.Spec.Template.Labels, d.Spec.Template.Annotations = labels, annotations
		return d
	}
	port := func(name, app string) *corev1.Service {
		p := corev1.ServicePort{Name: name, Port: 80}
		if app != "" {
			p.AppProtocol = &app
		}
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "shop", Namespace: "app"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{p}}}
	}
	host := deployment(nil, nil)
	host.Spec.Template.Spec.HostNetwork = true
	for _, tt := range []struct {
		name string
		obj  clusters.Object
		want string // "": taken
	}{
		{"a port that is taken out", deployment(nil, map[string]string{"traffic.sidecar.istio.io/excludeInboundPorts": "8080"}), "spec.template.metadata.annotations[traffic.sidecar.istio.io/excludeInboundPorts]"},
		{"a revision", deployment(map[string]string{"istio.io/rev": "x"}, nil), "spec.template.metadata.labels[istio.io/rev]"},
		{"injection by label", deployment(map[string]string{injectKey: "false"}, nil), ""},
		{"an ECDSA key", deployment(nil, map[string]string{configKey: eccOnly}), ""},
		{"an unknown variable", deployment(nil, map[string]string{configKey: "proxyMetadata: {X: y}"}), "proxyMetadata.X is not modelled"},
		{"an unknown setting", deployment(nil, map[string]string{configKey: "concurrency: 2"}), configKey},
		{"no YAML", deployment(nil, map[string]string{configKey: "{"}), configKey},
		{"a lifetime of nothing", deployment(nil, map[string]string{configKey: "proxyMetadata: {SECRET_TTL: 0s}"}), "SECRET_TTL"},
		{"an unknown signature", deployment(nil, map[string]string{configKey: "proxyMetadata: {ECC_SIGNATURE_ALGORITHM: RSA}"}), "ECC_SIGNATURE_ALGORITHM"},
		{"the host's network", host, "spec.template.spec.hostNetwork"},
		{"http", port("http", ""), ""},
		{"http with a suffix", port("http-web", ""), ""},
		{"appProtocol", port("web", "http"), ""},
		{"tcp", port("tcp", ""), "spec.ports[0].name"},
		{"no name", port("", ""), "spec.ports[0].name"},
		{"http2", port("http2", ""), "spec.ports[0].name"},
		{"appProtocol grpc", port("http", "grpc"), "spec.ports[0].appProtocol"},
		{"an EnvoyFilter", &networkingv1alpha3.EnvoyFilter{ObjectMeta: metav1.ObjectMeta{Name: "f", Namespace: "app"}}, "EnvoyFilter app/f: kind"},
		{"a ConfigMap", &corev1.ConfigMap{}, "ConfigMap"},
		{"nil", (*corev1.Service)(nil), "nil"},
		{"a null rule", &security.AuthorizationPolicy{Spec: securityapi.AuthorizationPolicy{Rules: []*securityapi.Rule{nil}}}, "spec.rules[0]"},
		{"a null route", &networking.VirtualService{Spec: networkingapi.VirtualService{Hosts: []string{"a"}, Http: []*networkingapi.HTTPRoute{nil}}}, "spec.http[0].route"},
		{"a mode that is none", &security.PeerAuthentication{Spec: securityapi.PeerAuthentication{Mtls: &securityapi.PeerAuthentication_MutualTLS{Mode: 9}}}, "spec.mtls.mode"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := check([]clusters.Object{tt.obj})
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || !errors.Is(err, clusters.ErrNotModelled)):
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}
