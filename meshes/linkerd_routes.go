package meshes

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/meshproof/meshproof/scenarios"
)

// grant is what some callers, or nobody, may ask a service for.
type grant struct {
	callers []scenarios.Workload // in the order of the scenario
	matches []gateway.HTTPRouteMatch
}

// cell is one path and one method, as an HTTPRoute matches them.
type cell struct {
	path   pathCell
	method string // "": any that has no cell of its own
}

// pathCell is one path, or all below it.
type pathCell struct {
	path  string // "/" with all below it is every path
	exact bool
}

// grantsOf divides a service's requests into cells. Linkerd takes the one route that matches a request best, and then
// asks that route alone whom it lets in; so a route must let in whoever any rule of the policy lets in there. The cells
// are every path that a rule names with every method that one names; a cell's callers are those with a rule that covers
// it. Cells that change nothing are left out, and those with the same callers make one route.
//
// The best match is the longest path, and then the one with a method; among equals the oldest route is taken, and then the
// first by name. One path is as long as all below it: its routes come first.
func grantsOf(s *scenarios.Scenario, to scenarios.Workload) ([]grant, error) {
	var rules []scenarios.Rule
	for _, r := range s.Spec.Policy.Allow {
		if r.To == to.Name {
			rules = append(rules, r)
		}
	}
	paths, methods, err := cellsOf(rules)
	if err != nil {
		return nil, fmt.Errorf("service %s: %w", to.Name, err)
	}
	g := &grid{s: s, rules: rules, methods: methods}
	kept := map[pathCell]bool{}
	var exact, wide []grant
	for _, p := range paths { // wider ones come first
		parent, ok := nearest(kept, p)
		if ok && g.same(p, parent) || !ok && g.closed(p) {
			continue
		}
		kept[p] = true
		methods := g.methodsAt(p, ok)
		if p.exact && parent.path == p.path { // whose cells with a method would be better matches than this one's without
			methods = append(slices.Clone(g.methods), "")
		}
		for _, m := range methods {
			if c := (cell{p, m}); p.exact {
				exact = add(exact, g.callers(c), match(c))
			} else {
				wide = add(wide, g.callers(c), match(c))
			}
		}
	}
	return slices.Concat(exact, wide), nil
}

// cellsOf lists the paths and methods that rules distinguish.
func cellsOf(rules []scenarios.Rule) (paths []pathCell, methods []string, err error) {
	add := func(p pathCell) {
		if !slices.Contains(paths, p) {
			paths = append(paths, p)
		}
	}
	add(pathCell{path: "/"})
	for _, r := range rules {
		for _, m := range r.Methods {
			if !slices.Contains(gatewayMethods, m) {
				return nil, nil, fmt.Errorf("the policy names method %s, which the Gateway API's HTTPRoute cannot: it knows %s", m, strings.Join(gatewayMethods, ", "))
			}
			if !slices.Contains(methods, m) {
				methods = append(methods, m)
			}
		}
		for _, p := range r.Paths {
			prefix, star := strings.CutSuffix(p, "*")
			switch {
			case !star:
				add(pathCell{p, true})
			case prefix == "/":
			case !strings.HasSuffix(prefix, "/"):
				return nil, nil, fmt.Errorf("the policy names path %s, and Linkerd matches the segments of a path as a whole: write %s/* or a path without a star", p, prefix)
			default:
				// Linkerd's prefix takes the path without its last slash in too, which the policy's does not.
				short := strings.TrimSuffix(prefix, "/")
				add(pathCell{short, false})
				add(pathCell{short, true})
			}
		}
	}
	slices.Sort(methods)
	slices.SortStableFunc(paths, func(a, b pathCell) int {
		if a.exact != b.exact {
			if a.exact {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(len(a.path), len(b.path)), cmp.Compare(a.path, b.path))
	})
	return paths, methods, nil
}

var gatewayMethods = []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"}

// grid knows who may ask for what is in a cell.
type grid struct {
	s       *scenarios.Scenario
	rules   []scenarios.Rule
	methods []string
}

// callers are those with a rule that covers all of a cell.
func (g *grid) callers(c cell) []scenarios.Workload {
	var out []scenarios.Workload
	for _, w := range g.s.Workloads() {
		if slices.ContainsFunc(g.rules, func(r scenarios.Rule) bool { return r.From == w.Name && covers(r, c) }) {
			out = append(out, w)
		}
	}
	return out
}

func covers(r scenarios.Rule, c cell) bool {
	if len(r.Methods) > 0 && !slices.Contains(r.Methods, c.method) {
		return false
	}
	return len(r.Paths) == 0 || slices.ContainsFunc(r.Paths, func(p string) bool {
		prefix, star := strings.CutSuffix(p, "*")
		switch {
		case c.path.exact && star:
			return strings.HasPrefix(c.path.path, prefix)
		case c.path.exact:
			return c.path.path == p
		case c.path.path == "/":
			return p == "/*"
		}
		return star && strings.HasPrefix(c.path.path+"/", prefix)
	})
}

// same reports whether two paths have the same callers, whatever the method.
func (g *grid) same(a, b pathCell) bool {
	for _, m := range append([]string{""}, g.methods...) {
		if !sameCallers(g.callers(cell{a, m}), g.callers(cell{b, m})) {
			return false
		}
	}
	return true
}

// closed reports whether nobody may ask for a path.
func (g *grid) closed(p pathCell) bool {
	for _, m := range append([]string{""}, g.methods...) {
		if len(g.callers(cell{p, m})) > 0 {
			return false
		}
	}
	return true
}

// methodsAt are the methods that need cells of their own at a path, with "" for the others. Where no wider path catches
// what has no cell, cells of nobody can go: no route matches then.
func (g *grid) methodsAt(p pathCell, caught bool) []string {
	rest := g.callers(cell{p, ""})
	var out []string
	for _, m := range g.methods {
		if !sameCallers(g.callers(cell{p, m}), rest) {
			out = append(out, m)
		}
	}
	if caught || len(rest) > 0 {
		out = append(out, "")
	}
	return out
}

// nearest is the narrowest of the kept paths that holds all of p.
func nearest(kept map[pathCell]bool, p pathCell) (best pathCell, ok bool) {
	for k := range kept {
		in := !k.exact && (k.path == "/" || k.path == p.path || strings.HasPrefix(p.path, k.path+"/"))
		if in && k != p && (!ok || len(k.path) > len(best.path)) {
			best, ok = k, true
		}
	}
	return best, ok
}

func sameCallers(a, b []scenarios.Workload) bool {
	return slices.EqualFunc(a, b, func(x, y scenarios.Workload) bool { return x.Name == y.Name })
}

// add puts a match to the grant of the same callers.
func add(gs []grant, callers []scenarios.Workload, m gateway.HTTPRouteMatch) []grant {
	for i := range gs {
		if sameCallers(gs[i].callers, callers) {
			gs[i].matches = append(gs[i].matches, m)
			return gs
		}
	}
	return append(gs, grant{callers, []gateway.HTTPRouteMatch{m}})
}

func match(c cell) gateway.HTTPRouteMatch {
	kind, value := gateway.PathMatchPathPrefix, c.path.path
	if c.path.exact {
		kind = gateway.PathMatchExact
	}
	m := gateway.HTTPRouteMatch{Path: &gateway.HTTPPathMatch{Type: &kind, Value: &value}}
	if c.method != "" {
		method := gateway.HTTPMethod(c.method)
		m.Method = &method
	}
	return m
}
