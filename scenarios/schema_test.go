package scenarios

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

func compiledSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("scenario.json", doc); err != nil {
		t.Fatal(err)
	}
	sch, err := c.Compile("scenario.json")
	if err != nil {
		t.Fatal(err)
	}
	return sch
}

// plainOf is what an editor makes of a YAML file before it holds it against the schema.
func plainOf(t testing.TB, data []byte) any {
	t.Helper()
	text, err := asText("s.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	root, err := parseYAML("s.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	return newDecoder("s.yaml").anything(root, "")
}

func TestWhatTheLoaderAcceptsTheSchemaAccepts(t *testing.T) {
	sch := compiledSchema(t)
	files, err := filepath.Glob("library/*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatalf("library: %v %v", files, err)
	}
	docs := map[string][]byte{"base": []byte(base)}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		docs[f] = data
	}
	for name, data := range docs {
		s, err := Parse(name, data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		asRun, err := Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range [][]byte{data, asRun} {
			if err := sch.Validate(plainOf(t, d)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// Every rule's document is refused by the loader, which the test of the rules says. The schema can't refuse all of
// them, but must not refuse what the loader accepts, and must refuse those that it has words for.
func TestTheSchemaRefusesWhatASchemaCanRefuse(t *testing.T) {
	sch := compiledSchema(t)
	for _, c := range []struct {
		name   string
		change []string
	}{
		{"unknown field", []string{"blocks: 2", "bloks: 2"}},
		{"field of a later version", []string{"{issuer: {kind", "{trustRoot: shared, issuer: {kind"}},
		{"claim that is no text", []string{"{role: staff}", "{role: 7}"}},
		{"empty claims", []string{"claims: {role: staff}", "claims: {}"}},
		{"issuer without audience", []string{"{kind: oidc, audience: shop}", "{kind: oidc}"}},
		{"missing field", []string{"      to: shop\n", ""}},
		{"unknown mesh", []string{"name: istio", "name: consul"}},
		{"unknown gap", []string{"gaps: [mtls, policy]", "gaps: [speed]"}},
		{"unknown fault", []string{"kind: partition", "kind: fire"}},
		{"unknown default", []string{"default: deny", "default: perhaps"}},
		{"wrong type", []string{"replicas: 2", "replicas: two"}},
		{"out of range", []string{"replicas: 2", "replicas: 0"}},
		{"share 0", []string{"share: 0.5", "share: 0"}},
		{"duration without unit", []string{"timeout: 2s", "timeout: 2"}},
		{"duration misspelt", []string{"timeout: 2s", "timeout: 2 s"}},
		{"negative duration", []string{"timeout: 2s", "timeout: -2s"}},
		{"empty list", []string{"clusters: [east, west]", "clusters: []"}},
		{"object without kind", []string{"kind: ConfigMap, ", ""}},
		{"wrong apiVersion", []string{"meshproof/v1alpha1", "meshproof/v2"}},
		{"wrong kind", []string{"kind: Scenario", "kind: Deployment"}},
	} {
		doc := []byte(change(t, c.change...))
		if sch.Validate(plainOf(t, doc)) == nil {
			t.Errorf("%s: the schema accepts it", c.name)
		}
		if _, err := Parse("s.yaml", doc); err == nil {
			t.Errorf("%s: the loader accepts it", c.name)
		}
	}
}

// eachStruct visits every struct in a plain document along with its type, so that nothing reachable is forgotten.
func eachStruct(v any, t reflect.Type, path string, f func(m map[string]any, t reflect.Type, path string)) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t.Kind() == reflect.Slice:
		list, _ := v.([]any)
		for i, item := range list {
			eachStruct(item, t.Elem(), fmt.Sprintf("%s[%d]", path, i), f)
		}
	case t.Kind() == reflect.Struct:
		m, ok := v.(map[string]any)
		if !ok {
			return
		}
		f(m, t, path)
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			if child, there := m[name]; there {
				eachStruct(child, t.Field(i).Type, join(path, name), f)
			}
		}
	}
}

func TestATypoInEveryFieldIsRefusedByBothSchemaAndLoader(t *testing.T) {
	sch := compiledSchema(t)
	seen, tried := map[string]bool{}, map[string]bool{}
	typos := 0
	for _, doc := range []string{base, rotating(t), shaped()} { // between them they use every field
		s, err := Parse("base.yaml", []byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		whole := plainOf(t, mustJSON(t, s))
		eachStruct(whole, reflect.TypeFor[Scenario](), "", func(m map[string]any, st reflect.Type, path string) {
			for i := range st.NumField() {
				name, _, _ := strings.Cut(st.Field(i).Tag.Get("json"), ",")
				if _, there := m[name]; there {
					seen[st.Name()+"."+name] = true
				}
				if tried[st.Name()+"."+name] {
					continue // in another place, of the same type
				}
				tried[st.Name()+"."+name] = true
				typo := name + "x"
				m[typo] = "x"
				doc := mustJSON(t, whole)
				delete(m, typo)
				typos++
				if sch.Validate(plainOf(t, doc)) == nil {
					t.Errorf("%s: the schema accepts %s", path, typo)
				}
				_, err := Parse("s.yaml", doc)
				want := join(path, typo) + ": is not a field (did you mean " + name + "?)"
				if err == nil || !strings.Contains(err.Error(), want) || len(problems(t, err)) != 1 {
					t.Errorf("want %s alone, got %v", want, err)
				}
			}
		})
	}
	if typos < 100 {
		t.Errorf("only %d typos tried", typos)
	}
	var unseen func(t reflect.Type)
	unseen = func(rt reflect.Type) {
		for rt.Kind() == reflect.Pointer || rt.Kind() == reflect.Slice {
			rt = rt.Elem()
		}
		if rt.Kind() != reflect.Struct {
			return
		}
		for i := range rt.NumField() {
			name, _, _ := strings.Cut(rt.Field(i).Tag.Get("json"), ",")
			if !seen[rt.Name()+"."+name] {
				t.Errorf("the base scenario does not use %s.%s, so nothing is known of it", rt.Name(), name)
			}
			unseen(rt.Field(i).Type)
		}
	}
	unseen(reflect.TypeFor[Scenario]())
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestBlocksEndInTheSchemaWhereTheCommandLineEndsThem(t *testing.T) {
	f, _ := reflect.TypeFor[Spec]().FieldByName("Blocks")
	if want := fmt.Sprintf("minimum=1,maximum=%d", MaxBlocks); f.Tag.Get("jsonschema") != want {
		t.Errorf("the schema has %s; want %s", f.Tag.Get("jsonschema"), want)
	}
}

func TestEveryFieldOfTheSchemaHasADescriptionFromTheComments(t *testing.T) {
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Schema     string                    `json:"$schema"`
		Properties map[string]map[string]any `json:"properties"`
		Defs       map[string]struct {
			Properties           map[string]map[string]any `json:"properties"`
			AdditionalProperties any                       `json:"additionalProperties"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Schema != "https://json-schema.org/draft/2020-12/schema" {
		t.Errorf("draft %s", doc.Schema)
	}
	if len(doc.Defs) < 15 {
		t.Errorf("only %d definitions", len(doc.Defs))
	}
	for name, def := range doc.Defs {
		if def.AdditionalProperties != false {
			t.Errorf("%s allows other fields", name)
		}
		for field, p := range def.Properties {
			if d, _ := p["description"].(string); d == "" {
				t.Errorf("%s.%s has no description", name, field)
			}
		}
	}
	if d := doc.Properties["metadata"]["description"]; d != "Name and description." {
		t.Errorf("metadata: %v", d)
	}
}
