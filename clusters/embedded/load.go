package embedded

import (
	"fmt"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/scenarios"
)

// CheckLoad implements clusters.Provider.
func (p *Provider) CheckLoad(mesh string, tr scenarios.Traffic, workers int) error {
	if _, err := p.factory(mesh); err != nil {
		return err
	}
	if workers > 1 && tr.Inside() {
		return fmt.Errorf("traffic %s is sent by a pod of %s, and the pods of the embedded driver are parts of this process, whose network no other process shares: %d workers are %w; leave --workers out, or use --driver kind",
			tr.Name, tr.From, workers, clusters.ErrNotPossible)
	}
	return nil
}
