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
	"sync"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/loadgen"
)

// Metrics is what is known of loads so far. It is an evidence.Sink for their ticks and phases, and a
// prometheus.Collector.
type Metrics struct {
	mu   sync.Mutex
	load map[string]*traffic
}

// traffic is one load.
type traffic struct {
	latency           *hdrhistogram.Histogram
	outcomes          map[string]int64
	offered, sent     int64
	lag               int64 // µs, largest of the newest slice
	planned, achieved float64
	inFlight          int64
}

// New returns metrics of nothing yet.
func New() *Metrics { return &Metrics{load: map[string]*traffic{}} }

func (m *Metrics) of(name string) *traffic {
	t := m.load[name]
	if t == nil {
		t = &traffic{latency: evidence.NewHistogram(), outcomes: map[string]int64{}}
		m.load[name] = t
	}
	return t
}

// Append implements evidence.Sink. It never fails: what it cannot read is missing here, and verify says so.
func (m *Metrics) Append(item evidence.Item) error {
	k, ok := item.(*evidence.Tick)
	if !ok {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.of(k.Traffic)
	t.offered += k.Offered
	t.sent += k.Sent
	t.lag = k.LagMicros
	for code, n := range k.Codes {
		t.outcomes[evidence.OutcomeOf(code)] += int64(n)
	}
	if h, err := evidence.DecodeHistogram(k.Latency); err == nil {
		t.latency.Merge(h)
	}
	return nil
}

// Progress takes what a live view is told.
func (m *Metrics) Progress(p loadgen.Progress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.of(p.Traffic)
	t.planned, t.achieved, t.inFlight = p.OfferedRate, p.AchievedRate, p.InFlight
}

// End sets to zero what is true only while a load is sent.
func (m *Metrics) End() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.load {
		t.planned, t.achieved, t.inFlight = 0, 0, 0
	}
}

// The metrics. Counts and latencies are those of slices of time of which every request has ended.
var (
	requests = desc("requests_total", "Requests that ended, by outcome: ok (status below 400), 4xx, 5xx, or why there was no answer.", "outcome")
	planned  = desc("requests_planned_total", "Requests that the profile planned until now.")
	sent     = desc("requests_sent_total", "Requests that were sent.")
	latency  = desc("request_duration_seconds", "Latency of requests from the moment when they should have been sent.")
	lag      = desc("send_lag_seconds", "Largest delay between when a request should have been sent and when it was, in the newest slice of time.")
	rate     = desc("planned_rate", "Requests per second that the profile plans now.")
	achieved = desc("achieved_rate", "Requests per second that are sent now.")
	inFlight = desc("in_flight_requests", "Requests under way now.")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("meshproof_load_"+name, help, append([]string{"traffic"}, labels...), nil)
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{requests, planned, sent, latency, lag, rate, achieved, inFlight} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(m.load)) {
		t := m.load[name]
		for _, o := range slices.Sorted(maps.Keys(t.outcomes)) {
			out <- prometheus.MustNewConstMetric(requests, prometheus.CounterValue, float64(t.outcomes[o]), name, o)
		}
		out <- prometheus.MustNewConstMetric(planned, prometheus.CounterValue, float64(t.offered), name)
		out <- prometheus.MustNewConstMetric(sent, prometheus.CounterValue, float64(t.sent), name)
		out <- prometheus.MustNewConstMetric(lag, prometheus.GaugeValue, float64(t.lag)/1e6, name)
		out <- prometheus.MustNewConstMetric(rate, prometheus.GaugeValue, t.planned, name)
		out <- prometheus.MustNewConstMetric(achieved, prometheus.GaugeValue, t.achieved, name)
		out <- prometheus.MustNewConstMetric(inFlight, prometheus.GaugeValue, float64(t.inFlight), name)
		out <- newHistogram(latency, name, t.latency)
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
