package reports

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"

	"github.com/invopop/jsonschema"

	"github.com/meshproof/meshproof/internal/typedoc"
)

// modelSource is the model's own source: its comments are the schema's descriptions, in an installed binary too.
//
//go:embed model.go
var modelSource string

//go:embed load.go
var loadSource string

// Schema is the JSON Schema (draft 2020-12) of report.json, with the comments of the model as descriptions.
func Schema() ([]byte, error) {
	return schemaOf(&Report{}, "Report of a Meshproof run ("+SchemaVersion+")", modelSource)
}

// LoadSchema is the JSON Schema of what "meshproof load" writes.
func LoadSchema() ([]byte, error) {
	return schemaOf(&Load{}, "Report of a load ("+LoadSchemaVersion+")", modelSource, loadSource)
}

func schemaOf(model any, title string, sources ...string) ([]byte, error) {
	comments := map[string]string{}
	for _, s := range sources {
		more, err := typedoc.Comments(s)
		if err != nil {
			return nil, err
		}
		maps.Copy(comments, more)
	}
	own := reflect.TypeFor[Report]().PkgPath()
	r := &jsonschema.Reflector{
		Anonymous: true,
		LookupComment: func(t reflect.Type, field string) string {
			if t.PkgPath() != own {
				return ""
			}
			if field == "" {
				return comments[t.Name()]
			}
			return comments[t.Name()+"."+field]
		},
	}
	s := r.Reflect(model)
	s.Title = title
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding a JSON Schema: %w", err)
	}
	return append(b, '\n'), nil
}
