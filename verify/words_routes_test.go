package verify

import (
	"slices"
	"testing"

	"github.com/meshproof/meshproof/scenarios"
)

func TestWhatRoutesOnTopOfThePolicyDistinguishIsAskedOrNamed(t *testing.T) {
	route := func(match map[string]any) scenarios.MeshEntry {
		return scenarios.MeshEntry{Name: scenarios.MeshLinkerd, Objects: []map[string]any{{
			"kind": "HTTPRoute", "metadata": map[string]any{"namespace": "app", "name": "more"},
			"spec": map[string]any{"rules": []any{map[string]any{"matches": []any{match}}}},
		}}}
	}
	path := func(kind, value string) map[string]any {
		return map[string]any{"path": map[string]any{"type": kind, "value": value}}
	}
	for _, c := range []struct {
		name    string
		entry   scenarios.MeshEntry
		methods []string
		paths   []string
		unasked string
	}{
		{"an exact path", route(path("Exact", "/admin")), nil, []string{"/admin"}, ""},
		{"a prefix", route(path("PathPrefix", "/admin/")), nil, []string{"/admin/", "/admin/meshproof-any"}, ""},
		{"a method", route(map[string]any{"method": "DELETE"}), []string{"DELETE"}, nil, ""},
		{"a regular expression", route(path("RegularExpression", "/a.*")), nil, nil, "HTTPRoute app/more decides by path under a regular expression"},
		{"a header", route(map[string]any{"headers": []any{}}), nil, nil, "HTTPRoute app/more decides by headers"},
		{"a query", route(map[string]any{"queryParams": []any{}}), nil, nil, "HTTPRoute app/more decides by queryParams"},
		{
			"gRPC",
			scenarios.MeshEntry{Objects: []map[string]any{{"kind": "GRPCRoute", "metadata": map[string]any{"namespace": "app", "name": "rpc"}}}},
			nil, nil, "GRPCRoute app/rpc decides by gRPC methods",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := testScenario(scenarios.MeshLinkerd)
			s.Spec.Meshes = []scenarios.MeshEntry{c.entry}
			methods, paths := classes(s, "cart")
			for _, m := range c.methods {
				if !slices.Contains(methods, m) {
					t.Errorf("methods %q, want %q among them", methods, m)
				}
			}
			for _, p := range c.paths {
				if !slices.Contains(paths, p) {
					t.Errorf("paths %q, want %q among them", paths, p)
				}
			}
			if got := unasked(c.entry, "cart"); got != c.unasked {
				t.Errorf("unasked %q, want %q", got, c.unasked)
			}
		})
	}
}
