package linkerdapi

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// What is of Linkerd's multicluster extension.
const (
	LinkGroup      = "multicluster.linkerd.io" // API group
	LinksChart     = "linkerd-multicluster"
	LinksNamespace = "linkerd-multicluster"
	// A Service whose FederatedLabel is FederatedMember is a member of the federated Service of its name and FederatedSuffix, in
	// its own cluster and in those that have a Link to it.
	FederatedLabel  = "mirror.linkerd.io/federated"
	FederatedMember = "member"
	FederatedSuffix = "-federated"
)

// Link has a cluster mirror Services of another one, the target. It holds in one direction.
type Link struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              LinkSpec `json:"spec"`
}

// LinkSpec is the specification of a Link to a cluster on the same network, which needs no gateway.
type LinkSpec struct {
	TargetClusterName             string `json:"targetClusterName,omitempty"`
	TargetClusterDomain           string `json:"targetClusterDomain,omitempty"`
	TargetClusterLinkerdNamespace string `json:"targetClusterLinkerdNamespace,omitempty"`
	// ClusterCredentialsSecret is a Secret of the Link's namespace with a kubeconfig of the target.
	ClusterCredentialsSecret string `json:"clusterCredentialsSecret,omitempty"`
	// FederatedServiceSelector selects those Services of the target that become members of a federated Service.
	FederatedServiceSelector *metav1.LabelSelector `json:"federatedServiceSelector,omitempty"`
}

// LinkAccount names the account with which a cluster is read by another one, of that name, which has a Link to it.
func LinkAccount(reader string) string { return "linkerd-service-mirror-remote-access-" + reader }

// LinkCredentials names the Secrets with a kubeconfig of a Link's target, as Linkerd's charts expect them.
func LinkCredentials(target string) string { return "cluster-credentials-" + target }

// DeepCopyObject implements runtime.Object.
func (l *Link) DeepCopyObject() runtime.Object {
	out := *l
	out.ObjectMeta = *l.ObjectMeta.DeepCopy()
	out.Spec.FederatedServiceSelector = l.Spec.FederatedServiceSelector.DeepCopy()
	return &out
}
