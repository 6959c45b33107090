package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/workers"
	"github.com/meshproof/meshproof/loadgen"
)

const (
	// maxAttacks bounds how many attacks a pod sends at once.
	maxAttacks = 16
	// maxApart bounds how long after it was sent an order may come, by the clocks of both ends: further apart, what the load
	// met would lie elsewhere in time than the faults that made it.
	maxApart = 2 * time.Second
	// writeWithin bounds how long a line may take to be taken: a driver that does not read must not hold up the load.
	writeWithin = 10 * time.Second
)

// Why an attack was cancelled; otherwise its connection ended.
var (
	errStopped = errors.New("the driver stopped it")
	errEnding  = errors.New("the pod was told to end")
)

// attacks are those under way, by the name of their traffic. The zero value has none.
type attacks struct {
	mu      sync.Mutex
	byName  map[string]context.CancelCauseFunc
	closed  bool
	running sync.WaitGroup
}

// begin enters an attack whose context cancel ends. When the load is over, leave makes way for another of its name;
// running is done when its last line was written.
func (a *attacks) begin(name string, cancel context.CancelCauseFunc) (leave func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closed:
		return nil, errEnding
	case a.byName[name] != nil:
		return nil, fmt.Errorf("an attack of traffic %q is under way already", name)
	case len(a.byName) >= maxAttacks:
		return nil, fmt.Errorf("%d attacks are under way already", maxAttacks)
	case a.byName == nil:
		a.byName = map[string]context.CancelCauseFunc{}
	}
	a.byName[name] = cancel
	a.running.Add(1)
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.byName, name)
	}, nil
}

// stop ends the attack of a traffic, if there is one.
func (a *attacks) stop(name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	cancel := a.byName[name]
	if cancel != nil {
		cancel(errStopped)
	}
	return cancel != nil
}

// close ends all attacks and waits until they have said their last.
func (a *attacks) close() {
	a.mu.Lock()
	a.closed = true
	for _, cancel := range a.byName {
		cancel(errEnding)
	}
	a.mu.Unlock()
	a.running.Wait()
}

// attack serves an AttackCommand.
func (c *control) attack(w http.ResponseWriter, r *http.Request) {
	cmd, ok := argument[AttackCommand](c, w, r)
	if !ok {
		return
	}
	// The connection's end is noticed once its request has been read.
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxCommand))
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Connection", "close") // it has the deadline of the last line
	out := &lines{w: json.NewEncoder(w), rc: http.NewResponseController(w)}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	var lost *workers.Loss
	err := c.mayAttack(cmd)
	if err == nil {
		var leave func()
		if leave, err = c.attacks.begin(cmd.Attack.Traffic.Name, cancel); err == nil {
			defer c.attacks.running.Done()
			_ = out.rc.Flush() // the driver learns that it is obeyed before the load starts
			lost, err = c.load(ctx, cmd.Attack, out)
			leave()
		}
	}
	end := AttackEnd{Records: out.records, Lost: lost}
	if err != nil {
		why := context.Cause(ctx)
		end.Stopped, end.Ending = why == errStopped, why == errEnding || errors.Is(err, errEnding)
		if end.Error = err.Error(); end.Ending {
			end.Error = errEnding.Error()
		}
	}
	_ = out.write(AttackLine{End: &end}) // a driver that is gone needs no answer
}

// WorkerCommand is the argument with which the agent is a worker: it sends a part of its pod's load, as told by its
// standard input.
const WorkerCommand = "load-worker"

// Work is a worker in a pod.
func Work(ctx context.Context, in io.Reader, out io.Writer) error {
	return workers.Work(ctx, in, out, dial)
}

// load sends a load, by this process or by several of its kind.
func (c *control) load(ctx context.Context, a loadgen.Attack, out *lines) (*workers.Loss, error) {
	progress := func(p loadgen.Progress) { _ = out.write(AttackLine{Progress: &p}) } // Append says so
	n := a.Workers
	a.Workers = 0
	if n <= 1 {
		a.Dial = dial
		return nil, loadgen.Run(ctx, a, out, progress)
	}
	if err := a.Check(); err != nil {
		return nil, err
	}
	team, err := workers.Ready(ctx, n, c.worker, a, workers.TLS{})
	if err != nil {
		return nil, err
	}
	defer team.Close()
	if a.Start.IsZero() {
		a.Start = time.Now().Add(workers.Lead)
	}
	return team.Send(ctx, a.Start, out, progress)
}

// mayAttack says what is wrong with a command that cannot be meant for this pod now.
func (c *control) mayAttack(cmd AttackCommand) error {
	if err := c.meant(cmd.UID); err != nil {
		return err
	}
	if cmd.Attack.Start.IsZero() {
		return nil
	}
	if apart := time.Since(cmd.Ordered); apart.Abs() > maxApart {
		return fmt.Errorf("the load was ordered %s ago by the clock of this pod's node: it does not agree with the clock of the host that asks (or the order was under way for that long); at most %s are borne", apart.Round(time.Millisecond), maxApart)
	}
	return nil
}

// lines is an answer of many lines.
type lines struct {
	mu      sync.Mutex // of several workers, each has a goroutine that writes
	w       *json.Encoder
	rc      *http.ResponseController
	records int
	err     error
}

// Append implements evidence.Sink.
func (l *lines) Append(item evidence.Item) error {
	line := AttackLine{}
	switch v := item.(type) {
	case *evidence.Tick:
		line.Tick = v
	case *evidence.Phase:
		line.Phase = v
	default:
		return fmt.Errorf("a load has no records of stream %s", item.StreamName())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.put(line); err != nil {
		return err
	}
	l.records++
	return nil
}

// write writes a line at once.
func (l *lines) write(line AttackLine) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.put(line)
}

// put is write. After a line that failed nothing can follow: it may have been written in part. The caller holds mu.
func (l *lines) put(line AttackLine) error {
	if l.err != nil {
		return l.err
	}
	l.err = errors.Join(
		l.rc.SetWriteDeadline(time.Now().Add(writeWithin)),
		l.w.Encode(line),
		l.rc.Flush(),
	)
	return l.err
}
