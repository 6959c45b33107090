package loadgen

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meshproof/meshproof/scenarios"
)

func TestEveryRequestOfTheScheduleIsSentOnceAndCounted(t *testing.T) {
	s := serve(t, ok)
	a := attack(s.URL, constant(100, 600*time.Millisecond), spike(100, 500, 400*time.Millisecond), constant(0, 350*time.Millisecond))
	a.Traffic.Profile.Stages[1].Name = "spike"
	a.Traffic.Requests = []scenarios.RequestKind{{Path: "/items/7?full=1", Weight: 3}, {Method: "POST", Path: "buy"}}
	out := &memory{}
	started := time.Now()
	if err := Run(context.Background(), a, out, nil); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(started); took < 1350*time.Millisecond {
		t.Errorf("the load ended after %v, before its last, silent phase did", took)
	}
	const total = 60 + 120
	seen := s.requests()
	posts := 0
	for n := range total {
		id := fmt.Sprintf("r1-buyers-%d", n)
		rs := seen[id]
		if len(rs) != 1 {
			t.Fatalf("request %s arrived %d times", id, len(rs))
		}
		want := request{method: "GET", host: a.Host, path: "/items/7", query: "full=1", window: "load", requestID: rs[0].requestID}
		if rs[0].method == "POST" {
			posts++
			want.method, want.path, want.query = "POST", "/buy", ""
		}
		if rs[0] != want || len(want.requestID) != 36 {
			t.Fatalf("request %s arrived as %+v, want %+v", id, rs[0], want)
		}
	}
	if len(seen) != total {
		t.Errorf("%d different requests arrived, want %d", len(seen), total)
	}
	if posts < total/10 || posts > total/2 {
		t.Errorf("%d of %d requests were POSTs, want about a quarter", posts, total)
	}
	offered, sent, done, failed := sums(t, out.ticks)
	if offered != total || sent != total || done != total || failed != 0 {
		t.Errorf("ticks: %d offered, %d sent, %d done, %d failed; want %d, none failed", offered, sent, done, failed, total)
	}
	if n := len(out.ticks); n != 6 {
		t.Errorf("%d ticks, want 6: five of 250 ms and one of 100 ms", n)
	}
	if len(out.phases) != 3 {
		t.Fatalf("%d phases, want 3", len(out.phases))
	}
	for i, want := range []struct {
		name    string
		offered int64
	}{{"stage-1", 60}, {"spike", 120}, {"stage-3", 0}} {
		p := out.phases[i]
		_, intended := quantile(t, p.Intended, 50)
		_, service := quantile(t, p.Service, 50)
		if p.Phase != want.name || p.Offered != want.offered || p.Done != want.offered || p.Errors != 0 ||
			intended != want.offered || service != want.offered || p.Codes["200"] != int(want.offered) {
			t.Errorf("phase %d is %+v with %d and %d latencies; want %+v", i, p, intended, service, want)
		}
	}
}

func TestAFrozenServerShowsInIntendedLatencyAndHidesInServiceLatency(t *testing.T) {
	// The server stops answering for two seconds. With 4 requests under way at most, only these see it; some 200 others
	// that should have been sent meanwhile are sent when it is over, and are answered at once.
	var mu sync.Mutex
	var froze time.Time
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if strings.HasSuffix(r.Header.Get(scenarios.HeaderID), "-50") {
			froze = time.Now()
			time.Sleep(2 * time.Second)
		}
	})
	a := attack(s.URL, constant(100, 3*time.Second))
	a.Traffic.MaxInFlight = 4
	a.Start = time.Now()
	out := &memory{}
	if err := Run(context.Background(), a, out, nil); err != nil {
		t.Fatal(err)
	}
	p := out.phases[0]
	intended, _ := quantile(t, p.Intended, 75)
	service, _ := quantile(t, p.Service, 75)
	if intended < 800*time.Millisecond || service > intended/4 {
		t.Errorf("p75 from the intended send time %v, from the actual one %v; want over 800ms and far less", intended, service)
	}
	if lag := time.Duration(p.LagMicros) * time.Microsecond; lag < 1500*time.Millisecond {
		t.Errorf("largest send lag %v, want most of two seconds", lag)
	}
	// The slow requests stand where they were asked for, not where they were answered.
	slowest, underWay := out.ticks[0], int64(0)
	for i, k := range out.ticks {
		if k.InFlight > 4 || k.Concurrent > 4 {
			t.Errorf("tick %d: %d requests under way on %d connections, 4 allowed", i, k.InFlight, k.Concurrent)
		}
		if k.P50Micros > slowest.P50Micros {
			slowest = k
		}
		underWay = max(underWay, k.InFlight)
	}
	if at := slowest.Start.Sub(froze); at < -TickWidth || at > time.Second {
		t.Errorf("the slowest tick starts %v after the server froze for 2 s; want the beginning of that", at)
	}
	if underWay != 4 {
		t.Errorf("at most %d requests were under way, want 4", underWay)
	}
}

func TestALimitOnRequestsUnderWayShowsAsShortfall(t *testing.T) {
	t.Parallel()
	// 2 at once, 50 ms each, make 40 per second where 200 are asked for.
	s := serve(t, func(http.ResponseWriter, *http.Request) { time.Sleep(50 * time.Millisecond) })
	a := attack(s.URL, constant(200, 500*time.Millisecond))
	a.Traffic.MaxInFlight = 2
	out := &memory{}
	if err := Run(context.Background(), a, out, nil); err != nil {
		t.Fatal(err)
	}
	p := out.phases[0]
	if p.Offered != 100 || p.Done != 100 || p.Achieved > 50 || p.Achieved < 2 {
		t.Errorf("%d of %d sent in time and %d done; want at most half, and all", p.Achieved, p.Offered, p.Done)
	}
	if _, sent, done, _ := sums(t, out.ticks); sent != 100 || done != 100 {
		t.Errorf("ticks: %d sent, %d done; want 100, also after the end of the schedule", sent, done)
	}
	late := out.ticks[len(out.ticks)-1]
	if late.Offered != 0 || late.Sent == 0 || late.AtMicros < 500_000 {
		t.Errorf("the last tick is %+v; want one after the end in which late requests were sent", late)
	}
}

func TestAnErrorIsClassedByWhatHappened(t *testing.T) {
	t.Parallel()
	hijack := func(w http.ResponseWriter, say string) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = c.Write([]byte(say))
		_ = c.Close()
	}
	gone := serve(t, ok)
	gone.Close()
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		base   string
		code   string
		failed bool
	}{
		"status 204":           {answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, code: "204"},
		"a redirect":           {answer: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) }, code: "302"},
		"a broken redirect":    {answer: func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Location", ":"); w.WriteHeader(302) }, code: "302"},
		"status 403":           {answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, code: "403", failed: true},
		"status 503":           {answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, code: "503", failed: true},
		"closed, no answer":    {answer: func(w http.ResponseWriter, _ *http.Request) { hijack(w, "") }, code: "closed", failed: true},
		"closed in the header": {answer: func(w http.ResponseWriter, _ *http.Request) { hijack(w, "HTTP/1.1 200 O") }, code: "closed", failed: true},
		"closed in the body": {answer: func(w http.ResponseWriter, _ *http.Request) {
			hijack(w, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
		}, code: "closed", failed: true},
		"no HTTP":        {answer: func(w http.ResponseWriter, _ *http.Request) { hijack(w, "220 smtp ready\r\n\r\n") }, code: "other", failed: true},
		"no answer":      {answer: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, code: "timeout", failed: true},
		"a stuck body":   {answer: stuckBody, code: "timeout", failed: true},
		"nobody listens": {base: gone.URL, code: "refused", failed: true},
	} {
		engines(t, func(t *testing.T, e Engine) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				base := tc.base
				if base == "" {
					base = serve(t, tc.answer).URL
				}
				a := attack(base, constant(40, 500*time.Millisecond))
				a.Engine = e
				if tc.code == "timeout" {
					a.Traffic.Timeout = scenarios.Duration(300 * time.Millisecond)
				}
				out := &memory{}
				if err := Run(context.Background(), a, out, nil); err != nil {
					t.Fatal(err)
				}
				p := out.phases[0]
				if want := map[string]int{tc.code: 20}; !cmp.Equal(p.Codes, want) {
					t.Errorf("codes %v, want %v", p.Codes, want)
				}
				if want := map[bool]int64{true: 20}[tc.failed]; p.Errors != want {
					t.Errorf("%d errors, want %d", p.Errors, want)
				}
			})
		})
	}
}

func stuckBody(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Length", "10")
	_, _ = w.Write([]byte("abc"))
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

func TestNothingIsSentTwice(t *testing.T) {
	engines(t, func(t *testing.T, e Engine) {
		// The server drops every third request on a kept connection without a word. net/http would send a GET again.
		var mu sync.Mutex
		n := 0
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			mu.Lock()
			n++
			drop := n%3 == 0
			mu.Unlock()
			if drop {
				if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
					_ = c.Close()
				}
			}
		})
		a := attack(s.URL, constant(150, time.Second))
		a.Engine = e
		a.Traffic.MaxInFlight = 1 // one connection, used again and again
		a.Traffic.Requests = []scenarios.RequestKind{{Method: "GET"}, {Method: "HEAD"}, {Method: "DELETE"}, {Method: "POST"}}
		out := &memory{}
		if err := Run(context.Background(), a, out, nil); err != nil {
			t.Fatal(err)
		}
		for id, rs := range s.requests() {
			if len(rs) != 1 || rs[0].chunked || rs[0].length != 0 {
				t.Errorf("%s arrived %d times, as %+v; want once, without a body", id, len(rs), rs[0])
			}
		}
		if got := out.phases[0].Codes; got["closed"] != 50 || got["200"] != 100 {
			t.Errorf("codes %v, want 100 answers and 50 closed connections", got)
		}
	})
}

func TestTheSameSeedSendsTheSameRequests(t *testing.T) {
	engines(t, func(t *testing.T, e Engine) {
		run := func(seed int64, name string) map[string][]request {
			s := serve(t, ok)
			a := attack(s.URL, constant(200, 300*time.Millisecond))
			a.Engine = e
			a.Seed, a.Traffic.Name = seed, name
			a.Traffic.Requests = []scenarios.RequestKind{{Path: "/a"}, {Path: "/b", Weight: 2}, {Path: "/c", Method: "PUT"}}
			if err := Run(context.Background(), a, &memory{}, nil); err != nil {
				t.Fatal(err)
			}
			return s.requests()
		}
		first := run(7, "buyers")
		if again := run(7, "buyers"); !cmp.Equal(first, again, cmp.AllowUnexported(request{})) {
			t.Errorf("the same seed sent other requests: %s", cmp.Diff(first, again, cmp.AllowUnexported(request{})))
		}
		if other := run(8, "buyers"); cmp.Equal(first, other, cmp.AllowUnexported(request{})) {
			t.Error("another seed sent the same requests")
		}
		kinds := func(m map[string][]request, name string) (s string) {
			for n := range 60 {
				s += m[fmt.Sprintf("r1-%s-%d", name, n)][0].path
			}
			return s
		}
		if kinds(first, "buyers") == kinds(run(7, "visitors"), "visitors") {
			t.Error("two traffics of one seed drew the same mix")
		}
	})
}

func TestALoadThatIsCancelledStopsAtOnceAndLeavesWhatItHas(t *testing.T) {
	t.Parallel()
	s := serve(t, ok)
	a := attack(s.URL, constant(200, time.Second), constant(200, time.Minute), constant(1, time.Minute))
	out := &memory{}
	ctx := cancelled(t, s, 240)
	err := Run(ctx, a, out, nil)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want the context's", err)
	}
	arrived := int64(s.count())
	time.Sleep(300 * time.Millisecond)
	if late := int64(s.count()); late != arrived {
		t.Errorf("%d requests arrived after Run had returned", late-arrived)
	}
	_, sent, done, _ := sums(t, out.ticks)
	if sent != arrived || done != arrived || arrived > 2000 {
		t.Errorf("%d arrived; ticks have %d sent, %d done", arrived, sent, done)
	}
	if len(out.phases) != 2 {
		t.Fatalf("%d phases, want the two that had begun", len(out.phases))
	}
	if p := out.phases[1]; p.Offered != 12_000 || p.Achieved >= 2000 || p.Achieved != arrived-200 {
		t.Errorf("the phase that was cut has %d of %d achieved; want what was sent of all that was planned", p.Achieved, p.Offered)
	}
}

func TestACancelledLoadDoesNotWaitForAServerThatNeverAnswers(t *testing.T) {
	t.Parallel()
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	a := attack(s.URL, constant(50, time.Minute))
	a.Traffic.Timeout = scenarios.Duration(time.Minute)
	out := &memory{}
	ctx := cancelled(t, s, 20)
	started := time.Now()
	if err := Run(ctx, a, out, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want the context's", err)
	}
	if took := time.Since(started); took > Patience+10*time.Second {
		t.Errorf("Run took %v to give up; want about %v", took, Patience)
	}
	_, sent, done, failed := sums(t, out.ticks)
	if sent < 20 || done != 0 || failed != 0 {
		t.Errorf("%d sent, %d done, %d failed; what was given up has no outcome", sent, done, failed)
	}
	if p := out.phases[0]; p.Achieved != sent || p.Done != 0 {
		t.Errorf("phase: %d achieved and %d done; want %d and none", p.Achieved, p.Done, sent)
	}
}

func TestACancelledLoadDoesNotWaitForItsNextRequest(t *testing.T) {
	t.Parallel()
	s := serve(t, ok)
	ctx, cancel := context.WithCancel(context.Background())
	a := attack(s.URL, constant(0.01, 200*time.Second)) // its first request is meant for 50 s
	time.AfterFunc(300*time.Millisecond, cancel)
	out := &memory{}
	started := time.Now()
	if err := Run(ctx, a, out, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want the context's", err)
	}
	if took := time.Since(started); took > 20*time.Second {
		t.Errorf("Run took %v", took)
	}
	if s.count() != 0 || len(out.ticks) == 0 {
		t.Errorf("%d requests and %d ticks; want none and some", s.count(), len(out.ticks))
	}
}

func TestARecordThatCannotBeWrittenEndsTheLoad(t *testing.T) {
	t.Parallel()
	s := serve(t, ok)
	out := &memory{failAt: 3}
	err := Run(context.Background(), attack(s.URL, constant(50, time.Minute)), out, nil)
	if !errors.Is(err, errDisk) || !strings.Contains(err.Error(), `load "buyers": recording a tick`) {
		t.Errorf("error %v, want the sink's with what was being done", err)
	}
	if n := s.count(); n > 1000 {
		t.Errorf("%d requests were sent after the record had failed", n)
	}
}

func TestALoadThatStartsLaterKeepsToItsZero(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var first time.Time
	s := serve(t, func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if first.IsZero() {
			first = time.Now()
		}
	})
	a := attack(s.URL, constant(100, 300*time.Millisecond))
	a.Start = time.Now().Add(400 * time.Millisecond)
	out := &memory{}
	if err := Run(context.Background(), a, out, nil); err != nil {
		t.Fatal(err)
	}
	if first.Before(a.Start) {
		t.Errorf("the first request came %v before the start", a.Start.Sub(first))
	}
	if offered, sent, done, _ := sums(t, out.ticks); offered != 30 || sent != 30 || done != 30 {
		t.Errorf("%d offered, %d sent, %d done; want 30", offered, sent, done)
	}
	if !out.ticks[1].Start.Equal(a.Start.Add(TickWidth)) {
		t.Errorf("the second tick starts at %v, want %v", out.ticks[1].Start, a.Start.Add(TickWidth))
	}
}

func TestProgressTellsWhatALiveViewShows(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.Header.Get(scenarios.HeaderID), "0") {
			w.WriteHeader(500)
		}
	})
	a := attack(s.URL, constant(200, time.Second), constant(0, 500*time.Millisecond))
	var got []Progress
	if err := Run(context.Background(), a, &memory{}, func(p Progress) { got = append(got, p) }); err != nil {
		t.Fatal(err)
	}
	if len(got) < 3 {
		t.Fatalf("%d reports in 1.5 s", len(got))
	}
	var offered, sent float64
	var errors float64
	last := time.Duration(0)
	for _, p := range got {
		d := (p.Elapsed - last).Seconds()
		offered, sent, last = offered+p.OfferedRate*d, sent+p.AchievedRate*d, p.Elapsed
		errors = max(errors, p.ErrorRate)
	}
	if offered < 199 || offered > 201 || sent < 199 || sent > 201 {
		t.Errorf("rates add up to %.1f offered, %.1f sent; want 200", offered, sent)
	}
	if errors < 0.02 || errors > 0.5 {
		t.Errorf("highest error rate %.2f, want about a tenth", errors)
	}
	if f, l := got[0], got[len(got)-1]; f.Phase != "stage-1" || f.P99 <= 0 || f.Traffic != "buyers" || l.Phase != "stage-2" {
		t.Errorf("first report %+v, last %+v", f, l)
	}
}

func TestAnAttackThatCannotBeSentIsRefused(t *testing.T) {
	good := attack("http://127.0.0.1:1", constant(1, time.Second))
	for name, tc := range map[string]struct {
		change func(*Attack)
		want   string
	}{
		"no timeout":           {func(a *Attack) { a.Traffic.Timeout = 0 }, "timeout 0s"},
		"no requests":          {func(a *Attack) { a.Traffic.MaxInFlight = 0 }, "maxInFlight 0"},
		"no prefix":            {func(a *Attack) { a.IDPrefix = "" }, "no prefix"},
		"no profile":           {func(a *Attack) { a.Traffic.Profile.Stages = nil }, "no stages"},
		"no address":           {func(a *Attack) { a.Base = "" }, "not of the form"},
		"unknown engine":       {func(a *Attack) { a.Engine = "turbo" }, `unknown engine "turbo"`},
		"unknown protocol":     {func(a *Attack) { a.Protocol = "spdy" }, `unknown protocol "spdy"`},
		"not that engine's":    {func(a *Attack) { a.Engine, a.Protocol = Own, GRPC }, "engine own does not send grpc"},
		"a host of two lines":  {func(a *Attack) { a.Host = "shop\r\nX: y" }, "can't be in a header"},
		"a token of two lines": {func(a *Attack) { a.Tokens = []string{"secret\nx"} }, "a user's token has characters"},
		"another scheme":       {func(a *Attack) { a.Base = "ftp://127.0.0.1" }, "not of the form"},
		"bad address":          {func(a *Attack) { a.Base = "http://[::1" }, "the address to send to"},
		"bad path":             {func(a *Attack) { a.Traffic.Requests = []scenarios.RequestKind{{Path: "/%zz"}} }, "path of request 1"},
		"bad method":           {func(a *Attack) { a.Traffic.Requests = []scenarios.RequestKind{{Method: "GE T"}} }, "invalid method"},
		"negative weight":      {func(a *Attack) { a.Traffic.Requests = []scenarios.RequestKind{{Weight: -1}} }, "weight -1"},
	} {
		t.Run(name, func(t *testing.T) {
			a := good
			tc.change(&a)
			err := Run(context.Background(), a, &memory{}, nil)
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), `load "buyers"`) {
				t.Errorf("error %v, want one that names the load and says %q", err, tc.want)
			}
		})
	}
}
