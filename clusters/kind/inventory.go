package kind

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// object is one Kubernetes object of a cluster.
type object struct {
	resource schema.GroupVersionResource
	*unstructured.Unstructured
}

// what names the object.
func (o object) what() string {
	return o.GetKind() + " " + strings.TrimPrefix(o.GetNamespace()+"/"+o.GetName(), "/")
}

// ours reports whether Meshproof applied any field of the object.
func (o object) ours() bool {
	return slices.ContainsFunc(o.GetManagedFields(), func(m metav1.ManagedFieldsEntry) bool { return m.Manager == fieldManager })
}

// volatile are the resources whose objects a cluster makes, changes and removes by itself.
var volatile = map[string]bool{
	"events": true, "events.events.k8s.io": true,
	"leases.coordination.k8s.io":                     true,
	"endpoints":                                      true,
	"endpointslices.discovery.k8s.io":                true,
	"replicasets.apps":                               true, // made of Deployments
	"controllerrevisions.apps":                       true, // made of DaemonSets
	"certificatesigningrequests.certificates.k8s.io": true, // forgotten after an hour
	"componentstatuses":                              true,
}

// objects lists all objects of a cluster but those that come and go by themselves.
func (c *cluster) objects(ctx context.Context) ([]object, error) {
	failed := func(err error) ([]object, error) {
		return nil, fmt.Errorf("listing the objects of cluster %s: %w", c.name, err)
	}
	lists, err := c.client.Discovery().ServerPreferredResources()
	if err != nil {
		return failed(err)
	}
	var mu sync.Mutex
	var all []object
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, l := range lists {
		gv, err := schema.ParseGroupVersion(l.GroupVersion)
		if err != nil {
			return failed(err)
		}
		for _, r := range l.APIResources {
			if !slices.Contains(r.Verbs, "list") || !slices.Contains(r.Verbs, "delete") {
				continue
			}
			resource := gv.WithResource(r.Name)
			g.Go(func() error {
				items, err := c.dynamic.Resource(resource).List(gctx, metav1.ListOptions{})
				if apierrors.IsNotFound(err) { // its definition went meanwhile, and with it all that there was
					return nil
				}
				if err != nil {
					return fmt.Errorf("%s: %w", resource.GroupResource(), err)
				}
				mu.Lock()
				defer mu.Unlock()
				for i := range items.Items {
					o := object{resource, &items.Items[i]}
					if o.ours() || !volatile[resource.GroupResource().String()] && !passing(o) {
						all = append(all, o)
					}
				}
				return nil
			})
		}
	}
	if err := g.Wait(); err != nil {
		return failed(err)
	}
	return all, nil
}

// passing reports whether an object of a kind that stays is itself one that does not: pods of controllers, whose template
// is known, and what a bootstrap token leaves when it expires.
func passing(o object) bool {
	switch o.GetKind() {
	case "Pod":
		owner := metav1.GetControllerOf(o)
		return owner != nil && owner.Kind != "Node"
	case "Secret":
		t, _, _ := unstructured.NestedString(o.Object, "type")
		return t == string(corev1.SecretTypeBootstrapToken)
	case "ConfigMap":
		return o.GetNamespace() == metav1.NamespacePublic && o.GetName() == "cluster-info" // signed with such a token
	}
	return false
}

// state is what the object says, apart from what changes by itself: images and replicas for people, all of it as a digest.
func (o object) state() (string, error) {
	kept := map[string]any{"labels": o.GetLabels()}
	for field, v := range o.Object {
		if field != "metadata" && field != "status" {
			kept[field] = v
		}
	}
	if o.GetDeletionTimestamp() != nil {
		kept["ending"] = true
	}
	b, err := json.Marshal(kept) // keys of maps are sorted
	if err != nil {
		return "", fmt.Errorf("%s: %w", o.what(), err)
	}
	var lines []string
	if n, ok, _ := unstructured.NestedInt64(o.Object, "spec", "replicas"); ok {
		lines = append(lines, fmt.Sprintf("replicas %d", n))
	}
	for _, path := range [][]string{{"spec", "template", "spec", "containers"}, {"spec", "containers"}} {
		containers, _, _ := unstructured.NestedSlice(o.Object, path...)
		for _, ct := range containers {
			if m, ok := ct.(map[string]any); ok {
				lines = append(lines, fmt.Sprintf("image %v", m["image"]))
			}
		}
	}
	if taints, ok, _ := unstructured.NestedSlice(o.Object, "spec", "taints"); ok {
		for _, t := range taints {
			if m, ok := t.(map[string]any); ok {
				lines = append(lines, fmt.Sprintf("taint %v", m["key"]))
			}
		}
	}
	sum := sha256.Sum256(b)
	return strings.Join(append(lines, digestLine+hex.EncodeToString(sum[:])), "\n"), nil
}

// inventory is what the objects of a cluster are.
func (c *cluster) inventory(objs []object) (fingerprint, error) {
	is := fingerprint{}
	for _, o := range objs {
		state, err := o.state()
		if err != nil {
			return nil, err
		}
		is["cluster "+c.name+": "+o.what()] = state
	}
	return is, nil
}
