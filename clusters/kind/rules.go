package kind

import (
	"fmt"
	"net/netip"
	"strings"
)

// routes is what `ip -batch -` needs on a node: the way to the pods of every other node, each by the node that they are
// on. By way of any one node of a cluster, which would forward, the way back would be another: kube-proxy drops what
// connection tracking saw only one half of.
func (c *cluster) routes(on *node) string {
	var b strings.Builder
	to := func(p netip.Prefix, by *node) { fmt.Fprintf(&b, "route replace %s via %s\n", p, by.address) }
	if c.ownCNI {
		for _, n := range c.nodes {
			if n != on {
				to(n.pods, n)
			}
		}
	}
	if c.f.spec.Separate {
		return b.String()
	}
	for _, o := range c.others() {
		for _, n := range o.nodes {
			to(n.pods, n)
		}
		to(o.ranges.services, o.control()) // kube-proxy masquerades there: answers come back by the same node
	}
	return b.String()
}

// rules is what iptables-restore needs on every node of a cluster, whatever faults are injected later: which addresses
// leave the cluster as they are, and, where networks are separate, what is dropped.
func (c *cluster) rules() string {
	var nat, raw strings.Builder
	if c.ownCNI {
		fmt.Fprintf(&nat, "-A POSTROUTING -s %s ! -d %s -j MASQUERADE\n", c.ranges.pods, c.ranges.pods)
	}
	for _, o := range c.others() {
		if !c.f.spec.Separate {
			// Before anybody's masquerading, which would hide who calls.
			fmt.Fprintf(&nat, "-I POSTROUTING 1 -s %s -d %s -j ACCEPT\n", c.ranges.pods, o.ranges.pods)
			continue
		}
		// Before routing and address translation: a route that somebody adds changes nothing. A gateway is a port of a
		// node, and has the node's address until then.
		for _, far := range []netip.Prefix{o.ranges.pods, o.ranges.services} {
			fmt.Fprintf(&raw, "-A PREROUTING -d %s -j DROP\n-A OUTPUT -d %s -j DROP\n-A PREROUTING -s %s -j DROP\n", far, far, far)
		}
		for _, n := range o.nodes {
			for _, own := range []netip.Prefix{c.ranges.pods, c.ranges.services} {
				fmt.Fprintf(&raw, "-A PREROUTING -s %s -d %s -j DROP\n", n.address, own)
			}
		}
	}
	return table("nat", nat.String()) + table("raw", raw.String())
}

// queueRules sends what leaves a node for another cluster through a packet queue. Within a cluster nothing is queued.
func (c *cluster) queueRules() string {
	var b strings.Builder
	for _, o := range c.others() {
		for _, to := range o.addresses() {
			// Where nobody holds the queue packets pass it by.
			fmt.Fprintf(&b, "-A POSTROUTING -d %s -j NFQUEUE --queue-num %d --queue-bypass\n", to, c.queue(o))
		}
	}
	return table("mangle", b.String())
}

// dropComment is what the comments on the rules of partitions begin with.
const dropComment = "meshproof-"

// dropRules drops what comes from these addresses, or stops that.
func dropRules(from []string, id string, made bool) string {
	how := "-D PREROUTING"
	if made {
		how = "-I PREROUTING 1"
	}
	var b strings.Builder
	for _, f := range from {
		fmt.Fprintf(&b, "%s -s %s -m comment --comment %s -j DROP\n", how, f, id)
	}
	return table("raw", b.String())
}

// table is the part of iptables-restore's input that is about one table.
func table(name, rules string) string {
	if rules == "" {
		return ""
	}
	return "*" + name + "\n" + rules + "COMMIT\n"
}

// others are the other clusters of the fleet.
func (c *cluster) others() []*cluster {
	var list []*cluster
	for _, o := range c.f.list {
		if o != c {
			list = append(list, o)
		}
	}
	return list
}

// addresses are those by which others come from a cluster, and by which they reach it.
func (c *cluster) addresses() []string {
	list := []string{c.ranges.pods.String(), c.ranges.services.String()}
	for _, n := range c.nodes {
		list = append(list, n.address.String())
	}
	return list
}
