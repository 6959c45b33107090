package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// DelayCommand is the argument with which the agent holds packets back instead of being a workload.
const DelayCommand = "delay"

// DelayLine asks for a delay: from now on every packet of the queue waits that long.
func DelayLine(queue uint16, d time.Duration) string { return fmt.Sprintf("%d %d\n", queue, d) }

// Delay holds the packets of queues back, as lines of commands (DelayLine) ask for, and answers each line with the same
// line once it holds. It ends with commands or ctx; packets that wait then go on at once, and so do all later ones where
// the rule that queues them says bypass.
//
// netem does the same in the kernel, and many kernels lack it; this needs no more than nfnetlink_queue.
func Delay(ctx context.Context, commands io.Reader, answers io.Writer) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	held := map[uint16]*holder{}
	var running sync.WaitGroup
	defer func() {
		cancel(nil)
		running.Wait()
	}()
	lines := make(chan string)
	go func() { // ends with commands, or with the process
		defer close(lines)
		sc := bufio.NewScanner(commands)
		for sc.Scan() {
			select {
			case lines <- sc.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		var line string
		select {
		case l, ok := <-lines:
			if !ok {
				return nil
			}
			line = l
		case <-ctx.Done():
			if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
				return cause
			}
			return nil
		}
		var number uint16
		var d time.Duration
		if _, err := fmt.Sscanf(line, "%d %d", &number, &d); err != nil || d < 0 {
			return fmt.Errorf("the command %q is not understood: want the number of a queue and nanoseconds", line)
		}
		h := held[number]
		if h == nil {
			q, err := openQueue(number)
			if err != nil {
				return err
			}
			h = &holder{q: q}
			held[number] = h
			h.delay.Store(int64(d))
			running.Go(func() {
				if err := h.run(ctx); err != nil {
					cancel(fmt.Errorf("holding the packets of queue %d: %w", number, err))
				}
			})
		}
		h.delay.Store(int64(d))
		if _, err := io.WriteString(answers, DelayLine(number, d)); err != nil {
			return fmt.Errorf("answering: %w", err)
		}
	}
}

// packets is what a holder asks of a queue.
type packets interface {
	receive() ([]uint32, error)
	release(id uint32) error
	interrupt()
	close() error
}

// holder holds the packets of one queue. They leave it in the order in which they came.
type holder struct {
	q     packets
	delay atomic.Int64 // ns
}

// packet is one that waits.
type packet struct {
	id  uint32
	due time.Time
}

// waiting bounds the packets that wait for their verdict: the kernel's queue is no longer.
const waiting = queueLength

func (h *holder) run(ctx context.Context) error {
	wait := make(chan packet, waiting)
	var received error
	var receiving sync.WaitGroup
	receiving.Go(func() {
		defer close(wait)
		for {
			ids, err := h.q.receive()
			due := time.Now().Add(time.Duration(h.delay.Load()))
			for _, id := range ids {
				wait <- packet{id, due}
			}
			if err != nil {
				if !interrupted(err) {
					received = err
				}
				return
			}
		}
	})
	stop := context.AfterFunc(ctx, h.q.interrupt)
	var released error
	for p := range wait {
		if d := time.Until(p.due); d > 0 && ctx.Err() == nil {
			t := time.NewTimer(d)
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
			}
		}
		if err := h.q.release(p.id); err != nil && released == nil {
			released = err
			h.q.interrupt()
		}
	}
	stop()
	receiving.Wait()
	return errors.Join(received, released, h.q.close())
}
