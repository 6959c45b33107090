package loadgen

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshproof/meshproof/scenarios"
)

func users(n int, think, d time.Duration) scenarios.Stage {
	return scenarios.Stage{Users: n, Think: &scenarios.Think{Mean: scenarios.Duration(think)}, For: scenarios.Duration(d)}
}

func TestAClosedLoopAsksWhenItHadItsAnswerAndThought(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// 3 users who are answered after 10 ms and think 90 ms ask ten times a second each: R = N / (answer + think).
		a := attack("http://truth", users(3, 90*time.Millisecond, 10*time.Second), users(5, 90*time.Millisecond, 5*time.Second))
		s, out := attackTruth(t, a, func(_ *truth, _ int64, w io.Writer) bool {
			time.Sleep(10 * time.Millisecond)
			return say(w, answer200)
		})
		for i, want := range []int64{300, 250} {
			p := out.phases[i]
			if p.Offered != want || p.Done != want || p.Codes["200"] != int(want) || p.LagMicros != 0 {
				t.Errorf("phase %d: %d offered, %d done, %v, %d µs late; want %d and none late", i, p.Offered, p.Done, p.Codes, p.LagMicros, want)
			}
			if q, n := quantile(t, p.Service, 100); n != want || !near(q.Microseconds(), 10*time.Millisecond) {
				t.Errorf("phase %d: %d latencies of up to %v; want %d of 10 ms", i, n, q, want)
			}
		}
		if s.conns != 8 {
			t.Errorf("%d connections; want one for each of 3 and 5 users", s.conns)
		}
		// The first request of each user comes at the phase's start, the next 100 ms later.
		schedule, err := NewSchedule(a.Traffic.Profile, a.seed())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range schedule.Phases() {
			for user := range p.Closed.Users {
				for turn := range int64(50) {
					if got, want := s.arrived[p.Closed.Number(user, turn)], p.Start+time.Duration(turn)*100*time.Millisecond; got != want {
						t.Fatalf("turn %d of user %d in %s came at %v, want %v", turn, user, p.Name, got, want)
					}
				}
			}
		}
	})
}

func TestAClosedLoopHidesAFreeze(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The same server as in the open truth test. 10 users who think 99 ms wait once in each freeze: 10 of the 910
		// requests of ten seconds, where a tenth of open arrivals would.
		a := attack("http://truth", users(10, 99*time.Millisecond, 100*time.Second))
		_, out := attackTruth(t, a, func(s *truth, _ int64, w io.Writer) bool {
			if into := time.Since(s.start) % (10 * time.Second); into < time.Second {
				time.Sleep(time.Second - into)
			}
			time.Sleep(time.Millisecond)
			return say(w, answer200)
		})
		if q, n := quantile(t, out.phases[0].Intended, 98); q > 2*time.Millisecond || n < 9000 || n > 9200 {
			t.Errorf("p98 of %d requests is %v; want 1 ms of some 9,100, which is why no budget may rest on it", n, q)
		}
	})
}

func TestAClosedLoopGoesOnAfterConnectionsThatEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := attack("http://truth", users(2, 10*time.Millisecond, 10*time.Second))
		a.Traffic.Timeout = scenarios.Duration(40 * time.Millisecond)
		_, out := attackTruth(t, a, func(_ *truth, n int64, w io.Writer) bool {
			switch n % 4 {
			case 0:
				return false
			case 1:
				time.Sleep(time.Second)
			case 2:
				return say(w, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
			}
			return say(w, answer200)
		})
		// User 0 has the even numbers: closed, 10 ms, answered, 10 ms. User 1 the odd ones: 40 ms, 10 ms, answered, 10 ms.
		c := out.phases[0].Codes
		if c["closed"] != 500 || c["timeout"] != 167 || c["200"] != 500+166 {
			t.Errorf("codes %v; want 500 closed, 167 time-outs, and 666 answers", c)
		}
	})
}

func TestAClosedLoopCountsWhatIsRecordedLongAfterItsPhase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Something in this process keeps each request from being given up when its time is over, for 3 s.
		a := attack("http://truth", users(2, 10*time.Millisecond, time.Second), users(1, time.Second, 10*time.Second))
		a.Traffic.Timeout = scenarios.Duration(40 * time.Millisecond)
		var dialled int64
		var mu sync.Mutex
		a.Dial = func(context.Context, string) (net.Conn, error) {
			mu.Lock()
			dialled++
			mu.Unlock()
			time.Sleep(3 * time.Second)
			return nil, context.DeadlineExceeded
		}
		a.Start = time.Now()
		out := &memory{}
		if err := runBy(t.Context(), a, newTimerAlarm, out, nil); err != nil {
			t.Fatal(err)
		}
		_, sent, done, _ := sums(t, out.ticks)
		if sent != dialled || done != dialled {
			t.Errorf("%d sent and %d done in all ticks, want %d", sent, done, dialled)
		}
		for i, want := range []int64{2, dialled - 2} {
			if p := out.phases[i]; p.Offered != want || p.Done != want || p.Errors != want {
				t.Errorf("phase %d: %d offered, %d done, %d errors; want %d", i, p.Offered, p.Done, p.Errors, want)
			}
		}
	})
}

func TestAClosedLoopThatIsStoppedLeavesWhatItHas(t *testing.T) {
	s := serve(t, ok)
	a := attack(s.URL, users(4, time.Millisecond, time.Minute))
	out := &memory{}
	if err := Run(cancelled(t, s, 100), a, out, nil); err == nil {
		t.Fatal("no error")
	}
	_, sent, done, _ := sums(t, out.ticks)
	if n := int64(s.count()); sent != n || done != n || n < 100 {
		t.Errorf("%d arrived, %d sent, %d done", n, sent, done)
	}
}

func TestAClosedLoopThatCannotBeSentIsRefused(t *testing.T) {
	for want, change := range map[string]func(*Attack){
		"closed loop, which is sent in http1 and tcp": func(a *Attack) { a.Protocol = HTTP2 },
		"by engine own alone":                         func(a *Attack) { a.Engine = Vegeta },
		"has 4 users, and maxInFlight is 3":           func(a *Attack) { a.Traffic.MaxInFlight = 3 },
	} {
		a := attack("http://127.0.0.1:1", users(4, 0, time.Second))
		change(&a)
		if err := Run(context.Background(), a, &memory{}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that says %q", err, want)
		}
	}
}
