package scenarios

import (
	"fmt"
	"math"
	"reflect"

	"github.com/goccy/go-yaml/ast"
)

// decodeObject reads a Kubernetes object as encoding/json would: what is inside it is for the mesh to judge, so only
// what names an object is checked here.
func (d *decoder) decodeObject(node ast.Node, path string, v reflect.Value) {
	m, ok := entries(node)
	if !ok {
		d.unusable(path, "is "+describe(node)+" and not a Kubernetes object", "give a mapping with apiVersion, kind and metadata.name")
		return
	}
	obj := d.object(m, path)
	v.Set(reflect.ValueOf(obj))
	for _, name := range []string{"apiVersion", "kind"} {
		d.objectText(obj, path, name)
	}
	if meta, ok := obj["metadata"].(map[string]any); ok {
		d.objectText(meta, join(path, "metadata"), "name")
	} else if d.sound(join(path, "metadata")) {
		d.unusable(join(path, "metadata"), "must be a mapping with a name", "write metadata: {name: …}")
	}
}

func (d *decoder) objectText(obj map[string]any, path, name string) {
	p := join(path, name)
	value, there := obj[name]
	switch s, ok := value.(string); {
	case !there && d.sound(p):
		d.unusable(p, "is missing", "every Kubernetes object has apiVersion, kind and metadata.name")
	case there && !ok:
		d.unusable(p, "is not a text", "put quotes around it")
	case ok && s == "":
		d.unusable(p, "is empty", "every Kubernetes object has apiVersion, kind and metadata.name")
	}
}

func (d *decoder) object(m []*ast.MappingValueNode, path string) map[string]any {
	obj := make(map[string]any, len(m))
	d.each(m, path, func(key, p string, e *ast.MappingValueNode) { obj[key] = d.anything(e.Value, p) })
	return obj
}

// exact is the largest whole number up to which a float64 holds every one.
const exact = 1 << 53

// anything reads a node of any type into what encoding/json would make of it.
func (d *decoder) anything(node ast.Node, path string) any {
	if m, ok := entries(node); ok {
		return d.object(m, path)
	}
	if s, ok := text(node); ok {
		return s
	}
	if n, ok := number(node); ok {
		if _, whole := node.(*ast.IntegerNode); math.IsNaN(n) || math.IsInf(n, 0) || whole && math.Abs(n) > exact {
			d.unusable(path, fmt.Sprintf("%g can't be written in JSON as it is", n), "put quotes around it")
		}
		return n
	}
	switch n := node.(type) {
	case *ast.SequenceNode:
		list := make([]any, len(n.Values))
		for i, item := range n.Values {
			p := fmt.Sprintf("%s[%d]", path, i)
			d.place(p, item, nil)
			list[i] = d.anything(item, p)
		}
		return list
	case *ast.BoolNode:
		return n.Value
	case nil, *ast.NullNode:
		return nil
	}
	d.unusable(path, "is nothing that JSON could hold", "give a text, a number, a list or a mapping")
	return nil
}
