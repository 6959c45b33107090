package kind

import (
	"context"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/internal/agent"
	"github.com/meshproof/meshproof/scenarios"
)

// dropsWhatIsSentToPodsAndServices asks from a real pod of one cluster for addresses of another on a separate network, also
// when routes were added that would lead there, and in the end without the rules, so that it is the rules that keep the pod
// out. It leaves the network open.
func dropsWhatIsSentToPodsAndServices(ctx context.Context, t *testing.T, made clusters.Fleet) {
	f := made.(*fleet)
	east, west := f.cluster("east"), f.cluster("west")

	// What the far cluster has: pods on both of its nodes, and a Service's own address.
	scale, err := west.client.AppsV1().Deployments("app").GetScale(ctx, "cart", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	scale.Spec.Replicas = 2
	if _, err := west.client.AppsV1().Deployments("app").UpdateScale(ctx, "cart", scale, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := west.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
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
		said := make([]string, len(far))
		var asking sync.WaitGroup
		for i, address := range far {
			asking.Go(func() {
				cmd := agent.ProbeCommand{ID: uuid.NewString(), Address: address, Connection: "open", Timeout: 2 * time.Second}
				res, err := command[agent.ProbeResult](ctx, from, pod.ref.Namespace, pod.ref.Pod, agent.PathProbe, cmd.Timeout, cmd)
				if said[i] = res.Error; err != nil {
					said[i] = "not asked: " + err.Error()
				}
			})
		}
		asking.Wait()
		got := map[string]string{}
		for i, address := range far {
			got[address] = said[i]
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
