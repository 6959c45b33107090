package kind

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

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
	// toldAgain is the annotation that changes on Services which service mirrors have missed.
	toldAgain = "meshproof.io/told-again"
	// toldAgainAfter is how long a member may be absent before that: mirrors need a second or two.
	toldAgainAfter = 5 * time.Second
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

// lackingFederated says which federated Services of a cluster do not have all clusters for members yet, and has those that
// are late told again.
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
	var out []absent
	for _, key := range slices.Sorted(maps.Keys(want)) {
		slices.Sort(want[key])
		if slices.Equal(want[key], have[key]) {
			continue
		}
		lacking = append(lacking, fmt.Sprintf("the federated Service %s in cluster %s has members %q, want %q", key, c.name, have[key], want[key]))
		for _, member := range want[key] {
			if !slices.Contains(have[key], member) {
				out = append(out, absent{key, member})
			}
		}
	}
	for _, a := range c.late(out, time.Now()) {
		if err := c.tellAgain(ctx, a); err != nil {
			return nil, err
		}
	}
	return lacking, nil
}

// absent is a member that a federated Service lacks.
type absent struct {
	federated string // namespace/name
	member    string // as membersOf has it
}

// late returns the members that have been absent for toldAgainAfter, since they were seen to be or since they were last
// returned here.
func (c *cluster) late(out []absent, now time.Time) []absent {
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	since := map[absent]time.Time{}
	var list []absent
	for _, a := range out {
		at, known := c.unjoined[a]
		switch {
		case !known:
			at = now
		case now.Sub(at) >= toldAgainAfter:
			at, list = now, append(list, a)
		}
		since[a] = at
	}
	c.unjoined = since
	return list
}

// tellAgain changes an annotation of a Service that did not become a member of a federated Service, for service mirrors to
// look at it once more. Where two of them make the federated Service at the same time, to the second it is there already,
// which it takes for an earlier attempt of its own: it does not join, and says that it did (linkerd2,
// multicluster/service-mirror/cluster_watcher.go, handleCreateFederatedService), until the Service that it mirrors changes.
func (c *cluster) tellAgain(ctx context.Context, a absent) error {
	name, where, other := strings.Cut(a.member, "@")
	in := c
	if other {
		in = c.f.cluster(where)
	}
	ns, _, _ := strings.Cut(a.federated, "/")
	c.f.log.Warn("a service mirror of Linkerd has not joined a federated Service; the Service that it mirrors is changed for it to look again",
		"cluster", c.name, "federated", a.federated, "member", a.member)
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, toldAgain, time.Now().UTC().Format(time.RFC3339Nano))
	_, err := in.client.CoreV1().Services(ns).Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("having Service %s/%s of cluster %s mirrored again: %w", ns, name, in.name, err)
	}
	return nil
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
