package kind

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/internal/trust"
	"github.com/meshproof/meshproof/scenarios"
)

// rotator is a mesh whose control plane can be given another issuer.
type rotator interface {
	// rotate hands the control planes of a cluster the issuers that it has now. Certificates follow as they are renewed.
	rotate(ctx context.Context, c *cluster) error
}

// issuer is the certificate authority of a mesh in the cluster, as it is now.
func (c *cluster) issuer(mesh scenarios.MeshName) *trust.Issuer {
	return c.f.issuers.Issuer(mesh, c.name)
}

// RotateIssuer implements clusters.Cluster. Evidence says what is trusted before anything is signed with it.
func (c *cluster) RotateIssuer(ctx context.Context) error {
	if err := errors.Join(ctx.Err(), c.f.alive()); err != nil {
		return err
	}
	if c.f.mesh == nil {
		return fmt.Errorf("%w: without a mesh cluster %s has no issuer", clusters.ErrNotPossible, c.name)
	}
	mesh, ok := c.f.mesh.(rotator)
	if !ok {
		return fmt.Errorf("%w: this version cannot give the control plane of mesh %s another issuer", clusters.ErrNotPossible, c.f.spec.Mesh)
	}
	if err := c.f.issuers.Rotate(c.name, c.f.trusted); err != nil {
		return err
	}
	if err := mesh.rotate(ctx, c); err != nil {
		return fmt.Errorf("giving the control plane of cluster %s another issuer: %w", c.name, err)
	}
	return nil
}

// touchedAt is an annotation that means nothing to anybody.
const touchedAt = "meshproof.io/touched"

// hasten has the kubelet bring a changed Secret into the one pod that a selector finds: by itself it looks at a pod's volumes
// once a minute, and at once when the pod has changed.
func (c *cluster) hasten(ctx context.Context, namespace, selector string) error {
	if err := c.touch(ctx, namespace, selector); err != nil {
		return err
	}
	// Where the kubelet heard of the pod before it heard of the Secret.
	c.f.run(func(ctx context.Context) {
		for range 3 {
			sleep(ctx, time.Second)
			_ = c.touch(ctx, namespace, selector) // without it the kubelet comes later, which is seen in the certificates
		}
	})
	return nil
}

func (c *cluster) touch(ctx context.Context, namespace, selector string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	pod, err := c.onePod(ctx, namespace, selector)
	if err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{
		touchedAt: time.Now().UTC().Format(time.RFC3339Nano),
	}}})
	if err != nil {
		return err
	}
	if _, err := c.client.CoreV1().Pods(namespace).Patch(ctx, pod, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager}); err != nil {
		return fmt.Errorf("touching pod %s in cluster %s: %w", pod, c.name, err)
	}
	return nil
}

// onePod finds the one pod that runs of those that a selector names.
func (c *cluster) onePod(ctx context.Context, namespace, selector string) (string, error) {
	list, err := c.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector, FieldSelector: "status.phase=Running"})
	if err != nil {
		return "", fmt.Errorf("looking for the pod %s in namespace %s of cluster %s: %w", selector, namespace, c.name, err)
	}
	var names []string
	for i := range list.Items {
		if list.Items[i].DeletionTimestamp == nil {
			names = append(names, list.Items[i].Name)
		}
	}
	if len(names) != 1 {
		return "", fmt.Errorf("cluster %s has %d running pods %s in namespace %s, want 1: %s", c.name, len(names), selector, namespace, strings.Join(names, ", "))
	}
	return names[0], nil
}
