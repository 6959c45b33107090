package kind

import (
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshproof/meshproof/evidence"
)

// skippedReason and skippedPrefix are how Linkerd's injector writes that it left a pod as it was
// (controller/proxy-injector/webhook.go).
const (
	skippedReason = "InjectionSkipped"
	skippedPrefix = "Linkerd sidecar proxy injection skipped: "
)

// noteSkipped says in evidence which pods asked for a proxy of Linkerd's, got none, and why. The injector lets such a pod
// come up all the same, and says so in an event of its Deployment, or of what else owns it, alone.
func (c *cluster) noteSkipped(ctx context.Context) error {
	c.f.mu.Lock()
	var without []*pod
	for _, p := range c.pods {
		if !p.skipped && !has(p.public(), linkerdSidecar) {
			without = append(without, p)
		}
	}
	c.f.mu.Unlock()
	if len(without) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	namespaces, err := c.client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing the namespaces of cluster %s: %w", c.name, err)
	}
	asks := map[string]string{}
	for i := range namespaces.Items {
		asks[namespaces.Items[i].Name] = namespaces.Items[i].Annotations[linkerdInject]
	}
	said, err := c.client.CoreV1().Events(metav1.NamespaceAll).List(ctx, metav1.ListOptions{
		FieldSelector: "reason=" + skippedReason,
	})
	if err != nil {
		return fmt.Errorf("asking cluster %s why pods have no proxy: %w", c.name, err)
	}
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	for _, p := range without {
		if why := skippedFor(p.obj, asks[p.ref.Namespace], said.Items); why != "" && !p.skipped {
			p.skipped = true
			c.podEvent(p, evidence.EventInjectionSkipped, why)
		}
	}
	return nil
}

// skippedFor is the injector's reason for which a pod that asked for a proxy, itself or by its namespace, has none; ""
// where it did not ask, or nothing is said of it.
func skippedFor(obj *corev1.Pod, namespace string, said []corev1.Event) string {
	asks, own := obj.Annotations[linkerdInject]
	if !own {
		asks = namespace
	}
	if asks == "" || asks == "disabled" {
		return ""
	}
	for _, e := range said {
		mine := slices.ContainsFunc(obj.OwnerReferences, func(o metav1.OwnerReference) bool {
			return o.UID == e.InvolvedObject.UID || e.InvolvedObject.Kind == "Deployment" && e.InvolvedObject.Namespace == obj.Namespace &&
				o.Name == e.InvolvedObject.Name+"-"+obj.Labels[appsv1.DefaultDeploymentUniqueLabelKey]
		})
		if why, ok := strings.CutPrefix(e.Message, skippedPrefix); ok && mine {
			return why
		}
	}
	return ""
}
