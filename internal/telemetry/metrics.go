// Package telemetry shows a load while it runs as Prometheus metrics: on a page
// to be scraped, and by remote write.
//
// It sees what is recorded of the load, slice by slice, and takes no part in
// sending it. Nothing that goes wrong here disturbs the load.
package telemetry

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/loadgen"
)

// keepFor is how long the series of a trial are shown after its end: whoever scrapes as seldom as Prometheus bears (a series
// is stale after five minutes) has seen its last values. However many trials a run has, memory does not grow with them.
const keepFor = 5 * time.Minute

// Metrics is what is known of loads so far. It is a prometheus.Collector.
type Metrics struct {
	now    func() time.Time
	labels []string // that every series has
	desc   descs

	mu   sync.Mutex
	load map[string]*traffic // by the values of the labels
	runs []*Run
}

// traffic is one load.
type traffic struct {
	values            []string // of the labels
	ended             time.Time
	latency           *hdrhistogram.Histogram
	outcomes          map[string]int64
	offered, sent     int64
	lag               int64 // µs, largest of the newest slice
	planned, achieved float64
	inFlight          int64
}

// New returns metrics of nothing yet, for a load by itself: it is told apart by its traffic's name.
func New() *Metrics { return newMetrics("traffic") }

// ForRuns returns metrics of nothing yet, for the loads of runs: see Metrics.Run.
func ForRuns() *Metrics { return newMetrics("run", "mesh", "block", "traffic") }

func newMetrics(labels ...string) *Metrics {
	return &Metrics{now: time.Now, labels: labels, desc: newDescs(labels), load: map[string]*traffic{}}
}

// of is the load with these values of the labels. The caller holds mu.
func (m *Metrics) of(values ...string) *traffic {
	key := strings.Join(values, "\x00")
	t := m.load[key]
	if t == nil {
		t = &traffic{values: values, latency: evidence.NewHistogram(), outcomes: map[string]int64{}}
		m.load[key] = t
	}
	return t
}

// Append implements evidence.Sink, for a load by itself. It never fails: what it cannot read is missing here, and verify
// says so.
func (m *Metrics) Append(item evidence.Item) error {
	if k, ok := item.(*evidence.Tick); ok {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.of(k.Traffic).add(k)
	}
	return nil
}

// Progress takes what a live view is told, for a load by itself.
func (m *Metrics) Progress(p loadgen.Progress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of(p.Traffic).show(p)
}

func (t *traffic) add(k *evidence.Tick) {
	t.offered += k.Offered
	t.sent += k.Sent
	t.lag = k.LagMicros
	for code, n := range k.Codes {
		t.outcomes[evidence.OutcomeOf(code)] += int64(n)
	}
	if h, err := evidence.DecodeHistogram(k.Latency); err == nil {
		t.latency.Merge(h)
	}
}

func (t *traffic) show(p loadgen.Progress) {
	t.planned, t.achieved, t.inFlight = p.OfferedRate, p.AchievedRate, p.InFlight
}

// End sets to zero what is true only while a load is sent.
func (m *Metrics) End() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.load {
		t.show(loadgen.Progress{})
	}
}

// descs describe the metrics. Counts and latencies are those of slices of time of which every request has ended.
type descs struct{ requests, planned, sent, latency, lag, rate, achieved, inFlight, info *prometheus.Desc }

func newDescs(labels []string) descs {
	desc := func(name, help string, more ...string) *prometheus.Desc {
		return prometheus.NewDesc("meshproof_load_"+name, help, append(slices.Clone(labels), more...), nil)
	}
	return descs{
		requests: desc("requests_total", "Requests that ended, by outcome: ok (status below 400), 4xx, 5xx, or why there was no answer.", "outcome"),
		planned:  desc("requests_planned_total", "Requests that the profile planned until now."),
		sent:     desc("requests_sent_total", "Requests that were sent."),
		latency:  desc("request_duration_seconds", "Latency of requests from the moment when they should have been sent."),
		lag:      desc("send_lag_seconds", "Largest delay between when a request should have been sent and when it was, in the newest slice of time."),
		rate:     desc("planned_rate", "Requests per second that the profile plans now."),
		achieved: desc("achieved_rate", "Requests per second that are sent now."),
		inFlight: desc("in_flight_requests", "Requests under way now."),
		info:     prometheus.NewDesc("meshproof_run_info", "A run: its driver, and whether its data planes are models.", []string{"run", "driver", "modelled", "version"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	d := m.desc
	for _, d := range []*prometheus.Desc{d.requests, d.planned, d.sent, d.latency, d.lag, d.rate, d.achieved, d.inFlight, d.info} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget()
	d := m.desc
	for _, r := range m.runs {
		out <- prometheus.MustNewConstMetric(d.info, prometheus.GaugeValue, 1, r.id, r.driver, strconv.FormatBool(r.modelled), r.version)
	}
	for _, key := range slices.Sorted(maps.Keys(m.load)) {
		t := m.load[key]
		counter := func(d *prometheus.Desc, v int64, more ...string) {
			out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), append(slices.Clone(t.values), more...)...)
		}
		gauge := func(d *prometheus.Desc, v float64) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, t.values...)
		}
		for _, o := range slices.Sorted(maps.Keys(t.outcomes)) {
			counter(d.requests, t.outcomes[o], o)
		}
		counter(d.planned, t.offered)
		counter(d.sent, t.sent)
		gauge(d.lag, float64(t.lag)/1e6)
		gauge(d.rate, t.planned)
		gauge(d.achieved, t.achieved)
		gauge(d.inFlight, float64(t.inFlight))
		out <- newHistogram(d.latency, m.labels, t.values, t.latency)
	}
}

// Registry is a registry of these metrics alone.
func (m *Metrics) Registry() (*prometheus.Registry, error) {
	r := prometheus.NewPedanticRegistry()
	if err := r.Register(m); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	return r, nil
}
