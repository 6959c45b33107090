package scenarios

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// field is one field of a type as files name it.
type field struct {
	name     string
	index    int
	required bool
	limits   limits
}

// fieldsOf reads the tags of a type: a field is required unless its json tag says omitempty or omitzero; its limits
// are those that the JSON Schema is made from.
func fieldsOf(t reflect.Type) []field {
	fs := make([]field, 0, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		fs = append(fs, field{name: name, index: i, required: opts == "", limits: limitsOf(f.Tag.Get("jsonschema"))})
	}
	return fs
}

// limits is what the jsonschema tag of a field says of its value, or of its items' values.
type limits struct {
	enum                  []string
	minimum, maximum, low *float64 // low is the exclusive minimum
}

func limitsOf(tag string) limits {
	var l limits
	for _, part := range strings.Split(tag, ",") {
		name, value, _ := strings.Cut(part, "=")
		var into **float64
		switch name {
		case "enum":
			l.enum = append(l.enum, value)
			continue
		case "minimum":
			into = &l.minimum
		case "maximum":
			into = &l.maximum
		case "exclusiveMinimum":
			into = &l.low
		default:
			continue
		}
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			*into = &n
		}
	}
	return l
}

// violated says what n should be; "" where it is.
func (l limits) violated(n float64) string {
	var want []string
	ok := true
	if l.minimum != nil {
		want, ok = append(want, "at least "+plain(*l.minimum)), ok && n >= *l.minimum
	}
	if l.low != nil {
		want, ok = append(want, "above "+plain(*l.low)), ok && n > *l.low
	}
	if l.maximum != nil {
		want, ok = append(want, "at most "+plain(*l.maximum)), ok && n <= *l.maximum
	}
	if ok {
		return ""
	}
	return "must be " + strings.Join(want, " and ")
}

func plain(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }

// entries lists the entries of a mapping.
func entries(node ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := node.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

// keyName is the name of an entry, and whether it is a text.
func keyName(key ast.MapKeyNode) (string, bool) {
	if s, ok := key.(*ast.StringNode); ok {
		return s.Value, true
	}
	return key.GetToken().Value, false
}

// text is the value of a text, plain, quoted or as a block.
func text(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	}
	return "", false
}

// number is the value of a number.
func number(node ast.Node) (float64, bool) {
	switch n := node.(type) {
	case *ast.IntegerNode:
		switch v := n.Value.(type) {
		case int64:
			return float64(v), true
		case uint64:
			return float64(v), true
		}
	case *ast.FloatNode:
		return n.Value, true
	case *ast.InfinityNode:
		return n.Value, true
	case *ast.NanNode:
		v, _ := n.GetValue().(float64)
		return v, true
	}
	return 0, false
}

// describe names what a node is, for errors.
func describe(node ast.Node) string {
	switch n := node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "empty"
	case *ast.BoolNode:
		return fmt.Sprintf("the boolean %t", n.Value)
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "the number " + strings.TrimSpace(n.GetToken().Value)
	case *ast.StringNode:
		return "the text " + quote(n.Value)
	case *ast.LiteralNode:
		return "the text " + quote(n.Value.Value)
	}
	return "something else"
}

// wanted names what a type wants, for errors.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.Struct, reflect.Map:
		return "a mapping"
	case reflect.Slice:
		return "a list"
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	case reflect.Int64:
		return "a duration such as 250ms or 4s"
	case reflect.Float64:
		return "a number"
	}
	return "a text"
}

// quote writes a text of the user's for an error: in quotes, without control characters, and not whole where it is long.
func quote(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return strconv.Quote(string(r[:most]) + "…")
	}
	return strconv.Quote(s)
}

// oneOf lists names: "a, b or c".
func oneOf(names []string) string {
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " or " + names[n-1]
	}
	return strings.Join(names, "")
}

var simpleName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// join is the path of a field in the mapping at path.
func join(path, key string) string {
	switch {
	case !simpleName.MatchString(key):
		return path + "[" + strconv.Quote(key) + "]"
	case path == "":
		return key
	}
	return path + "." + key
}

var index = regexp.MustCompile(`\[[0-9]+\]`)

// pattern is a path without the numbers: spec.faults[].at.
func pattern(path string) string { return index.ReplaceAllString(path, "[]") }

// place records where a field stands: a scalar or flow collection where its value starts, anything else where its
// name does.
func (d *decoder) place(path string, value ast.Node, key ast.MapKeyNode) {
	tk := startOf(value)
	if key != nil {
		switch v := value.(type) {
		case *ast.MappingNode:
			if !v.IsFlowStyle {
				tk = key.GetToken()
			}
		case *ast.SequenceNode:
			if !v.IsFlowStyle {
				tk = key.GetToken()
			}
		case *ast.MappingValueNode, *ast.NullNode, nil:
			tk = key.GetToken()
		}
	}
	if tk != nil && tk.Position != nil {
		d.positions.places[path] = place{tk.Position.Line, tk.Position.Column}
	}
}

// startOf is the first token of a node.
func startOf(node ast.Node) *token.Token {
	switch n := node.(type) {
	case nil:
		return nil
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return n.Values[0].Key.GetToken()
		}
		return n.Start
	case *ast.MappingValueNode:
		return n.Key.GetToken()
	case *ast.LiteralNode:
		return n.Start
	}
	return node.GetToken()
}
