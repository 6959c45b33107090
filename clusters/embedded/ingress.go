package embedded

import (
	"context"
	"fmt"
	"io"
	"net"

	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/internal/workload"
)

// Ingress implements clusters.Cluster. The URL is that of a listener which stands for the load balancer in front of a
// cluster: it outlives the ingress pod, and hands each connection to the one that is there. Where none is, connections
// are reset.
func (c *cluster) Ingress(ctx context.Context) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	for _, d := range c.deployments {
		if d.cfg.Role == workload.RoleIngress {
			return "http://" + c.front.addr(), nil
		}
	}
	return "", fmt.Errorf("cluster %s has no ingress: apply the Deployment of one first", c.name)
}

// ingressAddr is where the ingress workload is entered from outside, or nil: at its proxy, where that is for it, else
// past it. The fleet's lock must be held.
func (c *cluster) ingressAddr() *string {
	for _, p := range c.pods() {
		if p.phase == ready && p.cfg.Role == workload.RoleIngress {
			addr := p.app.addr()
			if e, ok := p.proxy.(proxy.Edge); ok {
				addr = e.Edge()
			}
			return &addr
		}
	}
	return nil
}

// forward carries one connection from the host to the ingress workload. When either end breaks, so does the other.
func (c *cluster) forward(client *net.TCPConn) {
	addr := c.gateway.Load()
	if addr == nil {
		reset(client)
		return
	}
	d := net.Dialer{Timeout: dialTimeout}
	conn, err := d.DialContext(c.f.ctx, "tcp", *addr)
	if err != nil {
		reset(client)
		return
	}
	ingress := conn.(*net.TCPConn)
	defer func() { _ = ingress.Close() }()
	back := make(chan struct{})
	go func() {
		defer close(back)
		pipe(client, ingress)
	}()
	pipe(ingress, client)
	<-back
}

// pipe copies until the source ends, and hands the way it ended on.
func pipe(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		reset(to)
		reset(from)
		return
	}
	_ = to.CloseWrite()
}
