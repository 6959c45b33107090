package kind

import (
	"context"
	"fmt"
	"strconv"

	chaosapi "github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/internal/workload"
	"github.com/meshproof/meshproof/scenarios"
)

// experiments are the objects by which Chaos Mesh carries a fault out, none of them made yet.
func (f *fleet) experiments(ctx context.Context, fault scenarios.Fault, pods []clusters.Pod) ([]*experiment, error) {
	if fault.Kind.Between() {
		a, b := f.cluster(fault.Between[0]), f.cluster(fault.Between[1])
		if a == nil || b == nil {
			return nil, fmt.Errorf("there are no clusters %q", fault.Between)
		}
		var list []*experiment
		for _, side := range [][2]*cluster{{a, b}, {b, a}} {
			selector, n, err := side[0].everyPod(ctx)
			if err != nil {
				return nil, err
			}
			e, err := side[0].experiment(networkChaos(fault, selector, side[1].addresses()), "networkchaos", fault.Name, n)
			if err != nil {
				return nil, err
			}
			list = append(list, e)
		}
		return list, nil
	}
	c := f.cluster(fault.Target.Cluster)
	if c == nil {
		return nil, fmt.Errorf("there is no cluster %q", fault.Target.Cluster)
	}
	selector := chaosapi.PodSelector{Mode: chaosapi.AllMode, Selector: chaosapi.PodSelectorSpec{Pods: map[string][]string{}}}
	for _, p := range pods {
		selector.Selector.Pods[p.Namespace] = append(selector.Selector.Pods[p.Namespace], p.Pod)
	}
	obj, resource := podChaos(fault, selector)
	if obj == nil {
		return nil, fmt.Errorf("%w: Chaos Mesh has no fault of kind %s", clusters.ErrNotPossible, fault.Kind)
	}
	e, err := c.experiment(obj, resource, fault.Name, len(pods))
	return []*experiment{e}, err
}

// everyPod selects all pods of a cluster that have a network of their own, by their names: those of Chaos Mesh excepted.
func (c *cluster) everyPod(ctx context.Context) (chaosapi.PodSelector, int, error) {
	s := chaosapi.PodSelector{Mode: chaosapi.AllMode, Selector: chaosapi.PodSelectorSpec{Pods: map[string][]string{}}}
	list, err := c.client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return s, 0, fmt.Errorf("listing the pods of cluster %s: %w", c.name, err)
	}
	n := 0
	for i := range list.Items {
		p := &list.Items[i]
		if p.Spec.HostNetwork || p.Namespace == c.f.chaos.namespace || p.Status.Phase != corev1.PodRunning || p.DeletionTimestamp != nil {
			continue
		}
		s.Selector.Pods[p.Namespace] = append(s.Selector.Pods[p.Namespace], p.Name)
		n++
	}
	if n == 0 {
		return s, 0, fmt.Errorf("cluster %s has no pods", c.name)
	}
	return s, n, nil
}

// networkChaos is a fault between the cluster of the selected pods and another, whose addresses these are.
func networkChaos(fault scenarios.Fault, pods chaosapi.PodSelector, far []string) runtime.Object {
	n := &chaosapi.NetworkChaos{Spec: chaosapi.NetworkChaosSpec{PodSelector: pods, Direction: chaosapi.To, ExternalTargets: far}}
	switch fault.Kind {
	case scenarios.Partition:
		n.Spec.Action, n.Spec.Direction = chaosapi.PartitionAction, chaosapi.Both
	case scenarios.NetworkLoss:
		n.Spec.Action = chaosapi.LossAction
		n.Spec.Loss = &chaosapi.LossSpec{Loss: strconv.FormatFloat(100*fault.Share, 'f', -1, 64)} // percent
	case scenarios.NetworkDelay:
		n.Spec.Action = chaosapi.DelayAction
		n.Spec.Delay = &chaosapi.DelaySpec{Latency: strconv.FormatInt(fault.Delay.D().Microseconds(), 10) + "us"}
	}
	return n
}

// podChaos is a fault in pods, and the resource of its kind; nil where there is none.
func podChaos(fault scenarios.Fault, pods chaosapi.PodSelector) (runtime.Object, string) {
	inWorkload := chaosapi.ContainerSelector{PodSelector: pods, ContainerNames: []string{workload.Container}}
	switch fault.Kind {
	case scenarios.PodKill:
		return &chaosapi.PodChaos{Spec: chaosapi.PodChaosSpec{Action: chaosapi.PodKillAction, ContainerSelector: chaosapi.ContainerSelector{PodSelector: pods}}}, "podchaos"
	case scenarios.NetworkBandwidth:
		bytes := uint32(fault.BitsPerSecond / 8)
		n := &chaosapi.NetworkChaos{Spec: chaosapi.NetworkChaosSpec{PodSelector: pods, Action: chaosapi.BandwidthAction, Direction: chaosapi.To}}
		n.Spec.Bandwidth = &chaosapi.BandwidthSpec{
			Rate: strconv.Itoa(fault.BitsPerSecond) + "bit",
			// The bucket holds what 10 ms bring, and some packets at least; a quarter of a second waits before it.
			Buffer: max(bytes/100, 5000), Limit: max(bytes/4, 30000),
		}
		return n, "networkchaos"
	case scenarios.CPUStress:
		s := &chaosapi.StressChaos{Spec: chaosapi.StressChaosSpec{ContainerSelector: inWorkload}}
		s.Spec.Stressors = &chaosapi.Stressors{CPUStressor: &chaosapi.CPUStressor{Stressor: chaosapi.Stressor{Workers: fault.Workers}}}
		return s, "stresschaos"
	case scenarios.MemoryStress:
		s := &chaosapi.StressChaos{Spec: chaosapi.StressChaosSpec{ContainerSelector: inWorkload}}
		s.Spec.Stressors = &chaosapi.Stressors{MemoryStressor: &chaosapi.MemoryStressor{
			Stressor: chaosapi.Stressor{Workers: 1}, Size: strconv.Itoa(fault.MemoryMiB) + "MiB",
		}}
		return s, "stresschaos"
	case scenarios.ClockSkew:
		return &chaosapi.TimeChaos{Spec: chaosapi.TimeChaosSpec{ContainerSelector: inWorkload, TimeOffset: fault.Ahead.String()}}, "timechaos"
	case scenarios.DNSError:
		return &chaosapi.DNSChaos{Spec: chaosapi.DNSChaosSpec{Action: chaosapi.ErrorAction, ContainerSelector: chaosapi.ContainerSelector{PodSelector: pods}}}, "dnschaos"
	}
	return nil, ""
}

// chaosKinds are the kinds of the objects, by their resources.
var chaosKinds = map[string]string{
	"podchaos": "PodChaos", "networkchaos": "NetworkChaos", "stresschaos": "StressChaos", "timechaos": "TimeChaos", "dnschaos": "DNSChaos",
}

// experiment makes an object ready for the API server.
func (c *cluster) experiment(obj runtime.Object, resource, fault string, records int) (*experiment, error) {
	to := c.dynamic.Resource(chaosapi.SchemeGroupVersion.WithResource(resource)).Namespace(c.f.chaos.namespace)
	return c.experimentIn(to, obj, resource, fault, records)
}

// experimentIn is experiment for a given resource of the API server.
func (c *cluster) experimentIn(to dynamic.ResourceInterface, obj runtime.Object, resource, fault string, records int) (*experiment, error) {
	raw, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return nil, fmt.Errorf("encoding fault %s for Chaos Mesh: %w", fault, err)
	}
	delete(raw, "status")
	u := &unstructured.Unstructured{Object: raw}
	u.SetGroupVersionKind(chaosapi.SchemeGroupVersion.WithKind(chaosKinds[resource]))
	u.SetNamespace(c.f.chaos.namespace)
	u.SetName("meshproof-" + fault)
	u.SetLabels(map[string]string{"app.kubernetes.io/managed-by": "meshproof"})
	return &experiment{cluster: c.name, obj: u, records: records, resource: to}, nil
}
