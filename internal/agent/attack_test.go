package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/workers"
	"github.com/meshproof/meshproof/loadgen"
	"github.com/meshproof/meshproof/scenarios"
)

// target counts what a load sends to it.
type target struct {
	*httptest.Server
	n       atomic.Int64
	callers sync.Map
}

func newTarget() *target {
	s := &target{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		s.n.Add(1)
		s.callers.Store(r.Header.Get(scenarios.HeaderCaller), true)
	}))
	return s
}

func (s *target) attack(name string, d time.Duration) AttackCommand {
	return AttackCommand{UID: "uid-1", Ordered: time.Now(), Attack: loadgen.Attack{
		Trial: evidence.Trial{Block: 1, Mesh: "none"}, Base: s.URL, Host: "cart.app.svc.cluster.local", Caller: "shop@east", IDPrefix: "load-1-none",
		Traffic: scenarios.Traffic{
			Name: name, From: "shop", To: "cart", Timeout: scenarios.Duration(5 * time.Second), MaxInFlight: 100,
			Profile: scenarios.Profile{Stages: []scenarios.Stage{{Name: "calm", Rate: 40, For: scenarios.Duration(d)}, {Name: "end", Rate: 40, For: scenarios.Duration(d)}}},
		},
	}}
}

// memory keeps records of load.
type memory struct {
	mu     sync.Mutex
	ticks  []*evidence.Tick
	phases []*evidence.Phase
	fail   error
	first  chan struct{} // closed at the first record
}

func newMemory() *memory { return &memory{first: make(chan struct{})} }

func (m *memory) Append(item evidence.Item) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	if len(m.ticks)+len(m.phases) == 0 {
		close(m.first)
	}
	switch v := item.(type) {
	case *evidence.Tick:
		m.ticks = append(m.ticks, v)
	case *evidence.Phase:
		m.phases = append(m.phases, v)
	}
	return nil
}

// open sends an AttackCommand, and returns its answer, which must be closed.
func (r *running) open(ctx context.Context, cmd AttackCommand) io.ReadCloser {
	r.t.Helper()
	b, err := json.Marshal(cmd)
	if err != nil {
		r.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.ports[ControlPort]+PathAttack, bytes.NewReader(b))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set(HeaderToken, "secret")
	resp, err := r.http.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		r.t.Fatalf("status %d", resp.StatusCode)
	}
	return resp.Body
}

func (r *running) follow(cmd AttackCommand, m *memory, progress func(loadgen.Progress)) error {
	r.t.Helper()
	body := r.open(r.t.Context(), cmd)
	defer func() { _ = body.Close() }()
	return Follow(body, m, progress)
}

func TestALoadIsSentByThePodAndToldAsItHappens(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	r, to := startAgent(t), newTarget()
	defer to.Close()
	defer r.close()
	cmd := to.attack("inner", time.Second)
	cmd.Attack.Start = time.Now().Add(100 * time.Millisecond)
	m, live := newMemory(), 0
	err := r.follow(cmd, m, func(p loadgen.Progress) {
		if p.Traffic != "inner" || p.Elapsed <= 0 {
			t.Errorf("%+v", p)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if len(m.phases) < 2 {
			live++
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.ticks) < 8 || len(m.phases) != 2 || live == 0 {
		t.Fatalf("%d ticks, %d phases, %d reports on the way", len(m.ticks), len(m.phases), live)
	}
	for _, p := range m.phases {
		h, err := evidence.DecodeHistogram(p.Intended)
		if err != nil || p.Offered != 40 || p.Done != 40 || p.Errors != 0 || h.TotalCount() != 40 || p.Trial != cmd.Attack.Trial {
			t.Errorf("%+v, %v", p, err)
		}
	}
	if _, ok := to.callers.Load("shop@east"); !ok || to.n.Load() != 80 {
		t.Errorf("%d requests arrived, want 80 of shop@east", to.n.Load())
	}
}

// TestMain lets this binary be a worker, as the agent is one.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == WorkerCommand {
		if err := Work(context.Background(), os.Stdin, os.Stdout); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestALoadIsSentBySeveralProcessesOfThePod(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	r, to := startAgent(t), newTarget()
	defer to.Close()
	defer r.close()
	cmd := to.attack("inner", time.Second)
	cmd.Attack.Workers = 2
	m := newMemory()
	if err := r.follow(cmd, m, nil); err != nil {
		t.Fatal(err)
	}
	if len(m.phases) != 2 || to.n.Load() != 80 {
		t.Fatalf("%d phases, %d requests", len(m.phases), to.n.Load())
	}
	for _, p := range m.phases {
		if len(p.Generators) != 2 || p.Generators[0].Of != 2 || p.Generators[0].Done != 20 || p.Done != 40 || p.Trial != cmd.Attack.Trial {
			t.Errorf("%+v", p)
		}
	}
	cmd.Attack.Traffic.MaxInFlight = 1
	if err := r.follow(cmd, newMemory(), nil); err == nil || errors.Is(err, clusters.ErrSenderLost) || !strings.Contains(err.Error(), "2 workers share 1") {
		t.Errorf("%v", err)
	}
}

func TestAWorkerOfThePodThatIsLostIsSaidWithWhatAllHadTold(t *testing.T) {
	end := AttackEnd{Records: 3, Lost: &workers.Loss{Why: []string{"worker 2 of 2 was lost"}, Whole: 4 * time.Second}}
	var lost *clusters.LostSender
	if err := end.outcome(3); !errors.As(err, &lost) || !errors.Is(err, clusters.ErrSenderLost) || lost.Whole != 4*time.Second || !strings.Contains(err.Error(), "worker 2 of 2") {
		t.Errorf("%v", err)
	}
	if err := end.outcome(2); !errors.Is(err, clusters.ErrSenderLost) || errors.As(err, &lost) {
		t.Errorf("with a record less: %v", err)
	}
}

func TestALoadEndsWithTheConnectionOfWhoAskedForIt(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	r, to := startAgent(t), newTarget()
	defer to.Close()
	defer r.close()
	ctx, cancel := context.WithCancel(t.Context())
	body := r.open(ctx, to.attack("inner", time.Hour))
	line := make([]byte, 1)
	if _, err := body.Read(line); err != nil {
		t.Fatal(err)
	}
	// One of a name at a time, and as long as the first is there.
	if err := r.follow(to.attack("inner", time.Hour), newMemory(), nil); err == nil || !strings.Contains(err.Error(), `traffic "inner" is under way`) || errors.Is(err, clusters.ErrSenderLost) {
		t.Errorf("the same traffic twice: %v", err)
	}
	cancel()
	_ = body.Close()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if res, _ := ask[Stopped](r, PathStop, "secret", StopCommand{Traffic: "inner"}); !res.Found {
			break
		}
		if time.Since(began) > 20*time.Second {
			t.Fatal("the load goes on")
		}
	}
	was := to.n.Load()
	time.Sleep(200 * time.Millisecond)
	if n := to.n.Load(); n != was {
		t.Errorf("%d requests were sent when nobody asked any more", n-was)
	}
}

func TestAStoppedLoadSaysWhatItSent(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	r, to := startAgent(t), newTarget()
	defer to.Close()
	defer r.close()
	m := newMemory()
	go func() {
		<-m.first
		if res, _ := ask[Stopped](r, PathStop, "secret", StopCommand{Traffic: "inner"}); !res.Found {
			t.Error("there was nothing to stop")
		}
	}()
	if err := r.follow(to.attack("inner", time.Hour), m, nil); err != nil {
		t.Error(err)
	}
	sent := int64(0)
	for _, k := range m.ticks {
		sent += k.Sent
	}
	if len(m.phases) != 1 || m.phases[0].Done >= m.phases[0].Offered || sent != to.n.Load() {
		t.Errorf("phases %+v; %d sent by the ticks, %d arrived", m.phases, sent, to.n.Load())
	}
}

func TestASenderThatIsToldToEndIsALostSender(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	r, to := startAgent(t), newTarget()
	defer to.Close()
	m := newMemory()
	go func() {
		<-m.first
		r.stop()
	}()
	err := r.follow(to.attack("inner", time.Hour), m, nil)
	if !errors.Is(err, clusters.ErrSenderLost) || !strings.Contains(err.Error(), "told to end") {
		t.Error(err)
	}
	r.close()
}

func TestALoadForSomebodyElseOrAnotherTimeIsRefused(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	r, to := startAgent(t), newTarget()
	defer to.Close()
	defer r.close()
	for name, c := range map[string]struct {
		change func(*AttackCommand)
		want   string
	}{
		"another pod":            {func(c *AttackCommand) { c.UID = "uid-2" }, "uid-1, not uid-2"},
		"a clock behind":         {func(c *AttackCommand) { c.Attack.Start, c.Ordered = time.Now(), time.Now().Add(5*time.Second) }, "does not agree with the clock"},
		"a clock ahead":          {func(c *AttackCommand) { c.Attack.Start, c.Ordered = time.Now(), time.Now().Add(-5*time.Second) }, "does not agree with the clock"},
		"no word of when it was": {func(c *AttackCommand) { c.Attack.Start, c.Ordered = time.Now(), time.Time{} }, "does not agree with the clock"},
		"no profile":             {func(c *AttackCommand) { c.Attack.Traffic.Profile.Stages = nil }, "no stages"},
		"no address":             {func(c *AttackCommand) { c.Attack.Base = "" }, "not of the form"},
	} {
		cmd := to.attack("inner", time.Second)
		c.change(&cmd)
		if err := r.follow(cmd, newMemory(), nil); err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, clusters.ErrSenderLost) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if to.n.Load() != 0 {
		t.Errorf("%d requests were sent", to.n.Load())
	}
	var a attacks
	for i := range maxAttacks {
		if _, err := a.begin(fmt.Sprint(i), func(error) {}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.begin("one more", func(error) {}); err == nil {
		t.Error("there is no bound on attacks")
	}
}

// answer is what an agent says of a load with so many ticks.
func answer(t testing.TB, ticks int) []string {
	t.Helper()
	var b bytes.Buffer
	out := &lines{w: json.NewEncoder(&b), rc: http.NewResponseController(&unlimited{httptest.NewRecorder()})}
	for i := range ticks {
		if err := out.Append(&evidence.Tick{Traffic: "inner", Index: i, Codes: map[string]int{}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(out.Append(&evidence.Phase{Traffic: "inner", Phase: "calm"}), out.write(AttackLine{End: &AttackEnd{Records: out.records}})); err != nil {
		t.Fatal(err)
	}
	return strings.SplitAfter(strings.TrimSuffix(b.String(), "\n"), "\n")
}

// unlimited takes write deadlines, and keeps none.
type unlimited struct{ *httptest.ResponseRecorder }

func (*unlimited) SetWriteDeadline(time.Time) error { return nil }

func TestAnAnswerThatIsNotWholeIsALostSender(t *testing.T) {
	whole := answer(t, 3)
	m := newMemory()
	if err := Follow(strings.NewReader(strings.Join(whole, "")), m, nil); err != nil || len(m.ticks) != 3 || len(m.phases) != 1 {
		t.Fatalf("%d ticks, %d phases, %v", len(m.ticks), len(m.phases), err)
	}
	text := strings.Join(whole, "")
	for cut := range len(text) - 1 {
		if err := Follow(strings.NewReader(text[:cut]), newMemory(), nil); !errors.Is(err, clusters.ErrSenderLost) {
			t.Fatalf("cut off after %d bytes: %v", cut, err)
		}
	}
	for i := range len(whole) - 1 {
		less := strings.Join(whole[:i], "") + strings.Join(whole[i+1:], "")
		if err := Follow(strings.NewReader(less), newMemory(), nil); !errors.Is(err, clusters.ErrSenderLost) {
			t.Errorf("without line %d: %v", i+1, err)
		}
	}
	full := errors.New("no space left on device")
	if err := Follow(strings.NewReader(text), &memory{fail: full}, nil); !errors.Is(err, full) || errors.Is(err, clusters.ErrSenderLost) {
		t.Errorf("a full disk: %v", err)
	}
}

func FuzzFollow(f *testing.F) {
	whole := strings.Join(answer(f, 2), "")
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add("{}\n{\"end\":null}\n[]\n")
	f.Add(`{"end":{"records":0}}`)
	f.Fuzz(func(t *testing.T, text string) {
		m := newMemory()
		if err := Follow(strings.NewReader(text), m, func(loadgen.Progress) {}); err == nil && !strings.Contains(text, `"`) {
			t.Errorf("%q is taken for a whole answer", text)
		}
	})
}
