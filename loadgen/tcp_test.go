package loadgen

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meshproof/meshproof/scenarios"
)

// lines is a server that answers lines as a test wants, and remembers them.
func lines(t *testing.T, answer func(line string, w io.Writer) bool) (string, func() []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var seen []string
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer func() { _ = c.Close() }()
				for in := bufio.NewReader(c); ; {
					line, err := in.ReadString('\n')
					if err != nil {
						return
					}
					mu.Lock()
					seen = append(seen, line)
					mu.Unlock()
					if !answer(line, c) {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); running.Wait() })
	return "tcp://" + l.Addr().String(), func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), seen...)
	}
}

func TestOverTCPALineIsAnsweredByALine(t *testing.T) {
	for name, tc := range map[string]struct {
		body   *scenarios.Body
		answer func(line string, w io.Writer) bool
		codes  map[string]int
	}{
		"an echo":            {answer: func(line string, w io.Writer) bool { return say(w, line) }, codes: map[string]int{"200": 40}},
		"a large echo":       {body: &scenarios.Body{Bytes: 100_000}, answer: func(line string, w io.Writer) bool { return say(w, line) }, codes: map[string]int{"200": 40}},
		"in two pieces":      {answer: func(_ string, w io.Writer) bool { return say(w, "o") && say(w, "k\n") }, codes: map[string]int{"200": 40}},
		"no end of the line": {answer: func(_ string, w io.Writer) bool { return say(w, "ok") && false }, codes: map[string]int{"closed": 40}},
		"no answer":          {answer: func(string, io.Writer) bool { return true }, codes: map[string]int{"timeout": 40}},
		"every other one": {answer: func(line string, w io.Writer) bool {
			return strings.ContainsAny(line[len(line)-2:], "02468") && say(w, "ok\n")
		}, codes: map[string]int{"200": 20, "closed": 20}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base, seen := lines(t, tc.answer)
			a := attack(base, constant(100, 400*time.Millisecond))
			a.Protocol = TCP
			a.Traffic.Requests = []scenarios.RequestKind{{Body: tc.body}}
			if tc.codes["timeout"] > 0 {
				a.Traffic.Timeout = scenarios.Duration(300 * time.Millisecond)
			}
			out := &memory{}
			if err := Run(context.Background(), a, out, nil); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.codes, out.phases[0].Codes); d != "" {
				t.Errorf("codes (-want +got):\n%s", d)
			}
			ids := map[string]int{}
			for _, line := range seen() {
				id, body, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
				ids[id]++
				if tc.body != nil && len(body) != tc.body.Bytes {
					t.Fatalf("a line has a body of %d bytes, want %d", len(body), tc.body.Bytes)
				}
			}
			for n := range 40 {
				if id := fmt.Sprintf("r1-buyers-%d", n); ids[id] != 1 {
					t.Errorf("%s came %d times", id, ids[id])
				}
			}
		})
	}
}

func TestWhatTCPHasNoPlaceForIsRefused(t *testing.T) {
	for want, change := range map[string]func(*Attack){
		"not of the form tcp://host:port":       func(a *Attack) { a.Base = "http://127.0.0.1:1" },
		"has no port, or a path":                func(a *Attack) { a.Base = "tcp://127.0.0.1" },
		"for which TCP has no place":            func(a *Attack) { a.Traffic.Requests = []scenarios.RequestKind{{Path: "/x"}} },
		"a body of several lines, for which":    func(a *Attack) { a.Body = []byte("one\ntwo") },
		"tokens, for which TCP has no place":    func(a *Attack) { a.Tokens = []string{"t"} },
		"engine vegeta does not send tcp":       func(a *Attack) { a.Engine = Vegeta },
		"not of the form http://host:port or h": func(a *Attack) { a.Protocol = HTTP1 },
	} {
		a := attack("tcp://127.0.0.1:1", constant(1, time.Second))
		a.Protocol = TCP
		change(&a)
		if err := Run(context.Background(), a, &memory{}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that says %q", err, want)
		}
	}
}
