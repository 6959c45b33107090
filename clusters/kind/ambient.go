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

// What Istio's ambient mode is known by: the label that brings a namespace or a pod into it, the annotation that its CNI
// agent puts on a pod whose traffic it redirects, and the proxy on each node.
const (
	ambientLabel      = "istio.io/dataplane-mode"
	ambientMode       = "ambient"
	ambientRedirected = "ambient.istio.io/redirection"
	ztunnel           = "ztunnel"
)

// sign is one thing that shows ambient mode.
type sign struct{ name, what string }

// lookForAmbient writes into evidence what shows that ambient mode is at work in the cluster, each thing once.
func (c *cluster) lookForAmbient(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	failed := func(err error) error {
		return fmt.Errorf("looking for Istio's ambient mode in cluster %s: %w", c.name, err)
	}
	proxies, err := c.client.AppsV1().DaemonSets(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return failed(err)
	}
	namespaces, err := c.client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return failed(err)
	}
	pods, err := c.client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return failed(err)
	}
	for _, s := range ambientSigns(proxies.Items, namespaces.Items, pods.Items) {
		c.f.mu.Lock()
		known := slices.Contains(c.ambient, s.name)
		c.ambient = append(c.ambient, s.name)
		c.f.mu.Unlock()
		if known {
			continue
		}
		if err := c.f.append(&evidence.Event{
			Header: c.f.header("cluster/" + c.name), Kind: evidence.EventAmbient,
			Name: s.name, At: evidence.PodRef{Cluster: c.name}, Message: s.what,
		}); err != nil {
			return err
		}
	}
	return nil
}

// ambientSigns finds what shows ambient mode.
func ambientSigns(proxies []appsv1.DaemonSet, namespaces []corev1.Namespace, pods []corev1.Pod) []sign {
	var found []sign
	for i := range proxies {
		d := &proxies[i]
		if d.Name == ztunnel || d.Labels["app"] == ztunnel || strings.HasPrefix(d.Labels["app.kubernetes.io/name"], ztunnel) {
			found = append(found, sign{"DaemonSet/" + nameOf(d), fmt.Sprintf("DaemonSet %s is its proxy on the nodes", nameOf(d))})
		}
	}
	for i := range namespaces {
		n := &namespaces[i]
		if n.Labels[ambientLabel] == ambientMode {
			found = append(found, sign{"Namespace//" + n.Name, fmt.Sprintf("namespace %s has the label %s: %s", n.Name, ambientLabel, ambientMode)})
		}
	}
	for i := range pods {
		p := &pods[i]
		switch {
		case p.Annotations[ambientRedirected] != "" && p.Annotations[ambientRedirected] != "disabled":
			found = append(found, sign{"Pod/" + nameOf(p), fmt.Sprintf("pod %s has the annotation %s: %s", nameOf(p), ambientRedirected, p.Annotations[ambientRedirected])})
		case p.Labels[ambientLabel] == ambientMode:
			found = append(found, sign{"Pod/" + nameOf(p), fmt.Sprintf("pod %s has the label %s: %s", nameOf(p), ambientLabel, ambientMode)})
		}
	}
	return found
}
