package scenarios

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// durationPattern is what a duration must look like: Go's notation without a sign.
const durationPattern = `^([0-9]+(\.[0-9]+)?(ns|us|µs|μs|ms|s|m|h))+$`

// maxDuration bounds every duration, so that sums of them can't overflow.
const maxDuration = Duration(24 * time.Hour)

// zeroAllowed is the one duration that may be 0s.
const zeroAllowed = "spec.faults[].at"

// decoder walks a syntax tree into the types and collects what is wrong on the way.
type decoder struct {
	positions *Positions
	problems  []Problem
	broken    []string // paths that hold no value to be trusted
	duration  *regexp.Regexp
}

func newDecoder(file string) *decoder {
	return &decoder{
		positions: &Positions{File: file, places: map[string]place{}},
		duration:  regexp.MustCompile(durationPattern),
	}
}

// problem records that something is wrong at path, where the file has it or would have it.
func (d *decoder) problem(path, message, hint string) {
	line, column := d.positions.Position(path)
	d.problems = append(d.problems, Problem{File: d.positions.File, Line: line, Column: column, Path: path, Message: message, Hint: hint})
}

// unusable is problem for a value that later checks must not judge.
func (d *decoder) unusable(path, message, hint string) {
	d.problem(path, message, hint)
	d.broken = append(d.broken, path)
}

// sound reports whether nothing was wrong in decoding the field at path, what it is part of, or what is part of it.
func (d *decoder) sound(path string) bool {
	for _, b := range d.broken {
		if within(path, b) || within(b, path) {
			return false
		}
	}
	return true
}

// known reports whether nothing was wrong in decoding the fields with these patterns (spec.faults[].at), or what they
// are part of.
func (d *decoder) known(patterns ...string) bool {
	for _, b := range d.broken {
		b = pattern(b)
		for _, p := range patterns {
			if within(p, b) {
				return false
			}
		}
	}
	return true
}

// named reports whether the names in a list of named things could all be read.
func (d *decoder) named(list string) bool { return d.known(pattern(list) + "[].name") }

// within reports whether path is outer, or a part of it.
func within(path, outer string) bool {
	rest, ok := strings.CutPrefix(path, outer)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// header checks the version and kind. A file of another kind gets one error and not one for each of its fields.
func (d *decoder) header(root ast.Node) error {
	const start = "start with apiVersion: " + APIVersion + " and kind: " + Kind
	m, ok := entries(root)
	if !ok {
		d.place("", root, nil)
		d.problem("", "is "+describe(root)+" and not a mapping", start)
		return asErrors(d.problems)
	}
	d.place("", root, nil)
	got := map[string]string{}
	for _, e := range m {
		key, _ := keyName(e.Key)
		if s, ok := text(e.Value); ok {
			got[key] = s
		} else if n, ok := number(e.Value); ok {
			got[key] = plain(n)
		}
		d.place(key, e.Value, e.Key)
	}
	switch version, kind := got["apiVersion"], got["kind"]; {
	case version == "" && kind == "":
		d.problem("", "is not a scenario: it has no apiVersion and no kind", start)
	case version == "":
		d.problem("apiVersion", "is missing", "write apiVersion: "+APIVersion)
	case version != APIVersion:
		d.problem("apiVersion", fmt.Sprintf("%s is not a version of scenarios that this version of Meshproof reads", quote(version)), "write "+APIVersion)
	case kind == "":
		d.problem("kind", "is missing", "write kind: "+Kind)
	case kind != Kind:
		d.problem("kind", quote(kind)+" is not a scenario", "write "+Kind)
	}
	return asErrors(d.problems)
}

func (d *decoder) scenario(root ast.Node) *Scenario {
	s := new(Scenario)
	d.decode(root, "", reflect.ValueOf(s).Elem(), limits{})
	return s
}

// decode fills v from node. It has recorded what was wrong when it returns.
func (d *decoder) decode(node ast.Node, path string, v reflect.Value, l limits) {
	if node == nil || node.Type() == ast.NullType {
		d.unusable(path, "has no value", "remove it, or give "+wanted(v.Type()))
		return
	}
	switch t := v.Type(); {
	case t == reflect.TypeFor[Duration]():
		d.decodeDuration(node, path, v)
	case t == reflect.TypeFor[map[string]any]():
		d.decodeObject(node, path, v)
	case t == reflect.TypeFor[map[string]string]():
		d.decodeTexts(node, path, v)
	case t.Kind() == reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		d.decode(node, path, v.Elem(), l)
	case t.Kind() == reflect.Struct:
		d.decodeStruct(node, path, v)
	case t.Kind() == reflect.Slice:
		d.decodeSlice(node, path, v, l)
	case t.Kind() == reflect.String:
		d.decodeString(node, path, v, l)
	case t.Kind() == reflect.Bool:
		if b, ok := node.(*ast.BoolNode); ok {
			v.SetBool(b.Value)
			return
		}
		d.wrongType(node, path, t)
	case t.Kind() == reflect.Int, t.Kind() == reflect.Float64:
		d.decodeNumber(node, path, v, l)
	default:
		// Reached only by a field of a new type; the test over every field of Scenario would show it.
		d.unusable(path, "has a type that can't be read: "+t.String(), "")
	}
}

func (d *decoder) wrongType(node ast.Node, path string, t reflect.Type) {
	hint := "give " + wanted(t)
	if s, ok := node.(*ast.StringNode); ok && t.Kind() == reflect.Bool && slices.Contains([]string{"yes", "no", "on", "off"}, strings.ToLower(s.Value)) {
		hint = "YAML 1.2 knows only true and false"
	}
	if _, scalar := node.(ast.ScalarNode); scalar && t.Kind() == reflect.String {
		hint = "put quotes around it"
	}
	if _, ok := entries(node); ok && t.Kind() == reflect.Slice {
		hint = "start each entry with a dash: - {…}"
	}
	d.unusable(path, fmt.Sprintf("is %s and not %s", describe(node), wanted(t)), hint)
}

func (d *decoder) decodeString(node ast.Node, path string, v reflect.Value, l limits) {
	s, ok := text(node)
	switch {
	case !ok:
		d.wrongType(node, path, v.Type())
	case s == "":
		d.unusable(path, "is empty", "remove it, or give "+wanted(v.Type()))
	case len(l.enum) > 0 && !slices.Contains(l.enum, s):
		if later, ok := laterValues[pattern(path)+"="+s]; ok {
			d.unusable(path, fmt.Sprintf("%s is not in this version: %s", quote(s), later), "use "+oneOf(l.enum))
			return
		}
		hint := "use " + oneOf(l.enum)
		if n := nearest(s, l.enum); n != "" && len(l.enum) > 1 {
			hint = "did you mean " + n + "? Known: " + strings.Join(l.enum, ", ")
		}
		d.unusable(path, quote(s)+" is not known", hint)
	default:
		v.SetString(s)
	}
}

// decodeTexts reads a mapping of names to texts.
func (d *decoder) decodeTexts(node ast.Node, path string, v reflect.Value) {
	m, ok := entries(node)
	switch {
	case !ok:
		d.wrongType(node, path, v.Type())
		return
	case len(m) == 0:
		d.unusable(path, "is an empty mapping", "remove it, or give at least one entry")
		return
	}
	texts := make(map[string]string, len(m))
	d.each(m, path, func(key, p string, e *ast.MappingValueNode) {
		value := reflect.New(reflect.TypeFor[string]()).Elem()
		d.decode(e.Value, p, value, limits{})
		texts[key] = value.String()
	})
	v.Set(reflect.ValueOf(texts))
}

func (d *decoder) decodeDuration(node ast.Node, path string, v reflect.Value) {
	const hint = "give a duration such as 250ms, 4s or 1m30s"
	s, ok := text(node)
	if !ok {
		if n, ok := number(node); ok {
			d.unusable(path, fmt.Sprintf("%g has no unit", n), hint)
			return
		}
		d.wrongType(node, path, v.Type())
		return
	}
	if strings.HasPrefix(s, "-") && d.duration.MatchString(s[1:]) {
		d.unusable(path, quote(s)+" is negative", hint)
		return
	}
	if !d.duration.MatchString(s) {
		d.unusable(path, quote(s)+" is not a duration", hint)
		return
	}
	t, err := time.ParseDuration(s)
	switch {
	case err != nil || Duration(t) > maxDuration:
		d.unusable(path, quote(s)+" is too long", "at most 24h")
	case t == 0 && pattern(path) != zeroAllowed:
		d.unusable(path, "must be longer than 0", hint+", or remove it")
	default:
		v.SetInt(int64(t))
	}
}

func (d *decoder) decodeNumber(node ast.Node, path string, v reflect.Value, l limits) {
	n, ok := number(node)
	if _, isInt := node.(*ast.IntegerNode); !ok || v.Kind() == reflect.Int && !isInt {
		d.wrongType(node, path, v.Type())
		return
	}
	if math.IsNaN(n) || math.IsInf(n, 0) {
		d.unusable(path, fmt.Sprintf("%g is not a number to count with", n), "give "+wanted(v.Type()))
		return
	}
	if m := l.violated(n); m != "" {
		d.unusable(path, fmt.Sprintf("%s is out of range", strings.TrimSpace(node.GetToken().Value)), m)
		return
	}
	if v.Kind() == reflect.Int {
		v.SetInt(int64(n)) // exact: every int of the types has limits far below 2^53
		return
	}
	v.SetFloat(n)
}

func (d *decoder) decodeSlice(node ast.Node, path string, v reflect.Value, l limits) {
	list, ok := node.(*ast.SequenceNode)
	if !ok {
		d.wrongType(node, path, v.Type())
		return
	}
	if len(list.Values) == 0 {
		d.unusable(path, "is an empty list", "remove it, or give at least one entry")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(list.Values), len(list.Values)))
	for i, item := range list.Values {
		p := fmt.Sprintf("%s[%d]", path, i)
		d.place(p, item, nil)
		d.decode(item, p, v.Index(i), l)
	}
}

func (d *decoder) decodeStruct(node ast.Node, path string, v reflect.Value) {
	m, ok := entries(node)
	if !ok {
		d.wrongType(node, path, v.Type())
		return
	}
	fields := fieldsOf(v.Type())
	known := make([]string, len(fields))
	for i, f := range fields {
		known[i] = f.name
	}
	d.each(m, path, func(key, p string, e *ast.MappingValueNode) {
		if i := slices.Index(known, key); i >= 0 {
			d.decode(e.Value, p, v.Field(fields[i].index), fields[i].limits)
			return
		}
		d.place(p, nil, e.Key) // what is wrong is the name
		d.unknownField(path, key, p, known)
	})
	for _, f := range fields {
		p := join(path, f.name)
		if f.required && !d.positions.has(p) && d.sound(p) {
			d.unusable(p, "is missing", "give "+wanted(v.Field(f.index).Type()))
		}
	}
}

func (d *decoder) unknownField(path, key, p string, known []string) {
	if later, ok := laterFields[pattern(p)]; ok {
		d.unusable(p, "is not in this version: "+later, "remove it")
		return
	}
	if elsewhere, ok := misplacedFields[pattern(p)]; ok {
		d.unusable(p, "is not a field", elsewhere)
		return
	}
	hint := "known here: " + strings.Join(known, ", ")
	if n := nearest(key, known); n != "" {
		hint = "did you mean " + n + "?"
		// What was meant is there, only not readable: nothing may be concluded from its absence.
		d.broken = append(d.broken, join(path, n))
	}
	d.unusable(p, "is not a field", hint)
}

// each calls f for every entry of a mapping, and records where it stands. Of an entry that is there twice, only the
// first is taken.
func (d *decoder) each(m []*ast.MappingValueNode, path string, f func(key, path string, e *ast.MappingValueNode)) {
	firstLine := make(map[string]int, len(m))
	for _, e := range m {
		key, ok := keyName(e.Key)
		p := join(path, key)
		tk := e.Key.GetToken()
		if !ok {
			d.problems = append(d.problems, at(d.positions.File, tk, fmt.Sprintf("the name %s is not a text", quote(key)), "put quotes around it"))
			continue
		}
		if line, twice := firstLine[key]; twice {
			problem := at(d.positions.File, tk, fmt.Sprintf("is given twice, first in line %d", line), "remove one")
			problem.Path = p
			d.problems = append(d.problems, problem)
			continue
		}
		firstLine[key] = tk.Position.Line
		d.place(p, e.Value, e.Key)
		f(key, p, e)
	}
}
