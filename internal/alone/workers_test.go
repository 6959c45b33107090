package alone

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/reports"
	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

// crew lets a load be sent by processes of this test's binary, which are in the list as soon as they are made.
func crew(t *testing.T, o *Options, n int) *[]*exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	list := &[]*exec.Cmd{}
	o.Workers = n
	o.Worker = func() *exec.Cmd {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), envWorker+"=1")
		cmd.Stderr = os.Stderr
		*list = append(*list, cmd)
		return cmd
	}
	return list
}

func TestWorkersSendEachRequestOnceAndAreCountedTogether(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(scenarios.HeaderID)
		mu.Lock()
		defer mu.Unlock()
		seen[id[strings.LastIndex(id, "-")+1:]]++
		if strings.HasSuffix(id, "7") {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer s.Close()
	for _, text := range []string{"calm=constant:100,700ms + ramp:0..200,700ms", "poisson(constant:100,1s)"} {
		clear(seen)
		o := options(t, s.URL, text)
		crew(t, &o, 3)
		l := send(context.Background(), t, o)
		total := int64(len(seen))
		for id, n := range seen {
			if n != 1 {
				t.Errorf("%s: request %s was sent %d times", text, id, n)
			}
		}
		w := l.Whole
		if w.Offered != total || w.Done != total || int64(w.Codes["200"]+w.Codes["404"]) != total || w.Outcomes["4xx"].Done != int64(w.Codes["404"]) || total < 50 {
			t.Errorf("%s: %d requests arrived; %+v", text, total, w)
		}
		for _, p := range l.Phases {
			if len(p.Generators) != 3 || p.Generators[2].Worker != 2 || p.Generators[0].Done+p.Generators[1].Done+p.Generators[2].Done != p.Done {
				t.Errorf("%s: generators %+v of %d requests", text, p.Generators, p.Done)
			}
		}
		for _, c := range l.Checks { // that a busy machine is late is no matter here; that the record disagrees with itself is
			if c.Reason == "CountsDisagree" || c.Reason == "BadHistogram" || c.Reason == "TicksMissing" || c.Reason == "SenderLost" || c.Reason == "WrongLoad" {
				t.Errorf("%s: %s %s: %s", text, c.ID, c.Reason, c.Message)
			}
		}
	}
}

// killer ends a worker once a phase and a slice of time after it were told by all: it looks at what is recorded.
type killer struct {
	after string // the phase; "" for the first slice of time
	end   int64  // of the phase, when its record has come
	kill  func()
	once  sync.Once
}

// Append implements evidence.Sink.
func (k *killer) Append(item evidence.Item) error {
	switch v := item.(type) {
	case *evidence.Phase:
		if v.Phase == k.after {
			k.end = v.AtMicros + v.ForMicros
		}
	case *evidence.Tick:
		if k.after == "" || k.end > 0 && v.AtMicros >= k.end {
			k.once.Do(k.kill)
		}
	}
	return nil
}

func TestOfALoadThatLosesAWorkerThePhasesBeforeTheLossStand(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	for _, c := range []struct {
		name, profile, after string
		stand                []string
	}{
		{"in the first phase", "one=constant:60,20s + two=constant:60,2s", "", nil},
		{"after the first", "one=constant:60,750ms + two=constant:60,20s + three=constant:60,1s", "one", []string{"one"}},
		{"in the last", "one=constant:60,750ms + two=constant:60,650ms + three=constant:60,20s", "two", []string{"one", "two"}},
		{"in the last, users", "one=users:4,20ms,750ms + two=users:3,20ms,650ms + three=users:4,20ms,20s", "two", []string{"one", "two"}},
	} {
		o := options(t, s.URL, c.profile)
		o.Timeout, o.Expect = time.Second, expect(t, "errors<1%")
		list := crew(t, &o, 2)
		o.Taps = []evidence.Sink{&killer{after: c.after, kill: func() {
			if err := (*list)[1].Process.Kill(); err != nil {
				t.Error(err)
			}
		}}}
		l := send(context.Background(), t, o)
		if last := l.Checks[len(l.Checks)-1]; l.Verdict != verify.Invalid || last.Verdict != verify.Invalid || !slices.ContainsFunc(l.Checks, func(c reports.LoadCheck) bool {
			return c.Reason == "SenderLost" && strings.Contains(c.Message, "worker 2 of 2 was lost")
		}) {
			t.Errorf("%s: %s %s: %s; %+v", c.name, l.Verdict, l.Reason, l.Message, last)
		}
		for _, check := range l.Checks {
			phase, isLoad := strings.CutPrefix(check.ID, "load/"+Traffic+"/")
			switch {
			case !isLoad && check.Verdict == verify.Pass && !slices.ContainsFunc(c.stand, func(p string) bool { return strings.HasSuffix(check.ID, "/"+p) }):
				t.Errorf("%s: %s is PASS", c.name, check.ID)
			case isLoad && (check.Reason == "SenderLost") == slices.Contains(c.stand, phase):
				t.Errorf("%s: %s is %s, %s: %s", c.name, check.ID, check.Verdict, check.Reason, check.Message)
			case isLoad && slices.Contains(c.stand, phase) && check.Verdict != verify.Pass && !strings.HasPrefix(check.Reason, "Load"): // a busy machine may be late
				t.Errorf("%s: %s is %s: %s", c.name, check.ID, check.Reason, check.Message)
			}
		}
		if l.Interrupted || l.Whole == nil || l.Whole.Done == 0 {
			t.Errorf("%s: interrupted %v, %+v", c.name, l.Interrupted, l.Whole)
		}
	}
}

func TestTheUsersOfAClosedLoopAreSplitOverWorkers(t *testing.T) {
	var mu sync.Mutex
	conns, seen := map[string]bool{}, map[string]int{}
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(scenarios.HeaderID)
		mu.Lock()
		defer mu.Unlock()
		conns[r.RemoteAddr] = true
		seen[id]++
	}))
	defer s.Close()
	o := options(t, s.URL, "users:5,10ms,1s")
	o.Connections = 5
	crew(t, &o, 3)
	l := send(context.Background(), t, o)
	w := l.Phases[0]
	if len(conns) != 5 || w.Done != int64(len(seen)) || len(w.Generators) != 3 {
		t.Errorf("%d connections, %d requests, %+v", len(conns), len(seen), w)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("request %s was sent %d times", id, n)
		}
	}
	// Users 0 and 3, 1 and 4, and 2.
	if g := w.Generators; g[0].Open != 2 || g[1].Open != 2 || g[2].Open != 1 || g[2].Done >= g[0].Done {
		t.Errorf("generators %+v", g)
	}
	for _, c := range l.Checks {
		if c.Verdict != verify.Pass && c.Reason != "LoadLate" && c.Reason != "GeneratorLag" {
			t.Errorf("%s %s: %s", c.ID, c.Reason, c.Message)
		}
	}
}

func TestWorkersThatAreStoppedSayWhatTheySent(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if n.Add(1) == 50 {
			cancel()
		}
	}))
	defer s.Close()
	o := options(t, s.URL, "constant:100,1m")
	crew(t, &o, 2)
	l := send(ctx, t, o)
	if !l.Interrupted || l.Verdict != verify.Invalid || l.Whole == nil || l.Whole.Done < 40 || len(l.Whole.Generators) != 2 {
		t.Errorf("interrupted %v, %s %s, %+v", l.Interrupted, l.Verdict, l.Message, l.Whole)
	}
}

func TestWorkersThatDoNotComeUpAreAnError(t *testing.T) {
	o := options(t, "http://127.0.0.1:1/", "constant:10,1s")
	o.Workers, o.Worker = 2, func() *exec.Cmd { return exec.Command("/nowhere/meshproof") }
	if _, err := Run(context.Background(), o, nil); err == nil || !strings.Contains(err.Error(), "starting worker 1 of 2") {
		t.Errorf("%v", err)
	}
	o.Worker = func() *exec.Cmd { return exec.Command("true") } // which may be gone before it is told anything, or after
	if _, err := Run(context.Background(), o, nil); err == nil || !strings.Contains(err.Error(), "worker 1 of 2") && !strings.Contains(err.Error(), "starting worker 2 of 2") {
		t.Errorf("%v", err)
	}
}
