package kind

import (
	"context"
	"errors"
	"fmt"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/trust"
)

// rotator is a mesh whose control plane can be given another issuer.
type rotator interface {
	// rotate hands the control plane of a cluster another issuer. Certificates follow as they are renewed.
	rotate(ctx context.Context, c *cluster, next *trust.Issuer) error
}

// issuer is the certificate authority of a cluster, as it is now.
func (f *fleet) issuer(cluster string) *trust.Issuer {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.issuers[cluster]
}

// RotateIssuer implements clusters.Cluster. Evidence says what is trusted before anything is signed with it.
func (c *cluster) RotateIssuer(ctx context.Context) error {
	if err := errors.Join(ctx.Err(), c.f.alive()); err != nil {
		return err
	}
	if c.f.mesh == nil {
		return fmt.Errorf("%w: without a mesh cluster %s has no issuer", clusters.ErrNotPossible, c.name)
	}
	mesh, ok := c.f.mesh.(rotator)
	if !ok {
		return fmt.Errorf("%w: this version cannot give the control plane of mesh %s another issuer", clusters.ErrNotPossible, c.f.spec.Mesh)
	}
	next, err := c.f.issuer(c.name).Successor()
	if err != nil {
		return err
	}
	err = c.f.append(&evidence.Event{
		Header: c.f.header("fleet"), Kind: evidence.EventTrust, Data: map[string]string{"intermediate/" + c.name: next.Lineage()},
	})
	if err != nil {
		return err
	}
	c.f.mu.Lock()
	c.f.issuers[c.name] = next
	c.f.mu.Unlock()
	if err := mesh.rotate(ctx, c, next); err != nil {
		return fmt.Errorf("giving the control plane of cluster %s another issuer: %w", c.name, err)
	}
	return nil
}
