package faults

import (
	"context"
	"fmt"

	"github.com/meshproof/meshproof/clusters"
)

// networkDelay makes every packet between two clusters take longer, in each direction. Its effect: a round trip takes
// twice the delay longer, on new connections and on open ones.
func networkDelay(p Planned) linkKind {
	d := p.Delay.D()
	return linkKind{
		what:  fmt.Sprintf("%s more on every packet", p.Delay),
		delay: d,
		inject: func(ctx context.Context, l clusters.Link) (func(context.Context) error, error) {
			return l.Delay(ctx, d)
		},
		// A fresh sample is two round trips, the handshake's and the echo's. What is measured is how long they take, so
		// they must be let finish.
		sample:  4 * (p.Latency + d),
		attempt: 8*(p.Latency+d) + minAttempt,
	}
}
