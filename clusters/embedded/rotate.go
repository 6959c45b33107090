package embedded

import (
	"context"
	"fmt"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
)

// RotateIssuer implements clusters.Cluster. Who asks for a certificate from then on gets it from the new issuer.
func (c *cluster) RotateIssuer(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.f.factory == nil {
		return fmt.Errorf("%w: without a mesh cluster %s has no issuer", clusters.ErrNotPossible, c.name)
	}
	next, err := c.f.Issuer(c.name).Successor()
	if err != nil {
		return err
	}
	err = c.f.append(&evidence.Event{
		Header: c.f.header("fleet"), Kind: evidence.EventTrust, Data: map[string]string{"intermediate/" + c.name: next.Lineage()},
	})
	if err != nil {
		return err
	}
	c.f.issuers[c.name].Store(next)
	return nil
}
