package kind

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	kindcluster "sigs.k8s.io/kind/pkg/cluster"
	kindexec "sigs.k8s.io/kind/pkg/exec"
)

const (
	// ingressNodePort is the port of a node by which the host reaches the ingress.
	ingressNodePort = 30080
	// agentOnNode is where nodes find the agent's binary.
	agentOnNode = "/usr/local/bin/" + agentName
	// networkEnv is where kind's library reads which Docker network nodes are put into.
	networkEnv = "KIND_EXPERIMENTAL_DOCKER_NETWORK"
	// removeEvery is how often a stopped creation is swept after, until kind gives up.
	removeEvery = 500 * time.Millisecond
)

// plan is what a cluster is made from.
type plan struct {
	name       string // kind's, and the prefix of the node's
	ranges     ranges
	kubeconfig string
	patches    string // path of kubeadm's
	// networks are folders, one a node, in which nodes keep the configuration of their network: what the image of nodes
	// has there is for one node. But for the first, they are empty until the cluster has given each node its addresses.
	// Nodes of an image with a CNI of its own have "".
	networks []string
}

// config is the cluster in kind's words.
func (p plan) config(h host) *v1alpha4.Cluster {
	nodes := make([]v1alpha4.Node, len(p.networks))
	for i, network := range p.networks {
		nodes[i] = v1alpha4.Node{
			Role: v1alpha4.WorkerRole, Image: h.image,
			ExtraMounts: []v1alpha4.Mount{
				{HostPath: h.agent, ContainerPath: agentOnNode, Readonly: true},
				{HostPath: p.patches, ContainerPath: patchesOnNode, Readonly: true},
			},
		}
		if network != "" {
			nodes[i].ExtraMounts = append(nodes[i].ExtraMounts, v1alpha4.Mount{HostPath: network, ContainerPath: networkOnNode})
		}
	}
	nodes[0].Role = v1alpha4.ControlPlaneRole
	nodes[0].ExtraPortMappings = []v1alpha4.PortMapping{{ContainerPort: ingressNodePort, HostPort: -1, ListenAddress: "127.0.0.1"}}
	// Logs are followed; the kubelet's own limit of 10 MiB would cut them off from under a follower that is late.
	kubelet := "kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1\ncontainerLogMaxSize: 1Gi\n"
	if h.cgroupV1 {
		kubelet += "failCgroupV1: false\n"
	}
	patches := []string{kubelet, kubeadmInit, housekeeping("InitConfiguration"), housekeeping("JoinConfiguration")}
	if len(nodes) > 1 {
		patches = append(patches, untainted) // of a single node kind takes the taint away itself
	}
	return &v1alpha4.Cluster{
		TypeMeta: v1alpha4.TypeMeta{Kind: "Cluster", APIVersion: "kind.x-k8s.io/v1alpha4"},
		Name:     p.name,
		Nodes:    nodes,
		Networking: v1alpha4.Networking{
			IPFamily: v1alpha4.IPv4Family, PodSubnet: p.ranges.pods.String(), ServiceSubnet: p.ranges.services.String(),
			DisableDefaultCNI: p.ownCNI(), KubeProxyMode: v1alpha4.IPTablesProxyMode,
		},
		KubeadmConfigPatches: patches,
	}
}

// untainted lets workloads run on the node of the control plane, too.
const untainted = "kind: InitConfiguration\nnodeRegistration:\n  taints: []\n"

// ownCNI reports whether the driver configures the nodes' network.
func (p plan) ownCNI() bool { return p.networks[0] != "" }

// planned writes the files and folders that a cluster is made with into the fleet's own.
func planned(dir, id, cluster string, r ranges, nodes int, noCNI bool) (p plan, err error) {
	p = plan{
		name: prefix(id) + "-" + cluster, ranges: r, kubeconfig: kubeconfigIn(dir, cluster), networks: make([]string, nodes),
	}
	if p.patches, err = writeKubeadmPatches(dir); err != nil {
		return p, err
	}
	for i := range p.networks {
		if !noCNI {
			break
		}
		p.networks[i] = networkIn(dir, cluster, i)
		if err := os.Mkdir(p.networks[i], 0o755); err != nil {
			return p, fmt.Errorf("making the folder of a node's network: %w", err)
		}
	}
	if p.ownCNI() {
		b, err := conflist(firstPods(r.pods))
		if err != nil {
			return p, err
		}
		if err := os.WriteFile(filepath.Join(p.networks[0], conflistFile), b, 0o644); err != nil { // the node's containerd reads it
			return p, fmt.Errorf("writing the configuration of a node's network: %w", err)
		}
	}
	return p, nil
}

// bringUp makes the clusters of a fleet side by side. Its error is that of ctx where ctx ends; what was made by then is
// gone, or the error says that it may not be.
func (f *fleet) bringUp(ctx context.Context, h host, plans []plan) error {
	errs := make([]error, len(plans))
	var creating sync.WaitGroup
	for i, p := range plans {
		creating.Go(func() {
			err := kindcluster.NewProvider(kindcluster.ProviderWithDocker(), kindcluster.ProviderWithLogger(steps{f.log.With("cluster", p.name)})).Create(p.name,
				kindcluster.CreateWithV1Alpha4Config(p.config(h)),
				kindcluster.CreateWithKubeconfigPath(p.kubeconfig),
				kindcluster.CreateWithDisplayUsage(false),
				kindcluster.CreateWithDisplaySalutation(false),
			)
			if err != nil {
				errs[i] = fmt.Errorf("creating cluster %s: %w%s", p.name, err, outputOf(err))
			}
		})
	}
	done := make(chan struct{})
	go func() {
		creating.Wait()
		close(done)
	}()
	select {
	case <-done:
		return errors.Join(errs...)
	case <-ctx.Done():
	}
	// kind takes no context: it gives up when its containers are gone, and may be about to make another one.
	tick := time.NewTicker(removeEvery)
	defer tick.Stop()
	for {
		sweep := context.WithoutCancel(ctx)
		if nodes, err := nodesOf(sweep, f.spec.ID); err == nil && len(nodes) > 0 {
			_, _ = Docker(sweep, append([]string{"rm", "--force", "--volumes"}, nodes...)...) // whoever called removes the rest
		}
		select {
		case <-done:
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// outputOf is the end of what the command printed that failed, for people.
func outputOf(err error) string {
	run := kindexec.RunErrorForError(err)
	if run == nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(run.Output)), "\n")
	return ": " + strings.Join(lines[max(0, len(lines)-8):], " | ")
}
