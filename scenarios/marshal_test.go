package scenarios

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func equal(t *testing.T, want, got *Scenario) {
	t.Helper()
	if !reflect.DeepEqual(want, got) {
		t.Errorf("differ (-want +got):\n%s", cmp.Diff(want, got))
	}
}

// roundTrip checks that a scenario survives YAML and JSON unchanged.
func roundTrip(t *testing.T, s *Scenario) {
	t.Helper()
	y, err := Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse("again.yaml", y)
	if err != nil {
		t.Fatalf("%v\nin\n%s", err, y)
	}
	equal(t, s, again)
	j, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var fromJSON Scenario
	if err := json.Unmarshal(j, &fromJSON); err != nil {
		t.Fatal(err)
	}
	equal(t, s, &fromJSON)
	if twice, err := Marshal(again); err != nil || string(twice) != string(y) {
		t.Errorf("written again it differs (%v):\n%s", err, cmp.Diff(string(y), string(twice)))
	}
}

func TestAScenarioSurvivesYAMLAndJSON(t *testing.T) {
	s, err := Parse("base.yaml", []byte(base))
	if err != nil {
		t.Fatal(err)
	}
	roundTrip(t, s)
}

func TestAwkwardTextsSurviveYAMLAndJSON(t *testing.T) {
	for _, text := range []string{
		"yes", "No", "null", "~", "1", "1e3", "0x10", "1_000", ".inf", ".NaN", "2026-01-02", "12:30", "- a", "a: b", "a #b", "#", "*a", "&a", "!a",
		"a\nb", "a\n\n", "\ta", " a", "a ", "a\tb", "\\", `"`, "'", `\n`, "\u2028", "\u0085", "\ufeff", "é", "漢字", "🜚", "\u0001", "\u007f", "<<", "%", "@", "`", "{", "}", "[x]", ",", "?", "|", ">", "---", "...", "=",
		"4s", "1m30s", strings.Repeat("long ", 100) + "text",
	} {
		s, err := Parse("base.yaml", []byte(base))
		if err != nil {
			t.Fatal(err)
		}
		s.Metadata.Description = text
		s.Spec.Meshes[1].Objects[0]["data"] = map[string]any{text: text, "list": []any{text, nil, true, 0.1, map[string]any{}, []any{}, []any{[]any{text}}}}
		roundTrip(t, s)
	}
}

func TestDefaultsAreThoseOfTheComments(t *testing.T) {
	s, err := Parse("s.yaml", []byte(`apiVersion: meshproof/v1alpha1
kind: Scenario
metadata: {name: short}
spec:
  meshes: [{name: istio}]
  topology:
    clusters: [{name: east}, {name: west}]
    services:
      - {name: a, clusters: [west], calls: [{to: b}]}
      - {name: b, latency: {p50: 2ms}}
  traffic: [{name: t, to: a, profile: {stages: [{rate: 1, for: 2s}, {name: x, rate: 1, for: 1s}]}}]
  faults: [{name: f, kind: pod-kill, target: {service: b}, at: 1s}]
  expect: {mtls: {everywhere: true}}
`))
	if err != nil {
		t.Fatal(err)
	}
	one := 1.0
	want := Spec{
		Meshes: []MeshEntry{{Name: MeshIstio}},
		Blocks: 1,
		Topology: Topology{
			Clusters: []Cluster{{"east", 1}, {"west", 1}},
			Network:  Network{Kind: NetworkFlat, Latency: 1e6},
			Services: []Service{
				{Name: "a", Namespace: "app", Clusters: []string{"west"}, Replicas: 1, Calls: []Call{{To: "b", Share: &one, Method: "GET", Path: "/"}}},
				{Name: "b", Namespace: "app", Clusters: []string{"east", "west"}, Replicas: 1, Latency: Latency{P50: 2e6, P99: 2e6}},
			},
		},
		Policy: Policy{Default: DefaultAllow},
		Traffic: []Traffic{{
			Name: "t", From: IngressName, To: "a", Cluster: "west", Timeout: 5e9, MaxInFlight: 10000, Protocol: ProtocolHTTP1, Connections: ConnectionsReuse,
			Profile:  Profile{Stages: []Stage{{Name: "stage-1", Rate: 1, For: 2e9}, {Name: "x", Rate: 1, For: 1e9}}, Arrivals: ArrivalsEven},
			Requests: []RequestKind{{Method: "GET", Path: "/", Weight: 1}},
		}},
		Faults: []Fault{{Name: "f", Kind: PodKill, By: ByMeshproof, Target: &FaultTarget{Service: "b", Cluster: "east"}, At: 1e9}},
		Expect: Expect{MTLS: &ExpectMTLS{Everywhere: true}},
	}
	if d := cmp.Diff(want, s.Spec); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	before, err := Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	s.Default()
	if after, err := Marshal(s); err != nil || string(before) != string(after) {
		t.Errorf("defaults filled in twice differ (%v)", err)
	}
}

func TestDefaultIsDenyWhereThereAreRules(t *testing.T) {
	s := Scenario{Spec: Spec{Policy: Policy{Allow: []Rule{{From: "a", To: "b"}}}}}
	s.Default()
	if s.Spec.Policy.Default != DefaultDeny {
		t.Errorf("got %q", s.Spec.Policy.Default)
	}
}
