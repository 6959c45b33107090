package scenarios

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

var (
	headerName  = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)
	headerValue = regexp.MustCompile(`^[\x21-\x7e]([\x20-\x7e]{0,998}[\x21-\x7e])?$`) // printable ASCII, without spaces around it
	contentType = regexp.MustCompile(`^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(; ?[A-Za-z0-9-]+=[A-Za-z0-9"._-]+)*$`)
)

// takenHeaders are those that say who sends what to whom, and how: HTTP's own (RFC 9110, RFC 9112), those by which proxies
// route, trace, retry and trust, and Meshproof's. With one of them a request would not be the one that is judged.
var takenHeaders = []string{
	"authorization", "connection", "content-length", "content-type", "cookie", "expect", "forwarded", "host", "keep-alive", "te", "trailer",
	"transfer-encoding", "upgrade", "user-agent", "via", "x-request-id", "x-b3-traceid", "b3", "traceparent", "tracestate", "grpc-timeout",
}

// takenPrefixes are how such headers begin.
var takenPrefixes = []string{"x-meshproof-", "x-envoy-", "x-forwarded-", "x-istio-", "x-vegeta-", "x-b3-", "l5d-", "proxy-", "sec-", "grpc-"}

// HeaderTaken says why a header cannot be chosen for requests; "" where it can.
func HeaderTaken(name string) string {
	lower := strings.ToLower(name)
	if slices.Contains(takenHeaders, lower) || slices.ContainsFunc(takenPrefixes, func(p string) bool { return strings.HasPrefix(lower, p) }) {
		return "is a header that HTTP, proxies or Meshproof go by"
	}
	return ""
}

func (v *validator) headers(path string, headers map[string]string) {
	seen := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		p := join(path, name)
		switch other, twice := seen[strings.ToLower(name)]; {
		case !headerName.MatchString(name):
			v.problem(p, quote(name)+" is not a name for a header", "letters, digits and dashes, at most 64")
		case HeaderTaken(name) != "":
			hint := "choose another"
			if strings.EqualFold(name, "authorization") {
				hint = "users' tokens come with traffic[].token"
			}
			if strings.EqualFold(name, "content-type") {
				hint = "write body: {type: …}"
			}
			v.problem(p, HeaderTaken(name), hint)
		case twice:
			v.problem(p, "is the same header as "+other, "keep one")
		case headers[name] == "": // said in decoding
		case !headerValue.MatchString(headers[name]):
			v.problem(p, quote(headers[name])+" is not a value for a header", "printable ASCII without spaces at its ends, at most 1000 characters")
		}
		seen[strings.ToLower(name)] = name
	}
}

func (v *validator) body(path string, r RequestKind) {
	b := r.Body
	if path += ".body"; b == nil || !v.d.sound(path) {
		return
	}
	switch {
	case r.Method == "GET", r.Method == "HEAD", r.Method == "TRACE":
		v.problem(path, fmt.Sprintf("a %s has no body that servers would read", r.Method), "use POST, PUT or PATCH, or remove it")
	case b.Bytes == 0 && b.P50 == 0:
		v.problem(path, "has no size", "add bytes, or p50 and p99")
	case b.Bytes != 0 && b.P50 != 0, b.Bytes != 0 && b.P99 != 0:
		v.problem(path, "has two sizes", "give bytes (and to), or p50 and p99")
	case b.To != 0 && b.Bytes == 0:
		v.problem(path+".to", "goes with bytes, the smallest size", "add bytes, or remove it")
	case b.To != 0 && b.To < b.Bytes:
		v.problem(path+".to", fmt.Sprintf("%d is below bytes (%d)", b.To, b.Bytes), "give a larger size")
	case b.P50 != 0 && b.P99 < b.P50:
		v.problem(path+".p99", fmt.Sprintf("%d is below p50 (%d)", b.P99, b.P50), "a higher quantile is never smaller")
	}
	if b.Type != "" && !contentType.MatchString(b.Type) {
		v.problem(path+".type", quote(b.Type)+" is not a content type", "write one such as application/json")
	}
}
