package embedded

import (
	"context"
	"fmt"
	"net"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/loadgen"
)

// Attack implements clusters.Cluster. The generator's connections are the pod's: they take the way of its workload's, and
// end with it.
func (c *cluster) Attack(ctx context.Context, from clusters.Pod, a loadgen.Attack, progress func(loadgen.Progress)) error {
	p, err := c.running(from)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.life, cancel)()
	a.Dial = p.dialWhileAlive
	err = loadgen.Run(ctx, a, podSink{p, c.f.spec.Sink}, progress)
	if err != nil && p.life.Err() != nil {
		return fmt.Errorf("pod %s in cluster %s ended: %w", p.ref.Pod, c.name, clusters.ErrSenderLost)
	}
	return err
}

// podSink takes what is said in a pod's name as long as it lives.
type podSink struct {
	p    *pod
	sink evidence.Sink
}

// Append implements evidence.Sink.
func (s podSink) Append(item evidence.Item) error {
	if s.p.life.Err() != nil {
		return errEnded
	}
	return s.sink.Append(item)
}

// dialWhileAlive opens a connection that is closed when the pod ends.
func (p *pod) dialWhileAlive(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := p.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	return &mortal{conn, context.AfterFunc(p.life, func() { _ = conn.Close() })}, nil
}

// mortal is a connection that ends with its pod.
type mortal struct {
	net.Conn
	outlives func() bool
}

// Close implements net.Conn.
func (m *mortal) Close() error {
	m.outlives()
	return m.Conn.Close()
}
