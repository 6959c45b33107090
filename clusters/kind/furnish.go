package kind

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// settler is a mesh whose control plane goes on to change its own objects for a while after it is ready.
type settler interface {
	// settled says what of that has not happened yet in a cluster.
	settled(ctx context.Context, c *cluster) ([]string, error)
}

// furnish gives the clusters their mesh, or installs it anew over the one that they were kept with, and remembers what
// they are then. What the mesh wants beside its charts is applied after that: it depends on the scenario, and goes with
// the trial as all of that does.
func (f *fleet) furnish(ctx context.Context, p *Provider) error {
	if err := f.install(ctx, p); err != nil {
		return err
	}
	if err := f.dropReleases(); err != nil {
		return err
	}
	f.made.Mesh, f.made.Releases = f.spec.Mesh, f.releases()
	f.base = f.bare
	if f.mesh == nil {
		return nil
	}
	if f.spec.Keep {
		var err error
		if f.base, err = f.note(ctx); err != nil {
			return err
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, c := range f.list {
		g.Go(func() error { return c.Apply(gctx, f.spec.Install[c.name].Objects...) })
	}
	return g.Wait()
}

// settle waits until the control planes are as they stay. On new clusters that go with their trial nothing depends on it.
func (f *fleet) settle(ctx context.Context) error {
	s, ok := f.mesh.(settler)
	if !ok || !f.reused && !f.spec.Keep {
		return nil
	}
	for _, c := range f.list {
		if err := c.until(ctx, func(ctx context.Context) ([]string, error) { return s.settled(ctx, c) }); err != nil {
			return fmt.Errorf("waiting for the control plane of mesh %s to settle: %w", f.spec.Mesh, err)
		}
	}
	return nil
}

// releases are those of the fleet's mesh; each cluster has the same.
func (f *fleet) releases() []keptRelease {
	var list []keptRelease
	for _, r := range f.spec.Install[f.spec.Clusters[0]].Releases {
		list = append(list, keptRelease{r.Namespace, r.Name})
	}
	return list
}

// dropReleases removes the releases of the mesh that the clusters were kept with and that it no longer has.
func (f *fleet) dropReleases() error {
	if f.made.Mesh != f.spec.Mesh {
		return nil // all are gone, or there were none
	}
	now := f.releases()
	for _, r := range slices.Backward(f.made.Releases) {
		if slices.Contains(now, r) {
			continue
		}
		for _, c := range f.list {
			if err := c.uninstall(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeMesh takes the mesh that the clusters were kept with off them, and waits until they are what they were without.
func (f *fleet) removeMesh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, installWithin)
	defer cancel()
	g, gctx := errgroup.WithContext(ctx)
	for _, c := range f.list {
		g.Go(func() error { return c.removeMesh(gctx, f.made.Releases, f.bare) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return f.untilAgain(ctx, f.bare)
}

// removeMesh removes a mesh's releases, whatever else has come with it, and its images.
func (c *cluster) removeMesh(ctx context.Context, releases []keptRelease, bare fingerprint) error {
	for _, r := range slices.Backward(releases) {
		if err := c.uninstall(r); err != nil {
			return err
		}
	}
	objs, err := c.objects(ctx)
	if err != nil {
		return err
	}
	objs = slices.DeleteFunc(objs, func(o object) bool { return c.noted(bare, o) })
	// Webhooks first: nobody answers them any more.
	slices.SortStableFunc(objs, func(a, b object) int {
		hook := func(o object) int {
			if strings.HasSuffix(o.GetKind(), "WebhookConfiguration") {
				return 0
			}
			return 1
		}
		return hook(a) - hook(b)
	})
	if err := c.remove(ctx, objs); err != nil {
		return err
	}
	c.mapper.Reset()
	for _, n := range c.nodes {
		if err := dropImages(ctx, n.name, bare); err != nil {
			return err
		}
	}
	return nil
}

// dropImages removes the images of a node that it did not have when it was noted, under all their names.
func dropImages(ctx context.Context, node string, was fingerprint) error {
	out, err := onNode(ctx, node, "ctr", "--namespace", "k8s.io", "images", "list")
	if err != nil {
		return err
	}
	if names := imagesSince(out, node, was); len(names) > 0 {
		if _, err := onNode(ctx, node, append([]string{"ctr", "--namespace", "k8s.io", "images", "remove"}, names...)...); err != nil {
			return fmt.Errorf("removing images from node %s: %w", node, err)
		}
	}
	return nil
}

// imagesSince reads from containerd's list of images the names of those that were not there.
func imagesSince(list, node string, was fingerprint) []string {
	now := fingerprint{}
	readImages(now, "", list)
	digests := map[string]bool{}
	for what, digest := range now {
		if _, had := was["node "+node+": "+what]; !had {
			digests[digest] = true
		}
	}
	for what, digest := range now {
		if _, had := was["node "+node+": "+what]; had {
			delete(digests, digest) // the same image under another name
		}
	}
	names := map[string]bool{}
	for line := range strings.Lines(list) {
		if f := strings.Fields(line); len(f) > 2 && digests[f[2]] {
			names[f[0]] = true
		}
	}
	for what := range now {
		if _, had := was["node "+node+": "+what]; !had {
			names[strings.TrimPrefix(what, "image ")] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// restart has the pods of a namespace made anew by their controllers, and waits until the old ones are gone.
func (c *cluster) restart(ctx context.Context, namespace string) error {
	pods := c.client.CoreV1().Pods(namespace)
	list, err := pods.List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing the pods of namespace %s in cluster %s: %w", namespace, c.name, err)
	}
	old := map[types.UID]bool{}
	for i := range list.Items {
		old[list.Items[i].UID] = true
	}
	if err := pods.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		return fmt.Errorf("restarting the pods of namespace %s in cluster %s: %w", namespace, c.name, err)
	}
	return c.until(ctx, func(ctx context.Context) ([]string, error) {
		list, err := pods.List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		var lacking []string
		for i := range list.Items {
			if p := &list.Items[i]; old[p.UID] {
				lacking = append(lacking, fmt.Sprintf("pod %s of the control plane in cluster %s is still ending", p.Name, c.name))
			}
		}
		return lacking, nil
	})
}
