package scenarios

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// base is a scenario that uses every field once or more and is right.
const base = `apiVersion: meshproof/v1alpha1
kind: Scenario
metadata: {name: base, description: "Everything, once."}
spec:
  meshes:
    - {name: none, gaps: [mtls, policy]}
    - name: istio
      objects:
        - {apiVersion: v1, kind: ConfigMap, metadata: {name: extra, labels: {app.kubernetes.io/name: x}}, data: {n: 1}}
    - {name: layered, layered: {gateway: meshed, balancing: service}}
  blocks: 2
  identity: {issuer: {kind: oidc, audience: shop}}
  topology:
    clusters: [{name: east}, {name: west, nodes: 2}, {name: north}]
    network: {kind: separate, latency: 2ms}
    services:
      - name: shop
        namespace: app
        clusters: [east]
        replicas: 2
        errorRate: 0.001
        latency: {p50: 1ms, p99: 4ms}
        calls:
          - {to: cart, share: 0.5, method: POST, path: /carts/1}
      - {name: cart, clusters: [east, west]}
  policy:
    default: deny
    allow:
      - {from: ingress, to: shop}
      - {from: shop, to: cart, methods: [GET, POST], paths: [/carts/*, /]}
      - {from: ingress, to: cart, claims: {role: staff}}
  traffic:
    - name: buyers
      to: shop
      cluster: west
      timeout: 2s
      protocol: http1
      sessions: 10
      maxInFlight: 100
      token: {claims: {role: customer}}
      requests: [{method: GET, path: /, weight: 2}]
      profile:
        stages:
          - {name: ramp, rate: 0, to: 50, for: 2s}
          - {name: spike, rate: 50, peak: 100, for: 2s}
          - {rate: 0, for: 6s}
  faults:
    - {name: dies, kind: pod-kill, target: {service: cart, cluster: east}, at: 0s}
    - {name: slow, kind: network-delay, between: [east, west], delay: 40ms, at: 4s, for: 1s}
    - {name: cut, kind: partition, between: [west, east], at: 6s, for: 1s}
    - {name: lossy, kind: network-loss, by: chaos-mesh, between: [east, west], share: 0.25, at: 0s, for: 2s}
    - {name: narrow, kind: network-bandwidth, target: {service: cart}, bitsPerSecond: 1000000, at: 7s, for: 2s}
    - {name: busy, kind: cpu-stress, target: {service: cart}, workers: 2, at: 7s, for: 2s}
    - {name: full, kind: memory-stress, target: {service: cart}, memoryMiB: 64, at: 7s, for: 2s}
    - {name: early, kind: clock-skew, target: {service: cart}, ahead: 10m, at: 7s, for: 2s}
    - {name: nameless, kind: dns-error, target: {service: cart}, at: 7s, for: 2s}
    - {name: aborts, kind: mesh-abort, target: {cluster: east, service: cart}, share: 0.75, status: 500, at: 7s, for: 2s}
    - {name: holds, kind: mesh-delay, target: {cluster: east, service: cart}, delay: 100ms, at: 7s, for: 2s}
  expect:
    mtls: {everywhere: true}
    policy: {matrix: complete}
    latency: [{traffic: buyers, phase: spike, p50: 1s, p90: 2s, p99: 3s},
      {traffic: buyers, overBaseline: {mesh: none, p50: 10ms, p90: 9ms, p99: 8ms}}]
    errors: [{traffic: buyers, phase: ramp, rate: 0.1},
      {traffic: buyers, overBaseline: {mesh: none, rate: 0.02}}]
    recovery: [{after: dies, within: 3s}]
`

// change replaces pairs of old and new in the base scenario; each old must be there exactly once.
func change(t *testing.T, pairs ...string) string {
	t.Helper()
	doc := base
	for i := 0; i+1 < len(pairs); i += 2 {
		if n := strings.Count(doc, pairs[i]); n != 1 {
			t.Fatalf("%q is %d times in the base scenario", pairs[i], n)
		}
		doc = strings.Replace(doc, pairs[i], pairs[i+1], 1)
	}
	return doc
}

func problems(t *testing.T, err error) []Problem {
	t.Helper()
	var e *Errors
	if !errors.As(err, &e) {
		t.Fatalf("want *Errors, got %v", err)
	}
	if len(e.Problems) == 0 {
		t.Fatal("*Errors without a problem")
	}
	return e.Problems
}

func TestTheBaseScenarioLoads(t *testing.T) {
	if _, err := Parse("base.yaml", []byte(base)); err != nil {
		t.Fatal(err)
	}
}

// rule is one change of the base scenario and everything that must be said of it, no more and no less.
type rule struct {
	name   string
	change []string
	want   []string // "path: part of the message"
}

// inner are the replacements that add a traffic of shop to cart to the base scenario, with one piece of it changed.
func inner(old, new string) []string {
	const traffic = "    - {name: inner, from: shop, to: cart, requests: [{path: /carts/7}], profile: {stages: [{rate: 1, for: 1s}]}}\n"
	return []string{"  faults:\n", strings.Replace(traffic, old, new, 1) + "  faults:\n"}
}

func TestAServiceSendsFromTheFirstClusterThatItRunsInUnlessToldOtherwise(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"", "", "east"},
		{"from: shop, to: cart", "from: cart, to: shop, cluster: west", "west"},
		{"from: shop, to: cart", "from: ingress, token: {claims: {role: staff}}, to: cart", "east"},
	} {
		s, err := Parse("s.yaml", []byte(change(t, append(inner(c.old, c.new), "- {from: ingress, to: shop}", "- {from: ingress, to: shop}\n      - {from: cart, to: shop}")...)))
		if err != nil {
			t.Fatal(err)
		}
		if tr := s.Spec.Traffic[1]; tr.Cluster != c.want || tr.Inside() != (tr.From != IngressName) || tr.Caller() != tr.From {
			t.Errorf("%+v is sent from %s, want %s", tr, tr.Cluster, c.want)
		}
	}
	if old := (&Traffic{To: "shop"}); old.Inside() || old.Caller() != IngressName {
		t.Error("a traffic of an older record is not the ingress's")
	}
}

func rules() []rule {
	return []rule{
		{"unknown field", []string{"blocks: 2", "bloks: 2"}, []string{"spec.bloks: is not a field (did you mean blocks?)"}},
		{"field in the wrong case", []string{"maxInFlight", "maxinflight"}, []string{"spec.traffic[0].maxinflight: is not a field (did you mean maxInFlight?)"}},
		{"misspelt list that others refer to", []string{"  traffic:\n", "  tarffic:\n"}, []string{"spec.tarffic: is not a field (did you mean traffic?)"}},
		{"misspelt required field", []string{"p50: 1ms", "p5O: 1ms"}, []string{"spec.topology.services[0].latency.p5O: is not a field (did you mean p50?)"}},
		{"identity", []string{"{issuer: {kind", "{trustRoot: shared, issuer: {kind"}, []string{"spec.identity.trustRoot: is not in this version"}},
		{"issuer of another kind", []string{"kind: oidc", "kind: saml"}, []string{`spec.identity.issuer.kind: "saml" is not known (use oidc)`}},
		{"issuer for nobody", []string{"{kind: oidc, audience: shop}", "{kind: oidc}"}, []string{"spec.identity.issuer.audience: is missing"}},
		{"audience that is no name", []string{"audience: shop}", "audience: 'the shop'}"}, []string{`spec.identity.issuer.audience: "the shop" is not a name for an audience`}},
		{"identity that says nothing", []string{"{issuer: {kind: oidc, audience: shop}}", "{}"}, []string{
			"spec.identity: says nothing", "spec.policy.allow[2].claims: nobody issues tokens", "spec.traffic[0].token: nobody issues tokens",
		}},
		{"claims and a token without an issuer", []string{"  identity: {issuer: {kind: oidc, audience: shop}}\n", ""}, []string{
			"spec.policy.allow[2].claims: nobody issues tokens (add spec.identity: {issuer: {audience: …}}, or remove claims)", "spec.traffic[0].token: nobody issues tokens",
		}},
		{"claims of a workload", []string{"{from: ingress, to: cart, claims", "{from: shop, to: cart, claims"}, []string{`spec.policy.allow[2].claims: only requests from outside have a token, and this rule is about "shop" (write from: ingress, or remove claims)`}},
		{"claims of the issuer", []string{"{role: staff}", "{sub: anna}"}, []string{"spec.policy.allow[2].claims.sub: is a claim that the issuer alone writes"}},
		{"claim that is no name", []string{"{role: staff}", "{'a.b': staff}"}, []string{`spec.policy.allow[2].claims["a.b"]: "a.b" is not a name for a claim`}},
		{"claim with a star", []string{"{role: staff}", "{role: 'st*'}"}, []string{`spec.policy.allow[2].claims.role: "st*" has a star`}},
		{"claim of two words", []string{"{role: staff}", "{role: 'the staff'}"}, []string{`spec.policy.allow[2].claims.role: "the staff" is not a value for a claim`}},
		{"claim that is no text", []string{"{role: staff}", "{role: 7}"}, []string{"spec.policy.allow[2].claims.role: is the number 7 and not a text (put quotes around it)"}},
		{"claims without one", []string{"claims: {role: staff}", "claims: {}"}, []string{"spec.policy.allow[2].claims: is an empty mapping"}},
		{"claims that are none", []string{"claims: {role: staff}", "claims: staff"}, []string{`spec.policy.allow[2].claims: is the text "staff" and not a mapping`}},
		{"claim twice", []string{"{role: staff}", "{role: staff, role: boss}"}, []string{"spec.policy.allow[2].claims.role: is given twice"}},
		{"traffic without a token", []string{"      token: {claims: {role: customer}}\n", ""}, []string{"spec.traffic[0].token: is missing: with an issuer the ingress refuses every request without a token (add token: {claims: {…}}, or token: {} where the policy asks for no claims)"}},
		{"token that the policy refuses", []string{"{from: ingress, to: shop}", "{from: ingress, to: shop, claims: {role: staff}}"}, []string{"spec.traffic[0].token: the policy refuses GET / on shop with this token: every such request would be refused (give it the claims of a rule: {role: staff})"}},
		{"token with a claim of the issuer", []string{"token: {claims: {role: customer}}", "token: {claims: {exp: never}}"}, []string{"spec.traffic[0].token.claims.exp: is a claim that the issuer alone writes"}},
		{"gap of claims that nobody asks for", []string{"gaps: [mtls, policy]", "gaps: [edge-claims]", "{from: ingress, to: cart, claims: {role: staff}}", "{from: ingress, to: cart}"}, []string{"spec.meshes[0].gaps[0]: nothing would demonstrate the gap edge-claims: no rule asks for claims"}},
		{"service named outside", []string{"{from: ingress, to: shop}", "{from: ingress, to: shop}\n      - {from: shop, to: outside}", "{name: cart, clus", "{name: outside}\n      - {name: cart, clus"}, []string{"spec.topology.services[1].name: \"outside\" is Meshproof's word for clients outside of the clusters"}},
		{"promql", []string{"    mtls: {ev", "    promql: [{name: x}]\n    mtls: {ev"}, []string{"spec.expect.promql: is not in this version"}},
		{"budget over a baseline without a quantile", []string{", p50: 10ms, p90: 9ms, p99: 8ms}", "}"}, []string{"spec.expect.latency[1].overBaseline: has no quantile (add p50, p90 or p99)"}},
		{"budget over no mesh", []string{"{mesh: none, p50: 10ms", "{p50: 10ms"}, []string{"spec.expect.latency[1].overBaseline.mesh: is missing"}},
		{"budget over an unknown mesh", []string{"{mesh: none, p50: 10ms", "{mesh: nome, p50: 10ms"}, []string{`spec.expect.latency[1].overBaseline.mesh: "nome" is not known (did you mean none?`}},
		{"budget over the only mesh", []string{base[strings.Index(base, "    - name: istio"):strings.Index(base, "  blocks:")], ""}, []string{
			"spec.expect.errors[1].overBaseline.mesh: none is the only mesh of the scenario: there is none to hold against it", "spec.expect.latency[1].overBaseline.mesh: none is the only mesh",
		}},
		{"budget over a mesh that is not compared", []string{"{mesh: none, rate", "{mesh: linkerd, rate"}, []string{`spec.expect.errors[1].overBaseline.mesh: there is no mesh "linkerd" (known: istio, layered, none)`}},
		{"budget over a baseline without a rate", []string{"{mesh: none, rate: 0.02}", "{mesh: none}"}, []string{"spec.expect.errors[1].overBaseline.rate: is missing"}},
		{"budget over a baseline that every rate keeps", []string{"{mesh: none, rate: 0.02}", "{mesh: none, rate: 1}"}, []string{"spec.expect.errors[1].overBaseline.rate: is 1"}},
		{"error budget that is none", []string{", overBaseline: {mesh: none, rate: 0.02}", ""}, []string{"spec.expect.errors[1]: has no budget (add rate, or overBaseline)"}},
		{"two budgets over a baseline for one phase", []string{"phase: ramp, rate: 0.1}", "overBaseline: {mesh: none, rate: 0.1}}"}, []string{"spec.expect.errors[1].overBaseline: is for the same as spec.expect.errors[0].overBaseline"}},
		{"gRPC", []string{"protocol: http1", "protocol: grpc"}, []string{`spec.traffic[0].protocol: "grpc" is not in this version: gRPC`}},
		{"lines", []string{"protocol: http1", "protocol: tcp"}, []string{`spec.traffic[0].protocol: "tcp" is not in this version: lines over TCP`}},
		{"a protocol of another kind", []string{"protocol: http1", "protocol: http3"}, []string{`spec.traffic[0].protocol: "http3" is not known`}},
		{"more sessions than connections", []string{"sessions: 10\n", "sessions: 101\n"}, []string{"spec.traffic[0].sessions: 101 sessions have more connections than maxInFlight (100)"}},
		{"sessions in HTTP/2", []string{"protocol: http1", "protocol: http2"}, []string{"spec.traffic[0].sessions: sessions have connections of their own"}},
		{"too many sessions", []string{"sessions: 10\n", "sessions: 10001\n"}, []string{"spec.traffic[0].sessions: "}},
		{"ambient", []string{"name: istio", "name: istio-ambient"}, []string{`spec.meshes[1].name: "istio-ambient" is not in this version`}},
		{"balancing of a direct gateway", []string{"gateway: meshed", "gateway: direct"}, []string{"spec.meshes[2].layered.balancing: a direct gateway has no proxy of Linkerd that could balance"}},
		{"gateway of another mesh", []string{"name: layered,", "name: linkerd,"}, []string{"spec.meshes[2].layered: mesh linkerd has no gateway of another mesh"}},
		{"labels", []string{"{name: base,", "{name: base, labels: {a: b},"}, []string{"metadata.labels: is not in this version"}},
		{"seed", []string{"blocks: 2", "seed: 2"}, []string{"spec.seed: is not a field (the seed is given on the command line: --seed)"}},
		{"unknown mesh", []string{"name: istio", "name: istoi"}, []string{`spec.meshes[1].name: "istoi" is not known (did you mean istio? Known: none, istio, linkerd, layered)`}},
		{"unknown gap", []string{"gaps: [mtls, policy]", "gaps: [mtls, polcy]"}, []string{`spec.meshes[0].gaps[1]: "polcy" is not known (did you mean policy?`}},
		{"gap twice", []string{"gaps: [mtls, policy]", "gaps: [mtls, mtls]"}, []string{`spec.meshes[0].gaps[1]: "mtls" is there twice, first at spec.meshes[0].gaps[0]`}},
		{"gap that nothing demonstrates", []string{"    mtls: {everywhere: true}\n", ""}, []string{"spec.meshes[0].gaps[0]: nothing would demonstrate the gap mtls"}},
		{"mesh twice", []string{"name: istio", "name: none"}, []string{`spec.meshes[1].name: "none" is there twice, first at spec.meshes[0]`}},
		{"text for a number", []string{"replicas: 2", "replicas: two"}, []string{`spec.topology.services[0].replicas: is the text "two" and not a whole number`}},
		{"float for a whole number", []string{"replicas: 2", "replicas: 2.5"}, []string{"spec.topology.services[0].replicas: is the number 2.5 and not a whole number"}},
		{"number for a text", []string{"name: shop\n", "name: 42\n"}, []string{"spec.topology.services[0].name: is the number 42 and not a text (put quotes around it)"}},
		{"boolean for a text", []string{"name: shop\n", "name: true\n"}, []string{"spec.topology.services[0].name: is the boolean true and not a text"}},
		{"yes for true", []string{"everywhere: true", "everywhere: yes"}, []string{"spec.expect.mtls.everywhere: is the text \"yes\" and not true or false (YAML 1.2"}},
		{"mapping for a list", []string{"recovery: [{after: dies, within: 3s}]", "recovery: {after: dies, within: 3s}"}, []string{"spec.expect.recovery: is a mapping and not a list (start each entry with a dash"}},
		{"list for a mapping", []string{"network: {kind: separate, latency: 2ms}", "network: [2ms]"}, []string{"spec.topology.network: is a list and not a mapping"}},
		{"list for a duration", []string{"timeout: 2s", "timeout: [2s]"}, []string{"spec.traffic[0].timeout: is a list and not a duration"}},
		{"duration without unit", []string{"timeout: 2s", "timeout: 2"}, []string{"spec.traffic[0].timeout: 2 has no unit"}},
		{"duration misspelt", []string{"timeout: 2s", "timeout: 2 s"}, []string{`spec.traffic[0].timeout: "2 s" is not a duration`}},
		{"no value", []string{"timeout: 2s", "timeout:"}, []string{"spec.traffic[0].timeout: has no value"}},
		{"null entry", []string{"clusters: [east, west]", "clusters: [east, ~]"}, []string{"spec.topology.services[1].clusters[1]: has no value"}},
		{"duplicate key", []string{"timeout: 2s", "timeout: 2s\n      timeout: 3s"}, []string{"spec.traffic[0].timeout: is given twice, first in line 36"}},
		{"duplicate key in an object", []string{"data: {n: 1}", "data: {n: 1, n: 2}"}, []string{"spec.meshes[1].objects[0].data.n: is given twice"}},
		{"number as a key", []string{"data: {n: 1}", "data: {1: 1}"}, []string{"the name \"1\" is not a text"}},
		{"missing required field", []string{"      to: shop\n", ""}, []string{"spec.traffic[0].to: is missing (give a text)"}},
		{"missing required list", []string{"    clusters: [{name: east}, {name: west, nodes: 2}, {name: north}]\n", ""}, []string{"spec.topology.clusters: is missing (give a list)"}},
		{"empty list", []string{"clusters: [east, west]", "clusters: []"}, []string{"spec.topology.services[1].clusters: is an empty list"}},
		{"empty text", []string{"path: /carts/1", `path: ""`}, []string{"spec.topology.services[0].calls[0].path: is empty"}},

		{"cluster name twice", []string{"{name: north}", "{name: west}"}, []string{`spec.topology.clusters[2].name: "west" is there twice, first at spec.topology.clusters[1]`}},
		{"cluster name no DNS label", []string{"{name: north}", "{name: North_1}"}, []string{`spec.topology.clusters[2].name: "North_1" is not a DNS label`}},
		{"scenario name no DNS label", []string{"{name: base,", "{name: a.b,"}, []string{`metadata.name: "a.b" is not a DNS label`}},
		{"service name starts with a digit", []string{"{from: ingress, to: shop}", "{from: ingress, to: shop}\n      - {from: shop, to: 1up}", "{name: cart, clus", "{name: 1up}\n      - {name: cart, clus"}, []string{`spec.topology.services[1].name: "1up" is not a DNS label`}},
		{"service name twice", []string{"{name: cart, clus", "{name: cart}\n      - {name: cart, clus"}, []string{`spec.topology.services[2].name: "cart" is there twice, first at spec.topology.services[1]`}},
		{"ingress is taken", []string{"{name: cart, clus", "{name: ingress}\n      - {name: cart, clus"}, []string{
			`spec.topology.services[1].name: "ingress" is the name of a workload that Meshproof adds`,
		}},
		{"outsider is taken", []string{"{name: cart, clus", "{name: outsider}\n      - {name: cart, clus"}, []string{
			`spec.topology.services[1].name: "outsider" is the name of a workload that Meshproof adds`,
		}},
		{"namespace is taken", []string{"namespace: app", "namespace: istio-system"}, []string{`spec.topology.services[0].namespace: "istio-system" belongs to`}},
		{"namespace no DNS label", []string{"namespace: app", "namespace: a_b"}, []string{`spec.topology.services[0].namespace: "a_b" is not a DNS label`}},
		{"unknown cluster of a service", []string{"clusters: [east, west]", "clusters: [east, wset]"}, []string{`spec.topology.services[1].clusters[1]: there is no cluster "wset" (did you mean west?)`}},
		{"cluster of a service twice", []string{"clusters: [east, west]", "clusters: [east, east]"}, []string{"spec.topology.services[1].clusters[1]: \"east\" is there twice"}},
		{"replicas 0", []string{"replicas: 2", "replicas: 0"}, []string{"spec.topology.services[0].replicas: 0 is out of range (must be at least 1 and at most 20)"}},
		{"replicas 21", []string{"replicas: 2", "replicas: 21"}, []string{"spec.topology.services[0].replicas: 21 is out of range"}},
		{"replicas beyond int64", []string{"replicas: 2", "replicas: 18446744073709551615"}, []string{"spec.topology.services[0].replicas: 18446744073709551615 is out of range"}},
		{"blocks 0", []string{"blocks: 2", "blocks: 0"}, []string{"spec.blocks: 0 is out of range"}},
		{"error rate above 1", []string{"errorRate: 0.001", "errorRate: 1.5"}, []string{"spec.topology.services[0].errorRate: 1.5 is out of range"}},
		{"error rate negative", []string{"errorRate: 0.001", "errorRate: -0.1"}, []string{"spec.topology.services[0].errorRate: -0.1 is out of range"}},
		{"share 0", []string{"share: 0.5", "share: 0"}, []string{"spec.topology.services[0].calls[0].share: 0 is out of range (must be above 0 and at most 1)"}},
		{"share above 1", []string{"share: 0.5", "share: 1.01"}, []string{"spec.topology.services[0].calls[0].share: 1.01 is out of range"}},
		{"p99 below p50", []string{"p99: 4ms", "p99: 1us"}, []string{"spec.topology.services[0].latency.p99: 1µs is below p50 (1ms)"}},
		{"network latency 0", []string{"network: {kind: separate, latency: 2ms}", "network: {latency: 0s}"}, []string{"spec.topology.network.latency: must be longer than 0"}},
		{"network latency too long", []string{"network: {kind: separate, latency: 2ms}", "network: {latency: 11s}"}, []string{"spec.topology.network.latency: 11s is too long"}},
		{"network kind", []string{"kind: separate", "kind: mesh"}, []string{`spec.topology.network.kind: "mesh"`}},
		{"nodes 0", []string{"nodes: 2", "nodes: 0"}, []string{"spec.topology.clusters[1].nodes: 0 is out of range (must be at least 1 and at most 10)"}},
		{"nodes 11", []string{"nodes: 2", "nodes: 11"}, []string{"spec.topology.clusters[1].nodes: 11 is out of range"}},
		{"unknown service called", []string{"{to: cart, share", "{to: crat, share"}, []string{`spec.topology.services[0].calls[0].to: there is no service "crat" (did you mean cart?)`}},
		{"cyclic calls", []string{"{name: cart, clusters: [east, west]}", "{name: cart, calls: [{to: shop}]}", "{from: ingress, to: shop}", "{from: ingress, to: shop}\n      - {from: cart, to: shop}"}, []string{
			"spec.topology.services[1].calls[0].to: the calls go in a circle: shop → cart → shop",
		}},
		{"calls itself", []string{"{name: cart, clusters: [east, west]}", "{name: cart, calls: [{to: cart}]}", "{from: ingress, to: shop}", "{from: ingress, to: shop}\n      - {from: cart, to: cart}"}, []string{
			"spec.topology.services[1].calls[0].to: the calls go in a circle: cart → cart",
		}},
		{"method of a call", []string{"method: POST", "method: post"}, []string{`spec.topology.services[0].calls[0].method: "post" is not an HTTP method`, "the policy does not allow"}},
		{"path of a call with a star", []string{"path: /carts/1", "path: /carts/*"}, []string{`spec.topology.services[0].calls[0].path: "/carts/*" has a star`}},
		{"method CONNECT", []string{"method: POST", "method: CONNECT", "methods: [GET, POST], ", ""}, []string{"spec.topology.services[0].calls[0].method: CONNECT asks for a tunnel"}},
		{"path with a query", []string{"path: /carts/1", "path: /carts/1?a=b"}, []string{`spec.topology.services[0].calls[0].path: "/carts/1?a=b" has characters`}},
		{"path that proxies rewrite", []string{"path: /carts/1", "path: /carts/../1"}, []string{`spec.topology.services[0].calls[0].path: "/carts/../1" is not in its shortest form`}},

		{"rule from nobody", []string{"from: shop, to: cart", "from: shp, to: cart"}, []string{`spec.policy.allow[1].from: there is no service "shp" (did you mean shop?)`, "spec.topology.services[0].calls[0]: shop calls POST /carts/1 on cart, which the policy does not allow"}},
		{"rule to nobody", []string{"{from: ingress, to: shop}", "{from: ingress, to: shop}\n      - {from: ingress, to: stock}"}, []string{`spec.policy.allow[1].to: there is no service "stock"`}},
		{"rule from the outsider", []string{"{from: ingress, to: shop}", "{from: ingress, to: shop}\n      - {from: outsider, to: shop}"}, []string{"spec.policy.allow[1].from: the outsider is who must always be refused"}},
		{"rule to the ingress", []string{"{from: ingress, to: shop}", "{from: ingress, to: shop}\n      - {from: shop, to: ingress}"}, []string{"spec.policy.allow[1].to: nobody calls the ingress"}},
		{"rule path without slash", []string{"paths: [/carts/*, /]", "paths: [/carts/*, carts]"}, []string{`spec.policy.allow[1].paths[1]: "carts" does not start with /`}},
		{"rule path with a star inside", []string{"paths: [/carts/*, /]", "paths: [/carts/*, /a*b]"}, []string{`spec.policy.allow[1].paths[1]: "/a*b" has a star that is not at its end`}},
		{"rule path with two stars", []string{"paths: [/carts/*, /]", "paths: [/carts/*, /**]"}, []string{`spec.policy.allow[1].paths[1]: "/**" has a star that is not at its end`}},
		{"rule path twice", []string{"paths: [/carts/*, /]", "paths: [/carts/*, /carts/*]"}, []string{`spec.policy.allow[1].paths[1]: "/carts/*" is there twice`}},
		{"rule method in small letters", []string{"methods: [GET, POST]", "methods: [get, POST]"}, []string{`spec.policy.allow[1].methods[0]: "get" is not an HTTP method`}},
		{"default allow with rules", []string{"default: deny", "default: allow"}, []string{"spec.policy.default: allow leaves the rules", "spec.expect.policy: the matrix is empty of refusals"}},
		{"unknown default", []string{"default: deny", "default: refuse"}, []string{`spec.policy.default: "refuse" is not known`}},
		{"call that the policy refuses", []string{"methods: [GET, POST]", "methods: [GET]"}, []string{"spec.topology.services[0].calls[0]: shop calls POST /carts/1 on cart, which the policy does not allow: every such request would be refused (add a rule under spec.policy.allow: {from: shop, to: cart, methods: [POST], paths: [/carts/1]})"}},
		{"traffic that the policy refuses", []string{"{from: ingress, to: shop}", "{from: ingress, to: shop, methods: [POST]}"}, []string{"spec.traffic[0].requests[0]: buyers sends GET / to shop through the ingress, which the policy does not allow"}},
		{"service that nobody may call", []string{"{name: cart, clus", "{name: idle}\n      - {name: cart, clus"}, []string{"spec.topology.services[1]: the policy lets nobody call idle, and a refusal can't be proved without an authorised twin"}},

		{"traffic of a service to itself", inner("to: cart", "to: shop"), []string{"spec.traffic[1].from: shop would send to itself (name another service, or ingress)"}},
		{"traffic of nobody", inner("from: shop", "from: shp"), []string{`spec.traffic[1].from: there is no service "shp" (did you mean shop?`}},
		{"traffic of the outsider", inner("from: shop", "from: outsider"), []string{"spec.traffic[1].from: the outsider is who must always be refused"}},
		{"traffic of a service to nobody", inner("to: cart", "to: crat"), []string{`spec.traffic[1].to: there is no service "crat" (did you mean cart?)`}},
		{"traffic of a service from where it does not run", inner("from: shop", "from: shop, cluster: west"), []string{"spec.traffic[1].cluster: shop does not run in west, and is to send from there (it runs in east)"}},
		{"traffic of a service that the policy refuses", inner("path: /carts/7", "path: /secrets"), []string{"spec.traffic[1].requests[0]: inner sends GET /secrets to cart from shop, which the policy does not allow: every such request would be refused (add a rule under spec.policy.allow: {from: shop, to: cart, methods: [GET], paths: [/secrets]})"}},
		{"traffic of a service that the policy admits of users alone", inner("from: shop, to: cart", "from: cart, cluster: west, to: shop"), []string{"spec.traffic[1].requests[0]: inner sends GET /carts/7 to shop from cart, which the policy does not allow"}},
		{"traffic of a service with a token", inner("from: shop", "from: shop, token: {}"), []string{"spec.traffic[1].token: only users from outside have a token, and shop sends this traffic (remove token, or send from the ingress)"}},
		{"traffic of a service whose pod is killed", append(inner("", ""), "target: {service: cart, cluster: east}", "target: {service: shop}"), []string{"spec.faults[0].target: shop in east sends traffic inner, whose generator would die with its pod (send the traffic from a service of its own, or kill another service)"}},
		{"traffic to nobody", []string{"to: shop\n", "to: shopp\n"}, []string{`spec.traffic[0].to: there is no service "shopp" (did you mean shop?)`}},
		{"traffic into no cluster", []string{"cluster: west", "cluster: wests"}, []string{`spec.traffic[0].cluster: there is no cluster "wests"`}},
		{"traffic name twice", []string{"  faults:\n", "    - {name: buyers, to: shop, token: {}, profile: {stages: [{rate: 1, for: 1s}]}}\n  faults:\n"}, []string{`spec.traffic[1].name: "buyers" is there twice, first at spec.traffic[0]`}},
		{"negative rate", []string{"rate: 0, to: 50", "rate: -1, to: 50"}, []string{"spec.traffic[0].profile.stages[0].rate: -1 is out of range"}},
		{"rate NaN", []string{"rate: 0, to: 50", "rate: .nan, to: 50"}, []string{"spec.traffic[0].profile.stages[0].rate: NaN is not a number to count with"}},
		{"rate infinite", []string{"rate: 0, to: 50", "rate: 0, to: .inf"}, []string{"spec.traffic[0].profile.stages[0].to: +Inf is not a number to count with"}},
		{"rate absurd", []string{"peak: 100", "peak: 1000001"}, []string{"spec.traffic[0].profile.stages[1].peak: 1000001 is out of range"}},
		{"rate 0 everywhere", []string{"to: 50, ", "", "rate: 50, peak: 100", "rate: 0", "phase: spike, ", "", "phase: ramp, ", ""}, []string{"spec.traffic[0].profile.stages: every rate is 0"}},
		{"to and peak", []string{"peak: 100", "peak: 100, to: 100"}, []string{"spec.traffic[0].profile.stages[1].peak: a stage has one shape, and this one has to and peak"}},
		{"peak below rate", []string{"peak: 100", "peak: 10"}, []string{"spec.traffic[0].profile.stages[1].peak: 10 is below rate (50)"}},
		{"phase name twice", []string{"{name: spike,", "{name: ramp,", "phase: spike", "phase: ramp"}, []string{`spec.traffic[0].profile.stages[1].name: "ramp" is there twice`}},
		{"phase name taken by a default", []string{"{name: spike,", "{name: stage-3,", "phase: spike", "phase: ramp"}, []string{`spec.traffic[0].profile.stages[2].name: "stage-3" is there twice`}},
		{"stage without length", []string{"peak: 100, for: 2s", "peak: 100, for: 0s"}, []string{"spec.traffic[0].profile.stages[1].for: must be longer than 0"}},
		{"stages longer than a day", []string{"{rate: 0, for: 6s}", "{rate: 0, for: 24h}"}, []string{"spec.traffic[0].profile.stages: the stages together take longer than 24h"}},
		{"duration longer than a day", []string{"{rate: 0, for: 6s}", "{rate: 0, for: 25h}"}, []string{"spec.traffic[0].profile.stages[2].for: \"25h\" is too long"}},
		{"duration beyond int64", []string{"{rate: 0, for: 6s}", "{rate: 0, for: 99999999999h}"}, []string{"spec.traffic[0].profile.stages[2].for: \"99999999999h\" is too long"}},
		{"negative duration", []string{"timeout: 2s", "timeout: -2s"}, []string{`spec.traffic[0].timeout: "-2s" is negative`}},
		{"timeout 0", []string{"timeout: 2s", "timeout: 0s"}, []string{"spec.traffic[0].timeout: must be longer than 0"}},
		{"maxInFlight 0", []string{"maxInFlight: 100", "maxInFlight: 0"}, []string{"spec.traffic[0].maxInFlight: 0 is out of range"}},
		{"weight 0", []string{"weight: 2", "weight: 0"}, []string{"spec.traffic[0].requests[0].weight: 0 is out of range"}},

		{"fault name twice", []string{"{name: cut,", "{name: slow,"}, []string{`spec.faults[2].name: "slow" is there twice, first at spec.faults[1]`}},
		{"unknown kind of fault", []string{"kind: partition", "kind: partitoin"}, []string{`spec.faults[2].kind: "partitoin" is not known (did you mean partition?`}},
		{"fault after the load", []string{"between: [west, east], at: 6s", "between: [west, east], at: 10s"}, []string{"spec.faults[2].at: 10s is not before the end of the load (10s)"}},
		{"fault beyond the load", []string{"between: [west, east], at: 6s, for: 1s", "between: [west, east], at: 6s, for: 5s"}, []string{"spec.faults[2].for: the fault lasts until 11s, beyond the end of the load (10s)"}},
		{"negative time", []string{"at: 4s", "at: -4s"}, []string{`spec.faults[1].at: "-4s" is negative`}},
		{"fault without for", []string{"at: 6s, for: 1s", "at: 6s"}, []string{"spec.faults[2].for: is missing"}},
		{"fault without between", []string{"between: [west, east], ", ""}, []string{"spec.faults[2].between: is missing"}},
		{"between one cluster", []string{"between: [west, east]", "between: [west]"}, []string{"spec.faults[2].between: has 1 clusters and not two"}},
		{"between equal clusters", []string{"between: [west, east]", "between: [west, west]"}, []string{"spec.faults[2].between: is west twice"}},
		{"between unknown clusters", []string{"between: [west, east]", "between: [west, south]"}, []string{`spec.faults[2].between[1]: there is no cluster "south"`}},
		{"delay missing", []string{"delay: 40ms, ", ""}, []string{"spec.faults[1].delay: is missing"}},
		{"delay too long", []string{"delay: 40ms", "delay: 11s"}, []string{"spec.faults[1].delay: 11s is too long"}},
		{"partition with delay", []string{"kind: partition,", "kind: partition, delay: 1s,"}, []string{"spec.faults[2].delay: has no meaning for partition"}},
		{"partition with target", []string{"kind: partition,", "kind: partition, target: {service: cart},"}, []string{"spec.faults[2].target: has no meaning for partition"}},
		{"pod-kill without target", []string{"target: {service: cart, cluster: east}, ", ""}, []string{"spec.faults[0].target: is missing"}},
		{"pod-kill of nobody", []string{"{service: cart, cluster: east}", "{service: crt, cluster: east}"}, []string{`spec.faults[0].target.service: there is no service "crt"`}},
		{"pod-kill where it does not run", []string{"{service: cart, cluster: east}", "{service: cart, cluster: north}"}, []string{"spec.faults[0].target.cluster: cart does not run in north (it runs in east or west)"}},
		{"pod-kill in no cluster", []string{"{service: cart, cluster: east}", "{service: cart, cluster: south}"}, []string{`spec.faults[0].target.cluster: there is no cluster "south"`}},
		{"pod-kill with between", []string{"kind: pod-kill,", "kind: pod-kill, between: [east, west],"}, []string{"spec.faults[0].between: has no meaning for pod-kill"}},
		{"pod-kill with for", []string{"kind: pod-kill,", "kind: pod-kill, for: 1s,"}, []string{"spec.faults[0].for: has no meaning for pod-kill"}},
		{"a fault that meshproof has no means for", []string{"kind: network-loss, by: chaos-mesh", "kind: network-loss, by: meshproof"}, []string{"spec.faults[3].by: meshproof has no means of its own for network-loss (write chaos-mesh, or leave it out)"}},
		{"by somebody unknown", []string{"by: chaos-mesh", "by: chaosmesh"}, []string{`spec.faults[3].by: "chaosmesh" is not known (did you mean chaos-mesh?`}},
		{"loss without share", []string{"share: 0.25, ", ""}, []string{"spec.faults[3].share: is missing"}},
		{"loss of more than all", []string{"share: 0.25", "share: 1.25"}, []string{"spec.faults[3].share: "}},
		{"bandwidth without rate", []string{"bitsPerSecond: 1000000, ", ""}, []string{"spec.faults[4].bitsPerSecond: is missing"}},
		{"bandwidth between clusters", []string{"kind: network-bandwidth,", "kind: network-bandwidth, between: [west, east],"}, []string{"spec.faults[4].between: has no meaning for network-bandwidth"}},
		{"memory-stress without memory", []string{"memoryMiB: 64, ", ""}, []string{"spec.faults[6].memoryMiB: is missing"}},
		{"clocks ahead by nothing", []string{"ahead: 10m, ", ""}, []string{"spec.faults[7].ahead: is missing"}},
		{"clocks ahead by too little", []string{"ahead: 10m", "ahead: 1s"}, []string{"spec.faults[7].ahead: 1s is too little to be told from a busy machine (at least 5s)"}},
		{"dns-error without for", []string{"kind: dns-error, target: {service: cart}, at: 7s, for: 2s", "kind: dns-error, target: {service: cart}, at: 7s"}, []string{"spec.faults[8].for: is missing"}},
		{"a fault of the mesh by somebody else", []string{"kind: mesh-abort,", "kind: mesh-abort, by: meshproof,"}, []string{"spec.faults[9].by: has no meaning for mesh-abort"}},
		{"a delay of the mesh without delay", []string{"delay: 100ms, ", ""}, []string{"spec.faults[10].delay: is missing (say how long a request is held back: 200ms)"}},
		{"a status that is no error", []string{"status: 500", "status: 200"}, []string{"spec.faults[9].status: "}},
		{"a fault of the mesh where nobody calls", []string{"kind: mesh-abort, target: {cluster: east, service: cart}", "kind: mesh-abort, target: {cluster: north, service: cart}"}, []string{"spec.faults[9].target: nobody in north calls cart, so nobody's proxy could show the fault (name a service that another one there calls, or that traffic goes to)"}},
		{"two faults of one kind on one target", []string{"kind: dns-error, target", "kind: clock-skew, ahead: 1m, target"}, []string{"spec.faults[8].at: begins at 7s, while early on the same target lasts until 9s (two faults on one target can't be told apart; put one after the other)"}},
		{"overlapping faults on one link", []string{"at: 6s, for: 1s", "at: 4500ms, for: 1s"}, []string{"spec.faults[2].at: begins at 4.5s, while slow on the same link lasts until 5s"}},
		{"a fault within a longer one", []string{"at: 6s, for: 1s", "at: 3s, for: 4s"}, []string{"spec.faults[1].at: begins at 4s, while cut on the same link lasts until 7s"}},
		{"faults without traffic", []string{base[strings.Index(base, "  traffic:\n"):strings.Index(base, "  faults:\n")], "", base[strings.Index(base, "    latency: ["):strings.Index(base, "    recovery:")], ""}, []string{"spec.faults: there is no traffic"}},

		{"expect nothing", []string{base[strings.Index(base, "  expect:\n"):], "  expect: {}\n", "gaps: [mtls, policy]", "gaps: [mtls]"}, []string{"spec.expect: expects nothing", "spec.meshes[0].gaps[0]: nothing would demonstrate"}},
		{"no expect", []string{base[strings.Index(base, "  expect:\n"):], ""}, []string{"spec.expect: is missing"}},
		{"mtls everywhere false", []string{"everywhere: true", "everywhere: false"}, []string{"spec.expect.mtls.everywhere: must be true"}},
		{"other matrix", []string{"matrix: complete", "matrix: partial"}, []string{`spec.expect.policy.matrix: "partial" is not known (use complete)`}},
		{"latency without quantile", []string{"p50: 1s, p90: 2s, p99: 3s", ""}, []string{"spec.expect.latency[0]: has no quantile"}},
		{"latency with falling quantiles", []string{"p50: 1s, p90: 2s, p99: 3s", "p50: 5s, p99: 3s"}, []string{"spec.expect.latency[0].p99: 3s is below p50 (5s)"}},
		{"latency of no traffic", []string{"latency: [{traffic: buyers", "latency: [{traffic: sellers"}, []string{`spec.expect.latency[0].traffic: there is no traffic "sellers"`}},
		{"latency of no phase", []string{"phase: spike", "phase: peak"}, []string{`spec.expect.latency[0].phase: there is no phase of buyers "peak"`}},
		{"latency of a phase that sends nothing", []string{"phase: spike", "phase: stage-3"}, []string{"spec.expect.latency[0].phase: the phase stage-3 sends nothing"}},
		{"latency twice", []string{"p99: 3s},", "p99: 3s}, {traffic: buyers, phase: spike, p50: 1s},"}, []string{"spec.expect.latency[1]: is for the same as spec.expect.latency[0]"}},
		{"errors rate above 1", []string{"rate: 0.1}", "rate: 10}"}, []string{"spec.expect.errors[0].rate: 10 is out of range"}},
		{"errors that let every request fail", []string{"rate: 0.1}", "rate: 1}"}, []string{"spec.expect.errors[0].rate: is 1: it lets every request fail"}},
		{"recovery after nothing", []string{"after: dies", "after: dise"}, []string{`spec.expect.recovery[0].after: there is no fault "dise" (did you mean dies?)`}},
		{"recovery that can't be seen", []string{"after: dies, within: 3s", "after: cut, within: 4s"}, []string{"spec.expect.recovery[0].within: 4s after the fault, at 11s, the load is over (10s)"}},
		{"recovery without faults", []string{base[strings.Index(base, "  faults:\n"):strings.Index(base, "  expect:\n")], ""}, []string{"spec.expect.recovery[0].after: there is no fault to recover from"}},

		{"object without kind", []string{"kind: ConfigMap, ", ""}, []string{"spec.meshes[1].objects[0].kind: is missing"}},
		{"object with a number for kind", []string{"kind: ConfigMap", "kind: 1"}, []string{"spec.meshes[1].objects[0].kind: is not a text"}},
		{"object without metadata", []string{"metadata: {name: extra, labels: {app.kubernetes.io/name: x}}, ", ""}, []string{"spec.meshes[1].objects[0].metadata: must be a mapping with a name"}},
		{"object without name", []string{"name: extra, ", ""}, []string{"spec.meshes[1].objects[0].metadata.name: is missing"}},
		{"object that is a text", []string{"- {apiVersion: v1, kind: ConfigMap, metadata: {name: extra, labels: {app.kubernetes.io/name: x}}, data: {n: 1}}", "- text"}, []string{"spec.meshes[1].objects[0]: is the text \"text\" and not a Kubernetes object"}},
		{"object with a number that JSON has not", []string{"data: {n: 1}", "data: {n: .inf}"}, []string{"spec.meshes[1].objects[0].data.n: +Inf can't be written in JSON"}},
		{"object with a number too large", []string{"data: {n: 1}", "data: {n: 9007199254740993000}"}, []string{"spec.meshes[1].objects[0].data.n: 9.007199254740993e+18 can't be written"}},

		{"anchor and alias", []string{"clusters: [east]", "clusters: &c [east]", "clusters: [east, west]", "clusters: *c"}, []string{"YAML anchors (&) are not allowed", "YAML aliases (*) are not allowed"}},
		{"merge key", []string{"network: {kind: separate, latency: 2ms}", "network: {<<: {latency: 2ms}}"}, []string{"YAML merge keys (<<) are not allowed"}},
		{"tag", []string{"name: shop\n", "name: !!str shop\n"}, []string{"YAML tags (!) are not allowed"}},
		{"directive", []string{"apiVersion: mesh", "%YAML 1.2\n---\napiVersion: mesh"}, []string{"YAML directives (%) are not allowed"}},
		{"complex key", []string{"  blocks: 2\n", "  ? blocks\n  : 2\n"}, []string{"YAML complex keys (?) are not allowed"}},
		{"several documents", []string{"    recovery: [{after: dies, within: 3s}]\n", "    recovery: [{after: dies, within: 3s}]\n---\na: b\n"}, []string{"has several YAML documents"}},
		{"bracket not closed", []string{"clusters: [east, west]", "clusters: [east, west"}, []string{"is not YAML: "}},
		{"tab for indentation", []string{"  blocks: 2\n", "\tblocks: 2\n"}, []string{"is not YAML: a line begins with a tab (indent with spaces)"}},

		{"wrong apiVersion alone", []string{"meshproof/v1alpha1", "meshproof/v2", "blocks: 2", "bloks: 2"}, []string{`apiVersion: "meshproof/v2" is not a version of scenarios`}},
		{"wrong kind alone", []string{"kind: Scenario", "kind: Deployment", "blocks: 2", "bloks: 2"}, []string{`kind: "Deployment" is not a scenario (write Scenario)`}},
		{"no apiVersion", []string{"apiVersion: meshproof/v1alpha1\n", "", "blocks: 2", "bloks: 2"}, []string{"apiVersion: is missing"}},
		{"neither", []string{"apiVersion: meshproof/v1alpha1\nkind: Scenario\n", ""}, []string{"is not a scenario: it has no apiVersion and no kind"}},
	}
}

func TestParseRefusesWhatIsWrongAndSaysNothingElse(t *testing.T) {
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			_, err := Parse("s.yaml", []byte(change(t, r.change...)))
			if err == nil {
				t.Fatal("was accepted")
			}
			expectProblems(t, err, r.want)
		})
	}
}

// expectProblems wants an error that says all of this, no more and no less, each with a place and a hint.
func expectProblems(t *testing.T, err error, wanted []string) {
	t.Helper()
	got := problems(t, err)
	if len(got) != len(wanted) {
		t.Errorf("want %d problems, got %d", len(wanted), len(got))
	}
	for _, want := range wanted {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("want %q", want)
		}
	}
	for _, p := range got {
		if p.Line == 0 || p.Column == 0 || p.Message == "" || p.Hint == "" {
			t.Errorf("problem without a place or a hint: %+v", p)
		}
	}
	if t.Failed() {
		t.Log(err)
	}
}

func TestAllErrorsComeAtOnceSortedWithTheirPlaces(t *testing.T) {
	in := filepath.Join("testdata", "many-errors.yaml")
	_, err := Load(in)
	if err == nil {
		t.Fatal("was accepted")
	}
	golden := filepath.Join("testdata", "many-errors.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(err.Error()+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, readErr := os.ReadFile(golden)
	if readErr != nil {
		t.Fatal(readErr)
	}
	if got := err.Error() + "\n"; got != string(want) {
		t.Errorf("want\n%s\ngot\n%s", want, got)
	}
}

func TestPositionsPointAtFieldsOrAtWhatIsAroundThem(t *testing.T) {
	_, pos, err := parse("base.yaml", []byte(base), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path string
		want place
	}{
		{"spec", place{4, 1}},
		{"spec.meshes[1].name", place{7, 13}},
		{"spec.meshes[1].objects[0].metadata.name", place{9, 62}},
		{`spec.meshes[1].objects[0].metadata.labels["app.kubernetes.io/name"]`, place{9, 102}},
		{"spec.topology.services[0].calls[0].path", place{24, 56}},
		{"spec.faults[0].target.service", place{48, 54}},
		{"spec.faults[0].target.nothing", place{48, 44}},
		{"spec.traffic[0].requests[7].path", place{41, 17}},
		{"nothing", place{1, 1}},
	} {
		if line, column := pos.Position(c.path); (place{line, column}) != c.want {
			t.Errorf("%s: want %v, got %d:%d", c.path, c.want, line, column)
		}
	}
}
