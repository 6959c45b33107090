package istio

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/internal/trust"
)

// envCluster must be istiod's name of the cluster.
const envCluster = "ISTIO_META_CLUSTER_ID"

// inertEnv are variables that a gateway needs on a real cluster, and that change nothing of what is modelled.
var inertEnv = map[string]bool{
	"POD_NAME": true, "POD_NAMESPACE": true, "INSTANCE_IP": true, "HOST_IP": true, "SERVICE_ACCOUNT": true,
	"CA_ADDR": true, "PILOT_CERT_PROVIDER": true, "ISTIO_META_MESH_ID": true, "ISTIO_META_WORKLOAD_NAME": true, "ISTIO_META_OWNER": true,
}

var errNoGateway = errors.New("the pod has no container that is Istio's gateway")

// StartGateway starts Envoy as a gateway: the container pod.Gateway of the pod's own template, which no injector added.
// What comes from outside is plaintext, whatever PeerAuthentication says; tokens and policy are those of a sidecar.
func StartGateway(pod proxy.Pod, world proxy.World, first *proxy.Snapshot) (proxy.Proxy, error) {
	if pod.Gateway == nil {
		return nil, fmt.Errorf("starting the gateway of %s in cluster %s: %w", pod.Pod, pod.Cluster, errNoGateway)
	}
	p, err := start(pod, world, first)
	if err != nil {
		return nil, fmt.Errorf("container %s: %w", pod.Gateway.Name, err)
	}
	return p, nil
}

// CheckGateway says what of a gateway's container the model does not interpret. cluster is the name that its cluster has.
func CheckGateway(c *corev1.Container, cluster string) error {
	return gatewayEnv(c, cluster, &trust.Leaf{})
}

// gatewayEnv reads the environment of a gateway's container. Its words about the leaf come after those of the annotation.
func gatewayEnv(c *corev1.Container, cluster string, leaf *trust.Leaf) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("environment of container %s: %s: %w", c.Name, fmt.Sprintf(format, args...), clusters.ErrNotModelled)
	}
	var errs []error
	id := ""
	for _, e := range c.Env {
		if inertEnv[e.Name] {
			continue
		}
		if e.ValueFrom != nil {
			errs = append(errs, refuse("%s is taken from elsewhere: write its value", e.Name))
			continue
		}
		if e.Name == envCluster {
			id = e.Value
			continue
		}
		switch ok, err := setLeaf(leaf, e.Name, e.Value); {
		case err != nil:
			errs = append(errs, refuse("%v", err))
		case !ok:
			errs = append(errs, refuse("%s; %s", e.Name, useReal))
		}
	}
	if id != cluster {
		errs = append(errs, refuse("%s is %q and istiod's name of the cluster is %q: such a gateway keeps an old configuration and serves it without complaint; "+
			"set it to %q", envCluster, id, cluster, cluster))
	}
	return errors.Join(errs...)
}

// nodeType is the proxy's role as istiod knows it.
func (p *sidecar) nodeType() string {
	if p.pod.Gateway != nil {
		return "router"
	}
	return "sidecar"
}
