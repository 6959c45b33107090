package kind

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
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

// connect makes one flat network of the clusters: each reaches the others' pods by their own addresses.
func (f *fleet) connect(ctx context.Context) error {
	for i, a := range f.list {
		if !f.reused { // else the rules are there: they are part of what must not have drifted
			if err := a.route(ctx); err != nil {
				return fmt.Errorf("connecting cluster %s with the others: %w", a.name, err)
			}
		}
		for j, b := range f.list {
			if i == j {
				continue
			}
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
	for _, c := range f.list {
		if f.noQueue = c.hold(ctx); f.noQueue != nil {
			break
		}
	}
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

// route lets a node reach the other clusters' pods and Services, and keeps its own pods' addresses on the way there.
func (c *cluster) route(ctx context.Context) error {
	var commands [][]string
	if c.masq {
		commands = append(commands, []string{
			"iptables", "-w", "-t", "nat", "-A", "POSTROUTING", "-s", c.ranges.pods.String(), "!", "-d", c.ranges.pods.String(), "-j", "MASQUERADE",
		})
	}
	for _, o := range c.f.list {
		if o == c {
			continue
		}
		commands = append(commands,
			[]string{"ip", "route", "replace", o.ranges.pods.String(), "via", o.address.String()},
			[]string{"ip", "route", "replace", o.ranges.services.String(), "via", o.address.String()},
			// Before anybody's masquerading: a CNI of its own would hide who calls.
			[]string{"iptables", "-w", "-t", "nat", "-I", "POSTROUTING", "1", "-s", c.ranges.pods.String(), "-d", o.ranges.pods.String(), "-j", "ACCEPT"},
		)
	}
	for _, args := range commands {
		if _, err := onNode(ctx, c.node, args...); err != nil {
			return err
		}
	}
	return nil
}

// addresses are those by which others come from a cluster.
func (c *cluster) addresses() []string {
	return []string{c.ranges.pods.String(), c.ranges.services.String(), c.address.String()}
}

// Partition implements clusters.Link. What comes from the other cluster is dropped on both sides before connection
// tracking and routing see it, so nothing passes on open connections either.
func (l *link) Partition(ctx context.Context) (revert func(context.Context) error, err error) {
	if err := l.f.alive(); err != nil {
		return nil, err
	}
	id := dropComment + uuid.NewString()
	cuts := []*cut{{node: l.a.node, from: l.b.addresses(), id: id}, {node: l.b.node, from: l.a.addresses(), id: id}}
	undo := func(ctx context.Context) error { return both(cuts, func(c *cut) error { return c.set(ctx, false) }) }
	if err := both(cuts, func(c *cut) error { return c.set(ctx, true) }); err != nil {
		return nil, errors.Join(err, undo(context.WithoutCancel(ctx)))
	}
	return undo, nil
}

// cut is one node's side of a partition.
type cut struct {
	node string
	from []string // what is dropped comes from there
	id   string

	mu   sync.Mutex
	made bool
}

// set makes or removes the rules of one side, all at once.
func (c *cut) set(ctx context.Context, made bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.made == made {
		return nil
	}
	if _, err := dockerIn(ctx, strings.NewReader(dropRules(c.from, c.id, made)), "exec", "--interactive", c.node, "iptables-restore", "--wait", "--noflush"); err != nil {
		return fmt.Errorf("changing what node %s drops: %w", c.node, err)
	}
	c.made = made
	return nil
}

// both does something with both sides at once.
func both(cuts []*cut, do func(*cut) error) error {
	var g errgroup.Group
	for _, c := range cuts {
		g.Go(func() error { return do(c) })
	}
	return g.Wait()
}

// dropComment is what the comments on the rules of partitions begin with.
const dropComment = "meshproof-"

// dropRules is what iptables-restore needs to drop what comes from these addresses, or to stop that.
func dropRules(from []string, id string, made bool) string {
	how := "-D PREROUTING"
	if made {
		how = "-I PREROUTING 1"
	}
	var b strings.Builder
	b.WriteString("*raw\n")
	for _, f := range from {
		fmt.Fprintf(&b, "%s -s %s -m comment --comment %s -j DROP\n", how, f, id)
	}
	b.WriteString("COMMIT\n")
	return b.String()
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
	return errors.Join(l.a.holder.set(ctx, l.b, whole), l.b.holder.set(ctx, l.a, whole))
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
	p := &linkProbe{from: l.a, pod: from, command: agent.ProbeCommand{
		ID: uuid.NewString(), Address: net.JoinHostPort(to.ip, strconv.Itoa(agent.EchoPort)),
	}}
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
