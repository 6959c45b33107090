package kind

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/internal/agent"
)

// link is the network between two clusters.
type link struct {
	f    *fleet
	a, b *cluster

	mu    sync.Mutex
	extra time.Duration // by faults, in each direction
}

var _ clusters.Link = (*link)(nil)

// Link implements clusters.Fleet.
func (f *fleet) Link(a, b string) clusters.Link {
	if l := f.links[[2]string{a, b}]; l != nil {
		return l
	}
	return nil
}

// connect makes the network of the clusters. Where it is flat, each reaches the others' pods by their own addresses; where
// it is separate, only the gateways (services.go).
func (f *fleet) connect(ctx context.Context) error {
	err := all(f.list, func(c *cluster) error {
		if f.reused { // routes and rules are there: they are part of what must not have drifted
			return nil
		}
		if err := c.eachNode(ctx, c.join); err != nil {
			return fmt.Errorf("connecting cluster %s with the others: %w", c.name, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, a := range f.list {
		for _, b := range a.others() {
			l := f.links[[2]string{b.name, a.name}]
			if l == nil {
				l = &link{f: f, a: a, b: b}
			}
			f.links[[2]string{a.name, b.name}] = l
		}
	}
	if len(f.list) < 2 {
		return nil
	}
	f.noQueue = all(f.list, func(c *cluster) error { return c.eachNode(ctx, c.hold) })
	switch {
	case f.noQueue == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case f.spec.Latency > 0:
		return fmt.Errorf("a latency of %s between clusters is not possible here: %w: load the kernel module nfnetlink_queue", f.spec.Latency, f.noQueue)
	}
	return nil
}

// join gives a node its network.
func (c *cluster) join(ctx context.Context, n *node) error {
	if c.ownCNI {
		if err := c.configure(ctx, n); err != nil {
			return err
		}
	}
	if routes := c.routes(n); routes != "" {
		if err := n.feed(ctx, routes, "ip", "-batch", "-"); err != nil {
			return fmt.Errorf("setting routes on node %s: %w", n.name, err)
		}
	}
	if rules := c.rules(); rules != "" {
		return n.restore(ctx, rules)
	}
	return nil
}

// restore adds rules to those of a node, or takes some away, all at once.
func (n *node) restore(ctx context.Context, rules string) error {
	if err := n.feed(ctx, rules, "iptables-restore", "--wait", "--noflush"); err != nil {
		return fmt.Errorf("changing the packet filter of node %s: %w", n.name, err)
	}
	return nil
}

// Partition implements clusters.Link. What comes from the other cluster is dropped on every node of both before connection
// tracking and routing see it, so nothing passes on open connections either.
func (l *link) Partition(ctx context.Context) (revert func(context.Context) error, err error) {
	if err := l.f.alive(); err != nil {
		return nil, err
	}
	id := dropComment + uuid.NewString()
	var cuts []*cut
	for _, side := range [][2]*cluster{{l.a, l.b}, {l.b, l.a}} {
		for _, n := range side[0].nodes {
			cuts = append(cuts, &cut{node: n, from: side[1].addresses(), id: id})
		}
	}
	undo := func(ctx context.Context) error { return all(cuts, func(c *cut) error { return c.set(ctx, false) }) }
	if err := all(cuts, func(c *cut) error { return c.set(ctx, true) }); err != nil {
		return nil, errors.Join(err, undo(context.WithoutCancel(ctx)))
	}
	return undo, nil
}

// cut is one node's part in a partition.
type cut struct {
	node *node
	from []string // what is dropped comes from there
	id   string

	mu   sync.Mutex
	made bool
}

// set makes or removes the rules of one node, all at once.
func (c *cut) set(ctx context.Context, made bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.made == made {
		return nil
	}
	if err := c.node.restore(ctx, dropRules(c.from, c.id, made)); err != nil {
		return err
	}
	c.made = made
	return nil
}

// all does something with all of a list at once, and waits for all.
func all[T any](list []T, do func(T) error) error {
	var g errgroup.Group
	for _, x := range list {
		g.Go(func() error { return do(x) })
	}
	return g.Wait()
}

// Delay implements clusters.Link.
func (l *link) Delay(ctx context.Context, d time.Duration) (revert func(context.Context) error, err error) {
	switch err := l.f.alive(); {
	case err != nil:
		return nil, err
	case d < 0:
		return nil, fmt.Errorf("a delay of %s is not possible", d)
	case l.f.noQueue != nil:
		return nil, fmt.Errorf("%w: %w", clusters.ErrNotPossible, l.f.noQueue)
	}
	if err := l.add(ctx, d); err != nil {
		return nil, errors.Join(err, l.add(context.WithoutCancel(ctx), -d))
	}
	var once sync.Once
	return func(ctx context.Context) error {
		var err error
		once.Do(func() { err = l.add(ctx, -d) })
		return err
	}, nil
}

// add changes what faults add to the latency of the link.
func (l *link) add(ctx context.Context, d time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.extra += d
	whole := l.f.spec.Latency + l.extra
	return errors.Join(l.a.slow(ctx, l.b, whole), l.b.slow(ctx, l.a, whole))
}

// linkProbe is a probe that the outsider of one cluster makes.
type linkProbe struct {
	from    *cluster
	pod     *pod
	command agent.ProbeCommand
}

// probeLimit bounds a measurement whose caller did not.
const probeLimit = 30 * time.Second

// Probe implements clusters.Link, from the outsider of one cluster to the other's.
func (l *link) Probe(ctx context.Context) (clusters.LinkProbe, error) {
	failed := func(err error) (clusters.LinkProbe, error) {
		return nil, fmt.Errorf("opening the probe of the link %s|%s: %w", l.a.name, l.b.name, err)
	}
	from, err := l.a.outsider()
	if err != nil {
		return failed(err)
	}
	to, err := l.b.outsider()
	if err != nil {
		return failed(err)
	}
	echo, err := l.b.echo(to)
	if err != nil {
		return failed(err)
	}
	p := &linkProbe{from: l.a, pod: from, command: agent.ProbeCommand{ID: uuid.NewString(), Address: echo}}
	if _, err := p.ask(ctx, "open"); err != nil {
		return failed(err)
	}
	return p, nil
}

// ask has the outsider measure. The time is what it measured itself.
func (p *linkProbe) ask(ctx context.Context, what string) (time.Duration, error) {
	cmd := p.command
	cmd.Connection, cmd.Timeout = what, probeLimit
	if at, ok := ctx.Deadline(); ok {
		cmd.Timeout = max(time.Millisecond, min(time.Until(at), probeLimit))
	}
	began := time.Now()
	res, err := command[agent.ProbeResult](ctx, p.from, p.pod.ref.Namespace, p.pod.ref.Pod, agent.PathProbe, cmd.Timeout, cmd)
	switch {
	case ctx.Err() != nil:
		return time.Since(began), ctx.Err()
	case err != nil:
		return time.Since(began), err
	case res.Error == "timeout":
		return res.Took, context.DeadlineExceeded
	case res.Error != "":
		return res.Took, errors.New(res.Error)
	}
	return res.Took, nil
}

// Fresh implements clusters.LinkProbe.
func (p *linkProbe) Fresh(ctx context.Context) (time.Duration, error) { return p.ask(ctx, "fresh") }

// Established implements clusters.LinkProbe.
func (p *linkProbe) Established(ctx context.Context) (time.Duration, error) {
	return p.ask(ctx, "established")
}

// Close implements clusters.LinkProbe.
func (p *linkProbe) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	_, err := p.ask(ctx, "close")
	return err
}
