package kind

import (
	"context"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/agent"
	"github.com/meshproof/meshproof/meshes"
	"github.com/meshproof/meshproof/scenarios"
)

// TestBetweenSeparateClustersAddressesOfPodsAndServicesAreDropped asks from a real pod, also when routes were added that
// would lead there, and in the end without the rules, so that it is the rules that keep the pod out.
func TestBetweenSeparateClustersAddressesOfPodsAndServicesAreDropped(t *testing.T) {
	p := RealProvider(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	s := &scenarios.Scenario{Spec: scenarios.Spec{Topology: scenarios.Topology{
		Clusters: []scenarios.Cluster{{Name: "east"}, {Name: "west", Nodes: 2}},
		Services: []scenarios.Service{{Name: "cart", Namespace: "app", Clusters: []string{"west"}, Replicas: 2}},
	}}}
	made, err := p.Create(ctx, clusters.Spec{
		ID: "sep" + uuid.NewString()[:8], Trial: evidence.Trial{Block: 1, Mesh: meshNone}, Mesh: meshNone, Seed: 1, Sink: &sink{},
		Clusters: []string{"east", "west"}, Nodes: map[string]int{"west": 2}, Separate: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := made.Close(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	}()
	none, err := meshes.ByName(scenarios.MeshNone)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range made.Clusters() {
		objs, err := meshes.Render(none, scenarios.MeshEntry{Name: scenarios.MeshNone}, s, c.Name())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Apply(ctx, objs...); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range made.Clusters() {
		if err := c.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
	}
	f := made.(*fleet)
	east, west := f.cluster("east"), f.cluster("west")

	// What the far cluster has: pods on both of its nodes, and a Service's own address.
	var far []string
	on := map[string]bool{}
	f.mu.Lock()
	for _, pod := range west.pods {
		far = append(far, net.JoinHostPort(pod.ip, strconv.Itoa(scenarios.WorkloadPort)))
		on[pod.obj.Spec.NodeName] = true
	}
	f.mu.Unlock()
	if len(on) != 2 {
		t.Errorf("the pods of west stand on nodes %v, want both", on)
	}
	svc, err := west.client.CoreV1().Services("app").Get(ctx, "cart", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	far = append(far, net.JoinHostPort(svc.Spec.ClusterIP, strconv.Itoa(scenarios.ServicePort)))

	// reached says which of these addresses the outsider of a cluster gets a connection to.
	reached := func(from *cluster) map[string]string {
		pod, err := from.outsider()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, address := range far {
			cmd := agent.ProbeCommand{ID: uuid.NewString(), Address: address, Connection: "open", Timeout: 2 * time.Second}
			res, err := command[agent.ProbeResult](ctx, from, pod.ref.Namespace, pod.ref.Pod, agent.PathProbe, cmd.Timeout, cmd)
			if err != nil {
				t.Fatal(err)
			}
			got[address] = res.Error
		}
		return got
	}
	expect := func(when string, from *cluster, want string) {
		t.Helper()
		for address, got := range reached(from) {
			if got != want {
				t.Errorf("%s: from %s to %s of west: %q, want %q", when, from.name, address, got, want)
			}
		}
	}
	onNodes := func(c *cluster, command ...string) {
		t.Helper()
		for _, n := range c.nodes {
			if _, err := onNode(ctx, n.name, command...); err != nil {
				t.Fatal(err)
			}
		}
	}
	expect("from its own cluster", west, "")
	expect("as made", east, "timeout")
	for _, n := range west.nodes {
		onNodes(east, "ip", "route", "replace", n.pods.String(), "via", n.address.String())
	}
	onNodes(east, "ip", "route", "replace", west.ranges.services.String(), "via", west.control().address.String())
	expect("with routes", east, "timeout")
	onNodes(east, "iptables", "-w", "-t", "raw", "-F")
	expect("with routes, and without what east drops", east, "timeout")
	onNodes(west, "iptables", "-w", "-t", "raw", "-F")
	expect("with routes, and without what anybody drops", east, "")
}
