package layered

import (
	"errors"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/embedded/istio"
	"github.com/meshproof/meshproof/clusters/embedded/linkerd"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
)

// check gives each mesh its own kinds to judge, and both of them what is Kubernetes' own. Kinds are told apart by their
// group: both meshes have an AuthorizationPolicy.
func check(objs []clusters.Object) error {
	var outside, inside []clusters.Object
	var errs []error
	for _, o := range objs {
		if proxy.IsNil(o) {
			errs = append(errs, fmt.Errorf("an object is nil: %w", clusters.ErrNotModelled))
			continue
		}
		r := &proxy.Report{Object: proxy.NameOf(o)}
		switch o := o.(type) {
		case *corev1.Namespace:
			noSidecars(r, "metadata.labels[istio-injection]", o.Labels["istio-injection"], "enabled")
		case *appsv1.Deployment:
			noSidecars(r, "spec.template.metadata.labels["+istioInject+"]", o.Spec.Template.Labels[istioInject], "true")
			checkGateway(r, o)
		}
		errs = append(errs, r.Errs...)
		group, _, _ := strings.Cut(clusters.Key(o), "/")
		istios := strings.HasSuffix(group, ".istio.io")
		if kubernetes := group == "" || group == "apps"; istios || kubernetes {
			outside = append(outside, o)
		}
		if !istios {
			inside = append(inside, o)
		}
	}
	return errors.Join(append(errs, istio.Factory().Check(outside), linkerd.Factory().Check(inside))...)
}

const istioInject = "sidecar.istio.io/inject"

// noSidecars refuses what asks Istio's injector for a sidecar.
func noSidecars(r *proxy.Report, field, value, asks string) {
	if value == asks {
		r.Refuse(field, "%q asks for Istio's sidecar, and layered has Istio at its gateways alone: Linkerd's injector would leave such a pod alone; leave it out, or run mesh istio", value)
	}
}

// checkGateway refuses a gateway that the models would not interpret as it stands.
func checkGateway(r *proxy.Report, d *appsv1.Deployment) {
	t := &d.Spec.Template
	for i := range t.Spec.Containers {
		c := &t.Spec.Containers[i]
		if !isGateway(*c) {
			continue
		}
		if err := istio.CheckGateway(c, clusterOf(c)); err != nil {
			r.Errs = append(r.Errs, fmt.Errorf("%s: spec.template.spec.containers[%d]: %w", r.Object, i, err))
		}
		if t.Annotations["linkerd.io/inject"] != "enabled" {
			continue
		}
		for j, p := range c.Ports {
			if !linkerd.SkipsInbound(t.Annotations, int(p.ContainerPort)) {
				r.Refuse(fmt.Sprintf("spec.template.spec.containers[%d].ports[%d].containerPort", i, j),
					"%d is not in annotation %s, and a listener for the outside that Linkerd's proxy captures is not modelled: add it there", p.ContainerPort, linkerd.SkipInbound)
			}
		}
	}
}

// clusterOf is the cluster that a gateway believes to stand in. Where it does not, the pod does not start.
func clusterOf(c *corev1.Container) string {
	for _, e := range c.Env {
		if e.Name == "ISTIO_META_CLUSTER_ID" {
			return e.Value
		}
	}
	return "the cluster's name"
}
