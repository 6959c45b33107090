package linkerd

import (
	"net/http"
	"slices"
	"strings"

	gateway "sigs.k8s.io/gateway-api/apis/v1"
)

// routeMatch is one match of a rule.
type routeMatch struct {
	method string            // "": any
	path   string            // "": any
	exact  bool              // else path is a prefix by segments
	header map[string]string // canonical name and value, all of which must be there
}

// asked is what a route can see of a request.
type asked struct {
	method, path string // the path as it was sent, without its query
	header       http.Header
}

// rank orders matches that hold for the same request, as linkerd2-proxy does: a longer path before a shorter one, then one
// with more headers, then one with a method. The greater one is taken. An exact path does not go before a prefix of the
// same length, as it would by the Gateway API.
type rank struct {
	length int
	header int
	method bool
}

func (r rank) less(o rank) bool {
	if r.length != o.length {
		return r.length < o.length
	}
	if r.header != o.header {
		return r.header < o.header
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
	for _, h := range m.Headers {
		if out.header == nil {
			out.header = map[string]string{}
		}
		out.header[http.CanonicalHeaderKey(string(h.Name))] = h.Value
	}
	return out
}

// matches follows linkerd2-proxy, which compares paths as they were sent, without their query.
func (m *routeMatch) matches(a asked) (rank, bool) {
	if m.method != "" && m.method != a.method {
		return rank{}, false
	}
	for name, value := range m.header {
		if !slices.Contains(a.header[name], value) {
			return rank{}, false
		}
	}
	path := a.path
	r := rank{length: len("/"), header: len(m.header), method: m.method != ""}
	switch {
	case m.path == "" || m.path == "/" && !m.exact:
	case m.exact:
		if m.path != path {
			return rank{}, false
		}
		r.length = len(path)
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
func (p *portPolicy) find(a asked) *route {
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
				if got, ok := rule[j].matches(a); ok && (best == nil || first.less(got)) {
					best, first = r, got
				}
			}
		}
	}
	return best
}
