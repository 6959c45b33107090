package verify

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// page is what is needed of one metric page.
type page struct {
	start  float64           // when the process started, in seconds since 1970; an epoch is a pod's UID and this
	series map[string]sample // by name and labels
}

// sample is one series: its count on a page, or its increase between two.
type sample struct {
	name   string
	labels map[string]string
	count  int64
}

// processStarts are the metrics that say when a proxy's process started, in order of preference: Istio's agent, and the
// name that Prometheus's client libraries use.
var processStarts = []string{"istio_agent_process_start_time_seconds", "process_start_time_seconds"}

// maxExact is the largest integer up to which every integer is a float64.
const maxExact = 1 << 53

// parsePage reads the series of some families, and the process's start, from a page in Prometheus's text format.
func parsePage(body string, families []string) (*page, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	all, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("not a metric page: %w", err)
	}
	p := &page{series: map[string]sample{}}
	for _, name := range processStarts {
		if f := all[name]; f != nil && len(f.Metric) == 1 {
			p.start = valueOf(f.Metric[0])
			break
		}
	}
	if !(p.start > 0) || math.IsInf(p.start, 0) {
		return nil, errors.New("it does not say when its process started, so counts cannot be told from those of an earlier one")
	}
	for _, name := range families {
		f := all[name]
		if f == nil {
			continue
		}
		for _, m := range f.Metric {
			v := valueOf(m)
			if !(v >= 0 && v <= maxExact) || v != math.Trunc(v) {
				return nil, fmt.Errorf("%s has the value %v, which is not a count", name, v)
			}
			s := sample{name: name, labels: map[string]string{}, count: int64(v)}
			for _, l := range m.Label {
				s.labels[l.GetName()] = l.GetValue()
			}
			key := s.key()
			if _, twice := p.series[key]; twice {
				return nil, fmt.Errorf("the series %s is there twice", key)
			}
			p.series[key] = s
		}
	}
	return p, nil
}

// valueOf is a metric's value; NaN for kinds that have none of their own.
func valueOf(m *dto.Metric) float64 {
	switch {
	case m.Counter != nil:
		return m.Counter.GetValue()
	case m.Gauge != nil:
		return m.Gauge.GetValue()
	case m.Untyped != nil:
		return m.Untyped.GetValue()
	}
	return math.NaN()
}

func (s sample) key() string {
	var b strings.Builder
	b.WriteString(s.name)
	for _, k := range sortedKeys(s.labels) {
		fmt.Fprintf(&b, ",%s=%q", k, s.labels[k])
	}
	return b.String()
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// increase is what the counters of one epoch gained between two pages. A series that was born in between counts from
// 0; one that fell was reset and counts from 0 too. One that vanished took its count with it, and that is an error,
// unless the proxy drops idle series and the pages lie closer together than that takes (drops): then nothing moved it.
// Where a proxy drops idle series, an increase is a lower bound: what was dropped right after the first page (Linkerd's
// proxies print a page before they drop) and then outgrew its old count cannot be told from what went on.
func increase(from, to *page, drops bool) ([]sample, error) {
	if from.start != to.start {
		return nil, fmt.Errorf("the process was restarted in between: it started at %.3f, and then at %.3f", from.start, to.start)
	}
	for _, k := range sortedKeys(from.series) {
		if _, ok := to.series[k]; !ok && from.series[k].count > 0 && !drops {
			return nil, fmt.Errorf("the series %s vanished", k)
		}
	}
	out := make([]sample, 0, len(to.series))
	for _, k := range sortedKeys(to.series) {
		s := to.series[k]
		if was := from.series[k].count; s.count >= was {
			s.count -= was
		}
		out = append(out, s)
	}
	return slices.Clip(out), nil
}
