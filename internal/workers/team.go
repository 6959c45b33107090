package workers

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

// Max bounds the processes of one load.
const Max = 64

const (
	// Lead is how long after all workers are ready their load may begin: by then they all know when.
	Lead = 300 * time.Millisecond
	// workerEnds is how long a worker that was told to stop may take to say what it sent.
	workerEnds = 2*loadgen.Patience + time.Second
)

// Loss is what was lost of a load.
type Loss struct {
	Why []string `json:"why"` // a sentence for each worker
	// Whole is the end of the last phase, after the start of the load, of which every worker had told all before the first
	// of them was lost; 0 where there is none. Of what was meant for later nothing can be proved.
	Whole time.Duration `json:"whole"`
}

// Check says why so many workers cannot send an attack together.
func Check(n int, a loadgen.Attack) error {
	switch {
	case n < 1 || n > Max:
		return fmt.Errorf("%d workers; want 1 to %d", n, Max)
	case n > a.Traffic.MaxInFlight:
		return fmt.Errorf("%d workers share %d connections; want one for each at least", n, a.Traffic.MaxInFlight)
	}
	return nil
}

// Team is the workers of one load.
type Team struct {
	workers []*worker
	start   time.Time
	sink    evidence.Sink

	progress func(loadgen.Progress)

	mu     sync.Mutex
	ticks  [][]*evidence.Tick  // by worker, those not merged yet
	phases [][]*evidence.Phase // the same
	over   []bool              // by worker: nothing more comes
	latest []*loadgen.Progress // by worker
	lost   []string
	halted bool    // what comes from now on may be cut short
	told   int64   // µs after the start, until when every slice of time was told by all
	ends   []int64 // µs after the start: of the phases that were told by all
	err    error   // of merging, or of the sink
}

// worker is one process that sends a part of a load.
type worker struct {
	k   int
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner

	stop sync.Once
}

// Ready starts n processes, each of which calls Work with its standard input and output, and waits until they could begin.
// Whoever gets a Team closes it.
func Ready(n int, command func() *exec.Cmd, a loadgen.Attack, tls TLS) (*Team, error) {
	if err := Check(n, a); err != nil {
		return nil, err
	}
	t := &Team{
		ticks: make([][]*evidence.Tick, n), phases: make([][]*evidence.Phase, n), over: make([]bool, n), latest: make([]*loadgen.Progress, n),
	}
	for k := range n {
		part := a
		part.Share = loadgen.Share{Worker: k, Workers: n}
		part.Traffic.MaxInFlight = (a.Traffic.MaxInFlight + n - 1 - k) / n
		w, err := begins(k, command(), order{Version: protocolVersion, Attack: part, TLS: tls, Tokens: a.Tokens})
		if w != nil {
			t.workers = append(t.workers, w)
		}
		if err != nil {
			t.Close()
			return nil, fmt.Errorf("starting worker %d of %d: %w", k+1, n, err)
		}
	}
	for _, w := range t.workers {
		if err := w.ready(); err != nil {
			t.Close()
			return nil, fmt.Errorf("worker %d of %d: %w", w.k+1, n, err)
		}
	}
	return t, nil
}

// Send sends the load, whose zero is start, and merges what the workers record. Where some of it was lost, all stop. The error is that of merging, of sink, or that
// of ctx. Progress may be nil.
func (t *Team) Send(ctx context.Context, start time.Time, sink evidence.Sink, progress func(loadgen.Progress)) (*Loss, error) {
	t.start, t.sink, t.progress = start, sink, progress
	for _, w := range t.workers {
		if err := json.NewEncoder(w.in).Encode(begin{Start: start.Round(0)}); err != nil { // wall time, as all of them get it
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
				t.stop() // of what comes nothing can be proved any more
			}
		})
	}
	following.Wait()
	if t.err == nil {
		t.err = t.merge(true)
	}
	var loss *Loss
	if len(t.lost) > 0 {
		loss = &Loss{Why: t.lost, Whole: t.whole()}
	}
	if t.err != nil {
		return loss, t.err
	}
	return loss, ctx.Err()
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
func (t *Team) follow(w *worker) error {
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
func (t *Team) take(add func()) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	add()
	if t.err == nil {
		t.err = t.merge(false)
	}
	return t.err
}

// merge writes what every worker has said its part of; at last, all that is left. The caller holds mu, or is alone.
func (t *Team) merge(all bool) error {
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
		if len(parts) == len(t.workers) && !t.halted {
			t.told = k.AtMicros + k.Micros
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
		if len(parts) == len(t.workers) && !t.halted {
			t.ends = append(t.ends, p.AtMicros+p.ForMicros)
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
func (t *Team) tell(k int, p *loadgen.Progress) {
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

// whole is the end of the last phase that all told of, with all slices of time until then.
func (t *Team) whole() time.Duration {
	out := int64(0)
	for _, end := range t.ends {
		if end <= t.told {
			out = max(out, end)
		}
	}
	return time.Duration(out) * time.Microsecond
}

// lose notes that a worker was lost.
func (t *Team) lose(w *worker, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over[w.k], t.halted = true, true
	at := max(time.Since(t.start), 0).Round(time.Millisecond)
	t.lost = append(t.lost, fmt.Sprintf("worker %d of %d was lost %s after the start of the load, with all that it had sent and not said: %v", w.k+1, len(t.over), at, err))
}

// stop tells all workers to stop.
func (t *Team) stop() {
	t.mu.Lock()
	t.halted = true
	t.mu.Unlock()
	for _, w := range t.workers {
		w.stop.Do(func() { _ = w.in.Close() }) // one that is gone has stopped
	}
}

// Close ends the workers: it waits for their processes, and ends those that do not end.
func (t *Team) Close() {
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
