package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/meshproof/meshproof/reports"
)

// loaded runs "meshproof load" at a server that answers at once; meanwhile is called when half of n requests have come.
func loaded(t *testing.T, n int64, meanwhile func(pid int), args ...string) (*reports.Load, int) {
	t.Helper()
	var seen atomic.Int64
	half := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if seen.Add(1) == n/2 {
			close(half)
		}
	}))
	defer s.Close()
	cmd := command(t, t.TempDir(), append([]string{"load", s.URL, "--output", "json"}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if meanwhile != nil {
		<-half
		meanwhile(cmd.Process.Pid)
	}
	var l reports.Load
	if err := json.NewDecoder(out).Decode(&l); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // its exit code says how
	return &l, cmd.ProcessState.ExitCode()
}

func TestALoadGeneratorThatIsStarvedCallsItsFiguresInvalid(t *testing.T) {
	l, code := loaded(t, 200, func(pid int) {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Error(err)
		}
		time.Sleep(1200 * time.Millisecond)
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			t.Error(err)
		}
	}, "--rate", "100", "--duration", "2s", "--expect", "p99<100ms")
	if code != exitInvalid || l.Verdict != "INVALID" {
		t.Errorf("exit code %d, %s %s: %s", code, l.Verdict, l.Reason, l.Message)
	}
	if lag := l.Whole.Lag["p99"]; lag < 500_000 {
		t.Errorf("p99 of the send lag is %d µs, want most of a second", lag)
	}
}

func TestALoadThatIsStoppedEndsWithItsOwnExitCodeAndAReport(t *testing.T) {
	l, code := loaded(t, 100, func(pid int) {
		if err := syscall.Kill(pid, syscall.SIGINT); err != nil {
			t.Error(err)
		}
	}, "--rate", "100", "--duration", "1m")
	if code != exitInterrupted || !l.Interrupted || l.Whole == nil || l.Whole.Done < 50 {
		t.Errorf("exit code %d, %+v", code, l)
	}
}
