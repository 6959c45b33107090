package loadgen

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server answers as a test wants and remembers every request by its ID.
type server struct {
	*httptest.Server
	mu   sync.Mutex
	seen map[string][]request
}

// request is what a server saw of one request.
type request struct {
	method, host, path, window, requestID, query, caller string
	length                                               int64
	chunked                                              bool
}

// serve starts a server; answer runs after the request was remembered.
func serve(t testing.TB, answer http.HandlerFunc) *server {
	s := &server{seen: map[string][]request{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(scenarios.HeaderID)
		s.mu.Lock()
		s.seen[id] = append(s.seen[id], request{
			method: r.Method, host: r.Host, path: r.URL.Path, query: r.URL.RawQuery, window: r.Header.Get(scenarios.HeaderWindow),
			requestID: r.Header.Get("x-request-id"), caller: r.Header.Get(scenarios.HeaderCaller), length: r.ContentLength, chunked: len(r.TransferEncoding) > 0,
		})
		s.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) requests() map[string][]request {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := map[string][]request{}
	for id, rs := range s.seen {
		c[id] = append([]request(nil), rs...)
	}
	return c
}

func (s *server) count() int {
	n := 0
	for _, rs := range s.requests() {
		n += len(rs)
	}
	return n
}

func ok(http.ResponseWriter, *http.Request) {}

// memory is a sink that keeps what it takes.
type memory struct {
	mu     sync.Mutex
	ticks  []*evidence.Tick
	phases []*evidence.Phase
	failAt int // tick at which Append fails; 0: never
}

var errDisk = errors.New("no space left on device")

func (m *memory) Append(item evidence.Item) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch v := item.(type) {
	case *evidence.Tick:
		if m.failAt > 0 && len(m.ticks)+1 == m.failAt {
			return errDisk
		}
		m.ticks = append(m.ticks, v)
	case *evidence.Phase:
		m.phases = append(m.phases, v)
	default:
		return errors.New("not a record of the load")
	}
	return nil
}

// attack is a traffic named "buyers" on a server, with generous limits.
func attack(base string, stages ...scenarios.Stage) Attack {
	return Attack{
		Trial: evidence.Trial{Block: 1, Mesh: "none"}, Base: base, Host: "shop.app.svc.cluster.local", Seed: 7, IDPrefix: "r1",
		Traffic: scenarios.Traffic{
			Name: "buyers", To: "shop", Timeout: scenarios.Duration(10 * time.Second), MaxInFlight: 1000,
			Profile: scenarios.Profile{Stages: stages},
		},
	}
}

// sums adds up ticks, and checks what holds for the ticks of every run.
func sums(t *testing.T, ticks []*evidence.Tick) (offered, sent, done, failed int64) {
	t.Helper()
	var at int64
	for i, k := range ticks {
		if k.Index != i || k.AtMicros != at || k.Micros <= 0 {
			t.Fatalf("tick %d has index %d and covers %d+%d µs; want it to start at %d", i, k.Index, k.AtMicros, k.Micros, at)
		}
		n := 0
		for _, c := range k.Codes {
			n += c
		}
		if int64(n) != k.Done || k.Done > k.Offered || k.Errors > k.Done || k.LagMicros < 0 || k.P99Micros > k.MaxMicros || k.Codes == nil {
			t.Fatalf("tick %d does not add up: %+v", i, k)
		}
		at += k.Micros
		offered, sent, done, failed = offered+k.Offered, sent+k.Sent, done+k.Done, failed+k.Errors
	}
	return offered, sent, done, failed
}

// quantile reads a quantile (in percent) of an encoded histogram, and its count.
func quantile(t *testing.T, encoded string, q float64) (time.Duration, int64) {
	t.Helper()
	h, err := evidence.DecodeHistogram(encoded)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(h.ValueAtQuantile(q)) * time.Microsecond, h.TotalCount()
}

// cancelled is a context that ends as soon as a server has seen n requests.
func cancelled(t *testing.T, s *server, n int) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for s.count() < n && ctx.Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
		cancel()
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return ctx
}

// engines runs a test for each engine of HTTP/1.1, side by side.
func engines(t *testing.T, test func(t *testing.T, e Engine)) {
	for _, e := range []Engine{Own, Vegeta} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			test(t, e)
		})
	}
}
