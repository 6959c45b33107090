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
	"sync/atomic"
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
	// maxSilence is how long a worker that has something to say may say nothing, or not read. Once its load has begun it speaks each
	// loadgen.TickWidth; this leaves room for a machine that is too busy, and is short enough for a pod to say who was lost
	// before its driver takes the whole pod for lost, after 30 s.
	maxSilence = 20 * time.Second
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
	k    int
	in   io.WriteCloser
	out  *bufio.Scanner
	kill func() error
	wait func() error

	asked  atomic.Bool // to stop
	late   *time.Timer // kills it where it does not; nil until then
	stop   sync.Once
	killed atomic.Pointer[error] // why it was; nil: it was not
}

// Ready starts n processes, each of which calls Work with its standard input and output, and waits until they could begin,
// or ctx ends. Whoever gets a Team closes it.
func Ready(ctx context.Context, n int, command func() *exec.Cmd, a loadgen.Attack, tls TLS) (*Team, error) {
	if err := Check(n, a); err != nil {
		return nil, err
	}
	t := newTeam(n)
	stopped := context.AfterFunc(ctx, t.stop)
	defer stopped()
	if err := t.gather(ctx, command, a, tls); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

func newTeam(n int) *Team {
	return &Team{
		ticks: make([][]*evidence.Tick, n), phases: make([][]*evidence.Phase, n), over: make([]bool, n), latest: make([]*loadgen.Progress, n),
	}
}

// gather starts the workers, tells each its part, and waits until all could begin.
func (t *Team) gather(ctx context.Context, command func() *exec.Cmd, a loadgen.Attack, tls TLS) error {
	n := len(t.over)
	for k := range n {
		if err := ctx.Err(); err != nil {
			return err
		}
		part := a
		part.Share = loadgen.Share{Worker: k, Workers: n}
		part.Traffic.MaxInFlight = (a.Traffic.MaxInFlight + n - 1 - k) / n
		w, err := begins(k, command())
		if err == nil {
			t.join(w)
			err = w.tell(order{Version: protocolVersion, Attack: part, TLS: tls, Tokens: a.Tokens})
		}
		if err != nil {
			return errors.Join(ctx.Err(), fmt.Errorf("starting worker %d of %d: %w", k+1, n, err))
		}
	}
	for _, w := range t.workers {
		if err := w.ready(); err != nil {
			return errors.Join(ctx.Err(), fmt.Errorf("worker %d of %d: %w", w.k+1, n, err))
		}
	}
	return ctx.Err()
}

// join makes a worker one of the team's, which may have been stopped meanwhile.
func (t *Team) join(w *worker) {
	t.mu.Lock()
	t.workers = append(t.workers, w)
	stopped := t.halted
	t.mu.Unlock()
	if stopped {
		w.end()
	}
}

// Send sends the load, whose zero is start, and merges what the workers record. Where some of it was lost, all stop. The error is that of merging, of sink, or that
// of ctx. Progress may be nil.
func (t *Team) Send(ctx context.Context, start time.Time, sink evidence.Sink, progress func(loadgen.Progress)) (*Loss, error) {
	t.start, t.sink, t.progress = start, sink, progress
	for _, w := range t.workers {
		if err := w.tell(begin{Start: start.Round(0)}); err != nil { // wall time, as all of them get it
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

// begins starts a worker.
func begins(k int, cmd *exec.Cmd) (*worker, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return newWorker(k, in, out, cmd.Process.Kill, cmd.Wait), nil
}

// newWorker is a worker that reads what is written to in, and says what is read from out.
func newWorker(k int, in io.WriteCloser, out io.Reader, kill, wait func() error) *worker {
	w := &worker{k: k, in: in, out: bufio.NewScanner(out), kill: kill, wait: wait}
	w.out.Buffer(make([]byte, 0, 64<<10), maxLine)
	return w
}

// tell tells the worker something: it may be more than it takes without reading.
func (w *worker) tell(v any) error {
	defer time.AfterFunc(maxSilence, func() { w.give(fmt.Errorf("it read nothing for %s, and was killed", maxSilence)) }).Stop()
	err := json.NewEncoder(w.in).Encode(v)
	if why := w.killed.Load(); err != nil && why != nil {
		return *why
	}
	return err
}

// end tells the worker to stop, and sees to it that it does.
func (w *worker) end() {
	w.stop.Do(func() {
		w.asked.Store(true)
		_ = w.in.Close() // one that is gone has stopped
		w.late = time.AfterFunc(workerEnds, func() {
			w.give(fmt.Errorf("%s after it was told to stop it had not ended, and was killed", workerEnds))
		})
	})
}

// give gives the worker up: it is killed, whatever it does.
func (w *worker) give(why error) {
	w.killed.CompareAndSwap(nil, &why)
	_ = w.kill() // it may just have ended
}

// next reads the next line, for which the worker has so much time.
func (w *worker) next(within time.Duration) (line, error) {
	silent := time.AfterFunc(within, func() { w.give(fmt.Errorf("it said nothing for %s, and was killed", within)) })
	more := w.out.Scan()
	silent.Stop()
	if !more {
		if why := w.killed.Load(); why != nil {
			return line{}, *why
		}
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
	l, err := w.next(maxSilence)
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
	within := max(time.Until(t.start), 0) + maxSilence // until the load begins there is nothing to say
	for {
		l, err := w.next(within)
		within = maxSilence
		if err != nil {
			return err
		}
		if l.Cut {
			t.halt() // also where nobody told it to stop, and it has not said yet that it did
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
		case l.End != nil && l.End.Error != "" && !w.asked.Load():
			return fmt.Errorf("it stopped, and nobody here told it to: %s", l.End.Error)
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

// halt notes that what comes from now on may be cut short.
func (t *Team) halt() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.halted = true
}

// stop tells all workers to stop.
func (t *Team) stop() {
	t.mu.Lock()
	t.halted = true
	all := t.workers
	t.mu.Unlock()
	for _, w := range all {
		w.end()
	}
}

// Close ends the workers, and waits for their processes.
func (t *Team) Close() {
	t.stop()
	var waiting sync.WaitGroup
	for _, w := range t.workers {
		waiting.Go(func() {
			defer w.late.Stop()
			_ = w.wait() // how it ended was said, or it was lost
		})
	}
	waiting.Wait()
}
