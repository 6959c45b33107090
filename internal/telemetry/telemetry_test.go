package telemetry

import (
	"context"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	writev2 "github.com/prometheus/client_golang/exp/api/remote/genproto/v2"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/loadgen"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// filled has two slices of time of one load: 30 requests, of which 10 took 2 ms, 10 took 40 ms and 10 timed out after 5 s.
func filled(t *testing.T) *Metrics {
	t.Helper()
	m := New()
	for i, codes := range []map[string]int{{"200": 20}, {"timeout": 10}} {
		h := evidence.NewHistogram()
		for range 10 {
			if i == 0 {
				evidence.RecordMicros(h, 2000)
				evidence.RecordMicros(h, 40_000)
			} else {
				evidence.RecordMicros(h, 5_000_000)
			}
		}
		k := &evidence.Tick{Traffic: "shop", Codes: codes, Offered: 20, Sent: 15, LagMicros: 1500}
		if err := evidence.SetLatency(k, h, h.Max()); err != nil {
			t.Fatal(err)
		}
		if err := m.Append(k); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Append(&evidence.Phase{}); err != nil {
		t.Fatal(err)
	}
	m.Progress(loadgen.Progress{Traffic: "shop", OfferedRate: 80, AchievedRate: 70, InFlight: 3})
	return m
}

func TestThePageShowsWhatWasRecordedOfALoad(t *testing.T) {
	m := filled(t)
	at, stop, err := m.Serve(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get("http://" + at + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`meshproof_load_requests_total{outcome="ok",traffic="shop"} 20`, `meshproof_load_requests_total{outcome="timeout",traffic="shop"} 10`,
		`meshproof_load_requests_planned_total{traffic="shop"} 40`, `meshproof_load_requests_sent_total{traffic="shop"} 30`,
		`meshproof_load_send_lag_seconds{traffic="shop"} 0.0015`, `meshproof_load_planned_rate{traffic="shop"} 80`, `meshproof_load_in_flight_requests{traffic="shop"} 3`,
		`meshproof_load_request_duration_seconds_bucket{traffic="shop",le="0.0025"} 10`, `meshproof_load_request_duration_seconds_bucket{traffic="shop",le="0.05"} 20`,
		`meshproof_load_request_duration_seconds_count{traffic="shop"} 30`,
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the page lacks %s:\n%s", want, b)
		}
	}
	if _, _, err := m.Serve(context.Background(), at); err == nil || !strings.Contains(err.Error(), at) {
		t.Errorf("an address that is taken: %v", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestNativeBucketsHoldEveryRequestWithinTheirEdges(t *testing.T) {
	h := evidence.NewHistogram()
	values := []int64{1, 2, 3, 250, 1000, 1024, 40_000, 41_000, 5_000_000, 300_000_000}
	for i, v := range values {
		for range i + 1 {
			evidence.RecordMicros(h, v)
		}
	}
	var out dto.Metric
	if err := newHistogram(New().desc.latency, []string{"traffic"}, []string{"a"}, h).Write(&out); err != nil {
		t.Fatal(err)
	}
	n := out.GetHistogram()
	index, count, total, d := int32(0), int64(0), int64(0), 0
	got := map[int32]int64{}
	for _, s := range n.GetPositiveSpan() {
		index += s.GetOffset()
		for range s.GetLength() {
			count += n.GetPositiveDelta()[d]
			d++
			got[index] = count
			total += count
			index++
		}
	}
	if total != h.TotalCount() || uint64(total) != n.GetSampleCount() || d != len(n.GetPositiveDelta()) {
		t.Fatalf("%d requests in native buckets, %d in all, want %d", total, n.GetSampleCount(), h.TotalCount())
	}
	for i, v := range values {
		at := int32(math.Ceil(math.Log2(float64(v)/1e6) * 8))
		if got[at]+got[at+1] < int64(i+1) { // an HDR bucket may reach over an edge
			t.Errorf("%d µs: %d requests in bucket %d", v, got[at], at)
		}
	}
}

func TestRemoteWriteSendsTheLastStateAndSaysWhatFailed(t *testing.T) {
	var mu sync.Mutex
	values := map[string]float64{}
	broken := false
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if broken || r.URL.Path != "/push" {
			http.Error(w, "no such tenant", http.StatusBadRequest)
			return
		}
		packed, err := io.ReadAll(r.Body)
		b, derr := snappy.Decode(nil, packed)
		var req writev2.Request
		if err != nil || derr != nil || proto.Unmarshal(b, &req) != nil {
			http.Error(w, "unreadable", http.StatusBadRequest)
			return
		}
		for _, ts := range req.Timeseries {
			labels := writev2.DesymbolizeLabels(ts.LabelsRefs, req.Symbols, nil)
			values[strings.Join(labels, " ")] = ts.Samples[0].Value
		}
		w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", "1")
		w.WriteHeader(http.StatusNoContent)
	}))
	defer s.Close()
	m := filled(t)
	stop, err := m.Write(s.URL + "/push")
	if err != nil {
		t.Fatal(err)
	}
	m.End()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{
		"__name__ meshproof_load_requests_total outcome timeout traffic shop":          10,
		"__name__ meshproof_load_request_duration_seconds_bucket le 0.05 traffic shop": 20,
		"__name__ meshproof_load_request_duration_seconds_bucket le +Inf traffic shop": 30,
		"__name__ meshproof_load_request_duration_seconds_count traffic shop":          30,
		"__name__ meshproof_load_in_flight_requests traffic shop":                      0,
	} {
		if got, ok := values[name]; !ok || got != want {
			t.Errorf("%s: %v %v, want %v", name, got, ok, want)
		}
	}
	mu.Lock()
	broken = true
	mu.Unlock()
	stop, err = m.Write(s.URL + "/push")
	if err != nil {
		t.Fatal(err)
	}
	if err := stop(); err == nil || !strings.Contains(err.Error(), "1 of 1 writes failed") {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"localhost:9090", "ftp://a", "http://"} {
		if _, err := m.Write(bad); err == nil {
			t.Errorf("%q is a receiver", bad)
		}
	}
}

func TestTheLoadsOfRunsAreToldApartAndForgottenInTime(t *testing.T) {
	m := ForRuns()
	now := time.Unix(1000, 0)
	m.now = func() time.Time { return now }
	page := func() string {
		reg, err := m.Registry()
		if err != nil {
			t.Fatal(err)
		}
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, f := range families {
			if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
				t.Fatal(err)
			}
		}
		return b.String()
	}
	shows := func(text string, want bool, lines ...string) {
		t.Helper()
		for _, l := range lines {
			if strings.Contains(text, l) != want {
				t.Errorf("%s is there: %v, want %v, in\n%s", l, !want, want, text)
			}
		}
	}
	r := m.Run(&evidence.Manifest{RunID: "spike-1", Driver: "kind", Version: "1.2", Flavors: map[string]string{"istio": "upstream Envoy"}})
	none, istio := evidence.Trial{Block: 1, Mesh: "none"}, evidence.Trial{Block: 1, Mesh: "istio"}
	send := func(trial evidence.Trial, n int64) {
		k := &evidence.Tick{Header: evidence.Header{Trial: trial}, Traffic: "shop", Offered: n, Sent: n, Codes: map[string]int{"200": int(n)}}
		if err := r.Append(k); err != nil {
			t.Fatal(err)
		}
		r.Progress(trial, loadgen.Progress{Traffic: "shop", AchievedRate: 50})
	}
	send(none, 3)
	send(none, 4)
	first := []string{`meshproof_load_requests_total{block="1",mesh="none",outcome="ok",run="spike-1",traffic="shop"} 7`}
	shows(page(), true, append(first, `meshproof_run_info{driver="kind",modelled="false",run="spike-1",version="1.2"} 1`,
		`meshproof_load_achieved_rate{block="1",mesh="none",run="spike-1",traffic="shop"} 50`, `meshproof_load_request_duration_seconds_count{block="1",mesh="none",run="spike-1",traffic="shop"} 0`)...)
	now = now.Add(time.Hour) // a long trial is not over for that
	send(istio, 5)
	second := []string{`meshproof_load_requests_total{block="1",mesh="istio (upstream Envoy)",outcome="ok",run="spike-1",traffic="shop"} 5`}
	shows(page(), true, append(append(first, second...), `meshproof_load_achieved_rate{block="1",mesh="none",run="spike-1",traffic="shop"} 0`)...)
	now = now.Add(keepFor + time.Second)
	shows(page(), true, second...)
	shows(page(), false, first...)
	r.Close()
	shows(page(), true, second...)
	now = now.Add(keepFor + time.Second)
	shows(page(), false, append(second, "meshproof_run_info{")...)
	if len(m.load) != 0 || len(m.runs) != 0 {
		t.Errorf("%d loads and %d runs are kept", len(m.load), len(m.runs))
	}
}
