package kind

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/workload"
)

// podSelector finds the pods of workloads: the label that package workload puts on all of them.
const podSelector = "app.kubernetes.io/part-of=meshproof"

// pod is a pod that lives, as far as the driver has seen. It is guarded by the fleet's lock; ref, cfg and ordinal do not
// change.
type pod struct {
	ref     evidence.PodRef
	cfg     workload.Config
	ordinal int // among the cluster's pods, in the order in which they were made
	obj     *corev1.Pod
	ip      string
	ready   bool
	was     bool   // ready, at some time
	reason  string // for which it is about to be killed; "" where nobody does
	skipped bool   // evidence says why it has no proxy of Linkerd's

	follower *follower  // nil until its workload runs
	access   *accessLog // nil until its proxy runs, or where it has none
}

// Pods implements clusters.Cluster. It asks the API server each time.
func (c *cluster) Pods(ctx context.Context) ([]clusters.Pod, error) {
	if err := errors.Join(ctx.Err(), c.f.alive()); err != nil {
		return nil, err
	}
	list, err := c.listPods(ctx)
	if err != nil {
		return nil, err
	}
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	var ps []*pod
	for i := range list.Items {
		if p := c.observe(&list.Items[i]); p != nil {
			ps = append(ps, p)
		}
	}
	slices.SortFunc(ps, func(a, b *pod) int {
		return cmp.Or(cmp.Compare(a.ref.Namespace, b.ref.Namespace), cmp.Compare(a.ref.Service, b.ref.Service), cmp.Compare(a.ordinal, b.ordinal))
	})
	pods := make([]clusters.Pod, len(ps))
	for i, p := range ps {
		pods[i] = p.public()
	}
	return pods, c.f.broken()
}

func (c *cluster) listPods(ctx context.Context) (*corev1.PodList, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	list, err := c.client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: podSelector})
	if err != nil {
		return nil, fmt.Errorf("listing the pods of cluster %s: %w", c.name, err)
	}
	// Creation times are whole seconds; with names beside them the order is at least the same each time.
	slices.SortFunc(list.Items, func(a, b corev1.Pod) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	return list, nil
}

// public is the pod as others see it.
func (p *pod) public() clusters.Pod {
	spec := &p.obj.Spec
	out := clusters.Pod{PodRef: p.ref, ServiceAccount: spec.ServiceAccountName, Ready: p.ready, Images: map[string]string{}}
	for _, ct := range spec.Containers {
		out.Containers, out.Images[ct.Name] = append(out.Containers, ct.Name), ct.Image
	}
	for _, ct := range spec.InitContainers {
		out.InitContainers, out.Images[ct.Name] = append(out.InitContainers, ct.Name), ct.Image
	}
	return out
}

// watchPods keeps up with the cluster's pods until the fleet ends.
func (c *cluster) watchPods(ctx context.Context) {
	for ctx.Err() == nil {
		if err := c.watchOnce(ctx); err != nil && ctx.Err() == nil {
			sleep(ctx, 200*time.Millisecond) // the API server is away, or the watch was too old: list anew
		}
	}
}

func (c *cluster) watchOnce(ctx context.Context) error {
	c.f.mu.Lock()
	known := make([]types.UID, 0, len(c.pods))
	for uid := range c.pods {
		known = append(known, uid)
	}
	c.f.mu.Unlock()
	list, err := c.listPods(ctx)
	if err != nil {
		return err
	}
	c.f.mu.Lock()
	there := map[types.UID]bool{}
	for i := range list.Items {
		there[list.Items[i].UID] = true
		c.observe(&list.Items[i])
	}
	for _, uid := range known {
		if !there[uid] {
			c.gone(uid)
		}
	}
	c.f.mu.Unlock()
	w, err := c.client.CoreV1().Pods(metav1.NamespaceAll).Watch(ctx, metav1.ListOptions{LabelSelector: podSelector, ResourceVersion: list.ResourceVersion})
	if err != nil {
		return err
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		p, ok := e.Object.(*corev1.Pod)
		if !ok {
			return fmt.Errorf("watching pods: %s", e.Type)
		}
		c.f.mu.Lock()
		switch e.Type {
		case watch.Deleted:
			c.observe(p)
			c.gone(p.UID)
		default:
			c.observe(p)
		}
		c.f.mu.Unlock()
	}
	return nil
}

// observe takes a sight of a pod, and says in evidence what is new about it. It returns nil for one that has ended. The
// fleet's lock must be held.
func (c *cluster) observe(obj *corev1.Pod) *pod {
	if c.ended[obj.UID] || c.f.closed {
		return c.pods[obj.UID]
	}
	p := c.pods[obj.UID]
	if p == nil {
		p = &pod{ordinal: c.created, ref: evidence.PodRef{
			Cluster: c.name, Namespace: obj.Namespace, Service: obj.Labels[workload.LabelApp], Pod: obj.Name, UID: string(obj.UID),
		}}
		for i := range obj.Spec.Containers {
			if cfg, err := configOf(&obj.Spec.Containers[i]); err == nil {
				p.cfg, p.ref.Service = cfg, cfg.Name
			}
		}
		// A ReplicaSet whose pods die before it learns that it shall have none makes others first.
		p.reason = c.outages[p.ref.Namespace+"/"+p.ref.Service]
		c.created++
		c.pods[obj.UID] = p
		c.podEvent(p, evidence.EventPodCreated, "")
	} else if older(obj, p.obj) {
		return p
	}
	p.obj, p.ip = obj, obj.Status.PodIP
	p.ready = obj.DeletionTimestamp == nil && p.reason == "" && slices.ContainsFunc(obj.Status.Conditions, func(k corev1.PodCondition) bool {
		return k.Type == corev1.PodReady && k.Status == corev1.ConditionTrue
	})
	if p.ready && !p.was {
		p.was = true
		c.podEvent(p, evidence.EventPodReady, "")
	}
	if p.follower == nil && runs(obj, workload.Container) {
		p.follower = newFollower(c, p)
		c.f.tasks.Go(func() { p.follower.run(c.f.ctx) })
	}
	for _, px := range c.proxies(p.public()) {
		if p.access == nil && px.logs && runs(obj, px.container) {
			p.access = newAccessLog(c, p.ref, px)
			c.f.tasks.Go(func() { p.access.run(c.f.ctx) })
		}
	}
	c.f.notify()
	return p
}

// older reports whether a sight of a pod is behind another. Resource versions are numbers that grow (KEP-5504).
func older(a, b *corev1.Pod) bool { return olderVersion(a.ResourceVersion, b.ResourceVersion) }

func olderVersion(a, b string) bool { return len(a) < len(b) || len(a) == len(b) && a < b }

// runs reports whether a container of the pod has been started.
func runs(obj *corev1.Pod, container string) bool {
	return slices.ContainsFunc(slices.Concat(obj.Status.InitContainerStatuses, obj.Status.ContainerStatuses), func(s corev1.ContainerStatus) bool {
		return s.Name == container && (s.State.Running != nil || s.State.Terminated != nil)
	})
}

// gone takes the end of a pod. The fleet's lock must be held.
func (c *cluster) gone(uid types.UID) {
	p := c.pods[uid]
	if p == nil || c.f.closed {
		return
	}
	why := p.reason
	if why == "" {
		why = "its controller or somebody else removed it"
	}
	c.end(p, why)
	c.f.notify()
}

func (c *cluster) end(p *pod, why string) {
	delete(c.pods, p.obj.UID)
	c.ended[p.obj.UID] = true
	p.ready = false
	if p.follower != nil {
		p.follower.gone()
		c.past = append(c.past, p.follower.containerLog)
	}
	if p.access != nil {
		p.access.gone()
		c.past = append(c.past, p.access.containerLog)
	}
	c.podEvent(p, evidence.EventPodEnded, why)
}

// endPods takes the end of all pods, in the order in which they were made. The fleet's lock must be held.
func (c *cluster) endPods(why string) {
	all := make([]*pod, 0, len(c.pods))
	for _, p := range c.pods {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *pod) int { return cmp.Compare(a.ordinal, b.ordinal) })
	for _, p := range all {
		c.end(p, why)
	}
}

func (c *cluster) podEvent(p *pod, kind, message string) {
	_ = c.f.append(&evidence.Event{Header: c.f.header("cluster/" + c.name), Kind: kind, At: p.ref, Message: message}) // kept: broken
}

// KillPod implements clusters.Cluster. The pod is deleted without grace, so that its Deployment replaces it, and its
// processes get SIGKILL from the node at the same moment: by itself the kubelet would first let them have SIGTERM.
func (c *cluster) KillPod(ctx context.Context, uid, reason string) error {
	if err := errors.Join(ctx.Err(), c.f.alive()); err != nil {
		return err
	}
	if reason == "" {
		return errors.New("killing a pod wants a reason: one that ends for none spoils the evidence")
	}
	id := types.UID(uid)
	c.f.mu.Lock()
	p := c.pods[id]
	if p == nil || p.reason != "" {
		c.f.mu.Unlock()
		return fmt.Errorf("no pod with UID %s runs in cluster %s: it may have ended already", uid, c.name)
	}
	p.reason = reason
	c.f.mu.Unlock()
	return c.endNow(ctx, id)
}

// endNow deletes a pod without grace, and kills its processes.
func (c *cluster) endNow(ctx context.Context, id types.UID) error {
	c.f.mu.Lock()
	p := c.pods[id]
	if p == nil {
		c.f.mu.Unlock()
		return nil // it ended by itself
	}
	obj := p.obj
	c.f.mu.Unlock()
	now := int64(0)
	err := c.client.CoreV1().Pods(obj.Namespace).Delete(ctx, obj.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &id},
	})
	if err != nil {
		c.f.mu.Lock()
		p.reason = ""
		c.f.mu.Unlock()
		return fmt.Errorf("killing pod %s in cluster %s: %w", obj.Name, c.name, err)
	}
	killed := c.kill(ctx, obj)
	c.f.mu.Lock()
	c.gone(id)
	c.f.mu.Unlock()
	if killed != nil {
		return fmt.Errorf("killing the processes of pod %s in cluster %s: %w", obj.Name, c.name, killed)
	}
	return ctx.Err()
}

// kill sends SIGKILL to every container of a pod, by one command on its node: on a busy host each takes its time.
func (c *cluster) kill(ctx context.Context, obj *corev1.Pod) error {
	var ids []string
	for _, s := range slices.Concat(obj.Status.InitContainerStatuses, obj.Status.ContainerStatuses) {
		if id, ok := strings.CutPrefix(s.ContainerID, "containerd://"); ok && s.State.Terminated == nil {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	n := node{name: obj.Spec.NodeName}
	// containerd takes one at a time; xargs sends all, whatever becomes of one.
	err := n.feed(ctx, strings.Join(ids, "\n"), "xargs", "--max-args=1", "--max-procs="+strconv.Itoa(len(ids)),
		"ctr", "--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL")
	return notKilled(err)
}

// notKilled is the error of a command that kills containers where one of them may still run: the kubelet may have been
// there first.
func notKilled(err error) error {
	if err == nil {
		return nil
	}
	for line := range strings.Lines(err.Error()) {
		line = strings.TrimSpace(line)
		gone := strings.Contains(line, "ctr: ") && (strings.Contains(line, "not found") || strings.Contains(line, "already finished"))
		if line != "" && !gone {
			return err
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
