package kind

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/bundle"
	"github.com/meshproof/meshproof/clusters/linkerdapi"
	"github.com/meshproof/meshproof/scenarios"
)

const (
	// What a federated Service has for members: the Service of the cluster itself, and "service@cluster", with commas between.
	localMember   = "multicluster.linkerd.io/local-discovery"
	remoteMembers = "multicluster.linkerd.io/remote-discovery"
	// credentialsType is of Secrets with the kubeconfig of another cluster.
	credentialsType = "mirror.linkerd.io/remote-kubeconfig"
	credentialsKey  = "kubeconfig"
)

func (linkerd) optional() []string { return []string{linkerdapi.LinksChart} }

func (linkerd) joined(charts map[string]bundle.Part) (how string, own bool) {
	if chart, ok := charts[linkerdapi.LinksChart]; ok {
		return "Linkerd's multicluster extension " + chart.Version + ": Links, service mirrors, federated Services", true
	}
	return joinedByDriver + " (the bundle has no chart " + linkerdapi.LinksChart + ")", false
}

// meshIn is a mesh as the clusters of a Spec have it.
func meshIn(spec clusters.Spec) (mesh, error) {
	m, err := meshOf(spec.Mesh)
	if l, ok := m.(linkerd); ok {
		for _, in := range spec.Install {
			l.linked = l.linked || slices.ContainsFunc(in.Releases, func(r clusters.Release) bool { return r.Chart == linkerdapi.LinksChart })
		}
		m = l
	}
	return m, err
}

// readOthers gives the cluster's service mirrors, and its destination controller, what they read the other clusters with:
// each by an account of its own there, which may look at Services, endpoints, pods and who owns them, and Servers.
func (c *cluster) readOthers(ctx context.Context) error {
	for _, o := range c.others() {
		kubeconfig, err := o.kubeconfigOf(ctx, linkerdapi.LinksNamespace, linkerdapi.LinkAccount(c.name))
		for _, secret := range linkCredentials(o.name, kubeconfig) {
			// Of clusters that were kept there is an older one, and the destination controller takes no notice of a change.
			if err == nil {
				err = c.removeOwn(ctx, secret)
			}
			if err == nil {
				err = c.applyOwn(ctx, secret)
			}
		}
		if err != nil {
			return fmt.Errorf("letting cluster %s read cluster %s: %w", c.name, o.name, err)
		}
	}
	if !c.f.reused {
		return nil
	}
	// Service mirrors read the credentials when they begin.
	if err := c.restart(ctx, linkerdapi.LinksNamespace); err != nil {
		return err
	}
	return c.controlPlaneReady(ctx, linkerdapi.LinksNamespace)
}

// linkCredentials are the Secrets with which a cluster reads another one: its service mirror's, and its destination
// controller's, as `linkerd multicluster link-gen` writes them.
func linkCredentials(target, kubeconfig string) []*corev1.Secret {
	var list []*corev1.Secret
	for _, ns := range []string{linkerdapi.LinksNamespace, linkerdNamespace} {
		s := &corev1.Secret{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: linkerdapi.LinkCredentials(target)},
			Type:       credentialsType,
			StringData: map[string]string{credentialsKey: kubeconfig},
		}
		if ns == linkerdNamespace {
			s.Labels = map[string]string{"multicluster.linkerd.io/cluster-name": target}
			s.Annotations = map[string]string{
				"multicluster.linkerd.io/trust-domain": scenarios.TrustDomain, "multicluster.linkerd.io/cluster-domain": scenarios.TrustDomain,
			}
		}
		list = append(list, s)
	}
	return list
}

// passOver has Linkerd's controllers pass over a slice, whose pods they find by Links: they take no notice of endpoints that
// refer to anything but a pod or an external workload. kube-proxy takes them all, for whoever has no proxy of Linkerd's.
func passOver(s *discoveryv1.EndpointSlice) {
	ref := &corev1.ObjectReference{
		APIVersion: "multicluster.x-k8s.io/v1alpha1", Kind: "ServiceImport", Namespace: s.Namespace, Name: s.Labels[discoveryv1.LabelServiceName],
	}
	for i := range s.Endpoints {
		s.Endpoints[i].TargetRef = ref
	}
}

// lackingFederated says which federated Services of a cluster do not have all clusters for members yet.
func (c *cluster) lackingFederated(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	c.f.mu.Lock()
	want := map[string][]string{} // by namespace/name of the federated Service
	for key, svc := range c.services {
		if svc.Labels[linkerdapi.FederatedLabel] != linkerdapi.FederatedMember {
			continue
		}
		members := []string{svc.Name}
		for _, o := range c.shared(key) {
			members = append(members, svc.Name+"@"+o.name)
		}
		want[key+linkerdapi.FederatedSuffix] = members
	}
	c.f.mu.Unlock()
	have := map[string][]string{}
	list, err := c.client.CoreV1().Services(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the Services of cluster %s: %w", c.name, err)
	}
	for i := range list.Items {
		svc := &list.Items[i]
		have[nameOf(svc)] = membersOf(svc)
	}
	var lacking []string
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if slices.Sort(want[key]); !slices.Equal(want[key], have[key]) {
			lacking = append(lacking, fmt.Sprintf("the federated Service %s in cluster %s has members %q, want %q", key, c.name, have[key], want[key]))
		}
	}
	return lacking, nil
}

// membersOf lists the members of a federated Service, sorted: "service" of its own cluster, "service@cluster" of others.
func membersOf(svc *corev1.Service) []string {
	var members []string
	if own := svc.Annotations[localMember]; own != "" {
		members = append(members, own)
	}
	if others := svc.Annotations[remoteMembers]; others != "" {
		members = append(members, strings.Split(others, ",")...)
	}
	slices.Sort(members)
	return members
}
