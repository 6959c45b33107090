package embedded

import (
	"context"
	"fmt"
	"net"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/internal/workload"
)

// Probe implements clusters.Link, from the outsider of one cluster to the echo of the other's.
func (l fleetLink) Probe(ctx context.Context) (clusters.LinkProbe, error) {
	p, err := workload.NewLinkProbe(ctx, func(ctx context.Context) (net.Conn, error) {
		if l.a.outsider() == nil {
			return nil, fmt.Errorf("cluster %s has no outsider that is ready", l.a.name)
		}
		to := l.b.outsider()
		if to == nil {
			return nil, fmt.Errorf("cluster %s has no outsider that is ready", l.b.name)
		}
		return l.f.net.dial(ctx, l.a.name, l.b.name, to.echo.addr())
	})
	if err != nil {
		return nil, fmt.Errorf("opening the probe of the link %s|%s: %w", l.a.name, l.b.name, err)
	}
	return p, nil
}
