package kind

import (
	"context"
	"fmt"
	"net/url"

	networking "istio.io/client-go/pkg/apis/networking/v1"
	security "istio.io/client-go/pkg/apis/security/v1"
	telemetry "istio.io/client-go/pkg/apis/telemetry/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/bundle"
	"github.com/meshproof/meshproof/internal/workload"
	"github.com/meshproof/meshproof/scenarios"
)

// istio is Istio with sidecars: a primary control plane in each cluster, each reading the others' Services and pods by a
// remote secret; on one flat network, or with an east-west gateway in each cluster.
type istio struct {
	envoy string // the container of its proxies, where that is not its injector's
}

const (
	istioNamespace = "istio-system"
	istioSidecar   = "istio-proxy"
	// istioReader is the account, made by the chart base, with which a control plane reads another cluster.
	istioReader = "istio-reader-service-account"
	// builtHere is where bundles that are built from packages say that their images are from.
	builtHere = "docker.io/meshproof"
)

func (istio) charts() []string { return []string{"base", "istiod", eastWestChart} }
func (istio) images() []string { return []string{"pilot", istioProxy} }

func (istio) optional() []string { return nil }

func (istio) joined(map[string]bundle.Part) (how string, own bool) {
	return "Istio's control planes, each of which reads the other clusters by a remote secret", false
}

// flavor knows the images that bundles build by their repository: their proxy is the upstream Envoy.
func (istio) flavor(images map[string]image) string {
	if images["proxyv2"].repository == builtHere {
		return clusters.FlavorUpstreamEnvoy
	}
	return ""
}

// imageValues lets the chart name the images that the nodes have. A proxy's image may have another tag than istiod's.
func (istio) imageValues(chart string, images map[string]image) map[string]any {
	if chart != "istiod" {
		return nil
	}
	return map[string]any{
		"image": images["pilot"].ref,
		"global": map[string]any{
			"imagePullPolicy": "IfNotPresent",
			"hub":             images["proxyv2"].repository, "tag": images["proxyv2"].tag,
		},
	}
}

func (istio) takes(obj clusters.Object) bool {
	switch obj.(type) {
	case *security.PeerAuthentication, *security.AuthorizationPolicy, *security.RequestAuthentication,
		*networking.VirtualService, *networking.DestinationRule, *networking.ServiceEntry, *networking.Sidecar, *telemetry.Telemetry:
		return true
	}
	return false
}

// object lets istiod fetch the issuers' keys where pods reach them.
func (istio) object(f *fleet, obj clusters.Object) clusters.Object {
	a, ok := obj.(*security.RequestAuthentication)
	if !ok {
		return obj
	}
	a = a.DeepCopy()
	for _, r := range a.Spec.GetJwtRules() {
		u, err := url.Parse(r.GetJwksUri())
		if err != nil {
			continue // istiod says what it thinks of it
		}
		if at, ok := f.hosts[u.Host]; ok {
			u.Host = at
			r.JwksUri = u.String()
		}
	}
	return a
}

// template lets the driver's commands to the agent, and what the agent asks of hosts outside, past the sidecar: neither
// is traffic of the workload. Its own port stays captured, whatever comes.
func (istio) template(f *fleet, t *corev1.PodTemplateSpec) {
	passControlPort(t, excludeInbound)
	t.Annotations["sidecar.istio.io/rewriteAppHTTPProbers"] = "false" // the probe is of that port
	if f.gateway.IsValid() && len(f.hosts) > 0 {
		t.Annotations["traffic.sidecar.istio.io/excludeOutboundIPRanges"] = f.gateway.String() + "/32"
	}
}

const excludeInbound = "traffic.sidecar.istio.io/excludeInboundPorts"

// before gives the cluster's istiod its intermediate of the run's root.
func (istio) before(ctx context.Context, c *cluster) error {
	if err := c.applyOwn(ctx, c.onNetwork(workload.Namespace(istioNamespace, nil))); err != nil {
		return err
	}
	return c.giveIssuer(ctx, c.issuer(scenarios.MeshIstio))
}

// join gives the cluster's istiod a remote secret for each of the others.
func (istio) join(ctx context.Context, c *cluster) error {
	for _, o := range c.f.list {
		if o == c {
			continue
		}
		secret, err := o.remoteSecret(ctx)
		if err != nil {
			return fmt.Errorf("letting cluster %s read cluster %s: %w", c.name, o.name, err)
		}
		if err := c.applyOwn(ctx, secret); err != nil {
			return fmt.Errorf("letting cluster %s read cluster %s: %w", c.name, o.name, err)
		}
	}
	if c.f.spec.Separate {
		if err := c.applyOwn(ctx, crossNetworkGateway()); err != nil {
			return fmt.Errorf("opening cluster %s to the others: %w", c.name, err)
		}
	}
	err := c.until(ctx, func(ctx context.Context) ([]string, error) {
		return c.notInjecting(ctx, metav1.ObjectMeta{Labels: map[string]string{"sidecar.istio.io/inject": "true"}}, istioSidecar)
	})
	if err != nil {
		return fmt.Errorf("waiting for Istio's injector in cluster %s: %w", c.name, err)
	}
	return nil
}

// remoteSecret is what istiod in other clusters reads this one with.
func (c *cluster) remoteSecret(ctx context.Context) (*corev1.Secret, error) {
	kubeconfig, err := c.kubeconfigOf(ctx, istioNamespace, istioReader)
	if err != nil {
		return nil, err
	}
	return &corev1.Secret{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: istioNamespace, Name: "istio-remote-secret-" + c.name,
			Labels:      map[string]string{"istio/multiCluster": "true"},
			Annotations: map[string]string{"networking.istio.io/cluster": c.name},
		},
		StringData: map[string]string{c.name: kubeconfig},
	}, nil
}

// imported has nothing to add: istiod reads the other clusters itself, and passes over such slices.
func (istio) imported(*discoveryv1.EndpointSlice, []*pod) {}

func (istio) proxies() []proxy {
	return []proxy{{container: istioSidecar, image: istioProxy, port: 15020, path: "/stats/prometheus", logs: true}}
}

func (istio) added() (charts, images []string) { return nil, nil }

// notInjecting tries, without making it, whether a pod would get a sidecar. A pod that came too early would have none.
func (c *cluster) notInjecting(ctx context.Context, asks metav1.ObjectMeta, sidecar string) ([]string, error) {
	asks.GenerateName = "meshproof-try-"
	pod := &corev1.Pod{
		ObjectMeta: asks,
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: workload.Container, Image: workload.Image}}},
	}
	got, err := c.client.CoreV1().Pods(metav1.NamespaceDefault).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		return []string{"a pod that asks for a sidecar is refused: " + err.Error()}, nil
	}
	for _, list := range [][]corev1.Container{got.Spec.InitContainers, got.Spec.Containers} {
		for _, ct := range list {
			if ct.Name == sidecar {
				return nil, nil
			}
		}
	}
	return []string{"a pod that asks for a sidecar would get none"}, nil
}

// applyOwn applies an object of the driver's own, which is no matter of evidence.
func (c *cluster) applyOwn(ctx context.Context, obj clusters.Object) error {
	_, err := c.write(ctx, obj, map[string]string{})
	return err
}

// istiodPods selects the pods of istiod.
const istiodPods = "app=istiod"

// istiod finds the pod of the cluster's istiod.
func (c *cluster) istiod(ctx context.Context) (string, error) {
	return c.onePod(ctx, istioNamespace, istiodPods)
}
