package embedded

import (
	"context"
	"time"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/internal/workload"
)

// handshakeTimeout bounds a handshake whose caller did not.
const handshakeTimeout = 5 * time.Second

// Handshake implements clusters.Cluster. It is made from the cluster's own network.
func (c *cluster) Handshake(ctx context.Context, to clusters.Pod, serverName string) clusters.HandshakeResult {
	p, err := c.running(to)
	if err != nil {
		return clusters.HandshakeResult{Error: workload.ErrorClass(err)}
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	conn, err := c.f.net.dial(ctx, c.name, c.name, p.addr())
	if err != nil {
		return clusters.HandshakeResult{Error: workload.ErrorClass(err)}
	}
	defer func() { _ = conn.Close() }()
	return workload.Handshake(ctx, conn, serverName)
}
