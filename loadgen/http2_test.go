package loadgen

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"

	"github.com/meshproof/meshproof/scenarios"
)

// asked is what a server saw of a request: all of it.
type asked struct {
	Method, Host, URI, Body string
	Length                  int64
	Header                  http.Header
}

// serve2 starts a server of net/http that speaks HTTP/2 alone, with TLS or without, and remembers requests by their ID.
func serve2(t testing.TB, secure bool, answer http.HandlerFunc) (s *httptest.Server, seen func() map[string][]asked) {
	var mu sync.Mutex
	all := map[string][]asked{}
	s = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		id := r.Header.Get(scenarios.HeaderID)
		mu.Lock()
		all[id] = append(all[id], asked{r.Method, r.Host, r.RequestURI, string(body), r.ContentLength, r.Header})
		mu.Unlock()
		answer(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Config.Protocols = &http.Protocols{}
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.Protocols.SetHTTP2(true)
	if secure {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s, func() map[string][]asked {
		mu.Lock()
		defer mu.Unlock()
		copied := map[string][]asked{}
		for id, rs := range all {
			copied[id] = append([]asked(nil), rs...)
		}
		return copied
	}
}

// trusting is the configuration of a client of a test server.
func trusting(s *httptest.Server) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
}

func TestBothEnginesOfHTTP2SendTheSameRequests(t *testing.T) {
	sent := map[Engine]map[string][]asked{}
	for _, e := range []Engine{Own, Vegeta} {
		s, seen := serve2(t, false, ok)
		a := attack(s.URL, constant(400, 500*time.Millisecond))
		a.Protocol, a.Engine, a.Caller, a.Seed = HTTP2, e, "shop@east", 3
		a.Header = http.Header{"X-Twice": {"a", "b"}, "Accept": {"text/*"}}
		for i := range 30 {
			a.Tokens = append(a.Tokens, fmt.Sprintf("token-%d-%s", i, strings.Repeat("x", 300)))
		}
		a.Traffic.Requests = []scenarios.RequestKind{
			{Path: "/items/7?full=1", Headers: map[string]string{"X-Kind": "seven"}},
			{Method: "POST", Path: "/buy", Body: &scenarios.Body{Bytes: 10, To: 100_000, Type: "text/plain"}},
			{Method: "HEAD"},
			{Method: "PUT", Path: "/nothing"},
			{Method: "DELETE", Path: "/x"},
			{Path: "/" + strings.Repeat("long", 5000)},
		}
		out := &memory{}
		if err := Run(context.Background(), a, out, nil); err != nil {
			t.Fatal(err)
		}
		if got := out.phases[0].Codes; got["200"] != 200 {
			t.Errorf("%s: codes %v, want 200 answers", e, got)
		}
		sent[e] = seen()
	}
	// Neither says more than the other, but for the way in which they write who they are and that there is no body.
	ignore := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Length" }, cmp.Ignore())
	if len(sent[Own]) != 200 {
		t.Fatalf("%d requests, want 200", len(sent[Own]))
	}
	for id, own := range sent[Own] {
		theirs := sent[Vegeta][id]
		if len(own) != 1 || len(theirs) != 1 {
			t.Fatalf("%s came %d times, and by vegeta %d times", id, len(own), len(theirs))
		}
		for _, r := range []asked{own[0], theirs[0]} {
			r.Header.Del("User-Agent")
			r.Header.Del("Content-Length")
		}
		if d := cmp.Diff(theirs, own, ignore); d != "" {
			t.Fatalf("%s (-vegeta +own):\n%s", id, d)
		}
		if r := own[0]; r.Length != int64(len(r.Body)) {
			t.Errorf("%s says that its body has %d bytes, and it has %d", id, r.Length, len(r.Body))
		}
	}
}

func TestEveryRequestInHTTP2IsSentOnceAndCounted(t *testing.T) {
	for name, secure := range map[string]bool{"TLS": true, "by prior knowledge": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, seen := serve2(t, secure, func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.Header.Get(scenarios.HeaderID), "5") {
					w.WriteHeader(500)
				}
				_, _ = w.Write(make([]byte, 3000))
			})
			a := attack(s.URL, constant(1500, time.Second))
			a.Protocol, a.Traffic.MaxInFlight = HTTP2, 64
			if secure {
				a.TLS = trusting(s)
			}
			out := &memory{}
			if err := Run(context.Background(), a, out, nil); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(map[string]int{"200": 1350, "500": 150}, out.phases[0].Codes); d != "" {
				t.Errorf("codes (-want +got):\n%s", d)
			}
			all := seen()
			for n := range 1500 {
				if got := len(all[fmt.Sprintf("r1-buyers-%d", n)]); got != 1 {
					t.Errorf("request %d came %d times", n, got)
				}
			}
			offered, sent, done, failed := sums(t, out.ticks)
			if offered != 1500 || sent != 1500 || done != 1500 || failed != 150 {
				t.Errorf("ticks: %d offered, %d sent, %d done, %d failed", offered, sent, done, failed)
			}
			for i, k := range out.ticks {
				if k.InFlight > 64 || k.Concurrent > 1 {
					t.Errorf("tick %d: %d under way on %d connections; 64 allowed, on one", i, k.InFlight, k.Concurrent)
				}
			}
		})
	}
}

func TestLargeBodiesGoBothWaysInHTTP2(t *testing.T) {
	// More than any window: 12 MB of each answer, 256 KB of each request.
	answer := make([]byte, 12<<20)
	s, seen := serve2(t, false, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(answer) })
	a := attack(s.URL, constant(10, time.Second))
	a.Protocol = HTTP2
	a.Traffic.Timeout = scenarios.Duration(time.Minute)
	a.Traffic.Requests = []scenarios.RequestKind{{Method: "POST", Body: &scenarios.Body{Bytes: maxBody}}}
	out := &memory{}
	if err := Run(context.Background(), a, out, nil); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]int{"200": 10}, out.phases[0].Codes); d != "" {
		t.Errorf("codes (-want +got):\n%s", d)
	}
	for id, rs := range seen() {
		if len(rs) != 1 || len(rs[0].Body) != maxBody {
			t.Errorf("%s came %d times, with %d bytes", id, len(rs), len(rs[0].Body))
		}
	}
}

func TestEachRequestHasAConnectionOfItsOwnInHTTP2WhereItIsToldTo(t *testing.T) {
	s, seen := serve2(t, true, ok)
	var mu sync.Mutex
	opened := 0
	a := attack(s.URL, constant(50, 500*time.Millisecond))
	a.Protocol, a.TLS, a.Traffic.Connections = HTTP2, trusting(s), scenarios.ConnectionsEach
	a.Dial = func(ctx context.Context, address string) (net.Conn, error) {
		mu.Lock()
		opened++
		mu.Unlock()
		var d net.Dialer
		return d.DialContext(ctx, "tcp", address)
	}
	out := &memory{}
	if err := Run(context.Background(), a, out, nil); err != nil {
		t.Fatal(err)
	}
	if out.phases[0].Codes["200"] != 25 || opened != 25 || len(seen()) != 25 {
		t.Errorf("codes %v on %d connections; want 25 on as many", out.phases[0].Codes, opened)
	}
	for i, k := range out.ticks[1:] {
		if k.Concurrent > 20 {
			t.Errorf("tick %d: %d connections are open", i+1, k.Concurrent)
		}
	}
}

func TestALoadInHTTP2ThatIsCancelledStopsAndLeavesWhatItHas(t *testing.T) {
	for name, hangs := range map[string]bool{"of a server that answers": false, "of one that never does": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			s, seen := serve2(t, false, func(_ http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.Header.Get(scenarios.HeaderID), "-50") {
					cancel()
				}
				if hangs {
					<-r.Context().Done()
				}
			})
			a := attack(s.URL, constant(100, time.Minute))
			a.Protocol, a.Traffic.Timeout = HTTP2, scenarios.Duration(time.Minute)
			out := &memory{}
			started := time.Now()
			if err := Run(ctx, a, out, nil); !errors.Is(err, context.Canceled) {
				t.Fatalf("error %v, want the context's", err)
			}
			if took := time.Since(started); took > 30*time.Second {
				t.Errorf("Run took %v to stop", took)
			}
			_, sent, done, failed := sums(t, out.ticks)
			if n := int64(len(seen())); sent != n || failed != 0 || !hangs && done != n || hangs && done != 0 {
				t.Errorf("%d arrived; %d sent, %d done, %d failed", n, sent, done, failed)
			}
		})
	}
}

// FuzzHTTP2Server lets a server say anything: each request ends once, and in time.
func FuzzHTTP2Server(f *testing.F) {
	frames := func(write func(fr *http2.Framer)) []byte {
		var b strings.Builder
		fr := http2.NewFramer(&b, nil)
		_ = fr.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 2})
		write(fr)
		return []byte(b.String())
	}
	answer := func(fr *http2.Framer, id uint32) {
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte{0x88}, EndHeaders: true})
		_ = fr.WriteData(id, true, []byte("abc"))
	}
	f.Add(frames(func(fr *http2.Framer) { answer(fr, 1); answer(fr, 3); answer(fr, 5) }))
	f.Add(frames(func(fr *http2.Framer) { answer(fr, 1); _ = fr.WriteGoAway(1, http2.ErrCodeNo, nil) }))
	f.Add(frames(func(fr *http2.Framer) { _ = fr.WriteRSTStream(1, http2.ErrCodeNo); _ = fr.WriteWindowUpdate(0, 1) }))
	f.Add(frames(func(fr *http2.Framer) { _ = fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize}) }))
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, said []byte) {
		a := attack("http://fuzz", constant(1e6, 5*time.Microsecond)) // five at once
		a.Protocol, a.Traffic.Timeout = HTTP2, scenarios.Duration(5*time.Second)
		a.Traffic.Requests = []scenarios.RequestKind{{Method: "POST", Body: &scenarios.Body{Bytes: 100}}}
		var servers sync.WaitGroup
		a.Dial = func(context.Context, string) (net.Conn, error) {
			near, far := net.Pipe()
			servers.Go(func() { _, _ = io.Copy(io.Discard, far) })
			servers.Go(func() {
				_, _ = far.Write(said)
				_ = far.Close()
			})
			return near, nil
		}
		out := &memory{}
		if err := Run(context.Background(), a, out, nil); err != nil {
			t.Fatal(err)
		}
		servers.Wait()
		if p := out.phases[0]; p.Done != 5 || p.Codes["timeout"] > 0 {
			t.Errorf("%d of 5 are done: %v", p.Done, p.Codes)
		}
	})
}
