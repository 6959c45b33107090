package linkerd

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// retainIdle is how long a series is kept that nobody holds and nothing changes: the proxy's METRICS_RETAIN_IDLE.
const retainIdle = 10 * time.Minute

// latencyBuckets are those of response_latency_ms, in milliseconds.
var latencyBuckets = []float64{
	1, 2, 3, 4, 5, 10, 20, 30, 40, 50, 100, 200, 300, 400, 500, 1000, 2000, 3000, 4000, 5000, 10000, 20000, 30000, 40000, 50000,
}

// labels are a series' labels as they are written: `a="x",b="y"`. Linkerd's series of one name do not all have the same.
type labels string

// with appends pairs of a name and a value.
func (l labels) with(pairs ...string) labels {
	var b strings.Builder
	b.WriteString(string(l))
	for i := 0; i+1 < len(pairs); i += 2 {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(pairs[i])
		b.WriteString(`="`)
		escapeLabel.WriteString(&b, pairs[i+1])
		b.WriteByte('"')
	}
	return labels(b.String())
}

// and appends labels.
func (l labels) and(o labels) labels {
	if l == "" || o == "" {
		return l + o
	}
	return l + "," + o
}

var escapeLabel = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// family is the series of one name.
type family struct {
	name, kind, help string
	expires          bool // series without use go
	series           map[labels]*series
}

// series is one number, or one histogram.
type series struct {
	value   float64
	buckets []uint64 // of a histogram, not cumulated; the last is +Inf
	sum     float64
	used    time.Time
	held    int
}

// metrics are the families of one proxy. They are born with their first series, as Linkerd's are.
type metrics struct {
	mu       sync.Mutex
	now      func() time.Time
	families []*family
	byName   map[string]*family
	gauges   []func(write func(name, help string, value float64)) // computed when the page is read
}

// Families by name, with their kind, their help and whether idle series go.
const (
	requestTotal       = "request_total"
	responseTotal      = "response_total"
	responseLatency    = "response_latency_ms"
	httpAllow          = "inbound_http_authz_allow_total"
	httpDeny           = "inbound_http_authz_deny_total"
	routeNotFound      = "inbound_http_route_not_found_total"
	rateLimited        = "inbound_http_local_ratelimit_total"
	tcpAllow           = "inbound_tcp_authz_allow_total"
	tcpDeny            = "inbound_tcp_authz_deny_total"
	tcpTerminate       = "inbound_tcp_authz_terminate_total"
	tcpErrors          = "inbound_tcp_errors_total"
	tcpOpen            = "tcp_open_total"
	tcpOpenConnections = "tcp_open_connections"
	tcpClose           = "tcp_close_total"
	backendRequests    = "outbound_http_route_backend_requests_total"
	backendStatuses    = "outbound_http_route_backend_response_statuses_total"
	routeStatuses      = "outbound_http_route_request_statuses_total"
	routeRetries       = "outbound_http_route_retry_requests_total"
	routeRetrySuccess  = "outbound_http_route_retry_successes_total"
	routeRetryLimit    = "outbound_http_route_retry_limit_exceeded_total"
	balancerEndpoints  = "outbound_http_balancer_endpoints"
	certRefreshes      = "control_identity_cert_refreshes_total"
)

func newMetrics(now func() time.Time) *metrics {
	m := &metrics{now: now, byName: map[string]*family{}}
	for _, f := range []family{
		{name: httpAllow, kind: "counter", help: "The total number of inbound HTTP requests that were authorized"},
		{name: httpDeny, kind: "counter", help: "The total number of inbound HTTP requests that could not be processed due to a proxy error."},
		{name: routeNotFound, kind: "counter", help: "The total number of inbound HTTP requests that could not be associated with a route"},
		{name: rateLimited, kind: "counter", help: "The total number of inbound HTTP requests that were rate-limited"},
		{name: tcpAllow, kind: "counter", help: "The total number of inbound TCP connections that were authorized"},
		{name: tcpDeny, kind: "counter", help: "The total number of inbound TCP connections that were denied"},
		{name: tcpTerminate, kind: "counter", help: "The total number of inbound TCP connections that were terminated due to an authorization change"},
		{name: tcpErrors, kind: "counter", help: "The total number of inbound TCP connections that could not be processed due to a proxy error."},
		{name: requestTotal, kind: "counter", help: "Total count of HTTP requests.", expires: true},
		{name: responseLatency, kind: "histogram", help: "Elapsed times between a request's headers being received and its response stream completing", expires: true},
		{name: responseTotal, kind: "counter", help: "Total count of HTTP responses.", expires: true},
		{name: tcpOpen, kind: "counter", help: "Total count of opened connections", expires: true},
		{name: tcpOpenConnections, kind: "gauge", help: "Number of currently-open connections", expires: true},
		{name: tcpClose, kind: "counter", help: "Total count of closed connections", expires: true},
		{name: backendRequests, kind: "counter", help: "The total number of requests dispatched."},
		{name: backendStatuses, kind: "counter", help: "Completed responses."},
		{name: routeStatuses, kind: "counter", help: "Completed request-response streams."},
		{name: routeRetryLimit, kind: "counter", help: "Retryable requests not sent due to retry limits."},
		{name: routeRetries, kind: "counter", help: "Retry requests emitted."},
		{name: routeRetrySuccess, kind: "counter", help: "Successful responses to retry requests."},
		{name: balancerEndpoints, kind: "gauge", help: "The number of endpoints currently in a HTTP request balancer."},
		{name: certRefreshes, kind: "counter", help: "The total number of times this proxy's mTLS identity certificate has been refreshed by the Identity provider."},
	} {
		f.series = map[labels]*series{}
		m.families = append(m.families, &f)
		m.byName[f.name] = &f
	}
	return m
}

// get finds or makes a series. The lock must be held.
func (m *metrics) get(name string, l labels) *series {
	f := m.byName[name]
	s := f.series[l]
	if s == nil {
		s = &series{}
		if f.kind == "histogram" {
			s.buckets = make([]uint64, len(latencyBuckets)+1)
		}
		f.series[l] = s
	}
	s.used = m.now()
	return s
}

// add changes a counter or a gauge, and makes it where it is not there.
func (m *metrics) add(name string, l labels, delta float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.get(name, l).value += delta
}

func (m *metrics) inc(name string, l labels) { m.add(name, l, 1) }

func (m *metrics) set(name string, l labels, value float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.get(name, l).value = value
}

// observe adds a time to a histogram.
func (m *metrics) observe(name string, l labels, d time.Duration) {
	ms := float64(d.Milliseconds()) // the proxy counts whole milliseconds
	i := 0
	for i < len(latencyBuckets) && ms > latencyBuckets[i] {
		i++
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.get(name, l)
	s.buckets[i]++
	s.sum += ms
}

// hold makes a series and keeps it from expiring until it is let go.
func (m *metrics) hold(name string, l labels) (release func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.get(name, l).held++
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.get(name, l).held-- // a series that is held is there
	}
}

// write writes the page and forgets series that were idle for too long.
func (m *metrics) write(w io.Writer) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b strings.Builder
	now := m.now()
	for _, f := range m.families {
		for l, s := range f.series {
			if f.expires && s.held == 0 && now.Sub(s.used) >= retainIdle {
				delete(f.series, l)
			}
		}
		if len(f.series) == 0 {
			continue
		}
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", f.name, f.help, f.name, f.kind)
		for _, l := range sortedLabels(f.series) {
			f.series[l].write(&b, f, l)
		}
	}
	for _, g := range m.gauges {
		g(func(name, help string, value float64) {
			fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s gauge\n%s %s\n", name, help, name, name, number(value))
		})
	}
	b.WriteString("# EOF\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func sortedLabels(m map[labels]*series) []labels {
	out := make([]labels, 0, len(m))
	for l := range m {
		out = append(out, l)
	}
	slices.Sort(out)
	return out
}

func (s *series) write(b *strings.Builder, f *family, l labels) {
	if f.kind != "histogram" {
		fmt.Fprintf(b, "%s{%s} %s\n", f.name, l, number(s.value))
		return
	}
	var n uint64
	for i, c := range s.buckets {
		n += c
		le := "+Inf"
		if i < len(latencyBuckets) {
			le = number(latencyBuckets[i])
		}
		fmt.Fprintf(b, "%s_bucket{%s} %d\n", f.name, l.with("le", le), n)
	}
	fmt.Fprintf(b, "%s_count{%s} %d\n%s_sum{%s} %s\n", f.name, l, n, f.name, l, number(s.sum))
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

func intText(n int) string { return strconv.Itoa(n) }
