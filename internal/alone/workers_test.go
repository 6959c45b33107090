package alone

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

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

func TestALoadOfWhichAWorkerIsLostIsInvalid(t *testing.T) {
	var n atomic.Int64
	half := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if n.Add(1) == 50 {
			close(half)
		}
	}))
	defer s.Close()
	o := options(t, s.URL, "constant:100,1m")
	o.Expect = expect(t, "errors<1%")
	list := crew(t, &o, 2)
	var killing sync.WaitGroup
	killing.Go(func() {
		<-half
		if err := (*list)[1].Process.Kill(); err != nil {
			t.Error(err)
		}
	})
	l := send(context.Background(), t, o)
	killing.Wait()
	if l.Verdict != verify.Invalid || l.Reason != "SenderLost" || !strings.Contains(l.Message, "worker 2 of 2 was lost") {
		t.Errorf("%s %s: %s", l.Verdict, l.Reason, l.Message)
	}
	for _, c := range l.Checks {
		if c.Verdict == verify.Pass {
			t.Errorf("%s is %s", c.ID, c.Verdict)
		}
	}
	if l.Interrupted || l.Whole == nil || l.Whole.Done < 20 {
		t.Errorf("interrupted %v, %+v", l.Interrupted, l.Whole)
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

func TestAWorkerRefusesWhatItCannotSend(t *testing.T) {
	for name, o := range map[string]order{"another version": {Version: 99}, "no attack": {Version: protocolVersion}, "no roots": {Version: protocolVersion, TLS: TLS{CA: "/nowhere"}}} {
		in, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		var l line
		if err := Work(context.Background(), bytes.NewReader(in), &out); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if err := json.Unmarshal(out.Bytes(), &l); err != nil || l.End == nil || l.End.Error == "" {
			t.Errorf("%s: it says %s", name, out.String())
		}
	}
	for _, in := range []string{"", "rubbish", "{}{"} {
		if err := Work(context.Background(), strings.NewReader(in), &bytes.Buffer{}); err == nil && in != "{}{" {
			t.Errorf("%q is an order", in)
		}
	}
}

func TestWorkersThatDoNotComeUpAreAnError(t *testing.T) {
	o := options(t, "http://127.0.0.1:1/", "constant:10,1s")
	o.Workers, o.Worker = 2, func() *exec.Cmd { return exec.Command("/nowhere/meshproof") }
	if _, err := Run(context.Background(), o, nil); err == nil || !strings.Contains(err.Error(), "starting worker 1 of 2") {
		t.Errorf("%v", err)
	}
	o.Worker = func() *exec.Cmd { return exec.Command("true") }
	if _, err := Run(context.Background(), o, nil); err == nil || !strings.Contains(err.Error(), "worker 1 of 2") {
		t.Errorf("%v", err)
	}
}
