package loadgen

import (
	"context"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

func TestAnHTTP2ConnectionThatCannotBeOpenedAtFirstIsOpenedAsSoonAsItCan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Nothing comes back for 2 s, and then opening takes 60 ms, which is more than the time between two requests.
		a := attack("http://truth", constant(20, 10*time.Second))
		a.Traffic.Timeout, a.Traffic.MaxInFlight = scenarios.Duration(time.Second), 25
		start := time.Now()
		s, out := attackTruth2(t, a, func(ctx context.Context) error {
			wait := 60 * time.Millisecond
			if time.Since(start) < 2*time.Second {
				wait = time.Hour
			}
			select {
			case <-time.After(wait):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}, func(*truth, int64, http.ResponseWriter, net.Conn) {})
		p := out.phases[0]
		// At 2.06 s, those of the first 1.06 s have had their time.
		if c := p.Codes; c["timeout"] < 20 || c["timeout"] > 23 || c["200"]+c["timeout"] != 200 || s.conns != 1 {
			t.Errorf("codes %v on %d connections; want the time-outs of a second, and one connection", c, s.conns)
		}
		if p.LagMicros > 1000 {
			t.Errorf("%d µs of lag: those that had had their time kept their places", p.LagMicros)
		}
	})
}

func TestOpeningAnHTTP2ConnectionThatTakesItsWholeTimeBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The first attempt is lost, and the second one is not; so much for a server that was away when it was asked.
		a := attack("http://truth", constant(20, 10*time.Second))
		a.Traffic.Timeout = scenarios.Duration(time.Second)
		attempts := 0
		_, out := attackTruth2(t, a, func(ctx context.Context) error {
			if attempts++; attempts == 1 {
				<-ctx.Done()
			}
			return ctx.Err()
		}, func(*truth, int64, http.ResponseWriter, net.Conn) {})
		if c := out.phases[0].Codes; attempts != 2 || c["timeout"] < 1 || c["timeout"] > 2 || c["200"]+c["timeout"] != 200 {
			t.Errorf("codes %v after %d attempts", c, attempts)
		}
	})
}

// spread reads a histogram.
func spread(t *testing.T, encoded string) (least, most time.Duration) {
	t.Helper()
	h, err := evidence.DecodeHistogram(encoded)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(h.Min()) * time.Microsecond, time.Duration(h.Max()) * time.Microsecond
}

func TestARequestThatWaitsForAPlaceOnAnOpenHTTP2ConnectionIsLateAndNotSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// 100 requests are due before the server says that it takes one at a time, of 50 ms each.
		const settings = 150 * time.Millisecond
		a := attack("http://hostile", constant(1000, 100*time.Millisecond))
		a.Protocol = HTTP2
		out, _ := script{
			first: func(h *hostile) {
				time.Sleep(settings)
				_ = h.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
			},
			each: func(h *hostile, f *http2.MetaHeadersFrame, _ int) bool {
				time.Sleep(50 * time.Millisecond)
				h.ok(f.StreamID)
				return true
			},
		}.meet(t, a)
		p := out.phases[0]
		_, service := spread(t, p.Service)
		_, lag := spread(t, p.Lag)
		if p.Codes["200"] != 100 || service > settings+60*time.Millisecond || lag < 4*time.Second {
			t.Errorf("%v; the service took up to %s, and the generator was up to %s late; want 200 ms at most, and 5 s", p.Codes, service, lag)
		}
		// Until a quarter of a second after the phase's end: that for which the connection was opened, and four or five more.
		if p.Achieved < 4 || p.Achieved > 7 {
			t.Errorf("%d requests were sent in time", p.Achieved)
		}
	})
}

func TestARequestThatGetsNoPlaceOnAnOpenHTTP2ConnectionWasNeverSentInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := attack("http://hostile", constant(40, 500*time.Millisecond))
		a.Protocol, a.Traffic.Timeout = HTTP2, scenarios.Duration(time.Second)
		out, _ := script{first: func(h *hostile) {
			time.Sleep(600 * time.Millisecond)
			_ = h.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0})
		}}.meet(t, a)
		p := out.phases[0]
		if lag, _ := spread(t, p.Lag); p.Codes["timeout"] != 20 || p.Achieved != 0 || lag < 999*time.Millisecond {
			t.Errorf("%v, %d sent in time, %s late at least; want all to have waited for their time-out", p.Codes, p.Achieved, lag)
		}
	})
}
