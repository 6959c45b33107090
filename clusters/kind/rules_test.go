package kind

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/workload"
	"github.com/meshproof/meshproof/scenarios"
)

var update = flag.Bool("update", false, "write the golden files")

// twoClusters is east of one node and west of two, as they are known when their nodes are up.
func twoClusters(t *testing.T, separate, ownCNI bool) (f *fleet, east, west *cluster) {
	t.Helper()
	f = newFleet(clusters.Spec{Separate: separate, Sink: &sink{}}, t.TempDir())
	for i, name := range []string{"east", "west"} {
		c := &cluster{
			f: f, name: name, ownCNI: ownCNI,
			pods: map[types.UID]*pod{}, services: map[string]*corev1.Service{}, gateways: map[string]map[string]int32{},
			ranges: ranges{
				pods:     netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/16", 96+2*i)),
				services: netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/16", 97+2*i)),
			},
		}
		for j := range i + 1 {
			c.nodes = append(c.nodes, &node{
				name:    fmt.Sprintf("%s-%d", name, j),
				address: netip.MustParseAddr(fmt.Sprintf("10.100.0.%d", 2+2*i+j)), pods: netip.MustParsePrefix(fmt.Sprintf("10.%d.%d.0/24", 96+2*i, j)),
			})
		}
		f.list = append(f.list, c)
	}
	return f, f.list[0], f.list[1]
}

func TestTheNetworkOfEachNodeIsAsInTheGoldenFiles(t *testing.T) {
	for _, tt := range []struct {
		name             string
		separate, ownCNI bool
	}{{"flat", false, true}, {"separate", true, true}, {"flat-cni", false, false}, {"separate-cni", true, false}} {
		t.Run(tt.name, func(t *testing.T) {
			f, _, _ := twoClusters(t, tt.separate, tt.ownCNI)
			var b strings.Builder
			for _, c := range f.list {
				for _, n := range c.nodes {
					fmt.Fprintf(&b, "# routes of node %s\n%s", n.name, c.routes(n))
				}
				fmt.Fprintf(&b, "# rules of every node of %s\n%s%s", c.name, c.rules(), c.queueRules())
				fmt.Fprintf(&b, "# more of them where another cluster is cut off from %s\n%s", c.name, dropRules(c.addresses(), "id", true))
			}
			file := filepath.Join("testdata", "network-"+tt.name+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), b.String()); d != "" {
				t.Errorf("-update writes it anew: %s", d)
			}
		})
	}
}

func TestAClusterAloneNeedsNoRoutesAndDropsNothing(t *testing.T) {
	f, east, _ := twoClusters(t, true, true)
	f.list = f.list[:1]
	if got := east.routes(east.nodes[0]) + east.queueRules(); got != "" {
		t.Error(got)
	}
	if got := east.rules(); strings.Contains(got, "DROP") || !strings.Contains(got, "MASQUERADE") {
		t.Error(got)
	}
}

func TestNodesAreKnownWhenTheyHaveAllTheirAddresses(t *testing.T) {
	made := func(name, address, pods string, control bool) corev1.Node {
		n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{PodCIDR: pods}}
		if control {
			n.Labels = map[string]string{"node-role.kubernetes.io/control-plane": ""}
		}
		n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: name}}
		if address != "" {
			n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: address})
		}
		return n
	}
	for _, tt := range []struct {
		name    string
		list    []corev1.Node
		want    []string
		lacking int
	}{
		{name: "none yet"},
		{name: "all", want: []string{"c", "worker", "worker2", "worker10"}, list: []corev1.Node{
			made("worker10", "10.0.0.5", "10.96.3.0/24", false), made("worker2", "10.0.0.4", "10.96.2.0/24", false),
			made("worker", "10.0.0.3", "10.96.1.0/24", false), made("c", "10.0.0.2", "10.96.0.0/24", true),
		}},
		{name: "no range yet", want: []string{"c"}, list: []corev1.Node{made("c", "10.0.0.2", "", true)}, lacking: 1},
		{name: "no address yet", want: []string{"c"}, list: []corev1.Node{made("c", "", "10.96.0.0/24", true)}, lacking: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found, lacking := nodesIn(tt.list)
			var got []string
			for _, n := range found {
				got = append(got, n.name)
			}
			if !slices.Equal(got, tt.want) || len(lacking) != tt.lacking {
				t.Errorf("nodes %q, lacking %q", got, lacking)
			}
		})
	}
}

// serve gives a cluster a Service and ready pods of it.
func serve(c *cluster, name string, ips ...string) {
	svc := workload.Service(scenarios.Workload{Name: name, Namespace: "app"})
	c.services[nameOf(svc)] = svc
	for _, ip := range ips {
		c.pods[types.UID(ip)] = &pod{
			ref: evidence.PodRef{Namespace: "app"}, ip: ip, ready: true,
			obj: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: svc.Spec.Selector}},
		}
	}
}

func TestKubeProxyIsWantedToLeadToOwnPodsAndToWhereOthersAreReached(t *testing.T) {
	for _, tt := range []struct {
		name     string
		separate bool
		gateways map[string]int32 // that east and west have for cart
		east     map[string][]string
		lacking  string
	}{
		{name: "flat", east: map[string][]string{
			"app/cart:http":  {"10.96.0.2:8080", "10.98.0.2:8080", "10.98.1.2:8080"},
			"app/stock:http": {"10.98.0.3:8080"},
			"app/alone:http": {"10.96.0.4:8080"},
		}},
		{name: "separate", separate: true, gateways: map[string]int32{"http": 31000}, east: map[string][]string{
			"app/cart:http":                    {"10.100.0.4:31000", "10.100.0.5:31000", "10.96.0.2:8080"},
			"app/stock:http":                   {"10.100.0.4:31000", "10.100.0.5:31000"},
			"app/alone:http":                   {"10.96.0.4:8080"},
			"app/meshproof-gateway-cart:http":  {"10.96.0.2:8080"}, // never another cluster's: nothing goes on from a gateway
			"app/meshproof-gateway-stock:http": nil,
		}},
		{name: "separate, before gateways are open", separate: true, lacking: "gateway for app/cart"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, east, west := twoClusters(t, tt.separate, true)
			serve(east, "cart", "10.96.0.2")
			serve(west, "cart", "10.98.0.2", "10.98.1.2")
			serve(east, "stock")
			serve(west, "stock", "10.98.0.3")
			serve(east, "alone", "10.96.0.4")
			for _, c := range []*cluster{east, west} {
				if tt.gateways != nil {
					c.gateways["app/cart"], c.gateways["app/stock"] = tt.gateways, tt.gateways
				}
			}
			want, lacking := east.wanted()
			if got := strings.Join(lacking, "; "); (got == "") != (tt.lacking == "") || !strings.Contains(got, tt.lacking) {
				t.Errorf("lacking %q, want %q", got, tt.lacking)
			}
			if d := cmp.Diff(tt.east, want); tt.lacking == "" && d != "" {
				t.Error(d)
			}
		})
	}
}

func TestAServiceWithoutReadyPodsIsReachedByNobody(t *testing.T) {
	_, east, west := twoClusters(t, true, true)
	serve(east, "cart")
	serve(west, "cart")
	west.gateways["app/cart"] = map[string]int32{"http": 31000}
	if got := west.outside("app/cart"); len(got.addresses) != 0 {
		t.Errorf("its gateway is known as %+v", got)
	}
}

func TestTheGatewayOfTheOutsiderHasTheEchoToo(t *testing.T) {
	g := gatewayOf(workload.Service(scenarios.Workload{Name: scenarios.OutsiderName, Namespace: scenarios.OutsiderNamespace}))
	var ports []string
	for _, p := range g.Spec.Ports {
		ports = append(ports, fmt.Sprintf("%s %d %d", p.Name, p.Port, p.TargetPort.IntVal))
	}
	if d := cmp.Diff([]string{"http 80 8080", "echo 8077 8077"}, ports); d != "" || g.Spec.Type != corev1.ServiceTypeNodePort {
		t.Errorf("%s: %s", g.Spec.Type, d)
	}
}

func TestNamesOfGatewaysAreNamesOfServicesAndToldApart(t *testing.T) {
	long := strings.Repeat("a", 62)
	seen := map[string]bool{}
	for _, service := range []string{"cart", "stock", long + "x", long + "y"} {
		name := gatewayName(service)
		if len(name) > 63 || seen[name] {
			t.Errorf("%q of %q", name, service)
		}
		seen[name] = true
	}
}
