package verify

import (
	"fmt"
	"strings"

	"github.com/meshproof/meshproof/scenarios"
)

// extraRoutes visits the matches of every HTTPRoute among a mesh entry's objects. Which service a route belongs to takes
// its Server's selector to tell; asking a service once too often does no harm, so every route holds for every service.
func extraRoutes(e scenarios.MeshEntry, visit func(route string, match map[string]any)) {
	for _, o := range e.Objects {
		kind, _ := o["kind"].(string)
		meta := object(o["metadata"])
		name := fmt.Sprintf("%s %v/%v", kind, meta["namespace"], meta["name"])
		switch kind {
		case "GRPCRoute":
			visit(name, map[string]any{"gRPC methods": true})
		case "HTTPRoute":
			for _, r := range list(object(o["spec"])["rules"]) {
				for _, m := range list(object(r)["matches"]) {
					visit(name, object(m))
				}
			}
		}
	}
}

// routeWords are the methods and paths that routes of any mesh entry name. A prefix stands for itself and for a path
// under it.
func routeWords(s *scenarios.Scenario) (methods, paths []string) {
	for _, e := range s.Spec.Meshes {
		extraRoutes(e, func(_ string, match map[string]any) {
			if m, ok := match["method"].(string); ok {
				methods = append(methods, m)
			}
			path := object(match["path"])
			value, ok := path["value"].(string)
			if !ok || path["type"] == "RegularExpression" {
				return
			}
			if paths = append(paths, value); path["type"] != "Exact" {
				paths = append(paths, strings.TrimSuffix(value, "/")+"/"+anyPath)
			}
		})
	}
	return methods, paths
}

// unaskedRoute names a condition of a mesh entry's routes that no question of the plan varies; "" where there is none.
func unaskedRoute(e scenarios.MeshEntry) (what string) {
	extraRoutes(e, func(route string, match map[string]any) {
		for _, k := range sortedKeys(match) {
			expression := k == "path" && object(match[k])["type"] == "RegularExpression"
			if what == "" && (expression || k != "path" && k != "method") {
				what = route + " decides by " + k
				if expression {
					what += " under a regular expression"
				}
			}
		}
	})
	return what
}
