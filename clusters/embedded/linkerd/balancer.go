package linkerd

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Errors of a balancer without a ready endpoint, in the proxy's words.
var (
	errFailFast = errors.New("service in fail-fast")
	errLoadShed = errors.New("service unavailable")
)

// balancer chooses among the endpoints of one Service, for each request, among those that are ready. Where none is,
// requests wait; after the fail-fast timeout all that wait fail, and later ones are shed at once until one is ready.
type balancer struct {
	proxy *linkerdProxy
	svc   atomic.Pointer[service]

	mu        sync.Mutex
	endpoints []*endpoint
	changed   chan struct{} // closed at the next change
	lacking   time.Time     // since when a request has found no endpoint ready; zero: the last one found one
	failfast  bool
}

// endpointKey names an endpoint: another settings or identity makes it another.
type endpointKey struct {
	cluster, uid, addr, identity string
	opaque                       bool
	accrual                      accrualPolicy
}

func keyOf(s *service, d destination) endpointKey {
	k := endpointKey{d.Cluster, d.UID, d.Addr, d.identity, d.opaque, accrualPolicy{}}
	if s.settings.accrual != nil {
		k.accrual = *s.settings.accrual
	}
	return k
}

func newBalancer(p *linkerdProxy, s *service) *balancer {
	b := &balancer{proxy: p, changed: make(chan struct{})}
	b.update(s)
	return b
}

// update takes the endpoints of a Service. Those that were there are kept with what is known of them.
func (b *balancer) update(s *service) {
	b.mu.Lock()
	defer b.mu.Unlock()
	old := map[endpointKey]*endpoint{}
	if last := b.svc.Load(); last != nil {
		for _, e := range b.endpoints {
			old[keyOf(last, e.destination)] = e
		}
	}
	b.svc.Store(s)
	b.endpoints = nil
	for _, d := range s.endpoints {
		k := keyOf(s, d)
		e := old[k]
		if e == nil {
			e = b.proxy.newEndpoint(s, d, b.notify)
		}
		delete(old, k)
		b.endpoints = append(b.endpoints, e)
	}
	for _, e := range old {
		e.close()
	}
	b.wake()
}

// notify is called by endpoints.
func (b *balancer) notify() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wake()
}

func (b *balancer) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
	svc := b.svc.Load()
	if svc.fallback != "" {
		return // there is nothing to balance
	}
	ready := 0
	now := b.proxy.clock()
	for _, e := range b.endpoints {
		if ok, _ := e.ready(now); ok {
			ready++
		}
	}
	l := svc.resource("parent").and(svc.backendLabels())
	for state, n := range map[string]int{"ready": ready, "pending": len(b.endpoints) - ready} {
		b.proxy.metrics.set(balancerEndpoints, labels("").with("endpoint_state", state).and(l), float64(n))
	}
}

// pick chooses an endpoint for a request, and reports whether the request probes the endpoint's breaker.
func (b *balancer) pick(ctx context.Context) (e *endpoint, probe bool, err error) {
	waited := false
	for {
		e, probe, changed, until := b.tryPick(&waited)
		if e != nil {
			return e, probe, nil
		}
		if changed == nil {
			if waited {
				return nil, false, errFailFast
			}
			return nil, false, errLoadShed
		}
		waited = true
		timer := time.NewTimer(time.Until(until))
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, false, ctx.Err()
		}
		timer.Stop()
	}
}

// tryPick chooses an endpoint, or returns what to wait for; nothing where the balancer is in fail-fast.
func (b *balancer) tryPick(waited *bool) (e *endpoint, probe bool, changed <-chan struct{}, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.proxy.clock()
	var ready []*endpoint
	var next time.Time
	for _, e := range b.endpoints {
		ok, again := e.ready(now)
		if ok {
			ready = append(ready, e)
		}
		if !again.IsZero() && (next.IsZero() || again.Before(next)) {
			next = again
		}
	}
	for len(ready) > 0 {
		i := twoChoices(len(ready), b.proxy.dice.Draw, func(i int) float64 { return ready[i].load.load(now) })
		ok, probe := ready[i].breaker.enter(now)
		if ok {
			b.lacking, b.failfast = time.Time{}, false
			return ready[i], probe, nil, time.Time{}
		}
		ready = slices.Delete(ready, i, i+1) // another request took its place meanwhile
	}
	if b.lacking.IsZero() {
		b.lacking = now
	}
	deadline := b.lacking.Add(failfastTimeout)
	if b.failfast || !now.Before(deadline) {
		b.failfast = true
		return nil, false, nil, time.Time{}
	}
	if !next.IsZero() && next.Before(deadline) {
		deadline = next
	}
	return nil, false, b.changed, deadline
}

// close ends the balancer: whoever waits for an endpoint fails.
func (b *balancer) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.endpoints {
		e.close()
	}
	b.endpoints, b.failfast = nil, true
	close(b.changed)
	b.changed = make(chan struct{})
}
