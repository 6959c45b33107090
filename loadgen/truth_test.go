package loadgen

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/go-cmp/cmp"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// truth is a server in memory and in virtual time that records each request itself. What a load reports is held against
// its record, request by request, to the microsecond.
type truth struct {
	start  time.Time
	answer func(n int64, w io.Writer) bool // writes the answer, or closes the connection by returning false

	mu       sync.Mutex
	arrived  map[int64]time.Duration
	answered map[int64]time.Duration
	conns    int
	running  sync.WaitGroup
}

const answer200 = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func say(w io.Writer, text string) bool {
	_, err := io.WriteString(w, text)
	return err == nil
}

// dial opens a connection to the server.
func (s *truth) dial(context.Context, string) (net.Conn, error) {
	near, far := net.Pipe()
	s.mu.Lock()
	s.conns++
	s.mu.Unlock()
	s.running.Go(func() {
		defer func() { _ = far.Close() }()
		for in := bufio.NewReader(far); ; {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			n := s.arrive(r)
			if !s.answer(n, far) {
				return
			}
			s.mu.Lock()
			s.answered[n] = time.Since(s.start)
			s.mu.Unlock()
		}
	})
	return near, nil
}

// arrive records a request, which may come only once, and returns its number.
func (s *truth) arrive(r *http.Request) (n int64) {
	if _, err := fmt.Sscanf(r.Header.Get(scenarios.HeaderID), "r1-buyers-%d", &n); err != nil {
		panic(err)
	}
	at := time.Since(s.start)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, twice := s.arrived[n]; twice {
		panic(fmt.Sprintf("request %d came twice", n))
	}
	s.arrived[n] = at
	return n
}

// attackTruth runs an attack on a server in virtual time.
func attackTruth(t *testing.T, a Attack, answer func(s *truth, n int64, w io.Writer) bool) (*truth, *memory) {
	t.Helper()
	s := &truth{start: time.Now(), arrived: map[int64]time.Duration{}, answered: map[int64]time.Duration{}}
	s.answer = func(n int64, w io.Writer) bool { return answer(s, n, w) }
	a.Start, a.Dial = s.start, s.dial
	out := &memory{}
	err := runBy(t.Context(), a, newTimerAlarm, out, nil)
	s.running.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return s, out
}

// compare holds the histograms of a load's only phase against the record of a server that answered everything.
func (s *truth) compare(t *testing.T, a Attack, out *memory) (intended, service *hdrhistogram.Histogram) {
	t.Helper()
	schedule, err := NewSchedule(a.Traffic.Profile, a.seed())
	if err != nil {
		t.Fatal(err)
	}
	trueIntended, trueService := evidence.NewHistogram(), evidence.NewHistogram()
	for n := range schedule.Total() {
		answered, ok := s.answered[n]
		if !ok {
			t.Fatalf("request %d was not answered", n)
		}
		if s.arrived[n] < schedule.At(n) {
			t.Fatalf("request %d came %v before its time", n, schedule.At(n)-s.arrived[n])
		}
		evidence.RecordMicros(trueIntended, (answered - schedule.At(n)).Microseconds())
		evidence.RecordMicros(trueService, (answered - s.arrived[n]).Microseconds())
	}
	read := func(text string) *hdrhistogram.Histogram {
		h, err := evidence.DecodeHistogram(text)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	intended, service = read(out.phases[0].Intended), read(out.phases[0].Service)
	if !intended.Equals(trueIntended) {
		t.Errorf("latency from the intended time is\n%s\nand in truth\n%s", quantiles(intended), quantiles(trueIntended))
	}
	if !service.Equals(trueService) {
		t.Errorf("latency from the sent time is\n%s\nand in truth\n%s", quantiles(service), quantiles(trueService))
	}
	return intended, service
}

func quantiles(h *hdrhistogram.Histogram) string {
	return fmt.Sprintf("%d: p50 %d, p90 %d, p99 %d, p99.9 %d, max %d µs", h.TotalCount(), h.ValueAtQuantile(50), h.ValueAtQuantile(90),
		h.ValueAtQuantile(99), h.ValueAtQuantile(99.9), h.Max())
}

// near reports whether a value of a histogram is within its three digits of a time.
func near(value int64, want time.Duration) bool {
	d := value - want.Microseconds()
	return max(d, -d) <= want.Microseconds()/1000+1
}

func TestAFixedDelayIsReportedAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := attack("http://truth", constant(500, 20*time.Second))
		s, out := attackTruth(t, a, func(_ *truth, _ int64, w io.Writer) bool {
			time.Sleep(25 * time.Millisecond)
			return say(w, answer200)
		})
		intended, _ := s.compare(t, a, out)
		if !near(intended.Min(), 25*time.Millisecond) || !near(intended.Max(), 25*time.Millisecond) {
			t.Errorf("%s; want 25 ms for every request", quantiles(intended))
		}
		if p := out.phases[0]; p.LagMicros != 0 || s.conns > 14 {
			t.Errorf("%d µs of lag on %d connections; want none, on the 13 that are needed", p.LagMicros, s.conns)
		}
	})
}

func TestAQueueAtTheServerIsReportedAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// One server, 9 ms each, is asked 100 times a second, and for a second 150 times: the queue is that of Lindley's
		// recursion, and each request waits until those before it are answered.
		const each = 9 * time.Millisecond
		a := attack("http://truth", constant(100, 5*time.Second), constant(150, time.Second), constant(100, 20*time.Second))
		one := make(chan struct{}, 1)
		s, out := attackTruth(t, a, func(_ *truth, _ int64, w io.Writer) bool {
			one <- struct{}{}
			defer func() { <-one }()
			time.Sleep(each)
			return say(w, answer200)
		})
		schedule, err := NewSchedule(a.Traffic.Profile, a.seed())
		if err != nil {
			t.Fatal(err)
		}
		var free, longest time.Duration
		for n := range schedule.Total() {
			free = max(free, schedule.At(n)) + each
			longest = max(longest, free-schedule.At(n))
			if s.answered[n] != free {
				t.Fatalf("request %d was answered at %v; with one server and no lag it would be %v", n, s.answered[n], free)
			}
		}
		var worst int64
		for _, k := range out.ticks {
			worst = max(worst, k.MaxMicros)
		}
		if longest < 300*time.Millisecond || worst != longest.Microseconds() {
			t.Errorf("the longest latency is %d µs, in truth %v", worst, longest)
		}
	})
}

func TestAFreezeCountsForEveryoneWhoWouldHaveAskedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The server freezes for the first second of every ten. Whoever would have asked then, a tenth of all, waits for
		// what is left of the second: P(latency > x) = (1 s - x) / 10 s. So p99 is 0.9 s, and p99.9 is 0.99 s.
		// A generator with 8 requests at a time sends 8 of the 100, and the others late.
		a := attack("http://truth", constant(100, 100*time.Second))
		a.Traffic.MaxInFlight = 8
		s, out := attackTruth(t, a, func(s *truth, _ int64, w io.Writer) bool {
			if into := time.Since(s.start) % (10 * time.Second); into < time.Second {
				time.Sleep(time.Second - into)
			}
			time.Sleep(time.Millisecond)
			return say(w, answer200)
		})
		intended, service := s.compare(t, a, out)
		for q, want := range map[float64]time.Duration{99: 900 * time.Millisecond, 99.9: 990 * time.Millisecond} {
			// Those who waited are answered 8 at a time, which takes 12 ms.
			if got := time.Duration(intended.ValueAtQuantile(q)) * time.Microsecond; got < want-10*time.Millisecond || got > want+20*time.Millisecond {
				t.Errorf("p%v from the intended time is %v, and for users it was %v", q, got, want)
			}
		}
		if got := service.ValueAtQuantile(99); !near(got, time.Millisecond) {
			t.Errorf("p99 from the sent time is %d µs; want 1 ms, which is what coordinated omission makes of it", got)
		}
	})
}

func TestErrorsAreCountedOneByOneByWhatHappened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := attack("http://truth", constant(200, 10*time.Second))
		a.Traffic.Timeout = scenarios.Duration(700 * time.Millisecond)
		_, out := attackTruth(t, a, func(_ *truth, n int64, w io.Writer) bool {
			switch {
			case n%100 == 1:
				return say(w, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
			case n%100 == 2:
				return false
			case n%100 == 3:
				time.Sleep(2 * time.Second)
			case n%100 == 4: // in the middle of the body
				return say(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab") && false
			case n%100 == 5:
				return say(w, "220 smtp ready\r\n\r\n")
			case n%100 == 6: // whole, in pieces, with a trailer, after an interim answer
				return say(w, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n") &&
					say(w, "5\r\nabcde\r\n0\r\nX-Sum: 1\r\n\r\n")
			case n%100 == 7: // to the end of the connection
				return say(w, "HTTP/1.1 202 Accepted\r\n\r\nabc") && false
			case n%100 == 8:
				return say(w, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
			}
			return say(w, answer200)
		})
		p := out.phases[0]
		want := map[string]int{"503": 20, "closed": 40, "timeout": 20, "other": 20, "201": 20, "202": 20, "204": 20, "200": 1840}
		if d := cmp.Diff(want, p.Codes); d != "" || p.Errors != 100 {
			t.Errorf("%d errors, want 100; codes (-want +got):\n%s", p.Errors, d)
		}
		h, err := evidence.DecodeHistogram(p.Intended)
		if err != nil {
			t.Fatal(err)
		}
		if !near(h.Max(), 700*time.Millisecond) || h.TotalCount() != 2000 {
			t.Errorf("%s; want every request in it, and the time-out of 700 ms", quantiles(h))
		}
	})
}

func TestTheTimeOutOfOneRequestIsNotThatOfTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Answers take 250 ms, in two pieces within the header and two within the body; each is read over the time at which
		// a request before it would have timed out. After a while nothing is asked for longer than the time-out.
		a := attack("http://truth", constant(3.7, 20*time.Second), constant(0, 5*time.Second), constant(3.7, 5*time.Second))
		a.Traffic.Timeout = scenarios.Duration(300 * time.Millisecond)
		s, out := attackTruth(t, a, func(_ *truth, _ int64, w io.Writer) bool {
			for _, piece := range []string{"HTTP/1.1 200 OK\r\nContent-Le", "ngth: 6\r\n\r\nabc", "def"} {
				time.Sleep(83 * time.Millisecond)
				if !say(w, piece) {
					return false
				}
			}
			return true
		})
		for _, p := range out.phases {
			if p.Errors > 0 {
				t.Errorf("%s: %v; every answer came in time", p.Phase, p.Codes)
			}
		}
		if s.conns != 1 {
			t.Errorf("%d connections, where one was always free", s.conns)
		}
	})
}
