package telemetry

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/exp/api/remote"
	writev2 "github.com/prometheus/client_golang/exp/api/remote/genproto/v2"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

const (
	// writeEvery is how often samples are written.
	writeEvery = 2 * time.Second
	// writeWithin bounds one write with its retries.
	writeWithin = 5 * time.Second
)

// Write writes the metrics to a receiver of Prometheus' remote write (version 2.0 of the protocol) every two seconds, until
// stop is called, which writes them for the last time. The error of stop says how many writes failed, and the last why; the
// error of Write is about the URL.
func (m *Metrics) Write(to string) (stop func() error, err error) {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("remote write: %q is not of the form http://host:port/api/v1/write", to)
	}
	path := u.Path
	if path == "" || path == "/" {
		path = "/api/v1/write"
	}
	reg, err := m.Registry()
	if err != nil {
		return nil, err
	}
	own := http.DefaultTransport.(*http.Transport).Clone() // so that its connections end with it
	api, err := remote.NewAPI((&url.URL{Scheme: u.Scheme, Host: u.Host, User: u.User}).String(), remote.WithAPIPath(path),
		remote.WithAPIHTTPClient(&http.Client{Transport: own}),
		remote.WithAPIBackoff(remote.BackoffConfig{Min: 200 * time.Millisecond, Max: time.Second, MaxRetries: 3}))
	if err != nil {
		return nil, fmt.Errorf("remote write to %s: %w", u.Redacted(), err)
	}
	w := &writer{api: api, reg: reg, stop: make(chan struct{}), done: make(chan struct{})}
	go w.loop()
	return func() error {
		close(w.stop)
		<-w.done
		own.CloseIdleConnections()
		if w.failed == 0 {
			return nil
		}
		return fmt.Errorf("remote write to %s: %d of %d writes failed, the last of them with: %w", u.Redacted(), w.failed, w.writes, w.last)
	}, nil
}

// writer is one receiver's.
type writer struct {
	api            *remote.API
	reg            *prometheus.Registry
	stop, done     chan struct{}
	writes, failed int
	last           error
}

func (w *writer) loop() {
	defer close(w.done)
	t := time.NewTicker(writeEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			w.write()
		case <-w.stop:
			w.write()
			return
		}
	}
}

func (w *writer) write() {
	ctx, cancel := context.WithTimeout(context.Background(), writeWithin) // the last one comes after the load was stopped
	defer cancel()
	families, err := w.reg.Gather()
	w.writes++
	if err == nil {
		if req := request(families, time.Now()); len(req.Timeseries) > 0 {
			_, err = w.api.Write(ctx, remote.WriteV2MessageType, req)
		}
	}
	if err != nil {
		w.failed++
		w.last = err
	}
}

// request makes a message of metric families. Histograms go as classic ones.
func request(families []*dto.MetricFamily, at time.Time) *writev2.Request {
	symbols := writev2.NewSymbolTable()
	req := &writev2.Request{}
	add := func(f *dto.MetricFamily, kind writev2.Metadata_MetricType, suffix string, labels []*dto.LabelPair, extra []string, v float64) {
		pairs := [][2]string{{"__name__", f.GetName() + suffix}}
		for _, l := range labels {
			pairs = append(pairs, [2]string{l.GetName(), l.GetValue()})
		}
		for i := 0; i+1 < len(extra); i += 2 {
			pairs = append(pairs, [2]string{extra[i], extra[i+1]})
		}
		slices.SortFunc(pairs, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
		s := &writev2.TimeSeries{
			Samples:  []*writev2.Sample{{Value: v, Timestamp: at.UnixMilli()}},
			Metadata: &writev2.Metadata{Type: kind, HelpRef: symbols.Symbolize(f.GetHelp())},
		}
		for _, p := range pairs {
			s.LabelsRefs = append(s.LabelsRefs, symbols.Symbolize(p[0]), symbols.Symbolize(p[1]))
		}
		req.Timeseries = append(req.Timeseries, s)
	}
	const counter, gauge, hist = writev2.Metadata_METRIC_TYPE_COUNTER, writev2.Metadata_METRIC_TYPE_GAUGE, writev2.Metadata_METRIC_TYPE_HISTOGRAM
	for _, f := range families {
		for _, m := range f.GetMetric() {
			switch f.GetType() {
			case dto.MetricType_COUNTER:
				add(f, counter, "", m.GetLabel(), nil, m.GetCounter().GetValue())
			case dto.MetricType_GAUGE:
				add(f, gauge, "", m.GetLabel(), nil, m.GetGauge().GetValue())
			case dto.MetricType_HISTOGRAM:
				h := m.GetHistogram()
				for _, b := range h.GetBucket() {
					add(f, hist, "_bucket", m.GetLabel(), []string{"le", strconv.FormatFloat(b.GetUpperBound(), 'g', -1, 64)}, float64(b.GetCumulativeCount()))
				}
				add(f, hist, "_bucket", m.GetLabel(), []string{"le", "+Inf"}, float64(h.GetSampleCount()))
				add(f, hist, "_sum", m.GetLabel(), nil, h.GetSampleSum())
				add(f, hist, "_count", m.GetLabel(), nil, float64(h.GetSampleCount()))
			}
		}
	}
	req.Symbols = symbols.Symbols()
	return req
}
