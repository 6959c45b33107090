package faults

import (
	"context"

	"github.com/meshproof/meshproof/clusters"
)

// partition lets no packet pass between two clusters. Its effect: no answer, on new connections and on open ones.
func partition(p Planned) linkKind {
	// What is measured is that nothing comes back; an attempt must only be longer than one that succeeds.
	attempt := max(minAttempt, 12*p.Latency)
	return linkKind{
		what: "no packet passes",
		inject: func(ctx context.Context, l clusters.Link) (func(context.Context) error, error) {
			return l.Partition(ctx)
		},
		sample:  attempt,
		attempt: attempt,
	}
}
