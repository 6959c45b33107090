package embedded

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/nettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pipe is a wire and its far end.
func pipeOver(t *testing.T, n *network) (near, far net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	near, err = n.dial(t.Context(), "east", "west", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if far, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return near, far
}

func testNetwork(t *testing.T, latency time.Duration) (*network, *link) {
	n := newNetwork([]string{"east", "west"}, latency)
	t.Cleanup(n.close)
	return n, n.links[pairOf("west", "east")]
}

func TestAWireIsAConnectionAsPackageNetDefinesIt(t *testing.T) {
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		n := newNetwork([]string{"east", "west"}, 100*time.Microsecond)
		near, far := pipeOver(t, n)
		return near, far, func() {
			_ = near.Close()
			_ = far.Close()
			n.close()
		}, nil
	})
}

func TestAWireCarriesManyBytesInOrderInBothDirections(t *testing.T) {
	n, _ := testNetwork(t, 2*time.Millisecond)
	near, far := pipeOver(t, n)
	defer func() { _ = near.Close() }()
	go func() { // the far end sends everything back, and its end too
		_, _ = io.Copy(far, far)
		_ = far.(*net.TCPConn).CloseWrite()
	}()
	sent := make([]byte, 5<<20) // several times what may be under way
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(sent)
	writeErr := make(chan error, 1)
	go func() {
		_, err := near.Write(sent)
		writeErr <- errors.Join(err, near.(*wire).CloseWrite())
	}()
	got, err := io.ReadAll(near)
	if err := errors.Join(err, <-writeErr); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back of %d, or others", len(got), len(sent))
	}
	_ = far.Close()
}

func TestADialCostsOneRoundTripAndAByteHalfOfOne(t *testing.T) {
	const latency = 100 * time.Millisecond
	n, _ := testNetwork(t, latency)
	began := time.Now()
	near, far := pipeOver(t, n)
	defer func() { _, _ = near.Close(), far.Close() }()
	if took := time.Since(began); took < 2*latency {
		t.Errorf("the dial took %s, want at least %s", took, 2*latency)
	}
	began = time.Now()
	if _, err := near.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(far, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < latency {
		t.Errorf("the byte took %s there, want at least %s", took, latency)
	}
	began = time.Now()
	_, _ = far.Write([]byte("y"))
	if _, err := io.ReadFull(near, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < latency {
		t.Errorf("the byte took %s back, want at least %s", took, latency)
	}
}

func TestARefusedDialIsRefusedAfterARoundTrip(t *testing.T) {
	const latency = 50 * time.Millisecond
	n, _ := testNetwork(t, latency)
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	began := time.Now()
	_, err = n.dial(t.Context(), "east", "west", ln.Addr().String())
	if !errors.Is(err, syscall.ECONNREFUSED) || time.Since(began) < 2*latency {
		t.Errorf("dial = %v after %s", err, time.Since(began))
	}
	if _, err := n.dial(t.Context(), "east", "north", ln.Addr().String()); err == nil {
		t.Error("a cluster that is not there was reached")
	}
}

func TestWhatWasWrittenBeforeCloseStillArrives(t *testing.T) {
	n, _ := testNetwork(t, 30*time.Millisecond)
	near, far := pipeOver(t, n)
	if _, err := near.Write([]byte("last words")); err != nil {
		t.Fatal(err)
	}
	if err := near.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(far)
	if string(got) != "last words" || err != nil {
		t.Errorf("the far end read %q, %v", got, err)
	}
	if err := near.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closing again: %v", err)
	}
	if _, err := near.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("writing after Close: %v", err)
	}
	_ = far.Close()
}

func TestACloseWithoutLingerResetsTheFarEnd(t *testing.T) {
	n, _ := testNetwork(t, 10*time.Millisecond)
	near, far := pipeOver(t, n)
	_ = near.(*wire).SetLinger(0)
	_ = near.Close()
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the far end read %v, want a reset", err)
	}
	_ = far.Close()
}

func TestAResetOfTheFarEndIsSeenAfterALatency(t *testing.T) {
	const latency = 50 * time.Millisecond
	n, _ := testNetwork(t, latency)
	near, far := pipeOver(t, n)
	began := time.Now()
	reset(far.(*net.TCPConn))
	if _, err := near.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the near end read %v, want a reset", err)
	}
	if took := time.Since(began); took < latency {
		t.Errorf("the reset was seen after %s", took)
	}
	_ = near.Close()
}

func TestAPartitionHoldsDataAndDialsUntilItHeals(t *testing.T) {
	n, l := testNetwork(t, time.Millisecond)
	near, far := pipeOver(t, n)
	defer func() { _, _ = near.Close(), far.Close() }()
	first, err := l.Partition(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second, err := l.Partition(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := near.Write([]byte("held")); err != nil {
		t.Fatal(err)
	}
	arrived := make(chan string, 1)
	go func() {
		b := make([]byte, 4)
		_, err := io.ReadFull(far, b)
		arrived <- string(b) + errText(err)
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := n.dial(ctx, "west", "east", "127.0.0.1:1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("dial across a partition: %v", err)
	}
	_ = first(t.Context())
	_ = first(t.Context()) // once more is not twice
	select {
	case got := <-arrived:
		t.Fatalf("%q crossed the second partition", got)
	case <-time.After(200 * time.Millisecond):
	}
	_ = near.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := near.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("reading from a partition: %v", err)
	}
	_ = second(t.Context())
	if got := <-arrived; got != "held" {
		t.Errorf("after the partition %q arrived", got)
	}
}

func TestBytesUnderWayKeepTheirOrderWhenADelayEnds(t *testing.T) {
	n, l := testNetwork(t, 0)
	near, far := pipeOver(t, n)
	defer func() { _, _ = near.Close(), far.Close() }()
	revert, err := l.Delay(t.Context(), 300*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, _ = near.Write([]byte("slow "))
	_ = revert(t.Context())
	_, _ = near.Write([]byte("fast"))
	got := make([]byte, 9)
	if _, err := io.ReadFull(far, got); err != nil || string(got) != "slow fast" {
		t.Errorf("%q, %v", got, err)
	}
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("what was delayed arrived after %s", took)
	}
}

func TestTakingTheNetworkDownEndsEveryWireEvenInAPartition(t *testing.T) {
	n, l := testNetwork(t, time.Millisecond)
	near, far := pipeOver(t, n)
	if _, err := l.Partition(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, _ = near.Write([]byte("never"))
	dialled := make(chan error, 1)
	go func() {
		_, err := n.dial(context.WithoutCancel(t.Context()), "east", "west", far.LocalAddr().String())
		dialled <- err
	}()
	n.close() // returns when the goroutines of near have ended
	if err := <-dialled; !errors.Is(err, net.ErrClosed) {
		t.Errorf("a dial ended with %v", err)
	}
	if _, err := near.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read = %v", err)
	}
	if b, err := io.ReadAll(far); len(b) > 0 {
		t.Errorf("the far end read %q, %v", b, err)
	}
	_ = far.Close()
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
