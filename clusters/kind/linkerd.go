package kind

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	gatewayapi "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/linkerdapi"
	"github.com/meshproof/meshproof/internal/workload"
	"github.com/meshproof/meshproof/scenarios"
)

// linkerd is Linkerd: a control plane in each cluster, on one flat network.
type linkerd struct {
	linked bool // clusters are joined by Linkerd's own extension (linkerd_links.go)
}

const (
	linkerdNamespace = "linkerd"
	linkerdSidecar   = "linkerd-proxy"
	linkerdInject    = "linkerd.io/inject"
	linkerdSkip      = "config.linkerd.io/skip-inbound-ports"
	linkerdSubnets   = "config.linkerd.io/skip-subnets"
	linkerdCRDs      = "linkerd-crds"
	linkerdChart     = "linkerd-control-plane"
	linkerdCtl       = "linkerd/controller" // images by the ends of their names: "proxy" alone could be anybody's
	linkerdImage     = "linkerd/proxy"
	// linkerdFarIdentity, on an EndpointSlice, is the identity of all endpoints in it that no pod of the cluster stands
	// behind: Linkerd's own multicluster extension writes it for what it mirrors.
	linkerdFarIdentity = "mirror.linkerd.io/remote-gateway-identity"
)

func (linkerd) charts() []string { return []string{linkerdCRDs, linkerdChart} }
func (linkerd) images() []string { return []string{linkerdCtl, linkerdImage} }

// flavor: whoever adds Linkerd's images to a bundle under their own names says that they are what the project publishes.
func (linkerd) flavor(map[string]image) string { return "" }

func (linkerd) imageValues(chart string, images map[string]image) map[string]any {
	ctl, px := images[linkerdCtl], images[linkerdImage]
	switch chart {
	case linkerdapi.LinksChart:
		mirror := map[string]any{"image": map[string]any{"name": ctl.name(), "version": ctl.tag}}
		return map[string]any{"localServiceMirror": mirror, "controllerDefaults": mirror}
	case linkerdChart:
	default:
		return nil
	}
	return map[string]any{
		"imagePullPolicy": "IfNotPresent",
		"controllerImage": ctl.name(), "controllerImageVersion": ctl.tag,
		"proxy": map[string]any{"image": map[string]any{"name": px.name(), "version": px.tag}},
	}
}

// clusterValues narrow what counts as the cluster's own network: by default that is every private address, so that
// cluster-authenticated would let in the pods of every other cluster.
func (linkerd) clusterValues(c *cluster, chart string) map[string]any {
	if chart != linkerdChart {
		return nil
	}
	return map[string]any{"clusterNetworks": c.ranges.pods.String() + "," + c.ranges.services.String()}
}

func (linkerd) takes(obj clusters.Object) bool {
	switch obj.(type) {
	case *linkerdapi.Server, *linkerdapi.HTTPRoute, *linkerdapi.AuthorizationPolicy, *linkerdapi.MeshTLSAuthentication,
		*linkerdapi.NetworkAuthentication, *linkerdapi.HTTPLocalRateLimitPolicy, *linkerdapi.Link, *gatewayapi.HTTPRoute:
		return true
	}
	return false
}

func (linkerd) object(_ *fleet, obj clusters.Object) clusters.Object { return obj }

// template lets the driver's commands to the agent, and what the agent asks of hosts outside, past the proxy: neither is
// traffic of the workload.
func (linkerd) template(f *fleet, t *corev1.PodTemplateSpec) {
	passControlPort(t, linkerdSkip)
	if f.gateway.IsValid() && len(f.hosts) > 0 {
		t.Annotations[linkerdSubnets] = f.gateway.String() + "/32"
	}
}

// before gives the cluster's identity service its intermediate of the run's root, and the root.
func (l linkerd) before(ctx context.Context, c *cluster) error {
	if l.linked {
		if err := c.applyOwn(ctx, workload.Namespace(linkerdapi.LinksNamespace, map[string]string{"linkerd.io/extension": "multicluster"})); err != nil {
			return err
		}
	}
	if err := c.applyOwn(ctx, workload.Namespace(linkerdNamespace, nil)); err != nil {
		return err
	}
	issuer := c.issuer(scenarios.MeshLinkerd)
	if err := c.giveLinkerdIssuer(ctx, issuer); err != nil {
		return err
	}
	return c.applyOwn(ctx, &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Namespace: linkerdNamespace, Name: "linkerd-identity-trust-roots"},
		Data:       map[string]string{"ca-bundle.crt": issuer.Root().PEM()},
	})
}

// join lets the cluster read the others, where Links join them. Without, it has nothing to tell the other control planes:
// endpoints of other clusters come as slices (imported).
func (l linkerd) join(ctx context.Context, c *cluster) error {
	if l.linked {
		if err := c.readOthers(ctx); err != nil {
			return err
		}
	}
	return l.answers(ctx, c)
}

var _ answerer = linkerd{}

// answers waits until Linkerd's injector and its policy controller answer the API server.
func (linkerd) answers(ctx context.Context, c *cluster) error {
	err := c.until(ctx, func(ctx context.Context) ([]string, error) {
		lacking, err := c.notInjecting(ctx, metav1.ObjectMeta{Annotations: map[string]string{linkerdInject: "enabled"}}, linkerdSidecar)
		if err != nil || len(lacking) > 0 {
			return lacking, err
		}
		return c.notValidating(ctx)
	})
	if err != nil {
		return fmt.Errorf("waiting for Linkerd's webhooks in cluster %s: %w", c.name, err)
	}
	return nil
}

// notValidating tries, without making it, whether a Server would be taken. The API server asks Linkerd about each, and the
// first answer comes some time after the pod that gives it became ready.
func (c *cluster) notValidating(ctx context.Context) ([]string, error) {
	try, err := fields(&linkerdapi.Server{
		TypeMeta:   metav1.TypeMeta{APIVersion: linkerdapi.Group + "/v1beta3", Kind: "Server"},
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "meshproof-try"},
		Spec:       linkerdapi.ServerSpec{PodSelector: &metav1.LabelSelector{}, Port: intstr.FromInt32(scenarios.WorkloadPort)},
	})
	if err != nil {
		return nil, err
	}
	p, err := patchOf(try)
	if err != nil {
		return nil, err
	}
	if _, err := c.patch(ctx, p, true); err != nil {
		return []string{"a policy that is tried is refused: " + err.Error()}, nil
	}
	return nil, nil
}

// imported tells the cluster's destination controller which identity the pods of another cluster have that a slice lists:
// by their addresses alone it would know none, and proxies would send plaintext. Pods that are not all in the mesh, or
// not all of one account, are left without.
func (l linkerd) imported(s *discoveryv1.EndpointSlice, behind []*pod) {
	if l.linked {
		passOver(s)
		return
	}
	identity := ""
	for _, p := range behind {
		id := ""
		if has(p.public(), linkerdSidecar) {
			w := scenarios.Workload{Namespace: p.ref.Namespace, ServiceAccount: p.obj.Spec.ServiceAccountName}
			id = w.LinkerdID()
		}
		if id == "" || identity != "" && id != identity {
			return
		}
		identity = id
	}
	if identity != "" {
		s.Annotations = map[string]string{linkerdFarIdentity: identity}
	}
}

func (linkerd) proxies() []proxy {
	return []proxy{{container: linkerdSidecar, image: linkerdImage, port: 4191, path: "/metrics"}}
}

// added: no registry of packages has Linkerd.
func (l linkerd) added() (charts, images []string) { return l.charts(), l.images() }
