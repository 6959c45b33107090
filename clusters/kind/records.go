package kind

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/agent"
	"github.com/meshproof/meshproof/internal/workload"
)

// follower takes the records of one pod's workload from its log, from the first line on.
type follower struct {
	*containerLog

	mu      sync.Mutex
	process string
	n       uint64 // of the last line of process
	whole   bool   // the process ended as it was told to
	moved   chan struct{}
}

func newFollower(c *cluster, p *pod) *follower {
	f := &follower{containerLog: newContainerLog(c, p.ref, workload.Container), moved: make(chan struct{})}
	f.taker = f
	return f
}

// begin implements taker: lines that were read before are skipped by number.
func (f *follower) begin() {}

// over implements taker.
func (f *follower) over() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.whole
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
	f.missing(workload.Source(f.ref), evidence.Requests, n, why)
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
const drainLimit = 20 * time.Second

// drain waits for all that the cluster's workloads have recorded and its proxies have logged so far.
func (c *cluster) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	c.f.mu.Lock()
	var records []*follower
	var logs []*accessLog
	for _, p := range c.pods {
		if p.follower != nil && p.was {
			records = append(records, p.follower)
		}
		if p.access != nil && p.was {
			logs = append(logs, p.access)
		}
	}
	past := c.past
	c.f.mu.Unlock()
	var waiting sync.WaitGroup
	for _, f := range records {
		waiting.Go(func() { f.drain(ctx) })
	}
	for _, a := range logs {
		waiting.Go(func() { a.drain(ctx) })
	}
	for _, f := range past {
		f.wait(ctx) // what a killed pod wrote is read to the end
	}
	waiting.Wait()
}

// drain waits for all that the workload has recorded so far.
func (f *follower) drain(ctx context.Context) {
	last, err := command[agent.Last](ctx, f.c, f.ref.Namespace, f.ref.Pod, agent.PathLast, 0, struct{}{})
	if err != nil {
		f.lost(0, fmt.Sprintf("how many records the workload has made is not known: %v", err))
		return
	}
	if n := f.reach(ctx, last); n > 0 {
		f.lost(n, fmt.Sprintf("the workload's log has not come further than %d lines before its end", n))
	}
}
