package kind

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshproof/meshproof/internal/trust"
	"github.com/meshproof/meshproof/scenarios"
)

var _ rotator = linkerd{}

// linkerdIdentity selects the pods of Linkerd's identity service.
const linkerdIdentity = "linkerd.io/control-plane-component=identity"

// giveLinkerdIssuer writes the Secret from which the cluster's identity service has its certificate authority, in the form
// of cert-manager and others (kubernetes.io/tls).
func (c *cluster) giveLinkerdIssuer(ctx context.Context, issuer *trust.Issuer) error {
	key, err := issuer.KeyPEM()
	if err != nil {
		return err
	}
	return c.applyOwn(ctx, &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Namespace: linkerdNamespace, Name: "linkerd-identity-issuer"},
		Type:       corev1.SecretTypeTLS,
		StringData: map[string]string{corev1.TLSCertKey: issuer.PEM(), corev1.TLSPrivateKeyKey: key, "ca.crt": issuer.Root().PEM()},
	})
}

// rotate replaces the Secret, whose files the identity service watches. It says IssuerUpdated in an event of the cluster.
func (linkerd) rotate(ctx context.Context, c *cluster) error {
	if err := c.giveLinkerdIssuer(ctx, c.issuer(scenarios.MeshLinkerd)); err != nil {
		return err
	}
	return c.hasten(ctx, linkerdNamespace, linkerdIdentity)
}
