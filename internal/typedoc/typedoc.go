// Package typedoc reads the comments of Go types from their source, so that a
// published JSON Schema describes its fields in the words that the types
// themselves carry, in an installed binary too.
package typedoc

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
)

// Comments maps each type ("Fault") and each field ("Fault.At") of a Go source file to its comment, on one line.
func Comments(source string) (map[string]string, error) {
	f, err := parser.ParseFile(token.NewFileSet(), "", source, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("reading the comments of types: %w", err)
	}
	comments := map[string]string{}
	for _, decl := range f.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.TYPE {
			continue
		}
		for _, spec := range gen.Specs {
			t, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			comments[t.Name.Name] = oneLine(gen.Doc)
			st, ok := t.Type.(*ast.StructType)
			if !ok {
				continue
			}
			for _, field := range st.Fields.List {
				for _, name := range field.Names {
					comments[t.Name.Name+"."+name.Name] = oneLine(field.Doc)
				}
			}
		}
	}
	return comments, nil
}

func oneLine(doc *ast.CommentGroup) string {
	return strings.Join(strings.Fields(doc.Text()), " ")
}
