package kind

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/bundle"
)

// layered is Istio's gateway at the edge with Linkerd behind it: both control planes in each cluster, and of Istio's data
// plane the gateways alone.
type layered struct{}

var (
	_ rotator = layered{}
	_ settler = layered{}
)

// edge and inside are the meshes that it is made of.
func (layered) edge() istio     { return istio{envoy: gatewayContainer} }
func (layered) inside() linkerd { return linkerd{} }

// charts: the gateway is a container of the ingress's pod, and none of Istio's chart for gateways.
func (l layered) charts() []string {
	edge := slices.DeleteFunc(l.edge().charts(), func(c string) bool { return c == eastWestChart })
	return append(edge, l.inside().charts()...)
}

func (l layered) images() []string { return append(l.edge().images(), l.inside().images()...) }

func (layered) optional() []string { return nil }

// joined: the gateway must know the pods of every cluster, too, and it knows of no Links.
func (layered) joined(map[string]bundle.Part) (how string, own bool) { return joinedByDriver, false }

func (l layered) flavor(images map[string]image) string { return l.edge().flavor(images) }

func (l layered) imageValues(chart string, images map[string]image) map[string]any {
	return over(l.edge().imageValues(chart, images), l.inside().imageValues(chart, images))
}

func (l layered) clusterValues(c *cluster, chart string) map[string]any {
	return over(l.edge().clusterValues(c, chart), l.inside().clusterValues(c, chart))
}

func (l layered) takes(obj clusters.Object) bool { return l.edge().takes(obj) || l.inside().takes(obj) }

func (l layered) object(f *fleet, obj clusters.Object) clusters.Object {
	return l.inside().object(f, l.edge().object(f, obj))
}

// template completes the gateway, which no injector of Istio's has a part in, beside what Linkerd's proxy must leave
// alone.
func (l layered) template(f *fleet, t *corev1.PodTemplateSpec) {
	l.inside().template(f, t)
	for i := range t.Spec.Containers {
		if isGateway(&t.Spec.Containers[i]) {
			f.completeGateway(&t.Spec, i)
			return
		}
	}
}

func (l layered) before(ctx context.Context, c *cluster) error {
	if err := l.edge().before(ctx, c); err != nil {
		return err
	}
	return l.inside().before(ctx, c)
}

func (l layered) join(ctx context.Context, c *cluster) error {
	if err := l.edge().join(ctx, c); err != nil {
		return err
	}
	return l.inside().join(ctx, c)
}

func (l layered) settled(ctx context.Context, c *cluster) ([]string, error) {
	return l.edge().settled(ctx, c)
}

// rotate gives each its own next issuer.
func (l layered) rotate(ctx context.Context, c *cluster) error {
	if err := l.edge().rotate(ctx, c); err != nil {
		return err
	}
	return l.inside().rotate(ctx, c)
}

func (l layered) lacking(ctx context.Context, c *cluster) ([]string, error) {
	if lacking, err := l.inside().lacking(ctx, c); err != nil || len(lacking) > 0 {
		return lacking, err
	}
	return l.edge().lacking(ctx, c)
}

func (l layered) imported(s *discoveryv1.EndpointSlice, behind []*pod) {
	l.inside().imported(s, behind)
}

func (l layered) proxies() []proxy {
	gateway := l.edge().proxies()[0]
	gateway.container = gatewayContainer
	return append(l.inside().proxies(), gateway)
}

func (l layered) added() (charts, images []string) { return l.inside().added() }
