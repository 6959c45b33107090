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
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// lookAgain is how soon a wait looks again where nothing announces a change: at kube-proxy's rules, or a node.
const lookAgain = 500 * time.Millisecond

// clusterParts is the namespace of the cluster's own parts.
const clusterParts = "kube-system"

// sayAgain is how often a wait that goes on says to the log what is lacking.
const sayAgain = 15 * time.Second

// until looks at something after each change of pods, and now and then, until nothing is lacking. Its error says what
// was lacking last; where look says that no waiting brings it, at once.
func (c *cluster) until(ctx context.Context, look func(context.Context) ([]string, error)) error {
	var lacking []string
	said := time.Now()
	for {
		changed := c.f.change()
		now, err := look(ctx)
		var never *hopelessError
		switch {
		case errors.As(err, &never):
			return err
		case ctx.Err() != nil && len(lacking) > 0:
			return fmt.Errorf("%s: %w", strings.Join(lacking, "; "), ctx.Err())
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			now = []string{err.Error()}
		case len(now) == 0:
			return nil
		}
		lacking = now
		if time.Since(said) >= sayAgain {
			said = time.Now()
			c.f.log.Debug("still waiting", "cluster", c.name, "lacking", strings.Join(lacking, "; "))
		}
		if err := c.f.alive(); err != nil {
			return err
		}
		t := time.NewTimer(lookAgain)
		select {
		case <-changed:
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// systemReady waits until a new cluster's own parts work.
func (c *cluster) systemReady(ctx context.Context) error {
	err := c.until(ctx, func(ctx context.Context) ([]string, error) {
		nodes, err := c.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		var lacking []string
		for i := range nodes.Items {
			n := &nodes.Items[i]
			for _, k := range n.Status.Conditions {
				if k.Type == corev1.NodeReady && k.Status != corev1.ConditionTrue {
					lacking = append(lacking, fmt.Sprintf("node %s is not ready: %s", n.Name, k.Message))
				}
			}
		}
		account, err := c.client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		if len(account.Items) == 0 {
			lacking = append(lacking, "the controllers have not begun to work")
		}
		more, err := c.lackingDeployments(ctx, clusterParts)
		return append(lacking, more...), err
	})
	if err != nil {
		return fmt.Errorf("waiting for cluster %s: %w", c.name, err)
	}
	return nil
}

// WaitReady implements clusters.Cluster. What becomes ready here is known to the other clusters' kube-proxies, too, when
// it returns.
func (c *cluster) WaitReady(ctx context.Context) error {
	if err := c.podsReady(ctx); err != nil {
		return err
	}
	if err := c.lookForAmbient(ctx); err != nil || c.f.mesh == nil {
		return err
	}
	for _, o := range c.f.list {
		err := o.until(ctx, func(ctx context.Context) ([]string, error) { return c.f.mesh.lacking(ctx, o) })
		if err != nil {
			return fmt.Errorf("waiting for the proxies of cluster %s to have their configuration: %w", o.name, err)
		}
	}
	return nil
}

// podsReady waits until every Deployment is whole and every kube-proxy knows its pods.
func (c *cluster) podsReady(ctx context.Context) error {
	return c.until(ctx, func(ctx context.Context) ([]string, error) {
		lacking, err := c.lackingDeployments(ctx, metav1.NamespaceAll)
		if err != nil || len(lacking) > 0 {
			return lacking, err
		}
		if lacking = c.leaving(); len(lacking) > 0 {
			return lacking, nil
		}
		for _, o := range c.f.list {
			more, err := o.lackingEndpoints(ctx)
			if err != nil {
				return nil, err
			}
			lacking = append(lacking, more...)
		}
		return lacking, nil
	})
}

// leaving names the pods that are told to end and have not.
func (c *cluster) leaving() []string {
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	var list []string
	for _, p := range c.pods {
		if p.obj.DeletionTimestamp != nil {
			list = append(list, fmt.Sprintf("pod %s in cluster %s is still ending", p.ref.Pod, c.name))
		}
	}
	slices.Sort(list)
	return list
}

// lackingDeployments says which Deployments of a namespace do not have what they ask for, and why.
func (c *cluster) lackingDeployments(ctx context.Context, namespace string) ([]string, error) {
	list, err := c.client.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the Deployments of cluster %s: %w", c.name, err)
	}
	var lacking []string
	for i := range list.Items {
		d := &list.Items[i]
		want := int32(1)
		if d.Spec.Replicas != nil {
			want = *d.Spec.Replicas
		}
		s := d.Status
		if s.ObservedGeneration >= d.Generation && s.ReadyReplicas == want && s.UpdatedReplicas == want && s.Replicas == want {
			continue
		}
		what := fmt.Sprintf("Deployment %s/%s in cluster %s: %d of %d replicas ready", d.Namespace, d.Name, c.name, s.ReadyReplicas, want)
		why, never := c.why(ctx, d)
		if why != "" {
			what += ": " + why
		}
		if never {
			return nil, &hopelessError{what}
		}
		lacking = append(lacking, what)
	}
	return lacking, nil
}

// why looks for the reason that a Deployment is not whole: its own conditions, then its pods' states, events and last
// words. It is for people: what cannot be found out is left out. never tells that it will not become whole.
func (c *cluster) why(ctx context.Context, d *appsv1.Deployment) (text string, never bool) {
	for _, k := range d.Status.Conditions {
		if k.Type == appsv1.DeploymentReplicaFailure && k.Status == corev1.ConditionTrue {
			return k.Message, false
		}
	}
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return err.Error(), false
	}
	pods, err := c.client.CoreV1().Pods(d.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return "", false
	}
	var all []string
	for i := range pods.Items {
		never = never || hopeless(&pods.Items[i])
		if why := c.whyPod(ctx, &pods.Items[i]); why != "" {
			all = append(all, "pod "+pods.Items[i].Name+" "+why)
		}
	}
	return strings.Join(all, ", "), never
}

// lastWarning is the newest warning event about a pod.
func (c *cluster) lastWarning(ctx context.Context, p *corev1.Pod) string {
	events, err := c.client.CoreV1().Events(p.Namespace).List(ctx, metav1.ListOptions{
		FieldSelector: "type=Warning,involvedObject.uid=" + string(p.UID),
	})
	if err != nil || len(events.Items) == 0 {
		return ""
	}
	last := slices.MaxFunc(events.Items, func(a, b corev1.Event) int { return a.LastTimestamp.Compare(b.LastTimestamp.Time) })
	return last.Reason + ": " + last.Message
}

// lackingEndpoints compares what kube-proxy has made of the Services, on every node, with the pods that stand behind them.
func (c *cluster) lackingEndpoints(ctx context.Context) ([]string, error) {
	c.f.mu.Lock()
	want, lacking := c.wanted()
	if c.mirrored != nil {
		lacking = []string{c.mirrored.Error()}
	}
	c.f.mu.Unlock()
	if len(lacking) > 0 {
		return lacking, nil
	}
	return c.inRules(ctx, func(node string, have map[string][]string) (lacking []string) {
		for _, name := range slices.Sorted(maps.Keys(want)) {
			if !slices.Equal(want[name], have[name]) {
				lacking = append(lacking, fmt.Sprintf("kube-proxy of cluster %s sends %s on node %s to %q, want %q", c.name, name, node, have[name], want[name]))
			}
		}
		return lacking
	})
}

// lackingOwnEndpoints says where kube-proxy does not lead to the cluster's own Services yet. A cluster's own parts are
// ready before that.
func (c *cluster) lackingOwnEndpoints(ctx context.Context) ([]string, error) {
	return c.inRules(ctx, func(node string, have map[string][]string) (lacking []string) {
		for _, name := range []string{"default/kubernetes:https", clusterParts + "/kube-dns:dns", clusterParts + "/kube-dns:dns-tcp", clusterParts + "/kube-dns:metrics"} {
			if len(have[name]) == 0 {
				lacking = append(lacking, fmt.Sprintf("kube-proxy of cluster %s does not know %s on node %s", c.name, name, node))
			}
		}
		return lacking
	})
}

// inRules looks at kube-proxy's rules on every node of the cluster.
func (c *cluster) inRules(ctx context.Context, look func(node string, have map[string][]string) []string) ([]string, error) {
	found := make([][]string, len(c.nodes))
	var g errgroup.Group
	for i, n := range c.nodes {
		g.Go(func() error {
			rules, err := onNode(ctx, n.name, "iptables-save", "-t", "nat")
			if err == nil {
				found[i] = look(n.name, proxied(rules))
			}
			return err
		})
	}
	err := g.Wait()
	return slices.Concat(found...), err
}
