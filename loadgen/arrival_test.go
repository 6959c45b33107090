package loadgen

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"golang.org/x/net/nettest"
)

// stampedPipe is a connection of TCP over loopback whose first end notes arrivals.
func stampedPipe(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	near, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return noteArrivals(near), far
}

func TestAConnectionThatNotesArrivalsIsAConnection(t *testing.T) {
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		near, far := stampedPipe(t)
		return near, far, func() { _ = near.Close(); _ = far.Close() }, nil
	})
}

func TestAnAnswerCountsFromItsArrivalAndNotFromWhenItIsRead(t *testing.T) {
	near, far := stampedPipe(t)
	defer func() { _ = near.Close(); _ = far.Close() }()
	from, ok := near.(stamped)
	if !ok {
		if runtime.GOOS == "linux" {
			t.Fatal("this kernel notes no arrivals")
		}
		t.Skip("SKIPPED: only Linux notes arrivals")
	}
	if from.age() >= 0 {
		t.Error("an age before anything was read")
	}
	start := time.Now()
	j := job{now: func() time.Duration { return time.Since(start) }}
	read := func(n int) {
		t.Helper()
		if _, err := io.ReadFull(near, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	// The first packets may come before the kernel has begun to note.
	for range 100 {
		_, _ = far.Write([]byte("x"))
		if read(1); from.age() >= 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	wrote := time.Since(start)
	_, _ = far.Write(bytes.Repeat([]byte("y"), 100))
	after := time.Since(start)
	time.Sleep(300 * time.Millisecond) // nobody comes to read
	read(100)
	if at := j.arrived(from, 0); at < wrote-time.Millisecond || at > after+100*time.Millisecond {
		t.Errorf("it came between %v and %v, and counts at %v, read at %v", wrote, after, at, time.Since(start))
	}
	// A clock that was set would have it arrive before it was asked for.
	if at, now := j.arrived(from, time.Since(start)), time.Since(start); now-at > 100*time.Millisecond {
		t.Errorf("it counts %v before it was read, and was asked for only then", now-at)
	}
	if at, now := j.arrived(nil, 0), time.Since(start); now-at > 100*time.Millisecond {
		t.Errorf("without a note it counts %v before it was read", now-at)
	}
}
