package istio

import (
	"strconv"
	"strings"

	networkingapi "istio.io/api/networking/v1alpha3"

	"github.com/meshproof/meshproof/scenarios"
)

// matcher decides about one string.
type matcher func(string) bool

// policyString is the string match of AuthorizationPolicy: "*" is anything but nothing, a star at an end is a suffix or
// a prefix, and everything else is meant literally.
func policyString(v string) matcher {
	switch {
	case v == "*":
		return func(s string) bool { return s != "" }
	case strings.HasPrefix(v, "*"):
		return func(s string) bool { return strings.HasSuffix(s, v[1:]) }
	case strings.HasSuffix(v, "*"):
		return func(s string) bool { return strings.HasPrefix(s, v[:len(v)-1]) }
	default:
		return func(s string) bool { return s == v }
	}
}

// policyHost is policyString without regard to case, as Envoy compares :authority.
func policyHost(v string) matcher {
	m := policyString(strings.ToLower(v))
	return func(s string) bool { return m(strings.ToLower(s)) }
}

const spiffeScheme = "spiffe://"

// policyPrincipal matches a SPIFFE ID against a principal, which is one without its scheme.
func policyPrincipal(v string) matcher {
	m := policyString(v)
	return func(id string) bool {
		rest, ok := strings.CutPrefix(id, spiffeScheme)
		return ok && m(rest)
	}
}

// policyNamespace matches a SPIFFE ID by its namespace, in which each star stands for any text.
func policyNamespace(v string) matcher {
	return func(id string) bool { return glob("*/ns/"+v+"/*", id) }
}

// policyServiceAccount matches a SPIFFE ID by "<namespace>/<name>", or by a name in the policy's own namespace.
func policyServiceAccount(policyNamespace string) func(string) matcher {
	return func(v string) matcher {
		ns, sa, ok := strings.Cut(v, "/")
		if !ok {
			ns, sa = policyNamespace, v
		}
		suffix := "/ns/" + ns + "/sa/" + sa
		return func(id string) bool {
			td, ok := strings.CutSuffix(id, suffix)
			return ok && len(td) > len(spiffeScheme) && strings.HasPrefix(td, spiffeScheme)
		}
	}
}

// glob matches s against a pattern in which each star stands for any text, also for none.
func glob(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	first, last := parts[0], parts[len(parts)-1]
	if !strings.HasPrefix(s, first) || !strings.HasSuffix(s[len(first):], last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return true
}

// routeString is the string match of VirtualService; one without a value asks for presence.
func routeString(m *networkingapi.StringMatch) matcher {
	switch m := m.GetMatchType().(type) {
	case *networkingapi.StringMatch_Exact:
		return func(s string) bool { return s == m.Exact }
	case *networkingapi.StringMatch_Prefix:
		return func(s string) bool { return strings.HasPrefix(s, m.Prefix) }
	default:
		return func(string) bool { return true }
	}
}

// hostNames are the names by which a client in a namespace reaches a Service: what the search path of its resolver
// completes, without a port.
func hostNames(name, namespace, client string) []string {
	svc := name + "." + namespace
	out := []string{svc + ".svc." + scenarios.TrustDomain, svc + ".svc", svc}
	if namespace == client {
		out = append(out, name)
	}
	return out
}

// normalizePath writes unreserved characters that are percent-encoded as themselves (RFC 3986, section 6.2.2.2), resolves
// "." and ".." segments, and turns backslashes into slashes, as Envoy's normalize_path does in Istio's default. An encoded
// slash stays one. It reports false for a path that leaves the root.
func normalizePath(uri string) (string, bool) {
	path, rest := uri, ""
	if i := strings.IndexAny(uri, "?#"); i >= 0 {
		path, rest = uri[:i], uri[i:]
	}
	if !strings.HasPrefix(path, "/") {
		return uri, path == "*" // OPTIONS *
	}
	if !strings.Contains(path, "/.") && !strings.ContainsAny(path, "\\%") {
		return uri, true
	}
	var out []string
	segments := strings.Split(strings.ReplaceAll(decodeUnreserved(path), "\\", "/"), "/")[1:]
	for i, s := range segments {
		last := i == len(segments)-1
		switch s {
		case ".":
		case "..":
			if len(out) == 0 {
				return "", false
			}
			out = out[:len(out)-1]
		default:
			out = append(out, s)
			continue
		}
		if last { // "/a/." and "/a/b/.." name directories
			out = append(out, "")
		}
	}
	return "/" + strings.Join(out, "/") + rest, true
}

// decodeUnreserved replaces %XX by the character where that is unreserved (RFC 3986, section 2.3).
func decodeUnreserved(path string) string {
	var out strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+2 < len(path) {
			if n, err := strconv.ParseUint(path[i+1:i+3], 16, 8); err == nil && unreserved(byte(n)) {
				out.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		out.WriteByte(path[i])
	}
	return out.String()
}

func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// withoutQuery is the part of a request's target that policies and routes compare.
func withoutQuery(uri string) string {
	if i := strings.IndexAny(uri, "?#"); i >= 0 {
		return uri[:i]
	}
	return uri
}
