package kind

import (
	"bufio"
	"errors"
	"io"
	"path"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"helm.sh/helm/v4/pkg/chart/common"
	commonutil "helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/engine"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/bundle"
	"github.com/meshproof/meshproof/meshes"
	"github.com/meshproof/meshproof/scenarios"
)

// linkerdMaterial is Linkerd in the bundle of whoever runs the tests. No registry of packages has it: without it the test
// is skipped.
func linkerdMaterial(t *testing.T) *material {
	t.Helper()
	dir, err := bundle.DefaultDir()
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Open(dir)
	if err != nil {
		t.Skipf("SKIPPED: no Linkerd to test with: %v", err)
	}
	mat := &material{bundle: b, charts: map[string]bundle.Part{}}
	for _, name := range (linkerd{}).charts() {
		parts, err := b.Named(chartPart(name))
		if err != nil {
			t.Skipf("SKIPPED: no Linkerd to test with: %v", err)
		}
		mat.charts[name] = parts[0]
	}
	return mat
}

// document is an object as a chart has it.
type document = map[string]any

// rendered is every object that a chart makes of values, by kind and name.
func rendered(t *testing.T, mat *material, r clusters.Release, values map[string]any) map[string]document {
	t.Helper()
	ch, err := readChart(opener(mat.bundle.Path(mat.charts[r.Chart])))
	if err != nil {
		t.Fatal(err)
	}
	all, err := commonutil.ToRenderValues(ch, over(r.Values, values), common.ReleaseOptions{Name: r.Name, Namespace: r.Namespace, IsInstall: true}, common.DefaultCapabilities)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine.Render(ch, all)
	if err != nil {
		t.Fatalf("chart %s does not take its values: %v", r.Chart, err)
	}
	out := map[string]document{}
	for name, text := range files {
		if path.Ext(name) != ".yaml" {
			continue
		}
		docs := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
		for {
			doc, err := docs.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			var obj document
			if err == nil {
				err = yaml.Unmarshal(doc, &obj)
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if meta, ok := obj["metadata"].(map[string]any); ok {
				out[obj["kind"].(string)+"/"+meta["name"].(string)] = obj
			}
		}
	}
	return out
}

func TestLinkerdsOwnChartsTakeTheValuesAndMakeNoKeyOfTheirOwn(t *testing.T) {
	mat := linkerdMaterial(t)
	m, err := meshes.ByName(scenarios.MeshLinkerd)
	if err != nil {
		t.Fatal(err)
	}
	images := map[string]image{
		linkerdCtl:   {ref: "cr.test/l5d/linkerd/controller:a", tag: "a"},
		linkerdImage: {ref: "cr.test/l5d/linkerd/proxy:b", tag: "b"},
	}
	list, _, err := pickRanges(1, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range m.Install(&scenarios.Scenario{}, scenarios.MeshEntry{}, "", "east").Releases {
		objs := rendered(t, mat, r, over((linkerd{}).imageValues(r.Chart, images), (linkerd{}).clusterValues(&cluster{ranges: list[0]}, r.Chart)))
		if r.Chart == linkerdCRDs {
			for _, want := range []string{"httproutes.gateway.networking.k8s.io", "servers.policy.linkerd.io"} {
				if objs["CustomResourceDefinition/"+want] == nil {
					t.Errorf("%s makes no definition of %s", r.Chart, want)
				}
			}
			continue
		}
		for _, want := range []string{"Deployment/linkerd-identity", "Deployment/linkerd-destination", "Deployment/linkerd-proxy-injector"} {
			if objs[want] == nil {
				t.Errorf("%s makes no %s", r.Chart, want)
			}
		}
		for _, ours := range []string{"Secret/linkerd-identity-issuer", "ConfigMap/linkerd-identity-trust-roots", "CronJob/linkerd-heartbeat"} {
			if objs[ours] != nil {
				t.Errorf("%s makes %s", r.Chart, ours)
			}
		}
		text, err := yaml.Marshal(objs["Deployment/linkerd-destination"])
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"image: cr.test/l5d/linkerd/controller:a", "image: cr.test/l5d/linkerd/proxy:b", list[0].pods.String() + "," + list[0].services.String()} {
			if !strings.Contains(string(text), want) {
				t.Errorf("linkerd-destination has no %q", want)
			}
		}
	}
}

func TestWhatIsAppliedForLinkerdIsInTheSchemasOfItsDefinitions(t *testing.T) {
	mat := linkerdMaterial(t)
	m, err := meshes.ByName(scenarios.MeshLinkerd)
	if err != nil {
		t.Fatal(err)
	}
	schemas := definitions(t, rendered(t, mat, m.Install(&scenarios.Scenario{}, scenarios.MeshEntry{}, "", "east").Releases[0], nil))
	objs := policyBarrier("app", []string{"cart.http"}, "mark")
	for _, name := range []string{"checkout-spike", "two-clusters", "smoke"} {
		s, _, err := scenarios.Resolve(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range s.Spec.Topology.Clusters {
			rendered, err := meshes.Render(m, scenarios.MeshEntry{Name: scenarios.MeshLinkerd}, s, c.Name)
			if err != nil {
				t.Fatal(err)
			}
			objs = append(objs, rendered...)
		}
	}
	seen := map[string]bool{}
	for _, obj := range objs {
		if !(linkerd{}).takes(obj) {
			continue
		}
		gvk := obj.GetObjectKind().GroupVersionKind()
		schema := schemas[gvk.GroupVersion().String()+"/"+gvk.Kind]
		if schema == nil {
			t.Fatalf("Linkerd's charts define no %s", gvk)
		}
		u, err := fields(obj)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(u.Object); err != nil {
			t.Errorf("%s %s: %v", gvk.Kind, nameOf(obj), err)
		}
		u.Object["spec"].(map[string]any)["unknown"] = "field"
		if schema.Validate(u.Object) == nil {
			t.Errorf("%s: a field that is in no definition was taken", gvk.Kind)
		}
		seen[gvk.Kind] = true
	}
	for _, kind := range []string{"Server", "HTTPRoute", "AuthorizationPolicy", "MeshTLSAuthentication", "NetworkAuthentication"} {
		if !seen[kind] {
			t.Errorf("no %s was held against its definition", kind)
		}
	}
}

// definitions are the schemas of custom resources, by group, version and kind.
func definitions(t *testing.T, objs map[string]document) map[string]*jsonschema.Schema {
	t.Helper()
	at := func(v any, keys ...string) any {
		for _, k := range keys {
			m, ok := v.(map[string]any)
			if !ok {
				return nil
			}
			v = m[k]
		}
		return v
	}
	out := map[string]*jsonschema.Schema{}
	for name, obj := range objs {
		if obj["kind"] != "CustomResourceDefinition" {
			continue
		}
		versions, _ := at(obj, "spec", "versions").([]any)
		for _, v := range versions {
			key := at(obj, "spec", "group").(string) + "/" + at(v, "name").(string) + "/" + at(obj, "spec", "names", "kind").(string)
			compiler := jsonschema.NewCompiler()
			if err := compiler.AddResource(key, closed(at(v, "schema", "openAPIV3Schema"), true)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			s, err := compiler.Compile(key)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			out[key] = s
		}
	}
	return out
}

// closed makes a schema refuse what the API server would prune: fields that it does not name. What every object has is
// not in the schemas.
func closed(v any, root bool) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			if k == "description" || strings.HasPrefix(k, "x-kubernetes-") || k == "format" || k == "default" {
				continue
			}
			out[k] = closed(e, false)
		}
		props, ok := out["properties"].(map[string]any)
		if _, isSchema := out["type"].(string); ok && isSchema && v["additionalProperties"] == nil && v["x-kubernetes-preserve-unknown-fields"] == nil {
			out["additionalProperties"] = false
			if root {
				for _, k := range []string{"apiVersion", "kind", "metadata"} {
					props[k] = map[string]any{}
				}
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = closed(e, false)
		}
		return out
	}
	return v
}
