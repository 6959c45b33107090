package clusters

import (
	"context"

	"github.com/meshproof/meshproof/evidence"
)

// Meter is a Cluster that can say what its containers use. Where data planes are models it cannot: what they cost says
// nothing about a mesh.
type Meter interface {
	Cluster
	// Usage asks every node at once what the containers of workloads and of the mesh have used so far. It waits no longer
	// than ctx; a node that cannot be read says so itself, in its Error.
	Usage(ctx context.Context) []evidence.Usage
}
