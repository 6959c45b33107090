package workload

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/scenarios"
)

func TestTheClientKeepsItsConnectionsExceptWhereAFreshOneIsAsked(t *testing.T) {
	w := newWorld(t)
	w.serve("cart", http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = rw.Write([]byte(strings.Repeat("x", 1000)))
	}))
	c := w.client()
	for range 5 {
		resp := c.Send(t.Context(), clusters.Request{Host: "cart"})
		if resp.Status != 200 || len(resp.Body) != 256 || resp.Took <= 0 || resp.Error != "" {
			t.Fatalf("%+v", resp)
		}
	}
	if got := w.dials["cart:80"]; got != 1 {
		t.Errorf("5 requests took %d connections, want 1", got)
	}
	for range 3 {
		c.Send(t.Context(), clusters.Request{Host: "cart", Fresh: true})
	}
	if got := w.dials["cart:80"]; got != 4 {
		t.Errorf("3 requests on fresh connections made %d of them", got-1)
	}
}

func TestTheClientNamesWhatWentWrong(t *testing.T) {
	w := newWorld(t)
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addrs["refusing"] = ln.Addr().String()
	_ = ln.Close()
	w.serve("closing", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	w.serve("resetting", http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(rw).Hijack()
		if err == nil {
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}
	}))
	w.serve("short", http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Length", "10")
		_, _ = rw.Write([]byte("half"))
	}))
	slow := make(chan struct{})
	w.serve("slow", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-slow }))
	t.Cleanup(func() { close(slow) })
	for host, want := range map[string]string{
		"refusing": "refused", "closing": "closed", "resetting": "closed", "short": "closed", "slow": "timeout", "nobody": "other: ", "no host": "other: ", "": "other: ",
	} {
		timeout := time.Minute
		if host == "slow" {
			timeout = 200 * time.Millisecond
		}
		resp := w.client().Send(t.Context(), clusters.Request{Host: host, Timeout: timeout, Path: "no slash"})
		if resp.Status != 0 || !strings.HasPrefix(resp.Error, want) {
			t.Errorf("%q: %+v, want %s", host, resp, want)
		}
	}
	for err, want := range map[error]string{
		context.Canceled: "other: context canceled", context.DeadlineExceeded: "timeout", os.ErrDeadlineExceeded: "timeout",
		syscall.EPIPE: "closed", io.ErrUnexpectedEOF: "closed", net.ErrClosed: "closed",
	} {
		if got := ErrorClass(err); got != want {
			t.Errorf("ErrorClass(%v) = %s, want %s", err, got, want)
		}
	}
}

func TestNothingIsSentTwiceWhenAKeptConnectionBreaks(t *testing.T) {
	w := newWorld(t)
	var seen []string
	w.serve("cart", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		seen = append(seen, r.Header.Get(scenarios.HeaderID))
		w.mu.Unlock()
		if r.URL.Path == "/break" {
			panic(http.ErrAbortHandler)
		}
	}))
	c := w.client()
	send := func(path, id string) clusters.Response {
		return c.Send(t.Context(), clusters.Request{Host: "cart", Path: path, Header: http.Header{http.CanonicalHeaderKey(scenarios.HeaderID): {id}}})
	}
	if resp := send("/", "1"); resp.Status != 200 {
		t.Fatalf("%+v", resp)
	}
	if resp := send("/break", "2"); resp.Error != "closed" {
		t.Errorf("%+v, want closed", resp)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(seen, []string{"1", "2"}) {
		t.Errorf("the server saw %v", seen)
	}
}
