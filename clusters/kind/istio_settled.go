package kind

import (
	"context"
	"fmt"
	"strings"

	admission "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshproof/meshproof/scenarios"
)

// istioRoots is the ConfigMap with the mesh's roots that istiod keeps in every namespace.
const istioRoots = "istio-ca-root-cert"

var _ settler = istio{}

// settled waits for what istiod does when it is ready: it gives every namespace the roots, and lets its webhooks refuse
// what they cannot judge.
func (istio) settled(ctx context.Context, c *cluster) ([]string, error) {
	root := c.issuer(scenarios.MeshIstio).Root().PEM()
	validating, err := c.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().List(ctx, metav1.ListOptions{LabelSelector: "app=istiod"})
	if err != nil {
		return nil, err
	}
	var lacking []string
	look := func(name string, client admission.WebhookClientConfig, taken bool) {
		if !taken || !same(string(client.CABundle), root) {
			lacking = append(lacking, fmt.Sprintf("istiod of cluster %s has not taken over the webhook %s", c.name, name))
		}
	}
	for i := range validating.Items {
		for _, w := range validating.Items[i].Webhooks {
			look(w.Name, w.ClientConfig, w.FailurePolicy != nil && *w.FailurePolicy == admission.Fail)
		}
	}
	mutating, err := c.client.AdmissionregistrationV1().MutatingWebhookConfigurations().List(ctx, metav1.ListOptions{LabelSelector: "app=sidecar-injector"})
	if err != nil {
		return nil, err
	}
	for i := range mutating.Items {
		for _, w := range mutating.Items[i].Webhooks {
			look(w.Name, w.ClientConfig, true)
		}
	}
	roots, err := c.client.CoreV1().ConfigMaps(metav1.NamespaceAll).List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + istioRoots})
	if err != nil {
		return nil, err
	}
	return append(lacking, otherRoots(roots.Items, root)...), nil
}

// same compares PEM files.
func same(a, b string) bool { return strings.TrimSpace(a) == strings.TrimSpace(b) }

// otherRoots names the namespaces that do not have this root, of those that have any.
func otherRoots(maps []corev1.ConfigMap, root string) []string {
	if len(maps) == 0 {
		return []string{"istiod has given no namespace its root"}
	}
	var lacking []string
	for i := range maps {
		if m := &maps[i]; !same(m.Data["root-cert.pem"], root) {
			lacking = append(lacking, "istiod has not given namespace "+m.Namespace+" its new root")
		}
	}
	return lacking
}
