package kind

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/meshproof/meshproof/internal/agent"
)

// firstQueue is the number of the first packet queue that is used on a node.
const firstQueue = 7700

// holder is the agent on a node that holds back what leaves for other clusters.
type holder struct {
	on    *node
	stdin io.WriteCloser
	lines chan string // what the agent answers; closed when it has ended

	mu sync.Mutex // one command at a time
}

// hold starts the agent on a node and sends what leaves for each other cluster through a queue of its own.
func (c *cluster) hold(ctx context.Context, n *node) error {
	h := &holder{on: n, lines: make(chan string)}
	// It ends when the driver does, in whatever way: docker exec then closes its stdin.
	cmd := exec.CommandContext(c.f.ctx, "docker", "exec", "--interactive", n.name, agentOnNode, agent.DelayCommand)
	cmd.SysProcAttr = ownGroup()
	cmd.WaitDelay = time.Second
	var said bytes.Buffer
	cmd.Stderr = &said
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if h.stdin, err = cmd.StdinPipe(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the agent on node %s: %w", n.name, err)
	}
	c.f.run(func(ctx context.Context) {
		sc := bufio.NewScanner(stdout)
		for sc.Scan() {
			select {
			case h.lines <- sc.Text():
			case <-ctx.Done():
			}
		}
		close(h.lines)
		if err := cmd.Wait(); ctx.Err() == nil {
			c.f.failed("the latency between cluster %s and the others is no longer held: the agent on node %s ended (%v): %s",
				c.name, n.name, err, strings.TrimSpace(said.String()))
		}
	})
	n.holder = h
	for _, o := range c.others() {
		if err := h.set(ctx, c.queue(o), c.f.spec.Latency); err != nil {
			return err
		}
	}
	if c.f.reused { // the rules are there
		return nil
	}
	return n.restore(ctx, c.queueRules())
}

// slow makes packets from any node to another cluster wait so long from now on.
func (c *cluster) slow(ctx context.Context, to *cluster, d time.Duration) error {
	err := all(c.nodes, func(n *node) error { return n.holder.set(ctx, c.queue(to), d) })
	if err != nil {
		return fmt.Errorf("holding packets from cluster %s to %s back for %s: %w", c.name, to.name, d, err)
	}
	return nil
}

// queue is the number of the queue of what leaves for another cluster.
func (c *cluster) queue(to *cluster) uint16 {
	return firstQueue + uint16(slices.Index(c.f.list, to))
}

// set makes the packets of a queue wait so long from now on.
func (h *holder) set(ctx context.Context, queue uint16, d time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	line := agent.DelayLine(queue, d)
	failed := func(err error) error {
		return fmt.Errorf("asking the agent on node %s to hold packet queue %d for %s: %w", h.on.name, queue, d, err)
	}
	if _, err := io.WriteString(h.stdin, line); err != nil {
		return failed(err)
	}
	for {
		select {
		case got, ok := <-h.lines:
			if !ok {
				return failed(errors.New("it has ended: the kernel may lack nfnetlink_queue"))
			}
			if got+"\n" == line {
				return nil
			} // else it answers a command that was given up
		case <-ctx.Done():
			return failed(ctx.Err())
		}
	}
}
