package kind

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/agent"
	"github.com/meshproof/meshproof/internal/workload"
)

const (
	// strayKept is how much of what is no record is kept, in bytes: the end of a panic.
	strayKept = 2 << 10
	// followAgain is the pause before a log is opened again that ended before its pod.
	followAgain = 100 * time.Millisecond
)

// follower takes the records of one pod's workload from its log, from the first line on.
type follower struct {
	c       *cluster
	ref     evidence.PodRef
	ended   chan struct{} // closed when nothing more will come
	podGone chan struct{} // closed when the pod has ended
	once    sync.Once

	mu      sync.Mutex
	process string
	n       uint64 // of the last line of process
	whole   bool   // the process ended as it was told to
	rest    []byte // the end of what was no record
	moved   chan struct{}
}

func newFollower(c *cluster, p *pod) *follower {
	return &follower{c: c, ref: p.ref, ended: make(chan struct{}), podGone: make(chan struct{}), moved: make(chan struct{})}
}

// gone says that the pod has ended: what its log still has is read, and that is all.
func (f *follower) gone() { f.once.Do(func() { close(f.podGone) }) }

// run follows until the pod or ctx has ended.
func (f *follower) run(ctx context.Context) {
	defer close(f.ended)
	for ctx.Err() == nil {
		err := f.read(ctx)
		select {
		case <-f.podGone:
			return
		default:
		}
		if f.isWhole() {
			return
		}
		if err != nil {
			f.note([]byte(err.Error() + "\n"))
		}
		sleep(ctx, followAgain)
	}
}

// read reads the log once from its beginning to where it ends now. Lines that were read before are skipped by number.
func (f *follower) read(ctx context.Context) error {
	opts := &corev1.PodLogOptions{Container: workload.Container, Follow: true}
	log, err := f.c.client.CoreV1().Pods(f.ref.Namespace).GetLogs(f.ref.Pod, opts).Stream(ctx)
	if err != nil {
		return fmt.Errorf("following the log of pod %s in cluster %s: %w", f.ref.Pod, f.c.name, err)
	}
	defer func() { _ = log.Close() }()
	r := bufio.NewReaderSize(log, 64<<10)
	for {
		line, err := r.ReadBytes('\n')
		if err == nil {
			if err := f.take(line); err != nil {
				return err
			}
			continue
		}
		if errors.Is(err, io.EOF) {
			return nil // half a line is read again, or was never finished
		}
		return err
	}
}

// take takes one line.
func (f *follower) take(text []byte) error {
	var l agent.Line
	if !bytes.HasPrefix(text, []byte("{")) || json.Unmarshal(text, &l) != nil || l.Process == "" || l.N == 0 {
		f.note(text)
		return nil
	}
	f.mu.Lock()
	restarted, lost := false, uint64(0)
	switch {
	case l.Process != f.process:
		restarted = f.process != "" && !f.whole
		f.process, f.n, f.whole = l.Process, 0, false
		lost = l.N - 1
	case l.N <= f.n:
		f.mu.Unlock()
		return nil // read before
	default:
		lost = l.N - f.n - 1
	}
	f.n, f.whole = l.N, l.End
	close(f.moved)
	f.moved = make(chan struct{})
	f.mu.Unlock()
	if restarted {
		f.c.f.failed("the workload of pod %s in cluster %s was restarted, and the run did not do it: %s", f.ref.Pod, f.c.name, f.stray())
	}
	if lost > 0 {
		f.lost(lost, fmt.Sprintf("lines up to %d of the workload's log are missing", l.N-1))
	}
	if l.Request == nil {
		return nil
	}
	l.Request.Trial = f.c.f.spec.Trial
	return f.c.f.append(l.Request)
}

// lost records that records are missing.
func (f *follower) lost(n uint64, why string) {
	_ = f.c.f.append(&evidence.Event{
		Header: f.c.f.header("cluster/" + f.c.name), Kind: evidence.EventLost, At: f.ref,
		Of: workload.Source(f.ref), Stream: evidence.Requests, Count: n, Message: why,
	})
}

// note keeps the end of what is no record, for people.
func (f *follower) note(text []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rest = append(f.rest, text...)
	f.rest = f.rest[max(0, len(f.rest)-strayKept):]
}

func (f *follower) stray() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return bytes.Clone(f.rest)
}

func (f *follower) isWhole() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.whole
}

// wait waits until nothing more will come.
func (f *follower) wait(ctx context.Context) {
	select {
	case <-f.ended:
	case <-ctx.Done():
	}
}

// reach waits until a line was read. It returns how many are missing when ctx ends or nothing more will come.
func (f *follower) reach(ctx context.Context, last agent.Last) (missing uint64) {
	for {
		f.mu.Lock()
		same, n, moved := f.process == last.Process, f.n, f.moved
		f.mu.Unlock()
		switch {
		case same && n >= last.N:
			return 0
		case !same:
			n = 0
		}
		select {
		case <-moved:
		case <-f.ended:
			return last.N - n
		case <-ctx.Done():
			return last.N - n
		}
	}
}

// drainLimit bounds how long the last records of a fleet may take to arrive.
const drainLimit = 10 * time.Second

// drain waits for all that the cluster's workloads have recorded so far.
func (c *cluster) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	c.f.mu.Lock()
	var all []*follower
	for _, p := range c.pods {
		if p.follower != nil && p.was {
			all = append(all, p.follower)
		}
	}
	past := c.past
	c.f.mu.Unlock()
	var waiting sync.WaitGroup
	for _, f := range all {
		waiting.Go(func() {
			last, err := command[agent.Last](ctx, c, f.ref.Namespace, f.ref.Pod, agent.PathLast, 0, struct{}{})
			if err != nil {
				f.lost(0, fmt.Sprintf("how many records the workload has made is not known: %v", err))
				return
			}
			if n := f.reach(ctx, last); n > 0 {
				f.lost(n, fmt.Sprintf("the workload's log has not come further than %d lines before its end", n))
			}
		})
	}
	for _, f := range past {
		f.wait(ctx) // what a killed workload wrote is read to the end
	}
	waiting.Wait()
}
