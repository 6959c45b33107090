package kind

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// node is one node of a cluster.
type node struct {
	name    string // of the container, and of the node in Kubernetes
	address netip.Addr
	pods    netip.Prefix // its pods' addresses
	holder  *holder      // of packets; nil where the kernel has no queue, or there is one cluster
}

const (
	// networkOnNode is the folder in which containerd looks for the configuration of a node's network.
	networkOnNode = "/etc/cni/net.d"
	// nodesWithin bounds how long nodes may take to be known to their cluster with all their addresses.
	nodesWithin = 2 * time.Minute
)

// findNodes waits until a new cluster knows all its nodes, with the addresses that its controllers gave to each node's
// pods.
func (c *cluster) findNodes(ctx context.Context, want int) error {
	ctx, cancel := context.WithTimeout(ctx, nodesWithin)
	defer cancel()
	err := c.until(ctx, func(ctx context.Context) ([]string, error) {
		list, err := c.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		found, lacking := nodesIn(list.Items)
		if n := len(list.Items); n != want {
			lacking = append(lacking, fmt.Sprintf("%d of %d nodes have joined", n, want))
		}
		c.nodes = found
		return lacking, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the nodes of cluster %s: %w", c.name, err)
	}
	return nil
}

// nodesIn reads what the driver must know of nodes: that of the control plane first, which has the host's ports, the others
// by name. It says what is not known yet.
func nodesIn(list []corev1.Node) (found []*node, lacking []string) {
	const controlPlane = "node-role.kubernetes.io/control-plane"
	first := func(n corev1.Node) int {
		if _, ok := n.Labels[controlPlane]; ok {
			return 0
		}
		return 1
	}
	list = slices.SortedFunc(slices.Values(list), func(a, b corev1.Node) int {
		return cmp.Or(first(a)-first(b), cmp.Compare(len(a.Name), len(b.Name)), cmp.Compare(a.Name, b.Name))
	})
	for i := range list {
		n := &node{name: list[i].Name}
		for _, a := range list[i].Status.Addresses {
			if addr, err := netip.ParseAddr(a.Address); err == nil && a.Type == corev1.NodeInternalIP && addr.Is4() {
				n.address = addr
			}
		}
		if !n.address.IsValid() {
			lacking = append(lacking, fmt.Sprintf("node %s has no address", n.name))
		}
		var err error
		if n.pods, err = netip.ParsePrefix(list[i].Spec.PodCIDR); err != nil {
			lacking = append(lacking, fmt.Sprintf("node %s has no range of addresses for its pods", n.name))
		}
		found = append(found, n)
	}
	return found, lacking
}

// eachNode does something with every node at once.
func (c *cluster) eachNode(ctx context.Context, do func(context.Context, *node) error) error {
	return all(c.nodes, func(n *node) error { return do(ctx, n) })
}

// control is the node that runs the control plane, whose ports Docker maps to the host.
func (c *cluster) control() *node { return c.nodes[0] }

// firstPods is the range that a cluster's controllers give to its first node: that of the control plane, which is alone
// when it joins.
func firstPods(cluster netip.Prefix) netip.Prefix { return netip.PrefixFrom(cluster.Addr(), 24) }

// conflistFile is the name of the configuration of a node's network.
const conflistFile = "10-meshproof.conflist"

// configure gives a node without a CNI of its own the configuration of one. containerd sees it by itself, and the node
// becomes ready. The first node has had it from its start (planned), which saves a new cluster some seconds.
func (c *cluster) configure(ctx context.Context, n *node) error {
	if first := firstPods(c.ranges.pods); n == c.control() {
		if n.pods != first {
			return fmt.Errorf("node %s was given %s for its pods, and is configured for %s, as clusters give it to their first node", n.name, n.pods, first)
		}
		return nil
	}
	b, err := conflist(n.pods)
	if err != nil {
		return err
	}
	if err := n.feed(ctx, string(b), "cp", "/dev/stdin", networkOnNode+"/"+conflistFile); err != nil {
		return fmt.Errorf("configuring the network of node %s: %w", n.name, err)
	}
	return nil
}

// feed runs a command on the node, with this text on its stdin.
func (n *node) feed(ctx context.Context, text string, command ...string) error {
	_, err := dockerIn(ctx, strings.NewReader(text), append([]string{"exec", "--interactive", n.name}, command...)...)
	return err
}

// conflist configures CNI's plugins ptp, host-local and portmap for the pods of a node. What leaves the cluster is
// masqueraded by rules of the driver (rules.go), which know the other clusters.
func conflist(pods netip.Prefix) ([]byte, error) {
	type object = map[string]any
	return json.MarshalIndent(object{
		"cniVersion": "0.3.1", "name": "meshproof",
		"plugins": []object{
			{
				"type": "ptp", "ipMasq": false,
				"ipam": object{
					"type": "host-local", "dataDir": "/run/cni-ipam-state", "routes": []object{{"dst": "0.0.0.0/0"}},
					"ranges": [][]object{{{"subnet": pods.String()}}},
				},
			},
			{"type": "portmap", "capabilities": object{"portMappings": true}},
		},
	}, "", "  ")
}
