package clusters

import (
	"context"
	"errors"
)

// Keeper is a Provider whose clusters can outlive the trial that they were made for.
type Keeper interface {
	Provider
	// Reusable finds kept clusters that spec (whose ID is not looked at) can be run on, and takes them for this process.
	// Nothing of them is changed; Create with their ID does that, after it has made sure that they are as they were
	// when they were kept. Where they are not, its error says what has drifted, and they stay as they are. The error
	// wraps ErrNoneFits where there are none.
	Reusable(ctx context.Context, spec Spec) (id string, err error)
}

// ErrNoneFits is wrapped by the error of Reusable that says why no kept clusters can be used.
var ErrNoneFits = errors.New("no kept clusters fit")

// Keepable is the Fleet of a Keeper.
type Keepable interface {
	Fleet
	// Keep ends the fleet as Close does, and takes back everything that was applied to its clusters, but leaves them
	// standing. After an error they are not kept: Close removes them.
	Keep(ctx context.Context) (*Kept, error)
}

// Kept is what stands after Keep.
type Kept struct {
	ID          string   `json:"id"`          // of the fleet
	Clusters    []string `json:"clusters"`    // names
	Kubeconfigs []string `json:"kubeconfigs"` // paths, in the order of Clusters
}
