package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/meshproof/meshproof/scenarios"
)

// An AuthorizationPolicy that a scenario applies on top of its portable policy may distinguish more than that policy
// does: a forgotten rule for DELETE, or for /admin. The plan asks by the words of both, or the hole would lie between
// two questions.

// askedBy are the fields of an AuthorizationPolicy's rules whose every distinction the plan asks for: by who calls, and
// by method and path. There is one port.
var askedBy = map[string][]string{
	"source":    {"principals", "notPrincipals", "namespaces", "notNamespaces", "serviceAccounts", "notServiceAccounts"},
	"operation": {"methods", "notMethods", "paths", "notPaths", "ports", "notPorts"},
	"when":      {"source.principal", "source.namespace"},
}

// extraRules visits the rules of every AuthorizationPolicy among a mesh entry's objects that may hold for a service.
func extraRules(e scenarios.MeshEntry, to string, visit func(policy string, rule map[string]any)) {
	for _, o := range e.Objects {
		if o["kind"] != "AuthorizationPolicy" {
			continue
		}
		meta, spec := object(o["metadata"]), object(o["spec"])
		if app, ok := object(object(spec["selector"])["matchLabels"])["app"].(string); ok && app != to {
			continue
		}
		for _, r := range list(spec["rules"]) {
			visit(fmt.Sprintf("%v/%v", meta["namespace"], meta["name"]), object(r))
		}
	}
}

// extraWords are the methods and paths that objects of any mesh entry name for a service: every mesh is asked the same.
func extraWords(s *scenarios.Scenario, to string) (methods, paths []string) {
	methods, paths = routeWords(s)
	for _, e := range s.Spec.Meshes {
		extraRules(e, to, func(_ string, rule map[string]any) {
			for _, t := range list(rule["to"]) {
				op := object(object(t)["operation"])
				for _, m := range slices.Concat(texts(op["methods"]), texts(op["notMethods"])) {
					if strings.Contains(m, "*") {
						methods = append(methods, commonMethods...)
						continue
					}
					methods = append(methods, m)
				}
				for _, p := range slices.Concat(texts(op["paths"]), texts(op["notPaths"])) {
					paths = append(paths, pathLike(p))
				}
			}
		})
	}
	return methods, paths
}

// pathLike is a path that a pattern matches: Istio's prefix*, *suffix, {*} (a segment) and {**} (several).
func pathLike(pattern string) string {
	p := strings.NewReplacer("{**}", anyPath, "{*}", anyPath, "*", anyPath).Replace(pattern)
	if !strings.HasPrefix(p, "/") {
		p = "/" + p
	}
	return p
}

// unasked names a condition of a mesh entry's objects that no question of the plan varies, such as a header; "" where
// there is none. What hides behind it is not known.
func unasked(e scenarios.MeshEntry, to string) (what string) {
	extraRules(e, to, func(policy string, rule map[string]any) {
		note := func(known []string, field string) {
			if what == "" && !slices.Contains(known, field) {
				what = fmt.Sprintf("AuthorizationPolicy %s decides by %s", policy, field)
			}
		}
		for _, f := range list(rule["from"]) {
			for _, k := range sortedKeys(object(object(f)["source"])) {
				note(askedBy["source"], k)
			}
		}
		for _, t := range list(rule["to"]) {
			for _, k := range sortedKeys(object(object(t)["operation"])) {
				note(askedBy["operation"], k)
			}
		}
		for _, w := range list(rule["when"]) {
			note(askedBy["when"], fmt.Sprint(object(w)["key"]))
		}
	})
	if what == "" {
		what = unaskedRoute(e)
	}
	return what
}

func object(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

func texts(v any) (out []string) {
	for _, x := range list(v) {
		if s, ok := x.(string); ok {
			out = append(out, s)
		}
	}
	return out
}
