package linkerd

import (
	"strings"

	gateway "sigs.k8s.io/gateway-api/apis/v1"
)

// routeMatch is one match of a rule.
type routeMatch struct {
	method string // "": any
	path   string // "": any
	exact  bool   // else path is a prefix by segments
}

// rank orders matches that hold for the same request, as the Gateway API does: an exact path before a prefix, a longer
// one before a shorter one, then one with a method. The greater one is taken.
type rank struct {
	exact  bool
	length int
	method bool
}

func (r rank) less(o rank) bool {
	if r.exact != o.exact {
		return o.exact
	}
	if r.length != o.length {
		return r.length < o.length
	}
	return !r.method && o.method
}

func newMatch(m gateway.HTTPRouteMatch) routeMatch {
	var out routeMatch
	if m.Method != nil {
		out.method = string(*m.Method)
	}
	if m.Path != nil {
		out.path = "/"
		if m.Path.Value != nil {
			out.path = *m.Path.Value
		}
		out.exact = m.Path.Type != nil && *m.Path.Type == gateway.PathMatchExact
	}
	return out
}

// matches follows linkerd2-proxy, which compares paths as they were sent, without their query.
func (m *routeMatch) matches(method, path string) (rank, bool) {
	if m.method != "" && m.method != method {
		return rank{}, false
	}
	r := rank{length: len("/"), method: m.method != ""}
	switch {
	case m.path == "" || m.path == "/" && !m.exact:
	case m.exact:
		if m.path != path {
			return rank{}, false
		}
		r.exact, r.length = true, len(path)
	default:
		prefix := strings.TrimRight(m.path, "/")
		rest, ok := strings.CutPrefix(strings.TrimRight(path, "/"), prefix)
		if !ok || rest != "" && rest[0] != '/' {
			return rank{}, false
		}
		r.length = len(prefix)
	}
	return r, true
}

// find chooses the route with the best match; among equals the first, which is the oldest.
func (p *portPolicy) find(method, path string) *route {
	var (
		best  *route
		first rank
	)
	for i := range p.routes {
		r := &p.routes[i]
		for _, rule := range r.rules {
			if len(rule) == 0 {
				rule = []routeMatch{{}}
			}
			for j := range rule {
				if got, ok := rule[j].matches(method, path); ok && (best == nil || first.less(got)) {
					best, first = r, got
				}
			}
		}
	}
	return best
}
