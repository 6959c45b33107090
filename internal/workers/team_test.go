package workers

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/loadgen"
	"github.com/meshproof/meshproof/scenarios"
)

// envWorker makes this test's binary a worker that a signal stops, as the agent's are.
const envWorker = "MESHPROOF_TEST_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(envWorker) == "" {
		goleak.VerifyTestMain(m)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	err := Work(ctx, os.Stdin, os.Stdout, nil)
	stop()
	if err != nil {
		os.Exit(1)
	}
}

// crew makes processes that are workers, and lists them.
func crew(t *testing.T) (command func() *exec.Cmd, list *[]*exec.Cmd) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	list = &[]*exec.Cmd{}
	return func() *exec.Cmd {
		cmd := exec.Command(self)
		cmd.Env, cmd.Stderr = append(os.Environ(), envWorker+"=1"), os.Stderr
		*list = append(*list, cmd)
		return cmd
	}, list
}

// aim is an attack on a server by as many users, in a phase of half a second and a longer one.
func aim(t *testing.T, last time.Duration) loadgen.Attack {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(s.Close)
	p, err := scenarios.ParseProfile("first=users:4,20ms,500ms + last=users:4,20ms," + last.String())
	if err != nil {
		t.Fatal(err)
	}
	return loadgen.Attack{Base: s.URL, Host: "cart.test", Caller: "shop@east", IDPrefix: "load-1-none", Traffic: scenarios.Traffic{
		Name: "inner", From: "shop", To: "cart", Timeout: scenarios.Duration(time.Second), MaxInFlight: 4, Profile: p,
		Requests: []scenarios.RequestKind{{Method: http.MethodGet, Path: "/"}},
	}}
}

// tap is a sink that does something at the first slice of time that begins at a time after the start, or later.
type tap struct {
	at time.Duration
	do func()

	once sync.Once
}

func (s *tap) Append(item evidence.Item) error {
	if k, ok := item.(*evidence.Tick); ok && time.Duration(k.AtMicros)*time.Microsecond >= s.at {
		s.once.Do(s.do)
	}
	return nil
}

func TestAWorkerThatStopsByItselfIsLost(t *testing.T) {
	t.Parallel()
	command, list := crew(t)
	team, err := Ready(t.Context(), 2, command, aim(t, 20*time.Second), TLS{})
	if err != nil {
		t.Fatal(err)
	}
	defer team.Close()
	loss, err := team.Send(t.Context(), time.Now().Add(Lead), &tap{at: 750 * time.Millisecond, do: func() {
		if err := (*list)[1].Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	}}, nil)
	if err != nil || loss == nil || len(loss.Why) != 1 || !strings.Contains(loss.Why[0], "worker 2 of 2 was lost") || !strings.Contains(loss.Why[0], "nobody here told it to") {
		t.Fatalf("%+v, %v; want a worker to be lost", loss, err)
	}
	if loss.Whole != 500*time.Millisecond {
		t.Errorf("whole until %s; want the first phase, and no more", loss.Whole)
	}
}

func TestAWorkerThatHangsDoesNotKeepALoadFromBeingStopped(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	command, list := crew(t)
	team, err := Ready(ctx, 2, command, aim(t, time.Hour), TLS{})
	if err != nil {
		t.Fatal(err)
	}
	defer team.Close()
	loss, err := team.Send(ctx, time.Now().Add(Lead), &tap{do: func() {
		if err := (*list)[1].Process.Signal(syscall.SIGSTOP); err != nil {
			t.Error(err)
		}
		cancel()
	}}, nil)
	if !errors.Is(err, context.Canceled) || loss == nil || !strings.Contains(loss.Why[0], "worker 2 of 2 was lost") || !strings.Contains(loss.Why[0], "was killed") {
		t.Fatalf("%+v, %v; want the second worker to be killed", loss, err)
	}
}

func TestWorkersThatDoNotBecomeReadyAreAwaitedNoLongerThanAnybodyWaits(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := Ready(ctx, 2, func() *exec.Cmd {
		time.AfterFunc(100*time.Millisecond, cancel)
		return exec.Command("sleep", "3600")
	}, aim(t, time.Second), TLS{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v; want that of who waited", err)
	}
	if team, err := Ready(ctx, 1, nil, aim(t, time.Second), TLS{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v: a worker was started for nobody", team, err)
	}
}

// said is a worker of a test: it says progress each loadgen.TickWidth, from a start on, until it is told to stop; k is silent
// from a time after that on.
func said(t *testing.T, running *sync.WaitGroup, k int, from, until time.Duration) *worker {
	inR, in := io.Pipe()
	out, outW := io.Pipe()
	killed := make(chan struct{})
	running.Go(func() {
		defer func() { _ = outW.Close() }()
		dec, enc := json.NewDecoder(inR), json.NewEncoder(outW)
		var b begin
		if err := dec.Decode(&b); err != nil {
			t.Error(err)
		}
		told := make(chan struct{})
		running.Go(func() {
			defer close(told)
			_ = dec.Decode(&b)
		})
		time.Sleep(from)
		for at := time.Duration(0); at < until; at += loadgen.TickWidth {
			select {
			case <-told:
				_ = enc.Encode(line{End: &end{Stopped: true, Error: context.Canceled.Error()}})
				return
			case <-time.After(loadgen.TickWidth):
				_ = enc.Encode(line{Progress: &loadgen.Progress{Traffic: "inner"}})
			}
		}
		<-killed
	})
	kill := sync.OnceFunc(func() { close(killed) })
	return newWorker(k, in, out, func() error { kill(); return nil }, func() error { return nil })
}

func TestAWorkerThatFallsSilentIsLostAndTheOthersStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ahead, until = time.Minute, 10 * time.Second
		var running sync.WaitGroup
		team := newTeam(2)
		team.join(said(t, &running, 0, ahead, time.Hour))
		team.join(said(t, &running, 1, ahead, until))
		began := time.Now()
		loss, err := team.Send(t.Context(), began.Add(ahead), nil, nil)
		if err != nil || loss == nil || len(loss.Why) != 1 || !strings.Contains(loss.Why[0], "worker 2 of 2") || !strings.Contains(loss.Why[0], "said nothing for 20s") {
			t.Errorf("%+v, %v; want the second to be lost", loss, err)
		}
		if took := time.Since(began); took < ahead+until+maxSilence || took > ahead+until+maxSilence+time.Second {
			t.Errorf("it took %s; a worker has nothing to say before its start, and then %s", took, maxSilence)
		}
		team.Close()
		running.Wait()
	})
}

func TestWhatAWorkerCutShortIsNotWholeThoughItHasNotSaidYetThatItStopped(t *testing.T) {
	none, err := evidence.EncodeHistogram(evidence.NewHistogram())
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var running sync.WaitGroup
		team := newTeam(2)
		for k := range 2 {
			inR, in := io.Pipe()
			out, outW := io.Pipe()
			running.Go(func() { _, _ = io.Copy(io.Discard, inR) })
			running.Go(func() {
				defer func() { _ = outW.Close() }()
				enc, cut := json.NewEncoder(outW), k == 1
				for _, l := range []line{
					{Cut: cut, Tick: &evidence.Tick{Micros: 1000, Codes: map[string]int{}}},
					{Cut: cut, Phase: &evidence.Phase{Phase: "only", ForMicros: 1000, Codes: map[string]int{}, Intended: none, Service: none, Lag: none}},
				} {
					_ = enc.Encode(l)
				}
				if cut {
					time.Sleep(time.Second) // meanwhile what the other one said is merged with it
					_ = enc.Encode(line{End: &end{Records: 2, Stopped: true, Error: context.Canceled.Error()}})
				} else {
					_ = enc.Encode(line{End: &end{Records: 2}})
				}
			})
			team.join(newWorker(k, in, out, outW.Close, func() error { return nil }))
		}
		loss, err := team.Send(t.Context(), time.Now(), &tap{at: time.Hour}, nil)
		if err != nil || loss == nil || loss.Whole != 0 {
			t.Errorf("%+v, %v; want nothing to be whole", loss, err)
		}
		team.Close()
		running.Wait()
	})
}

func TestALoadThatIsGivenUpBeforeItBeganEndsSilently(t *testing.T) {
	in, err := json.Marshal(order{Version: protocolVersion, Attack: aim(t, time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := Work(t.Context(), strings.NewReader(string(in)), &out, nil); err != nil || out.String() != "{\"ready\":true}\n" {
		t.Errorf("%v; it says %s", err, out.String())
	}
	if err := Work(t.Context(), strings.NewReader(string(in)+"{"), &out, nil); err == nil {
		t.Error("half a line is taken for an end")
	}
}
