package kind

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/workload"
)

var _ clusters.Meter = (*cluster)(nil)

// usageWithin bounds how long the kubelet of one node may take to say what its containers used.
const usageWithin = 3 * time.Second

// Usage implements clusters.Meter. Kubelets are asked through the API server's node proxy.
func (c *cluster) Usage(ctx context.Context) []evidence.Usage {
	ctx, cancel := context.WithTimeout(ctx, usageWithin)
	defer cancel()
	out := make([]evidence.Usage, len(c.nodes))
	var asked sync.WaitGroup
	for i, n := range c.nodes {
		asked.Go(func() {
			out[i] = evidence.Usage{Header: evidence.Header{T: time.Now()}, Cluster: c.name, Node: n.name}
			body, err := c.client.CoreV1().RESTClient().Get().Resource("nodes").Name(n.name).
				SubResource("proxy").Suffix("metrics/resource").Do(ctx).Raw()
			if err == nil {
				out[i].Containers, err = usageOf(string(body), c.roleOf())
			}
			if err != nil {
				out[i].Error = fmt.Sprintf("the kubelet of node %s in cluster %s did not say what its containers use: %v", n.name, c.name, err)
			}
		})
	}
	asked.Wait()
	return out
}

// roleOf tells the role of a container by its namespace, pod and name; "" for what belongs neither to a workload nor to
// the mesh.
func (c *cluster) roleOf() func(namespace, pod, container string) string {
	control := map[string]bool{}
	for _, r := range c.f.spec.Install[c.name].Releases {
		control[r.Namespace] = true
	}
	type name struct{ namespace, pod string }
	pods, once := map[name]bool{}, map[name]map[string]bool{}
	c.f.mu.Lock()
	for _, p := range c.pods {
		n := name{p.ref.Namespace, p.ref.Pod}
		pods[n], once[n] = true, map[string]bool{}
		for i := range p.obj.Spec.InitContainers {
			if in := &p.obj.Spec.InitContainers[i]; in.RestartPolicy == nil { // a sidecar has one
				once[n][in.Name] = true
			}
		}
	}
	c.f.mu.Unlock()
	return func(namespace, pod, container string) string {
		switch {
		case once[name{namespace, pod}][container]: // it is over before its pod works
			return ""
		case pods[name{namespace, pod}] && container == workload.Container:
			return evidence.RoleWorkload
		case pods[name{namespace, pod}]:
			return evidence.RoleSidecar
		case control[namespace]:
			return evidence.RoleControlPlane
		}
		return ""
	}
}

// The kubelet's metrics of containers (kubernetes.io/docs/reference/instrumentation/node-metrics).
const (
	cpuMetric     = "container_cpu_usage_seconds_total"
	memoryMetric  = "container_memory_working_set_bytes"
	startedMetric = "container_start_time_seconds"
)

// usageOf reads a kubelet's page of resource metrics. A container that has one of the three figures and lacks another is
// left out: its figures are not of one moment.
func usageOf(body string, role func(namespace, pod, container string) string) ([]evidence.ContainerUsage, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("its page is not one of metrics: %w", err)
	}
	if families[cpuMetric] == nil || families[memoryMetric] == nil || families[startedMetric] == nil {
		return nil, fmt.Errorf("its page lacks one of %s, %s and %s", cpuMetric, memoryMetric, startedMetric)
	}
	type key struct{ namespace, pod, container string }
	keyOf := func(m *dto.Metric) key {
		l := map[string]string{}
		for _, p := range m.GetLabel() {
			l[p.GetName()] = p.GetValue()
		}
		return key{l["namespace"], l["pod"], l["container"]}
	}
	memory, started := map[key]float64{}, map[key]float64{}
	for _, m := range families[memoryMetric].GetMetric() {
		memory[keyOf(m)] = valueOf(m)
	}
	for _, m := range families[startedMetric].GetMetric() {
		started[keyOf(m)] = valueOf(m)
	}
	var out []evidence.ContainerUsage
	for _, m := range families[cpuMetric].GetMetric() {
		k := keyOf(m)
		r := role(k.namespace, k.pod, k.container)
		cpu, mem, at := valueOf(m), memory[k], started[k]
		if r == "" || !(cpu >= 0) || !(mem >= 1) || !(at > 0) || m.GetTimestampMs() <= 0 || max(cpu, mem, at) > math.MaxInt32*1e6 {
			continue
		}
		out = append(out, evidence.ContainerUsage{
			Role: r, Namespace: k.namespace, Pod: k.pod, Container: k.container,
			Started: time.UnixMilli(int64(at * 1000)).UTC(), Taken: time.UnixMilli(m.GetTimestampMs()).UTC(),
			CPUSeconds: cpu, MemoryBytes: int64(mem),
		})
	}
	return out, nil
}

// valueOf is the value of a metric, whatever type the page gives it.
func valueOf(m *dto.Metric) float64 {
	switch {
	case m.GetCounter() != nil:
		return m.GetCounter().GetValue()
	case m.GetGauge() != nil:
		return m.GetGauge().GetValue()
	}
	return m.GetUntyped().GetValue()
}
