package reports

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/invopop/jsonschema"

	"github.com/meshproof/meshproof/internal/typedoc"
)

// modelSource is the model's own source: its comments are the schema's descriptions, in an installed binary too.
//
//go:embed model.go
var modelSource string

// Schema is the JSON Schema (draft 2020-12) of report.json, with the comments of the model as descriptions.
func Schema() ([]byte, error) {
	comments, err := typedoc.Comments(modelSource)
	if err != nil {
		return nil, err
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
	s := r.Reflect(&Report{})
	s.Title = "Report of a Meshproof run (" + SchemaVersion + ")"
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding the schema of report.json: %w", err)
	}
	return append(b, '\n'), nil
}
