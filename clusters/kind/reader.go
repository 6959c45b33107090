package kind

import (
	"context"
	"fmt"
	"net"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const (
	// readerFor is how long a token holds with which one cluster reads another: longer than any run.
	readerFor = 48 * time.Hour
	// apiServerPort is where a node's API server listens on the nodes' network.
	apiServerPort = "6443"
)

// kubeconfigOf is a kubeconfig of the cluster for an account of its own, with the API server's address on the nodes' network.
func (c *cluster) kubeconfigOf(ctx context.Context, namespace, account string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	seconds := int64(readerFor / time.Second)
	token, err := c.client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, account,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("asking for a token of %s: %w", account, err)
	}
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters[c.name] = &clientcmdapi.Cluster{
		Server:                   "https://" + net.JoinHostPort(c.nodes[0].address.String(), apiServerPort),
		CertificateAuthorityData: c.rest.CAData,
	}
	cfg.AuthInfos[c.name] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	cfg.Contexts[c.name] = &clientcmdapi.Context{Cluster: c.name, AuthInfo: c.name}
	cfg.CurrentContext = c.name
	text, err := clientcmd.Write(*cfg)
	return string(text), err
}
