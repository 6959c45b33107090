package loadgen

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// attackTruth2 runs an attack in HTTP/2 on a server in virtual time: net/http's, whose handler records each request. It may
// close the connection that a request came on. Until a connection can be opened, open waits; nil: it can at once.
func attackTruth2(t *testing.T, a Attack, open func(context.Context) error, answer func(s *truth, n int64, w http.ResponseWriter, conn net.Conn)) (*truth, *memory) {
	t.Helper()
	s := &truth{start: time.Now(), arrived: map[int64]time.Duration{}, answered: map[int64]time.Duration{}}
	a.Protocol, a.Start = HTTP2, s.start
	a.Dial = func(ctx context.Context, _ string) (net.Conn, error) {
		if open != nil {
			if err := open(ctx); err != nil {
				return nil, err
			}
		}
		near, far := net.Pipe()
		s.mu.Lock()
		s.conns++
		s.mu.Unlock()
		s.serve2(far, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.running.Add(1) // it may outlive its connection
			defer s.running.Done()
			_, _ = io.Copy(io.Discard, r.Body)
			n := s.arrive(r)
			answer(s, n, w, far)
			s.mu.Lock()
			s.answered[n] = time.Since(s.start)
			s.mu.Unlock()
		}))
		return near, nil
	}
	out := &memory{}
	err := runBy(t.Context(), a, newTimerAlarm, out, nil)
	s.running.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return s, out
}

// serve2 serves one connection in HTTP/2.
func (s *truth) serve2(conn net.Conn, handler http.Handler) {
	server := &http.Server{Handler: handler, Protocols: &http.Protocols{}, ErrorLog: log.New(io.Discard, "", 0)}
	server.Protocols.SetUnencryptedHTTP2(true)
	s.running.Add(1)
	server.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			s.running.Done()
		}
	}
	_ = server.Serve(&once{conn: conn}) // which ends when there is no other connection
}

// once is a listener that accepts one connection.
type once struct{ conn net.Conn }

func (l *once) Accept() (net.Conn, error) {
	conn := l.conn
	if l.conn = nil; conn == nil {
		return nil, io.EOF
	}
	return conn, nil
}

func (l *once) Close() error   { return nil }
func (l *once) Addr() net.Addr { return &net.TCPAddr{} }

func TestAFixedDelayIsReportedAsItIsInHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := attack("http://truth", constant(500, 20*time.Second))
		s, out := attackTruth2(t, a, nil, func(*truth, int64, http.ResponseWriter, net.Conn) { time.Sleep(25 * time.Millisecond) })
		intended, _ := s.compare(t, a, out)
		if !near(intended.Min(), 25*time.Millisecond) || !near(intended.Max(), 25*time.Millisecond) {
			t.Errorf("%s; want 25 ms for every request", quantiles(intended))
		}
		if p := out.phases[0]; p.LagMicros != 0 || s.conns != 1 {
			t.Errorf("%d µs of lag on %d connections; want none, on one", p.LagMicros, s.conns)
		}
		for i, k := range out.ticks {
			if k.InFlight > 14 {
				t.Errorf("tick %d: %d requests under way; want the 13 that 500 a second of 25 ms are", i, k.InFlight)
			}
		}
	})
}

func TestAFreezeCountsForEveryoneWhoWouldHaveAskedMeanwhileInHTTP2(t *testing.T) {
	for name, limit := range map[string]int{"with 8 requests at a time": 8, "with as many as there are": 1000} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// See the test of HTTP/1.1: p99 is 0.9 s, and p99.9 is 0.99 s.
				a := attack("http://truth", constant(100, 100*time.Second))
				a.Traffic.MaxInFlight = limit
				s, out := attackTruth2(t, a, nil, func(s *truth, _ int64, _ http.ResponseWriter, _ net.Conn) {
					if into := time.Since(s.start) % (10 * time.Second); into < time.Second {
						time.Sleep(time.Second - into)
					}
					time.Sleep(time.Millisecond)
				})
				intended, service := s.compare(t, a, out)
				for q, want := range map[float64]time.Duration{99: 900 * time.Millisecond, 99.9: 990 * time.Millisecond} {
					if got := time.Duration(intended.ValueAtQuantile(q)) * time.Microsecond; got < want-10*time.Millisecond || got > want+20*time.Millisecond {
						t.Errorf("p%v from the intended time is %v, and for users it was %v", q, got, want)
					}
				}
				if got := service.ValueAtQuantile(99); near(got, time.Millisecond) != (limit == 8) {
					t.Errorf("p99 from the sent time is %d µs; coordinated omission makes 1 ms of it where requests wait to be sent, and only there", got)
				}
			})
		})
	}
}

func TestErrorsAreCountedOneByOneByWhatHappenedInHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := attack("http://truth", constant(200, 10*time.Second))
		a.Traffic.Timeout = scenarios.Duration(700 * time.Millisecond)
		s, out := attackTruth2(t, a, nil, func(_ *truth, n int64, w http.ResponseWriter, conn net.Conn) {
			switch n % 100 {
			case 1:
				w.WriteHeader(503)
			case 2:
				_ = conn.Close() // nothing else is under way on it
			case 3:
				time.Sleep(300 * time.Millisecond)
			case 4: // in the middle of the body
				_, _ = w.Write([]byte("ab"))
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			case 5:
				panic(http.ErrAbortHandler)
			case 6: // whole, in pieces, with a trailer, after an interim answer
				w.Header().Set("Trailer", "X-Sum")
				w.WriteHeader(http.StatusEarlyHints)
				w.WriteHeader(http.StatusCreated)
				for range 3 {
					_, _ = w.Write(make([]byte, 50_000))
					_ = http.NewResponseController(w).Flush()
				}
				w.Header().Set("X-Sum", "1")
			case 7: // less than it says
				w.Header().Set("Content-Length", "10")
				_, _ = w.Write([]byte("abc"))
			case 8:
				w.WriteHeader(http.StatusNoContent)
			case 95:
				time.Sleep(2 * time.Second)
			}
		})
		p := out.phases[0]
		c := p.Codes
		// Whoever is on a connection that is closed shares its fate: the slow ones of 95 are, once in 2 s.
		if c["503"] != 20 || c["201"] != 20 || c["204"] != 20 || c["reset"] != 40 || c["closed"]+c["timeout"] != 60 || c["timeout"] == 0 || c["200"] != 1840 {
			t.Errorf("codes %v", c)
		}
		if sum := c["200"] + c["201"] + c["204"] + c["503"] + c["reset"] + c["closed"] + c["timeout"]; sum != 2000 || p.Done != 2000 || p.Errors != 20+40+60 {
			t.Errorf("%d requests and %d errors in %v; want each of 2000 once, and 120", sum, p.Errors, c)
		}
		h, err := evidence.DecodeHistogram(p.Intended)
		if err != nil {
			t.Fatal(err)
		}
		if h.TotalCount() != 2000 || h.Max() > 701_000 || len(s.arrived) != 2000 {
			t.Errorf("%s; want every request in it, and none over the time-out; %d arrived", quantiles(h), len(s.arrived))
		}
	})
}

func TestATimeOutInHTTP2LeavesTheConnectionToTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := attack("http://truth", constant(100, 10*time.Second))
		a.Traffic.Timeout = scenarios.Duration(300 * time.Millisecond)
		s, out := attackTruth2(t, a, nil, func(_ *truth, n int64, _ http.ResponseWriter, _ net.Conn) {
			if n%10 == 0 {
				time.Sleep(time.Second)
			}
			time.Sleep(5 * time.Millisecond)
		})
		if d := cmp.Diff(map[string]int{"200": 900, "timeout": 100}, out.phases[0].Codes); d != "" {
			t.Errorf("codes (-want +got):\n%s", d)
		}
		h, err := evidence.DecodeHistogram(out.phases[0].Outcomes["timeout"].Intended)
		if err != nil {
			t.Fatal(err)
		}
		if !near(h.Min(), 300*time.Millisecond) || !near(h.Max(), 300*time.Millisecond) {
			t.Errorf("time-outs took %s; want 300 ms each", quantiles(h))
		}
		if s.conns != 1 {
			t.Errorf("%d connections, where one was good", s.conns)
		}
	})
}

func TestAConnectionThatFallsSilentInHTTP2TakesNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The first connection is dead from 2 s on: its server hangs. Others are well.
		var first net.Conn
		a := attack("http://truth", constant(100, 10*time.Second))
		a.Traffic.Timeout = scenarios.Duration(500 * time.Millisecond)
		s, out := attackTruth2(t, a, nil, func(s *truth, n int64, _ http.ResponseWriter, conn net.Conn) {
			s.mu.Lock()
			if first == nil {
				first = conn
			}
			dead := conn == first && n >= 200
			s.mu.Unlock()
			if dead {
				time.Sleep(3 * time.Second)
			}
		})
		// Those of the half second until the first time-out go to it; at its end one is due at the same instant.
		if c := out.phases[0].Codes; c["timeout"] < 50 || c["timeout"] > 51 || c["200"]+c["timeout"] != 1000 {
			t.Errorf("codes %v; want 50 time-outs of 1000", c)
		}
		if s.conns != 2 {
			t.Errorf("%d connections; want a second one", s.conns)
		}
	})
}

func TestAnHTTP2ConnectionThatOpensSlowlyCountsForWhoWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Opening takes a second: the first 50 of 100 a second have had their time by then, the others wait for the rest.
		a := attack("http://truth", constant(100, 3*time.Second))
		a.Traffic.Timeout = scenarios.Duration(500 * time.Millisecond)
		start := time.Now()
		s, out := attackTruth2(t, a, func(ctx context.Context) error {
			select {
			case <-time.After(time.Second - time.Since(start)):
			case <-ctx.Done():
			}
			return ctx.Err()
		}, func(*truth, int64, http.ResponseWriter, net.Conn) {})
		c := out.phases[0].Codes
		if c["200"]+c["timeout"] != 300 || c["timeout"] < 50 || c["timeout"] > 110 || int(out.phases[0].Done) != 300 {
			t.Errorf("codes %v on %d connections; want time-outs while the first connections open, and then answers", c, s.conns)
		}
	})
}
