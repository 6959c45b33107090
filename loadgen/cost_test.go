package loadgen

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/meshproof/meshproof/evidence"
)

// weigher measures what is reachable when the last record of a run is written.
type weigher struct{ heap uint64 }

func (w *weigher) Append(item evidence.Item) error {
	if _, ok := item.(*evidence.Phase); ok {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		w.heap = m.HeapAlloc
	}
	return nil
}

func TestMemoryDoesNotGrowWithTheNumberOfRequests(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }))
	defer s.Close()
	weigh := func(total float64) uint64 {
		a := attack(s.URL, constant(total, time.Second))
		a.Traffic.MaxInFlight = 20
		w := &weigher{}
		if err := Run(context.Background(), a, w, nil); err != nil {
			t.Fatal(err)
		}
		return w.heap
	}
	weigh(1000) // what is made once
	few, many := weigh(1000), weigh(20_000)
	// 100 bytes kept for each request would be 1.9 MB.
	if many > few+1_900_000 {
		t.Errorf("%d bytes are held after 1,000 requests, %d after 20,000", few, many)
	}
}

// BenchmarkBesidePlainVegeta sends the same number of requests as fast as they go through plain vegeta and
// through Run, and reports the ratio of the CPU-bound times.
func BenchmarkBesidePlainVegeta(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	const hits, workers = 5000, 16
	var plain, ours time.Duration
	for b.Loop() {
		began := time.Now()
		client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: workers}}
		at := vegeta.NewAttacker(vegeta.Client(client), vegeta.Workers(workers), vegeta.MaxWorkers(workers), vegeta.MaxBody(0))
		all := vegeta.PacerFunc(func(_ time.Duration, n uint64) (time.Duration, bool) { return 0, n >= hits })
		for range at.Attack(vegeta.NewStaticTargeter(vegeta.Target{Method: "GET", URL: s.URL}), flatOut{all}, 0, "") {
		}
		client.CloseIdleConnections()
		plain += time.Since(began)

		began = time.Now()
		a := attack(s.URL, constant(hits*1e6, time.Microsecond))
		a.Traffic.MaxInFlight = workers
		if err := Run(context.Background(), a, &weigher{}, nil); err != nil {
			b.Fatal(err)
		}
		ours += time.Since(began)
	}
	n := float64(b.N) * hits
	b.ReportMetric(float64(plain.Microseconds())/n, "µs/plain-request")
	b.ReportMetric(float64(ours.Microseconds())/n, "µs/our-request")
	b.ReportMetric(float64(ours)/float64(plain), "ratio")
}

type flatOut struct{ vegeta.PacerFunc }

func (flatOut) Rate(time.Duration) float64 { return 0 }
