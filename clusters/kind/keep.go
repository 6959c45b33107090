package kind

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/internal/agent"
)

var _ clusters.Keepable = (*fleet)(nil)

// stateAgain is the pause between two looks at the state of clusters that is still changing.
const stateAgain = time.Second

// state is what the fleet is now: its nodes, what is on them, and the objects of its clusters.
func (f *fleet) state(ctx context.Context) (fingerprint, error) {
	is, running, err := f.nodeState(ctx)
	if err != nil {
		return nil, err
	}
	if !running {
		return nil, errors.New("not every node runs")
	}
	var nodes []string
	for key := range is {
		nodes = append(nodes, strings.TrimPrefix(key, "node "))
	}
	parts := make([]fingerprint, len(f.list)+1)
	g, gctx := errgroup.WithContext(ctx)
	for i, c := range f.list {
		g.Go(func() error {
			objs, err := c.objects(gctx)
			if err != nil {
				return err
			}
			parts[i], err = c.inventory(objs)
			return err
		})
	}
	g.Go(func() (err error) {
		parts[len(f.list)], err = insideNodes(gctx, nodes)
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for _, p := range parts {
		maps.Copy(is, p)
	}
	return is, nil
}

// nodeState is what the fleet's containers are, and whether all of them run.
func (f *fleet) nodeState(ctx context.Context) (fingerprint, bool, error) {
	nodes, err := nodesOf(ctx, f.spec.ID)
	if err != nil || len(nodes) == 0 {
		return fingerprint{}, false, err
	}
	return nodeState(ctx, nodes)
}

// madeFrom remembers what the clusters are made from.
func (f *fleet) madeFrom(ctx context.Context, h host) error {
	image, err := idOf(ctx, h.image)
	if err != nil {
		return err
	}
	f.made = keptFile{Mesh: f.spec.Mesh, Image: image, Network: h.network, Separate: f.spec.Separate}
	for i, name := range f.spec.Clusters {
		f.made.Clusters = append(f.made.Clusters, keptCluster{
			Name: name, Nodes: max(f.spec.Nodes[name], 1), Pods: h.addresses[i].pods, Services: h.addresses[i].services, OwnCNI: h.noCNI,
		})
	}
	return nil
}

// idOf is the ID of an image that Docker has.
func idOf(ctx context.Context, image string) (string, error) {
	out, err := Docker(ctx, "image", "inspect", "--format", "{{.Id}}", image)
	return strings.TrimSpace(out), err
}

// note finds out what the clusters are, so that they can be kept: as soon as two looks see the same.
func (f *fleet) note(ctx context.Context) (is fingerprint, err error) {
	err = f.timed("note what the clusters are", func() error {
		for _, c := range f.list {
			if err := c.until(ctx, c.lackingOwnEndpoints); err != nil {
				return fmt.Errorf("waiting for kube-proxy in cluster %s: %w", c.name, err)
			}
		}
		var was fingerprint
		for {
			if is, err = f.state(ctx); err != nil {
				return fmt.Errorf("noting what the clusters are, so that they can be kept: %w", err)
			}
			if was != nil && maps.Equal(was, is) {
				return nil
			}
			was = is
			if sleep(ctx, stateAgain); ctx.Err() != nil {
				return ctx.Err()
			}
		}
	})
	return is, err
}

// Keep implements clusters.Keepable.
func (f *fleet) Keep(ctx context.Context) (*clusters.Kept, error) {
	f.closing.Lock()
	defer f.closing.Unlock()
	failed := func(err error) (*clusters.Kept, error) {
		return nil, fmt.Errorf("keeping the clusters of fleet %s: %w", f.spec.ID, err)
	}
	switch {
	case f.gone:
		return failed(errClosed)
	case f.base == nil:
		return failed(errors.New("they were not made to be kept"))
	}
	f.end(ctx)
	defer func() {
		for _, c := range f.list {
			c.transport.CloseIdleConnections()
		}
	}()
	if err := f.broken(); err != nil {
		return failed(err)
	}
	if err := f.reset(ctx); err != nil {
		return failed(err)
	}
	k := f.made
	k.Version, k.Since, k.State = keptVersion, time.Now().UTC(), f.base
	if k.Mesh != meshNone {
		k.Bare = f.bare
	}
	if err := k.write(f.folder); err != nil {
		return failed(err)
	}
	f.gone = true
	kept := &clusters.Kept{ID: f.spec.ID, Clusters: k.names()}
	for _, name := range kept.Clusters {
		kept.Kubeconfigs = append(kept.Kubeconfigs, kubeconfigIn(f.folder, name))
	}
	return kept, f.unlock()
}

// reset takes back everything that was done to the clusters since they were noted, and waits until they are again what
// they were then.
func (f *fleet) reset(ctx context.Context) error {
	is, _, err := f.nodeState(ctx)
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	for key := range is {
		g.Go(func() error { return endFaults(gctx, strings.TrimPrefix(key, "node ")) })
	}
	for _, c := range f.list {
		g.Go(func() error { return c.removeApplied(gctx, f.base) })
	}
	if err := f.timed("take back what was applied", g.Wait); err != nil {
		return err
	}
	return f.untilAgain(ctx, f.base)
}

// untilAgain waits until the clusters are again what they were.
func (f *fleet) untilAgain(ctx context.Context, was fingerprint) error {
	var left []string
	for {
		is, err := f.state(ctx)
		if err == nil {
			if left = drift(was, is); len(left) == 0 {
				return nil
			}
		} else if ctx.Err() == nil {
			left = []string{err.Error()}
		}
		if sleep(ctx, stateAgain); ctx.Err() != nil {
			return fmt.Errorf("they are not again what they were: %s: %w", shownDrift(left), ctx.Err())
		}
	}
}

// removeApplied deletes every object that Meshproof has applied since the clusters were noted. It does not wait until
// they are gone.
func (c *cluster) removeApplied(ctx context.Context, base fingerprint) error {
	objs, err := c.objects(ctx)
	if err != nil {
		return err
	}
	return c.remove(ctx, slices.DeleteFunc(objs, func(o object) bool {
		return c.noted(base, o) || !o.ours()
	}))
}

// noted reports whether an object was in the cluster when it was noted.
func (c *cluster) noted(was fingerprint, o object) bool {
	_, ok := was["cluster "+c.name+": "+o.what()]
	return ok
}

// remove deletes objects. It does not wait until they are gone.
func (c *cluster) remove(ctx context.Context, objs []object) error {
	objs = slices.DeleteFunc(objs, func(o object) bool { return o.GetDeletionTimestamp() != nil })
	// A namespace takes along what is in it.
	going := map[string]bool{}
	for _, o := range objs {
		if o.GetKind() == "Namespace" {
			going[o.GetName()] = true
		}
	}
	for _, o := range objs {
		if going[o.GetNamespace()] {
			continue
		}
		background, uid := metav1.DeletePropagationBackground, o.GetUID()
		err := c.dynamic.Resource(o.resource).Namespace(o.GetNamespace()).Delete(ctx, o.GetName(), metav1.DeleteOptions{
			PropagationPolicy: &background, Preconditions: &metav1.Preconditions{UID: &uid},
		})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("deleting %s from cluster %s: %w", o.what(), c.name, err)
		}
	}
	return nil
}

// endFaults removes from a node what a fault that was not reverted has left, waits until no agent holds packets back on
// it, and forgets the connections to its ingress.
func endFaults(ctx context.Context, node string) error {
	rules, err := onNode(ctx, node, "iptables-save", "-t", "raw")
	if err != nil {
		return err
	}
	if undo := undoDrops(rules); undo != "" {
		if _, err := dockerIn(ctx, strings.NewReader(undo), "exec", "--interactive", node, "iptables-restore", "--wait", "--noflush"); err != nil {
			return fmt.Errorf("removing the rules of a partition from node %s: %w", node, err)
		}
	}
	holding := agentOnNode + " " + agent.DelayCommand
	for {
		out, err := onNode(ctx, node, "ps", "-e", "-o", "args")
		if err != nil {
			return err
		}
		if !slices.Contains(strings.Split(strings.TrimSpace(out), "\n"), holding) {
			break
		}
		if sleep(ctx, lookAgain); ctx.Err() != nil {
			return fmt.Errorf("%s still runs on node %s: %w", holding, node, ctx.Err())
		}
	}
	// A connection that uses the port of an old one anew would be led to a pod that is gone. It fails where there is none.
	_, _ = onNode(ctx, node, "conntrack", "-D", "-p", "tcp", "--dport", fmt.Sprint(ingressNodePort))
	return ctx.Err()
}

// undoDrops is what iptables-restore needs to remove the rules of partitions (dropRules) from what iptables-save shows.
func undoDrops(rules string) string {
	var b strings.Builder
	for line := range strings.Lines(rules) {
		if rest, ok := strings.CutPrefix(line, "-A PREROUTING "); ok && strings.Contains(rest, "--comment "+dropComment) && strings.Contains(rest, "-j DROP") {
			b.WriteString("-D PREROUTING " + rest)
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "*raw\n" + b.String() + "COMMIT\n"
}
