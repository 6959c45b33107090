package reports

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"
)

// modelSource is the model's own source: its comments are the schema's descriptions, in an installed binary too.
//
//go:embed model.go
var modelSource string

// Schema is the JSON Schema (draft 2020-12) of report.json, with the comments of the model as descriptions.
func Schema() ([]byte, error) {
	comments, err := modelComments()
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

// modelComments maps "Type" and "Type.Field" to their comments.
func modelComments() (map[string]string, error) {
	f, err := parser.ParseFile(token.NewFileSet(), "model.go", modelSource, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("reading the model's comments: %w", err)
	}
	out := map[string]string{}
	text := func(g *ast.CommentGroup) string { return strings.Join(strings.Fields(g.Text()), " ") }
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range g.Specs {
			t, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			out[t.Name.Name] = text(g.Doc)
			st, ok := t.Type.(*ast.StructType)
			if !ok {
				continue
			}
			for _, field := range st.Fields.List {
				for _, n := range field.Names {
					out[t.Name.Name+"."+n.Name] = text(field.Doc)
				}
			}
		}
	}
	return out, nil
}
