package kind

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/meshproof/meshproof/internal/trust"
	"github.com/meshproof/meshproof/scenarios"
)

var _ rotator = istio{}

// giveIssuer writes the Secret from which the cluster's istiod has its certificate authority.
func (c *cluster) giveIssuer(ctx context.Context, issuer *trust.Issuer) error {
	key, err := issuer.KeyPEM()
	if err != nil {
		return err
	}
	return c.applyOwn(ctx, &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Namespace: istioNamespace, Name: "cacerts"},
		StringData: map[string]string{
			"ca-cert.pem": issuer.PEM(), "ca-key.pem": key, "cert-chain.pem": issuer.PEM(), "root-cert.pem": issuer.Root().PEM(),
		},
	})
}

// rotate replaces the Secret. istiod watches the files that the kubelet makes of it, which by itself looks at a pod's
// volumes once a minute, and at once when the pod has changed.
func (istio) rotate(ctx context.Context, c *cluster) error {
	if err := c.giveIssuer(ctx, c.issuer(scenarios.MeshIstio)); err != nil {
		return err
	}
	if err := c.touchIstiod(ctx); err != nil {
		return err
	}
	// Where the kubelet heard of the pod before it heard of the Secret.
	c.f.run(func(ctx context.Context) {
		for range 3 {
			sleep(ctx, time.Second)
			_ = c.touchIstiod(ctx) // without it the kubelet comes later, which is seen in the certificates
		}
	})
	return nil
}

// touchedAt is an annotation that means nothing to anybody.
const touchedAt = "meshproof.io/touched"

func (c *cluster) touchIstiod(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	pod, err := c.istiod(ctx)
	if err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{
		touchedAt: time.Now().UTC().Format(time.RFC3339Nano),
	}}})
	if err != nil {
		return err
	}
	if _, err := c.client.CoreV1().Pods(istioNamespace).Patch(ctx, pod, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager}); err != nil {
		return fmt.Errorf("touching pod %s in cluster %s: %w", pod, c.name, err)
	}
	return nil
}
