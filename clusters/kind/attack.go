package kind

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/agent"
	"github.com/meshproof/meshproof/loadgen"
)

const (
	// silence is how long an agent that sends a load may say nothing: it tells its progress several times a second.
	silence = 30 * time.Second
	// stopWithin is how long a load that is stopped may take to say what it sent.
	stopWithin = loadgen.Patience + slack
)

var errSilent = fmt.Errorf("it has said nothing for %s", silence)

// Attack implements clusters.Cluster. What the agent in the pod records comes as one long answer through the API server's
// proxy, which does not bound the time of such requests.
func (c *cluster) Attack(ctx context.Context, from clusters.Pod, a loadgen.Attack, progress func(loadgen.Progress)) error {
	failed := func(err error) error {
		return fmt.Errorf("pod %s in cluster %s: %w", from.Pod, c.name, err)
	}
	p, err := c.running(from)
	if err != nil {
		return err
	}
	body, err := json.Marshal(agent.AttackCommand{UID: p.ref.UID, Ordered: time.Now().UTC(), Attack: a})
	if err != nil {
		return failed(err)
	}
	// The connection outlives ctx: a load that is stopped still says what it sent.
	whole, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	defer context.AfterFunc(c.f.ctx, func() { cancel(errClosed) })()
	quiet := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer quiet.Stop()

	var stopping sync.WaitGroup
	over := make(chan struct{})
	defer stopping.Wait()
	defer close(over)
	stopping.Go(func() {
		select {
		case <-ctx.Done():
			c.stopAttack(whole, p, a.Traffic.Name, over)
			cancel(nil)
		case <-over:
		}
	})
	answer, err := c.request(p.ref.Namespace, p.ref.Pod, agent.PathAttack, body).Stream(whole)
	if err == nil {
		defer func() { _ = answer.Close() }()
		err = agent.Follow(heard{answer, quiet}, fleetSink{c.f}, progress)
	} else if _, gone := c.running(from); gone != nil {
		err = fmt.Errorf("%w: %w", clusters.ErrSenderLost, gone)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && context.Cause(whole) == errSilent:
		return failed(fmt.Errorf("%w: %w", clusters.ErrSenderLost, errSilent))
	case err != nil:
		return failed(err)
	}
	return nil
}

// stopAttack stops a load, and waits until it has said all, or for as long as that may take.
func (c *cluster) stopAttack(ctx context.Context, p *pod, traffic string, over <-chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, stopWithin)
	defer cancel()
	there, err := command[agent.Stopped](ctx, c, p.ref.Namespace, p.ref.Pod, agent.PathStop, 0, agent.StopCommand{Traffic: traffic})
	if err != nil || !there.Found {
		return // the end of its connection stops it as well
	}
	select {
	case <-over:
	case <-ctx.Done():
	}
}

// heard puts a silence off whenever something is read.
type heard struct {
	io.Reader
	quiet *time.Timer
}

// Read implements io.Reader.
func (h heard) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if n > 0 {
		h.quiet.Reset(silence)
	}
	return n, err
}

// fleetSink hands evidence on until the fleet has ended.
type fleetSink struct{ f *fleet }

// Append implements evidence.Sink.
func (s fleetSink) Append(item evidence.Item) error { return s.f.append(item) }
