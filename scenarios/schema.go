package scenarios

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/meshproof/meshproof/internal/typedoc"
)

//go:embed types.go
var typesSource string

//go:embed types_load.go
var loadTypesSource string

// Schema is the JSON Schema (draft 2020-12) of scenario files, for editors. It is made from the types: their tags give
// the limits, their comments the descriptions. What it refuses Parse refuses too; Parse refuses more, because a schema
// can't say what a reference refers to.
func Schema() ([]byte, error) {
	comments, err := typedoc.Comments(typesSource)
	if err != nil {
		return nil, err
	}
	load, err := typedoc.Comments(loadTypesSource)
	if err != nil {
		return nil, err
	}
	maps.Copy(comments, load)
	r := &jsonschema.Reflector{
		Anonymous:      true,
		ExpandedStruct: true,
		Mapper:         mapType,
		LookupComment: func(t reflect.Type, field string) string {
			if field == "" {
				return comments[t.Name()]
			}
			return comments[t.Name()+"."+field]
		},
	}
	s := r.Reflect(&Scenario{})
	s.ID = jsonschema.ID("https://github.com/meshproof/meshproof/schema/scenario/" + strings.TrimPrefix(APIVersion, "meshproof/"))
	s.Title = "Meshproof scenario " + APIVersion
	for _, sub := range append([]*jsonschema.Schema{s}, definitions(s)...) {
		for p := sub.Properties.Oldest(); p != nil; p = p.Next() {
			if p.Value.Type == "array" {
				one := uint64(1) // an empty list is refused everywhere
				p.Value.MinItems = &one
			}
		}
	}
	out, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the scenario schema: %w", err)
	}
	return append(out, '\n'), nil
}

func definitions(s *jsonschema.Schema) []*jsonschema.Schema {
	var all []*jsonschema.Schema
	for _, d := range s.Definitions {
		all = append(all, d)
	}
	return all
}

// mapType gives the schemas of types that reflection would not get right.
func mapType(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[Duration]():
		return &jsonschema.Schema{Type: "string", Pattern: durationPattern}
	case reflect.TypeFor[map[string]string]():
		one := uint64(1)
		return &jsonschema.Schema{Type: "object", MinProperties: &one, AdditionalProperties: &jsonschema.Schema{Type: "string", MinLength: &one}}
	case reflect.TypeFor[map[string]any]():
		one := uint64(1)
		text := func() *jsonschema.Schema { return &jsonschema.Schema{Type: "string", MinLength: &one} }
		meta := &jsonschema.Schema{Type: "object", Required: []string{"name"}, Properties: jsonschema.NewProperties()}
		meta.Properties.Set("name", text())
		obj := &jsonschema.Schema{Type: "object", Required: []string{"apiVersion", "kind", "metadata"}, Properties: jsonschema.NewProperties()}
		obj.Properties.Set("apiVersion", text())
		obj.Properties.Set("kind", text())
		obj.Properties.Set("metadata", meta)
		return obj
	}
	return nil
}
