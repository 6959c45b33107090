package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/internal/workload"
	"github.com/meshproof/meshproof/scenarios"
)

// buffer is a stdout that can be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) lines(t *testing.T) []Line {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var ls []Line
	for text := range bytes.Lines(b.b.Bytes()) {
		var l Line
		if err := json.Unmarshal(text, &l); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		ls = append(ls, l)
	}
	return ls
}

var environment = map[string]string{
	Env:          `{"cluster":"east","token":"secret","seed":7}`,
	EnvPod:       "shop-1",
	EnvUID:       "uid-1",
	workload.Env: `{"name":"shop","namespace":"app","role":"outsider"}`,
}

// running is an agent on loopback ports of its own.
type running struct {
	t     *testing.T
	ports map[int]string
	out   *buffer
	http  *http.Client
	stop  context.CancelFunc
	ended chan error
}

func startAgent(t *testing.T) *running {
	t.Helper()
	r := &running{t: t, ports: map[int]string{}, out: &buffer{}, http: &http.Client{Transport: &http.Transport{}}, ended: make(chan error, 1)}
	s, err := newServer(func(name string) string { return environment[name] }, r.out)
	if err != nil {
		t.Fatal(err)
	}
	s.settling = 0
	open := make(chan struct{}, 3)
	s.listen = func(port int) (net.Listener, error) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err == nil {
			r.ports[port] = ln.Addr().String()
			open <- struct{}{}
		}
		return ln, err
	}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(t.Context())
	go func() { r.ended <- s.run(ctx) }()
	for range 3 {
		<-open
	}
	return r
}

func (r *running) close() {
	r.t.Helper()
	r.http.CloseIdleConnections()
	r.stop()
	if err := <-r.ended; err != nil {
		r.t.Error(err)
	}
}

// ask posts a command and reads its answer.
func ask[R any](r *running, path, token string, arg any) (res R, status int) {
	r.t.Helper()
	b, err := json.Marshal(arg)
	if err != nil {
		r.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, "http://"+r.ports[ControlPort]+path, bytes.NewReader(b))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set(HeaderToken, token)
	resp, err := r.http.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal(body, &res); err != nil {
			r.t.Fatalf("%s: %v", body, err)
		}
	}
	return res, resp.StatusCode
}

func TestEveryRequestIsALineBeforeItIsAnsweredAndTheLastLineIsTheEnd(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	r := startAgent(t)
	for i := range 3 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.ports[scenarios.WorkloadPort]+"/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(scenarios.HeaderID, fmt.Sprint(i))
		resp, err := r.http.Do(req)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%+v, %v", resp, err)
		}
		_ = resp.Body.Close()
		ls := r.out.lines(t)
		l := ls[len(ls)-1]
		if len(ls) != i+2 || l.N != uint64(i+2) || l.Request.ID != fmt.Sprint(i) || l.Request.At.UID != "uid-1" || l.Request.At.Cluster != "east" {
			t.Fatalf("after request %d: %+v", i, ls)
		}
	}
	if last, status := ask[Last](r, PathLast, "secret", struct{}{}); status != 200 || last.N != 4 || last.Process == "" {
		t.Errorf("last line %+v, status %d", last, status)
	}
	r.close()
	ls := r.out.lines(t)
	if l := ls[len(ls)-1]; !l.End || l.N != 5 {
		t.Errorf("the last line is %+v", l)
	}
}

func TestTheControlPortObeysTheRunsOwnDriverAlone(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	r := startAgent(t)
	defer r.close()
	for _, path := range []string{PathSend, PathHandshake, PathProbe, PathLast} {
		for _, token := range []string{"", "wrong"} {
			if _, status := ask[any](r, path, token, struct{}{}); status != http.StatusForbidden {
				t.Errorf("%s with token %q: status %d", path, token, status)
			}
		}
		if _, status := ask[any](r, path, "secret", []int{1}); status != http.StatusBadRequest {
			t.Errorf("%s with nonsense: status %d", path, status)
		}
	}
	other, _ := ask[SendResult](r, PathSend, "secret", SendCommand{UID: "uid-2", Request: clusters.Request{Host: "h"}})
	if !strings.Contains(other.Refusal, "uid-1") {
		t.Errorf("a command for another pod was obeyed: %+v", other)
	}
	own, _ := ask[SendResult](r, PathSend, "secret", SendCommand{UID: "uid-1", Request: clusters.Request{Host: "nobody.invalid", Timeout: time.Second}})
	if own.Refusal != "" || own.Response.Status != 0 || own.Response.Error == "" {
		t.Errorf("a request to nobody: %+v", own)
	}
	hs, _ := ask[clusters.HandshakeResult](r, PathHandshake, "secret", HandshakeCommand{Address: r.ports[scenarios.WorkloadPort], ServerName: "shop", Timeout: 5 * time.Second})
	if hs.Error != "not TLS" {
		t.Errorf("a handshake with a plain server: %+v", hs)
	}
}

func TestALinkIsMeasuredFromThePod(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	r := startAgent(t)
	defer r.close()
	cmd := ProbeCommand{ID: "p", Address: r.ports[EchoPort], Timeout: 5 * time.Second}
	do := func(what string) ProbeResult {
		t.Helper()
		cmd.Connection = what
		res, status := ask[ProbeResult](r, PathProbe, "secret", cmd)
		if status != http.StatusOK {
			t.Fatalf("%s: status %d", what, status)
		}
		return res
	}
	if res := do("fresh"); !strings.Contains(res.Error, `no probe "p"`) {
		t.Errorf("before it was opened: %+v", res)
	}
	for _, what := range []string{"open", "fresh", "established", "established"} {
		if res := do(what); res.Error != "" || what != "open" && res.Took <= 0 {
			t.Errorf("%s: %+v", what, res)
		}
	}
	if res := do("open"); !strings.Contains(res.Error, "open already") {
		t.Errorf("opened twice: %+v", res)
	}
	if res := do("sideways"); !strings.Contains(res.Error, "sideways") {
		t.Errorf("an unknown command: %+v", res)
	}
	if res := do("close"); res.Error != "" {
		t.Errorf("close: %+v", res)
	}
	do("open") // left open: the agent's end takes it along
}

func TestAnAgentThatDoesNotKnowWhoItIsDoesNotStart(t *testing.T) {
	for _, without := range []string{Env, EnvPod, EnvUID, workload.Env} {
		_, err := newServer(func(name string) string {
			if name == without {
				return ""
			}
			return environment[name]
		}, io.Discard)
		if err == nil || !strings.Contains(err.Error(), without) {
			t.Errorf("without %s: %v", without, err)
		}
	}
	for _, bad := range []string{"{", `{"cluster":"east"}`, `{"token":"x"}`} {
		if _, err := parseConfig(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// broken fails after some bytes.
type broken struct{ left int }

func (b *broken) Write(p []byte) (int, error) {
	if b.left < len(p) {
		return b.left, errors.New("no space")
	}
	b.left -= len(p)
	return len(p), nil
}

func TestARecorderThatFailedOnceRecordsNothingMore(t *testing.T) {
	w := &broken{left: 60}
	r, err := newRecorder(w, "p")
	if err != nil {
		t.Fatal(err)
	}
	w.left = 1
	if r.end() == nil {
		t.Error("half a line was taken for a whole one")
	}
	w.left = 1000
	if r.end() == nil || r.last().N != 1 {
		t.Error("a line was written after half of one")
	}
}
