package istio

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Names of listeners and filters in Envoy's metrics.
const (
	inboundListener = "0.0.0.0_15006"
	inboundPrefix   = "inbound_0.0.0.0_8080"
)

// requestLabels are the labels of Istio's standard metrics, in the order of requestSeries.values.
var requestLabels = []string{
	"reporter",
	"source_workload", "source_workload_namespace", "source_principal", "source_app", "source_version", "source_cluster",
	"source_canonical_service", "source_canonical_revision",
	"destination_workload", "destination_workload_namespace", "destination_principal", "destination_app", "destination_version", "destination_cluster",
	"destination_canonical_service", "destination_canonical_revision",
	"destination_service", "destination_service_name", "destination_service_namespace",
	"request_protocol", "response_code", "grpc_response_status", "response_flags", "connection_security_policy",
}

// durationBuckets are Istio's, in milliseconds.
var durationBuckets = []float64{
	0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000,
}

// requestSeries names one series of the standard metrics.
type requestSeries struct {
	reporter     string // "source" or "destination"
	source, dest party
	service      service
	code         int
	flags        string
	policy       string // connection_security_policy
}

func (s *requestSeries) values() []string {
	v := append(make([]string, 0, len(requestLabels)), s.reporter)
	v = append(v, s.source.values()...)
	v = append(v, s.dest.values()...)
	return append(v, s.service.host, s.service.name, s.service.namespace,
		"http", strconv.Itoa(s.code), "", s.flags, s.policy)
}

// party is one side of a request in metrics.
type party struct {
	Workload  string `json:"w"`
	Namespace string `json:"n"`
	App       string `json:"a"`
	Version   string `json:"v"`
	Cluster   string `json:"c"`
	Principal string `json:"-"` // what TLS says, never what the other side says of itself
}

var unknownParty = party{"unknown", "unknown", "unknown", "unknown", "unknown", "unknown"}

func (p *party) values() []string {
	revision := p.Version
	if revision == "unknown" && *p != unknownParty {
		revision = "latest"
	}
	return []string{p.Workload, p.Namespace, p.Principal, p.App, p.Version, p.Cluster, canonical(p), revision}
}

// canonical is Istio's canonical service: the label app, else the workload.
func canonical(p *party) string {
	if p.App != "unknown" {
		return p.App
	}
	return p.Workload
}

// partyOf describes a pod by its labels.
func partyOf(workload, namespace, cluster string, labels map[string]string) party {
	p := party{workload, namespace, "unknown", "unknown", cluster, "unknown"}
	if v := labels["app"]; v != "" {
		p.App = v
	}
	if v := labels["version"]; v != "" {
		p.Version = v
	}
	return p
}

// metrics are the counters of one sidecar.
type metrics struct {
	registry *prometheus.Registry

	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	mu        sync.RWMutex
	series    map[requestSeries]observed

	handshakes, connectionErrors, noFilterChain  prometheus.Counter
	failVerifyError, failVerifySAN, failVerifyNo prometheus.Counter
	rbacAllowed, rbacDenied                      prometheus.Counter
	upstreamHandshakes, upstreamTLSErrors        *prometheus.CounterVec
	upstreamVerifyError, upstreamVerifySAN       *prometheus.CounterVec
	upstreamRetries, upstreamRetriesExhausted    *prometheus.CounterVec
}

type observed struct {
	count    prometheus.Counter
	duration prometheus.Observer
}

// upstreamStats are the counters of one upstream, there from its first configuration on.
type upstreamStats struct {
	handshakes, tlsErrors, verifyError, verifySAN, retries, exhausted prometheus.Counter
}

func newMetrics(id *identity, started time.Time) *metrics {
	r := prometheus.NewRegistry()
	m := &metrics{registry: r, series: map[requestSeries]observed{}}
	listener := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{
			Name: "envoy_listener_" + name, Help: help, ConstLabels: prometheus.Labels{"listener_address": inboundListener},
		})
		r.MustRegister(c)
		return c
	}
	upstream := func(name, help string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "envoy_cluster_" + name, Help: help}, []string{"cluster_name"})
		r.MustRegister(c)
		return c
	}
	m.handshakes = listener("ssl_handshake", "Successful TLS handshakes.")
	m.connectionErrors = listener("ssl_connection_error", "TLS errors other than failed verification.")
	m.failVerifyError = listener("ssl_fail_verify_error", "Client certificates that do not lead to the root.")
	m.failVerifySAN = listener("ssl_fail_verify_san", "Client certificates with another identity than expected.")
	m.failVerifyNo = listener("ssl_fail_verify_no_cert", "Handshakes without the client certificate that is required.")
	m.noFilterChain = listener("no_filter_chain_match", "Connections that no filter chain takes.")
	m.upstreamHandshakes = upstream("ssl_handshake", "Successful TLS handshakes.")
	m.upstreamTLSErrors = upstream("ssl_connection_error", "TLS errors other than failed verification.")
	m.upstreamVerifyError = upstream("ssl_fail_verify_error", "Server certificates that do not lead to the root.")
	m.upstreamVerifySAN = upstream("ssl_fail_verify_san", "Server certificates with another identity than expected.")
	m.upstreamRetries = upstream("upstream_rq_retry", "Retries.")
	m.upstreamRetriesExhausted = upstream("upstream_rq_retry_limit_exceeded", "Requests that were not retried because the retries were used up.")

	rbac := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "envoy_http_rbac", Help: "Decisions of the authorization filters.",
		ConstLabels: prometheus.Labels{"http_conn_manager_prefix": inboundPrefix},
	}, []string{"authz_enforce_result"})
	r.MustRegister(rbac)
	m.rbacAllowed, m.rbacDenied = rbac.WithLabelValues("allowed"), rbac.WithLabelValues("denied")

	m.requests = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "istio_requests_total", Help: "Requests."}, requestLabels)
	m.durations = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "istio_request_duration_milliseconds", Help: "Duration of requests in milliseconds.", Buckets: durationBuckets,
	}, requestLabels)
	r.MustRegister(m.requests, m.durations)

	start := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "istio_agent_process_start_time_seconds", Help: "Start of the process in Unix time.",
	})
	start.Set(float64(started.UnixNano()) / 1e9)
	expiry := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "istio_agent_cert_expiry_seconds", Help: "Time until the certificate expires.",
		ConstLabels: prometheus.Labels{"resource_name": "default"},
	}, func() float64 { return time.Until(id.Now.Load().Leaf.NotAfter).Seconds() })
	r.MustRegister(start, expiry)
	return m
}

// request counts one request that took d.
func (m *metrics) request(s requestSeries, d time.Duration) {
	m.mu.RLock()
	o, ok := m.series[s]
	m.mu.RUnlock()
	if !ok {
		v := s.values()
		o = observed{m.requests.WithLabelValues(v...), m.durations.WithLabelValues(v...)}
		m.mu.Lock()
		m.series[s] = o
		m.mu.Unlock()
	}
	o.count.Inc()
	o.duration.Observe(float64(d) / float64(time.Millisecond))
}

func (m *metrics) upstream(name string) *upstreamStats {
	return &upstreamStats{
		handshakes:  m.upstreamHandshakes.WithLabelValues(name),
		tlsErrors:   m.upstreamTLSErrors.WithLabelValues(name),
		verifyError: m.upstreamVerifyError.WithLabelValues(name),
		verifySAN:   m.upstreamVerifySAN.WithLabelValues(name),
		retries:     m.upstreamRetries.WithLabelValues(name),
		exhausted:   m.upstreamRetriesExhausted.WithLabelValues(name),
	}
}
