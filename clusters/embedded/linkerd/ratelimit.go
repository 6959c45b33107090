package linkerd

import (
	"fmt"
	"sync"
	"time"

	"github.com/meshproof/meshproof/clusters/linkerdapi"
)

// limits is an HTTPLocalRateLimitPolicy as one proxy reads it, in requests per second; 0: no limit. It never changes.
type limits struct {
	name            string
	total, identity uint32
	overrides       []uint32       // one limit each, which its clients share
	of              map[string]int // client identity to index of overrides
}

// limitsOf finds the policy that holds for a Server: the oldest, which is the only one that Linkerd accepts. nil: none.
func (s *settings) limitsOf(srv *linkerdapi.Server) *limits {
	for _, p := range s.limits {
		if p.Namespace != srv.Namespace || p.Spec.TargetRef.Name != srv.Name {
			continue
		}
		l := &limits{name: p.Name, of: map[string]int{}}
		if t := p.Spec.Total; t != nil {
			l.total = t.RequestsPerSecond
		}
		if i := p.Spec.Identity; i != nil {
			l.identity = i.RequestsPerSecond
		}
		for i, o := range p.Spec.Overrides {
			l.overrides = append(l.overrides, o.RequestsPerSecond)
			for _, c := range o.ClientRefs {
				namespace := c.Namespace
				if namespace == "" {
					namespace = p.Namespace
				}
				l.of[identityOf(namespace, c.Name)] = i // the last one holds
			}
		}
		return l
	}
	return nil
}

// labels of the metric that counts what a limit refused.
func (l *limits) labels(scope string) labels {
	return meta{linkerdapi.Group, "HTTPLocalRateLimitPolicy", l.name}.labels("ratelimit").with("ratelimit_scope", scope)
}

// limiter holds how much of its limits was used. A change of what holds for the port begins it anew, as in
// linkerd2-proxy, which makes its limiters from each update that it gets.
type limiter struct {
	limits

	mu         sync.Mutex
	total      bucket
	overrides  []bucket
	identities map[clientID]*bucket // clients without an identity share that of clientID{}
}

func newLimiter(l *limits) *limiter {
	if l == nil {
		return nil
	}
	return &limiter{limits: *l, overrides: make([]bucket, len(l.overrides)), identities: map[clientID]*bucket{}}
}

// check takes one request of a client at now. scope is "" where it is within the limits, else "total" or "identity";
// why says it in linkerd2-proxy's words. What the total let pass is used up, whatever a client's own limit says then.
func (l *limiter) check(client clientID, now time.Time) (scope, why string) {
	if l == nil {
		return "", ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.limits.total; n > 0 && !l.total.take(n, now) {
		return "total", fmt.Sprintf("total rate limit exceeded: %drps", n)
	}
	if i, ok := l.of[client.name]; ok && !client.uri {
		if n := l.limits.overrides[i]; !l.overrides[i].take(n, now) {
			return "identity", fmt.Sprintf("override rate limit exceeded: %drps", n)
		}
		return "", ""
	}
	if n := l.identity; n > 0 {
		b := l.identities[client]
		if b == nil {
			b = &bucket{}
			l.identities[client] = b
		}
		if !b.take(n, now) {
			return "identity", fmt.Sprintf("per-identity rate limit exceeded: %drps", n)
		}
	}
	return "", ""
}

// bucket is the generic cell rate algorithm (ITU-T I.371, annex A), as the crate governor has it: a burst of one second's
// worth, and one more request each 1/rate seconds. Its value is the theoretical arrival time of the next request.
type bucket time.Time

func (b *bucket) take(rate uint32, now time.Time) bool {
	var (
		step      = max(time.Second/time.Duration(rate), 1)
		tolerance = step * time.Duration(rate-1)
		arrival   = time.Time(*b)
	)
	if arrival.Before(now) { // also before the first request
		arrival = now
	}
	if now.Before(arrival.Add(-tolerance)) {
		return false
	}
	*b = bucket(arrival.Add(step))
	return true
}
