package kind

import (
	"context"
	"errors"
	"fmt"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/internal/trust"
	"github.com/meshproof/meshproof/scenarios"
)

// rotator is a mesh whose control plane can be given another issuer.
type rotator interface {
	// rotate hands the control planes of a cluster the issuers that it has now. Certificates follow as they are renewed.
	rotate(ctx context.Context, c *cluster) error
}

// issuer is the certificate authority of a mesh in the cluster, as it is now.
func (c *cluster) issuer(mesh scenarios.MeshName) *trust.Issuer {
	return c.f.issuers.Issuer(mesh, c.name)
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
	if err := c.f.issuers.Rotate(c.name, c.f.trusted); err != nil {
		return err
	}
	if err := mesh.rotate(ctx, c); err != nil {
		return fmt.Errorf("giving the control plane of cluster %s another issuer: %w", c.name, err)
	}
	return nil
}
