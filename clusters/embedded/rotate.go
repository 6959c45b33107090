package embedded

import (
	"context"
	"fmt"

	"github.com/meshproof/meshproof/clusters"
)

// RotateIssuer implements clusters.Cluster. Who asks for a certificate from then on gets it from a new issuer.
func (c *cluster) RotateIssuer(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.f.factory == nil {
		return fmt.Errorf("%w: without a mesh cluster %s has no issuer", clusters.ErrNotPossible, c.name)
	}
	return c.f.issuers.Rotate(c.name, c.f.trusted)
}
