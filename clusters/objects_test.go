package clusters

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"
)

func parse(t *testing.T, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := yaml.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

const allowNothing = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: allow-nothing
  namespace: app
spec: {}
`

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: cart
  namespace: app
spec:
  replicas: 2
  selector:
    matchLabels:
      app: cart
  template:
    metadata:
      labels:
        app: cart
    spec:
      containers:
      - image: meshproof/agent:dev
        name: workload
      serviceAccountName: cart
`

const virtualService = `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: cart
  namespace: app
spec:
  hosts:
  - cart.app.svc.cluster.local
  http:
  - match:
    - headers:
        x-meshproof-proof:
          exact: "1"
    retries: {}
    route:
    - destination:
        host: cart.app.svc.cluster.local
        subset: fresh
      weight: 100
    timeout: 3s
`

func TestWhatDecodeReadsEncodeWritesUnchanged(t *testing.T) {
	docs := map[string]string{
		"namespace": "apiVersion: v1\nkind: Namespace\nmetadata:\n  labels:\n    istio-injection: enabled\n  name: app\n",
		"account":   "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: cart\n  namespace: app\n",
		"service": "apiVersion: v1\nkind: Service\nmetadata:\n  name: cart\n  namespace: app\nspec:\n  ports:\n" +
			"  - name: http\n    port: 80\n    targetPort: 8080\n  selector:\n    app: cart\n",
		"deployment":      deployment,
		"allow nothing":   allowNothing,
		"allow all":       strings.ReplaceAll(allowNothing, "spec: {}", "spec:\n  rules:\n  - {}"),
		"strict":          "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata:\n  name: default\n  namespace: istio-system\nspec:\n  mtls:\n    mode: STRICT\n",
		"virtual service": virtualService,
		"destination rule": "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata:\n  name: cart\n  namespace: app\nspec:\n" +
			"  host: cart\n  subsets:\n  - name: fresh\n    trafficPolicy:\n      connectionPool:\n        http:\n          maxRequestsPerConnection: 1\n",
		"service entry": "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata:\n  name: cart\n  namespace: edge\nspec:\n" +
			"  endpoints:\n  - address: cart.app.svc.cluster.local\n    ports:\n      http: 80\n  hosts:\n  - cart.linkerd\n" +
			"  ports:\n  - name: http\n    number: 80\n    protocol: HTTP\n  resolution: DNS\n",
		"server of every pod": "apiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata:\n  name: cart\n  namespace: app\nspec:\n  podSelector: {}\n  port: 8080\n",
		"linkerd's authorization": "apiVersion: policy.linkerd.io/v1alpha1\nkind: AuthorizationPolicy\nmetadata:\n  name: cart\n  namespace: app\nspec:\n" +
			"  requiredAuthenticationRefs: []\n  targetRef:\n    group: policy.linkerd.io\n    kind: Server\n    name: cart\n",
		"mesh authentication":    "apiVersion: policy.linkerd.io/v1alpha1\nkind: MeshTLSAuthentication\nmetadata:\n  name: cart\n  namespace: app\nspec:\n  identities:\n  - '*'\n",
		"network authentication": "apiVersion: policy.linkerd.io/v1alpha1\nkind: NetworkAuthentication\nmetadata:\n  name: cart\n  namespace: app\nspec:\n  networks:\n  - cidr: 0.0.0.0/0\n",
		"rate limit": "apiVersion: policy.linkerd.io/v1alpha1\nkind: HTTPLocalRateLimitPolicy\nmetadata:\n  name: cart\n  namespace: app\nspec:\n" +
			"  identity:\n    requestsPerSecond: 5\n  overrides:\n  - clientRefs:\n    - kind: ServiceAccount\n      name: shop\n    requestsPerSecond: 7\n" +
			"  targetRef:\n    group: policy.linkerd.io\n    kind: Server\n    name: cart\n  total:\n    requestsPerSecond: 10\n",
		"link": "apiVersion: multicluster.linkerd.io/v1alpha3\nkind: Link\nmetadata:\n  name: west\n  namespace: linkerd-multicluster\nspec:\n" +
			"  clusterCredentialsSecret: cluster-credentials-west\n  federatedServiceSelector:\n    matchLabels:\n      mirror.linkerd.io/federated: member\n" +
			"  targetClusterDomain: cluster.local\n  targetClusterLinkerdNamespace: linkerd\n  targetClusterName: west\n",
		"gateway route": "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata:\n  name: cart\n  namespace: app\nspec:\n  parentRefs:\n" +
			"  - group: policy.linkerd.io\n    kind: Server\n    name: cart\n  rules:\n  - matches:\n    - method: GET\n",
		"linkerd's route": "apiVersion: policy.linkerd.io/v1beta3\nkind: HTTPRoute\nmetadata:\n  name: cart\n  namespace: app\nspec:\n  parentRefs:\n" +
			"  - group: policy.linkerd.io\n    kind: Server\n    name: cart\n  rules:\n  - matches:\n    - method: GET\n",
	}
	for name, doc := range docs {
		t.Run(name, func(t *testing.T) {
			obj, err := Decode(parse(t, doc))
			if err != nil {
				t.Fatal(err)
			}
			got, err := Encode([]Object{obj})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(doc, string(got)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestDecodeRefusesWhatItCannotRepresent(t *testing.T) {
	meta := "metadata: {name: x, namespace: app}\n"
	for _, tt := range []struct{ name, doc, want string }{
		{"nothing", "{}", "wants apiVersion and kind"},
		{"a number for a kind", "apiVersion: v1\nkind: 3\n", "wants apiVersion and kind"},
		{"unknown kind", "apiVersion: v1\nkind: Pod\n" + meta, "v1 Pod app/x is not supported: supported are v1 Namespace"},
		{"right kind of a wrong group", "apiVersion: v1\nkind: Deployment\n" + meta, "v1 Deployment app/x is not supported"},
		{"old version", "apiVersion: security.istio.io/v1alpha1\nkind: PeerAuthentication\n" + meta, "not supported"},
		{"unknown Kubernetes field", deployment + "  replica: 3\n", `unknown field "spec.replica"`},
		{"field in other case", strings.Replace(deployment, "replicas:", "Replicas:", 1), `unknown field "spec.Replicas"`},
		{"wrong Kubernetes type", strings.Replace(deployment, "replicas: 2", "replicas: two", 1), "replicas"},
		{"unknown Istio field", strings.Replace(allowNothing, "spec: {}", "spec: {rule: []}", 1), `spec: proto: (line 1:2): unknown field "rule"`},
		{"unknown Istio value", strings.Replace(allowNothing, "spec: {}", "spec: {action: MAYBE}", 1), "MAYBE"},
		{"Istio spec of a wrong type", strings.Replace(allowNothing, "spec: {}", "spec: 3", 1), "spec: "},
		{"unknown field beside spec", allowNothing + "specs: {}\n", `unknown field "specs"`},
		{"unknown field in metadata", strings.Replace(allowNothing, "  name:", "  nam: x\n  name:", 1), `unknown field "metadata.nam"`},
		{"status", allowNothing + "status: {}\n", "written by the cluster"},
		{"no name", "apiVersion: v1\nkind: Namespace\n", "metadata.name is missing"},
		{"no namespace", "apiVersion: v1\nkind: Service\nmetadata: {name: x}\n", "metadata.namespace is missing"},
		{"namespace in a namespace", "apiVersion: v1\nkind: Namespace\n" + meta, "stands in no namespace"},
		{"name that is none", "apiVersion: v1\nkind: Namespace\nmetadata: {name: A_B}\n", `metadata.name "A_B"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			obj, err := Decode(parse(t, tt.doc))
			if err == nil || obj != nil {
				t.Fatalf("Decode = %v, %v, want an error and no object", obj, err)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q does not say %q", err, tt.want)
			}
		})
	}
}

func TestOlderIstioVersionsAreReadAsTheStableOne(t *testing.T) {
	old, err := Decode(parse(t, strings.Replace(allowNothing, "/v1", "/v1beta1", 1)))
	if err != nil {
		t.Fatal(err)
	}
	now, err := Decode(parse(t, allowNothing))
	if err != nil {
		t.Fatal(err)
	}
	if Key(old) != Key(now) || old.(*securityv1.AuthorizationPolicy).APIVersion != "security.istio.io/v1" {
		t.Errorf("%s %s, want the key %s and the stable version", Key(old), old.(*securityv1.AuthorizationPolicy).APIVersion, Key(now))
	}
}

func TestKeyComesFromTheTypeAndNotFromWhatTheObjectSays(t *testing.T) {
	d := new(appsv1.Deployment)
	d.Name, d.Namespace = "cart", "app"
	if got, want := Key(d), "apps/Deployment/app/cart"; got != want {
		t.Errorf("Key = %s, want %s", got, want)
	}
}

func FuzzDecode(f *testing.F) {
	for _, doc := range []string{deployment, allowNothing, virtualService, "{}", "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}"} {
		j, err := yaml.YAMLToJSON([]byte(doc))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(j)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var m map[string]any
		if json.Unmarshal(data, &m) != nil {
			return
		}
		obj, err := Decode(m)
		if err != nil {
			if obj != nil {
				t.Fatal("an error with an object")
			}
			return
		}
		doc, err := Encode([]Object{obj})
		if err != nil {
			t.Fatalf("Encode after Decode: %v", err)
		}
		again, err := Decode(parse(t, string(doc)))
		if err != nil {
			t.Fatalf("Decode after Encode: %v\n%s", err, doc)
		}
		if Key(again) != Key(obj) {
			t.Fatalf("key %s became %s", Key(obj), Key(again))
		}
	})
}
