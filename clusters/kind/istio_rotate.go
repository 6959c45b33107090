package kind

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

// rotate replaces the Secret, whose files istiod watches.
func (istio) rotate(ctx context.Context, c *cluster) error {
	if err := c.giveIssuer(ctx, c.issuer(scenarios.MeshIstio)); err != nil {
		return err
	}
	return c.hasten(ctx, istioNamespace, istiodPods)
}
