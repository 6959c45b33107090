package alone

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/loadgen"
)

// maxWorkers bounds the processes of one load.
const maxWorkers = 64

const (
	// workerLead is how long after all workers are ready their load begins: by then they all know when.
	workerLead = 300 * time.Millisecond
	// workerEnds is how long a worker that was told to stop may take to say what it sent.
	workerEnds = 2*loadgen.Patience + time.Second
)

// worker is one process that sends a part of a load.
type worker struct {
	k   int
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner

	stop sync.Once
}

// team is the workers of one load, and what they said so far.
type team struct {
	sink     evidence.Sink
	progress func(loadgen.Progress)
	workers  []*worker

	mu     sync.Mutex
	ticks  [][]*evidence.Tick  // by worker, those not merged yet
	phases [][]*evidence.Phase // the same
	over   []bool              // by worker: nothing more comes
	latest []*loadgen.Progress // by worker
	lost   []string
	err    error // of merging, or of the sink
}

// share sends a load by processes, each of which sends its part, and merges what they record. What was lost of them is
// returned; nothing may be proved by what is left. The error is that of starting them, of merging, or that of ctx.
func share(ctx context.Context, o Options, a loadgen.Attack, sink evidence.Sink, progress func(loadgen.Progress)) (lost []string, err error) {
	t := &team{
		sink: sink, progress: progress, ticks: make([][]*evidence.Tick, o.Workers), phases: make([][]*evidence.Phase, o.Workers),
		over: make([]bool, o.Workers), latest: make([]*loadgen.Progress, o.Workers),
	}
	defer t.end()
	for k := range o.Workers {
		part := a
		part.Share = loadgen.Share{Worker: k, Workers: o.Workers}
		part.Traffic.MaxInFlight = (a.Traffic.MaxInFlight + o.Workers - 1 - k) / o.Workers
		w, err := begins(k, o.Worker(), order{Version: protocolVersion, Attack: part, TLS: o.TLS})
		if w != nil {
			t.workers = append(t.workers, w)
		}
		if err != nil {
			return nil, fmt.Errorf("starting worker %d of %d: %w", k+1, o.Workers, err)
		}
	}
	for _, w := range t.workers {
		if err := w.ready(); err != nil {
			return nil, fmt.Errorf("worker %d of %d: %w", w.k+1, o.Workers, err)
		}
	}
	start := time.Now().Add(workerLead).Round(0) // wall time, as all of them get it
	for _, w := range t.workers {
		if err := json.NewEncoder(w.in).Encode(begin{Start: start}); err != nil {
			t.lose(w, err)
		}
	}
	stopped := context.AfterFunc(ctx, t.stop)
	defer stopped()
	var following sync.WaitGroup
	for _, w := range t.workers {
		following.Go(func() {
			if err := t.follow(w); err != nil {
				t.lose(w, err)
				t.stop() // nothing can be proved any more
			}
		})
	}
	following.Wait()
	if t.err == nil {
		t.err = t.merge(true)
	}
	if t.err != nil {
		return t.lost, t.err
	}
	return t.lost, ctx.Err()
}

// begins starts a worker and tells it what to send.
func begins(k int, cmd *exec.Cmd, o order) (*worker, error) {
	w := &worker{k: k, cmd: cmd}
	var err error
	if w.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	w.out = bufio.NewScanner(out)
	w.out.Buffer(make([]byte, 0, 64<<10), maxLine)
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return w, json.NewEncoder(w.in).Encode(o)
}

// next reads the next line.
func (w *worker) next() (line, error) {
	if !w.out.Scan() {
		if err := w.out.Err(); err != nil {
			return line{}, fmt.Errorf("reading what it says: %w", err)
		}
		return line{}, errors.New("it ended before it had said all")
	}
	var l line
	if err := json.Unmarshal(w.out.Bytes(), &l); err != nil {
		return line{}, fmt.Errorf("what it says cannot be read: %w", err)
	}
	return l, nil
}

// ready waits until the worker could begin.
func (w *worker) ready() error {
	l, err := w.next()
	switch {
	case err != nil:
		return err
	case l.End != nil:
		return errors.New(l.End.Error)
	case !l.Ready:
		return errors.New("it does not say that it is ready")
	}
	return nil
}

// follow takes what a worker says until its end.
func (t *team) follow(w *worker) error {
	records := 0
	for {
		l, err := w.next()
		if err != nil {
			return err
		}
		switch {
		case l.Tick != nil:
			records++
			err = t.take(func() { t.ticks[w.k] = append(t.ticks[w.k], l.Tick) })
		case l.Phase != nil:
			records++
			err = t.take(func() { t.phases[w.k] = append(t.phases[w.k], l.Phase) })
		case l.Progress != nil:
			t.tell(w.k, l.Progress)
		case l.End != nil && l.End.Records != records:
			return fmt.Errorf("it made %d records, and %d arrived", l.End.Records, records)
		case l.End != nil && l.End.Error != "" && !l.End.Stopped:
			return errors.New(l.End.Error)
		case l.End != nil:
			return t.take(func() { t.over[w.k] = true })
		}
		if err != nil {
			return err
		}
	}
}

// take adds what a worker said, and writes what is whole by it.
func (t *team) take(add func()) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	add()
	if t.err == nil {
		t.err = t.merge(false)
	}
	return t.err
}

// merge writes what every worker has said its part of; at last, all that is left. The caller holds mu, or is alone.
func (t *team) merge(all bool) error {
	for {
		parts, ok := heads(t.ticks, t.over, all)
		if !ok {
			break
		}
		k, err := evidence.MergeTicks(parts)
		if err != nil {
			return err
		}
		if err := t.sink.Append(k); err != nil {
			return err
		}
	}
	for {
		parts, ok := heads(t.phases, t.over, all)
		if !ok {
			return nil
		}
		p, err := evidence.MergePhases(parts)
		if err != nil {
			return err
		}
		if err := t.sink.Append(p); err != nil {
			return err
		}
	}
}

// heads takes the first of each list, where each list has one or gets no more, and any has one.
func heads[T any](lists [][]T, over []bool, all bool) (parts []T, ok bool) {
	for i, l := range lists {
		if len(l) == 0 && !over[i] && !all {
			return nil, false
		}
	}
	for i, l := range lists {
		if len(l) > 0 {
			parts = append(parts, l[0])
			lists[i] = l[1:]
		}
	}
	return parts, len(parts) > 0
}

// tell shows the progress of all when the first of them has news. Their p99 has no common one: the largest is shown.
func (t *team) tell(k int, p *loadgen.Progress) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.latest[k] = p
	if k != 0 || t.progress == nil {
		return
	}
	sum := loadgen.Progress{Traffic: p.Traffic, Phase: p.Phase, Elapsed: p.Elapsed}
	for _, l := range t.latest {
		if l == nil {
			continue
		}
		sum.OfferedRate += l.OfferedRate
		sum.AchievedRate += l.AchievedRate
		sum.InFlight += l.InFlight
		sum.P99 = max(sum.P99, l.P99)
		sum.ErrorRate += l.ErrorRate * l.AchievedRate
	}
	if sum.AchievedRate > 0 {
		sum.ErrorRate /= sum.AchievedRate
	}
	t.progress(sum)
}

// lose notes that a worker was lost.
func (t *team) lose(w *worker, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over[w.k] = true
	t.lost = append(t.lost, fmt.Sprintf("worker %d of %d was lost, with all that it had sent and not said: %v", w.k+1, len(t.over), err))
}

// stop tells all workers to stop.
func (t *team) stop() {
	for _, w := range t.workers {
		w.stop.Do(func() { _ = w.in.Close() }) // one that is gone has stopped
	}
}

// end waits for the workers' processes, and ends those that do not end.
func (t *team) end() {
	t.stop()
	var waiting sync.WaitGroup
	for _, w := range t.workers {
		waiting.Go(func() {
			late := time.AfterFunc(workerEnds, func() { _ = w.cmd.Process.Kill() }) // it may just have ended
			defer late.Stop()
			_ = w.cmd.Wait() // how it ended was said, or it was lost
		})
	}
	waiting.Wait()
}
