package kind

import (
	"context"
	"fmt"

	networkingapi "istio.io/api/networking/v1alpha3"
	networking "istio.io/client-go/pkg/apis/networking/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshproof/meshproof/clusters"
)

const (
	// eastWestChart is the chart of gateways, and eastWestKey and eastWestName the label that it gives the pods of the east-west one.
	eastWestChart = "gateway"
	eastWestKey   = "istio"
	eastWestName  = "eastwestgateway"
	// eastWestPort is where sidecars of other clusters knock, with the SNI of whom they want.
	eastWestPort = 15443
	// networkLabel names the network of a cluster; each is one where networks are separate.
	networkLabel = "topology.istio.io/network"
)

// onNetwork has Istio's own namespace say of which network the cluster is, where networks are separate. Every other object is
// left as it is.
func (c *cluster) onNetwork(obj clusters.Object) clusters.Object {
	ns, ok := obj.(*corev1.Namespace)
	if !ok || ns.Name != istioNamespace || !c.f.spec.Separate {
		return obj
	}
	ns = ns.DeepCopy()
	if ns.Labels == nil {
		ns.Labels = map[string]string{}
	}
	ns.Labels[networkLabel] = c.name
	return ns
}

// clusterValues let the cluster's nodes take what is for the gateway at its own port, so that the other clusters' control
// planes read the address where it is reached.
func (istio) clusterValues(c *cluster, chart string) map[string]any {
	if chart != eastWestChart {
		return nil
	}
	var addresses []any
	for _, n := range c.nodes {
		addresses = append(addresses, n.address.String())
	}
	return map[string]any{"service": map[string]any{"externalIPs": addresses}}
}

// crossNetworkGateway has the gateway lead other clusters' mutual TLS to the Service that its SNI names.
func crossNetworkGateway() *networking.Gateway {
	g := &networking.Gateway{
		TypeMeta:   metav1.TypeMeta{APIVersion: "networking.istio.io/v1", Kind: "Gateway"},
		ObjectMeta: metav1.ObjectMeta{Namespace: istioNamespace, Name: "cross-network-gateway"},
	}
	g.Spec.Selector = map[string]string{eastWestKey: eastWestName}
	g.Spec.Servers = []*networkingapi.Server{{
		Port:  &networkingapi.Port{Number: eastWestPort, Name: "tls", Protocol: "TLS"},
		Tls:   &networkingapi.ServerTLSSettings{Mode: networkingapi.ServerTLSSettings_AUTO_PASSTHROUGH},
		Hosts: []string{"*.local"},
	}}
	return g
}

// eastWestGateways names the proxies of the cluster's east-west gateway as istiod does: pod.namespace.
func (c *cluster) eastWestGateways(ctx context.Context) ([]string, error) {
	if !c.f.spec.Separate {
		return nil, nil
	}
	list, err := c.client.CoreV1().Pods(istioNamespace).List(ctx, metav1.ListOptions{
		LabelSelector: eastWestKey + "=" + eastWestName, FieldSelector: "status.phase=Running",
	})
	if err != nil {
		return nil, fmt.Errorf("looking for the east-west gateway of cluster %s: %w", c.name, err)
	}
	var ids []string
	for i := range list.Items {
		if p := &list.Items[i]; p.DeletionTimestamp == nil {
			ids = append(ids, p.Name+"."+p.Namespace)
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("cluster %s has no running pod of its east-west gateway", c.name)
	}
	return ids, nil
}
