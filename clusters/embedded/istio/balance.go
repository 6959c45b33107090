package istio

import (
	"sync/atomic"

	"github.com/meshproof/meshproof/clusters/embedded/proxy/relay"
)

// balancer chooses among the hosts of an upstream.
type balancer struct {
	how   balancing
	hosts []*host
	dice  *relay.Dice
	next  atomic.Uint64 // for roundRobin
}

func newBalancer(how balancing, hosts []*host, d *relay.Dice) *balancer {
	b := &balancer{how: how, hosts: hosts, dice: d}
	if how == roundRobin && len(hosts) > 0 {
		b.next.Store(uint64(d.Draw(len(hosts)))) // as in Envoy, so that not all clients begin with the same host
	}
	return b
}

// pick chooses a host, and draws again up to reselect times while it has been tried already. It returns nil where there
// is no host.
func (b *balancer) pick(tried []*host, reselect int) *host {
	if len(b.hosts) == 0 {
		return nil
	}
	h := b.choose()
	for ; reselect > 0 && contains(tried, h); reselect-- {
		h = b.choose()
	}
	return h
}

func contains(hs []*host, h *host) bool {
	for _, t := range hs {
		if t == h {
			return true
		}
	}
	return false
}

// choose draws once. leastRequest draws two hosts with replacement, as Envoy does, and takes the one with fewer active
// requests: of n hosts with one idle, the idle one is chosen with probability 1 - (1 - 1/n)².
func (b *balancer) choose() *host {
	n := len(b.hosts)
	if n == 1 {
		return b.hosts[0]
	}
	switch b.how {
	case roundRobin:
		return b.hosts[(b.next.Add(1)-1)%uint64(n)]
	case random:
		return b.hosts[b.dice.Draw(n)]
	default:
		h, other := b.hosts[b.dice.Draw(n)], b.hosts[b.dice.Draw(n)]
		if other.active.Load() < h.active.Load() {
			return other
		}
		return h
	}
}
