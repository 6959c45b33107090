package loadgen

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestEveryRequestHasTheHeaderAndTheBodyThatItWasGiven(t *testing.T) {
	for _, engine := range []Engine{Own, Vegeta} {
		var mu sync.Mutex
		var odd []string
		n := 0
		s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			mu.Lock()
			defer mu.Unlock()
			n++
			if err != nil || string(b) != "hello" || r.Header.Get("X-Color") != "green" || len(r.Header.Values("X-Many")) != 2 || r.ContentLength != 5 {
				odd = append(odd, string(b)+" "+r.Header.Get("X-Color"))
			}
		})
		a := attack(s.URL, constant(100, 300*time.Millisecond))
		a.Engine, a.Body = engine, []byte("hello")
		a.Header = http.Header{"X-Color": {"green"}, "X-Many": {"1", "2"}}
		if err := Run(context.Background(), a, &memory{}, nil); err != nil {
			t.Fatal(err)
		}
		if n != 30 || len(odd) > 0 {
			t.Errorf("%s: %d requests, want 30; not as they should be: %q", engine, n, odd)
		}
	}
}

func TestAHeaderThatIsMeshproofsOwnOrNoneIsRefused(t *testing.T) {
	for _, h := range []http.Header{{"x-meshproof-id": {"1"}}, {"Content-Length": {"7"}}, {"host": {"a"}}, {"a b": {"c"}}, {"A": {"b\r\nC: d"}}, {"User-Agent": {"x"}}} {
		a := attack("http://127.0.0.1:1", constant(1, time.Second))
		a.Header = h
		if _, err := newMix(a); err == nil || !strings.Contains(err.Error(), "header") {
			t.Errorf("%v: %v", h, err)
		}
	}
}
