package agent

import (
	"bufio"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/meshproof/meshproof/internal/workload"
)

// fakeQueue gives packets and notes what is released, and when.
type fakeQueue struct {
	in    chan uint32
	stop  chan struct{}
	once  sync.Once
	mu    sync.Mutex
	out   []uint32
	times []time.Time
}

func newFakeQueue() *fakeQueue {
	return &fakeQueue{in: make(chan uint32, 100), stop: make(chan struct{})}
}

func (f *fakeQueue) receive() ([]uint32, error) {
	select {
	case id := <-f.in:
		return []uint32{id}, nil
	case <-f.stop:
		return nil, os.ErrDeadlineExceeded
	}
}

func (f *fakeQueue) release(id uint32) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.out, f.times = append(f.out, id), append(f.times, time.Now())
	return nil
}

func (f *fakeQueue) interrupt() { f.once.Do(func() { close(f.stop) }) }
func (f *fakeQueue) close() error {
	return nil
}

func (f *fakeQueue) released() []uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.out)
}

func TestPacketsLeaveInTheirOrderAndNoneBeforeItsTime(t *testing.T) {
	defer goleak.VerifyNone(t)
	q := newFakeQueue()
	h := &holder{q: q}
	h.delay.Store(int64(80 * time.Millisecond))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	began := time.Now()
	q.in <- 1
	q.in <- 2
	go func() { done <- h.run(ctx) }()
	time.Sleep(20 * time.Millisecond)
	h.delay.Store(0)
	q.in <- 3 // without a delay of its own, and still not before the first two
	for len(q.released()) < 3 {
		time.Sleep(time.Millisecond)
	}
	if got := q.released(); !slices.Equal(got, []uint32{1, 2, 3}) {
		t.Errorf("released %v", got)
	}
	if first := q.times[0].Sub(began); first < 80*time.Millisecond {
		t.Errorf("the first packet waited %s", first)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestPacketsThatWaitGoOnAtOnceWhenTheDelayEnds(t *testing.T) {
	defer goleak.VerifyNone(t)
	q := newFakeQueue()
	h := &holder{q: q}
	h.delay.Store(int64(time.Hour))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	q.in <- 1
	go func() { done <- h.run(ctx) }()
	for len(q.in) > 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := q.released(); !slices.Equal(got, []uint32{1}) {
		t.Errorf("released %v", got)
	}
}

func TestACommandThatIsNotUnderstoodIsAnError(t *testing.T) {
	for _, line := range []string{"x\n", "1\n", "1 -5\n", "70000 1\n", "\n"} {
		if err := Delay(t.Context(), strings.NewReader(line), io.Discard); err == nil {
			t.Errorf("%q was taken", line)
		}
	}
}

func TestAMessageAboutAPacketIsReadOrRefused(t *testing.T) {
	whole := []byte{2, 0, 0, 7, 11, 0, 1, 0, 0, 0, 1, 2, 8, 0, 4, 0}
	if id, err := packetID(whole); err != nil || id != 0x102 {
		t.Errorf("packetID = %d, %v", id, err)
	}
	for n := range whole[:14] {
		if id, err := packetID(whole[:n]); err == nil {
			t.Errorf("of %d bytes: %d", n, id)
		}
	}
}

func FuzzPacketID(f *testing.F) {
	f.Add([]byte{2, 0, 0, 7, 11, 0, 1, 0, 0, 0, 1, 2, 8, 0, 4, 0})
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = packetID(data) })
}

// inNamespace is set in the process that stands in a network namespace of its own.
const inNamespace = "MESHPROOF_TEST_NAMESPACE"

func TestTheKernelsQueueHoldsPacketsBack(t *testing.T) {
	if os.Getenv(inNamespace) != "" {
		holdInNamespace(t)
		return
	}
	if os.Getuid() != 0 {
		t.Skip("wants root, for a network namespace")
	}
	for _, tool := range []string{"ip", "iptables"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("wants %s", tool)
		}
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.Contains(string(out), "--- SKIP") {
		t.Skipf("%s", out)
	}
}

// holdInNamespace measures round trips over the loopback of this namespace, on which each direction passes the queue.
func holdInNamespace(t *testing.T) {
	for _, args := range [][]string{
		{"ip", "link", "set", "lo", "up"},
		{"iptables", "-w", "-t", "mangle", "-A", "POSTROUTING", "-o", "lo", "-j", "NFQUEUE", "--queue-num", "7", "--queue-bypass"},
	} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Skipf("%q: %v: %s", args, err, out)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go workload.Echo(c)
		}
	}()
	probe, err := workload.NewLinkProbe(t.Context(), func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", ln.Addr().String())
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = probe.Close() }()
	shortest := func() time.Duration {
		t.Helper()
		best := time.Hour
		for range 10 {
			d, err := probe.Established(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			best = min(best, d)
		}
		return best
	}
	commands, to := io.Pipe()
	from, answers := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- Delay(t.Context(), commands, answers) }()
	said := bufio.NewReader(from)
	set := func(d time.Duration) {
		t.Helper()
		if _, err := io.WriteString(to, DelayLine(7, d)); err != nil {
			t.Fatal(err)
		}
		if line, err := said.ReadString('\n'); err != nil || line != DelayLine(7, d) {
			t.Fatalf("answered %q, %v", line, err)
		}
	}
	before := shortest()
	set(30 * time.Millisecond)
	if got := shortest(); got < 60*time.Millisecond {
		t.Errorf("with 30ms in each direction a round trip took %s", got)
	}
	set(100 * time.Millisecond)
	if got := shortest(); got < 200*time.Millisecond {
		t.Errorf("with 100ms in each direction a round trip took %s", got)
	}
	set(0)
	if got := shortest(); got > 60*time.Millisecond {
		t.Errorf("without a delay a round trip took %s, before %s", got, before)
	}
	_ = to.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := shortest(); got > 60*time.Millisecond {
		t.Errorf("when the agent had ended a round trip took %s, before %s", got, before)
	}
	t.Logf("a round trip took %s before", before)
}
