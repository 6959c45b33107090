package istio

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	networkingapi "istio.io/api/networking/v1alpha3"
	networking "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/meshproof/meshproof/clusters/embedded/proxy/relay"
)

// route is one HTTP route: the first whose matches hold is taken.
type route struct {
	matches  []routeMatch // any of them; nil: every request
	targets  []weighted
	weights  int // their sum
	retry    retryPolicy
	deadline time.Duration // for the whole request, retries included; 0: none
	fault    fault
}

// routeMatch holds when all its parts hold.
type routeMatch struct {
	uri, method matcher // nil: any
	headers     []headerMatch
}

type headerMatch struct {
	name  string
	value matcher
}

// weighted is one destination of a route. An upstream of nil is a subset or a host that nobody defines.
type weighted struct {
	upstream *upstream
	weight   int
}

func (r *route) matchesRequest(method, path string, h http.Header) bool {
	return len(r.matches) == 0 || slices.ContainsFunc(r.matches, func(m routeMatch) bool {
		return (m.uri == nil || m.uri(path)) && (m.method == nil || m.method(method)) &&
			!slices.ContainsFunc(m.headers, func(hm headerMatch) bool {
				v, ok := h[hm.name]
				return !ok || !hm.value(strings.Join(v, ","))
			})
	})
}

// pick draws a target by weight. draw returns a number in [0, n).
func (r *route) pick(draw func(n int) int) *upstream {
	if len(r.targets) == 1 {
		return r.targets[0].upstream
	}
	if r.weights <= 0 {
		return nil
	}
	n := draw(r.weights)
	for _, t := range r.targets {
		if n -= t.weight; n < 0 {
			return t.upstream
		}
	}
	return nil
}

// virtualServiceFor finds the routes of a host: of several VirtualServices for it, the oldest counts.
func virtualServiceFor(services []*networking.VirtualService, host string) *networking.VirtualService {
	for _, v := range services {
		for _, h := range v.Spec.GetHosts() {
			if fqdn(h, v.Namespace) == host {
				return v
			}
		}
	}
	return nil
}

// newRoute compiles a route of a VirtualService. find resolves host and subset.
func newRoute(in *networkingapi.HTTPRoute, find func(host, subset string) *upstream) *route {
	r := &route{deadline: in.GetTimeout().AsDuration(), retry: newRetryPolicy(in.GetRetries()), fault: newFault(in.GetFault())}
	for _, m := range in.GetMatch() {
		r.matches = append(r.matches, newRouteMatch(m))
	}
	for _, d := range in.GetRoute() {
		weight := int(d.GetWeight())
		if len(in.GetRoute()) == 1 {
			weight = 1 // the weight of a single destination says nothing
		}
		r.targets = append(r.targets, weighted{find(d.GetDestination().GetHost(), d.GetDestination().GetSubset()), weight})
		r.weights += weight
	}
	return r
}

func newRouteMatch(m *networkingapi.HTTPMatchRequest) routeMatch {
	var out routeMatch
	if m.GetUri() != nil {
		out.uri = routeString(m.GetUri())
	}
	if m.GetMethod() != nil {
		out.method = routeString(m.GetMethod())
	}
	for name, v := range m.GetHeaders() {
		out.headers = append(out.headers, headerMatch{http.CanonicalHeaderKey(name), routeString(v)})
	}
	return out
}

// retryPolicy says what is tried again, and how often.
type retryPolicy struct {
	attempts   int // beyond the first
	perTry     time.Duration
	connect    bool // no connection was made: connect-failure
	reset      bool // there was no response at all, for whatever reason
	gateway    bool // 502, 503, 504
	server     bool // any 5xx
	conflict   bool // 409: retriable-4xx
	statuses   []int
	reselected int // how often a host that was tried already is drawn anew
}

// defaultRetries is Istio's default: 2 attempts on "connect-failure,refused-stream,unavailable,cancelled,
// retriable-status-codes", another host where five draws find one. Over HTTP/1.1 without gRPC that is: where no
// connection was made. No status code is retriable, 503 neither.
func defaultRetries() retryPolicy {
	return retryPolicy{attempts: 2, connect: true, reselected: 5}
}

// newRetryPolicy reads the retries of a route; attempts of 0 in a policy that is there turn retries off.
func newRetryPolicy(in *networkingapi.HTTPRetry) retryPolicy {
	if in == nil {
		return defaultRetries()
	}
	if in.GetAttempts() <= 0 {
		return retryPolicy{}
	}
	p := retryPolicy{attempts: int(in.GetAttempts()), perTry: in.GetPerTryTimeout().AsDuration(), reselected: 5}
	if in.GetRetryOn() == "" {
		p.connect = true
		return p
	}
	for _, token := range strings.Split(in.GetRetryOn(), ",") {
		if apply, ok := retryTokens[strings.TrimSpace(token)]; ok {
			apply(&p)
		} else if code, err := strconv.Atoi(strings.TrimSpace(token)); err == nil {
			p.statuses = append(p.statuses, code)
		}
	}
	return p
}

// retryTokens are the conditions of retryOn; those of HTTP/2 and gRPC never hold here.
var retryTokens = map[string]func(*retryPolicy){
	"5xx":                    func(p *retryPolicy) { p.server, p.reset, p.connect = true, true, true },
	"gateway-error":          func(p *retryPolicy) { p.gateway, p.reset, p.connect = true, true, true },
	"reset":                  func(p *retryPolicy) { p.reset, p.connect = true, true },
	"connect-failure":        func(p *retryPolicy) { p.connect = true },
	"retriable-4xx":          func(p *retryPolicy) { p.conflict = true },
	"retriable-status-codes": func(*retryPolicy) {},
	"refused-stream":         func(*retryPolicy) {},
	"cancelled":              func(*retryPolicy) {},
	"deadline-exceeded":      func(*retryPolicy) {},
	"internal":               func(*retryPolicy) {},
	"resource-exhausted":     func(*retryPolicy) {},
	"unavailable":            func(*retryPolicy) {},
}

// retriesStatus reports whether a response is asked for again.
func (p *retryPolicy) retriesStatus(code int) bool {
	return p.server && code >= 500 ||
		p.gateway && code >= 502 && code <= 504 ||
		p.conflict && code == http.StatusConflict ||
		slices.Contains(p.statuses, code)
}

// retriesFailure reports whether a request that got no response is sent again.
func (p *retryPolicy) retriesFailure(f relay.FailureKind) bool {
	return p.reset || p.connect && f == relay.ConnectFailure
}

const (
	retryBase = 25 * time.Millisecond
	retryMost = 10 * retryBase
)

// backoff is the longest pause before the n-th retry, n from 1: (2^n - 1) times the base, at most ten times the base.
// The pause itself is drawn evenly below it (Envoy, "x-envoy-max-retries").
func backoff(n int) time.Duration {
	if n > 3 {
		return retryMost
	}
	return min(retryMost, time.Duration(1<<n-1)*retryBase)
}
