package kind

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
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
	// conflistOnNode is where nodes find the configuration of their CNI, if the image has none of its own.
	conflistOnNode = "/etc/cni/net.d/10-ptp.conflist"
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
	conflist   string // path; "" where the image of nodes has a CNI
}

// config is the cluster in kind's words.
func (p plan) config(h host) *v1alpha4.Cluster {
	node := v1alpha4.Node{
		Role: v1alpha4.ControlPlaneRole, Image: h.image,
		ExtraMounts:       []v1alpha4.Mount{{HostPath: h.agent, ContainerPath: agentOnNode, Readonly: true}},
		ExtraPortMappings: []v1alpha4.PortMapping{{ContainerPort: ingressNodePort, HostPort: -1, ListenAddress: "127.0.0.1"}},
	}
	if p.conflist != "" {
		node.ExtraMounts = append(node.ExtraMounts, v1alpha4.Mount{HostPath: p.conflist, ContainerPath: conflistOnNode, Readonly: true})
	}
	// Logs are followed; the kubelet's own limit of 10 MiB would cut them off from under a follower that is late.
	kubelet := "kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1\ncontainerLogMaxSize: 1Gi\n"
	if h.cgroupV1 {
		kubelet += "failCgroupV1: false\n"
	}
	return &v1alpha4.Cluster{
		TypeMeta: v1alpha4.TypeMeta{Kind: "Cluster", APIVersion: "kind.x-k8s.io/v1alpha4"},
		Name:     p.name,
		Nodes:    []v1alpha4.Node{node},
		Networking: v1alpha4.Networking{
			IPFamily: v1alpha4.IPv4Family, PodSubnet: p.ranges.pods.String(), ServiceSubnet: p.ranges.services.String(),
			DisableDefaultCNI: p.conflist != "", KubeProxyMode: v1alpha4.IPTablesProxyMode,
		},
		KubeadmConfigPatches: []string{kubelet},
	}
}

// conflist configures CNI's plugins ptp, host-local and portmap for the pods of a node. What leaves the cluster is
// masqueraded by rules of the driver (network.go), which know the other clusters.
func conflist(pods netip.Prefix) ([]byte, error) {
	type object = map[string]any
	return json.MarshalIndent(object{
		"cniVersion": "0.3.1", "name": "meshproof",
		"plugins": []object{
			{
				"type": "ptp", "ipMasq": false,
				"ipam": object{
					"type": "host-local", "dataDir": "/run/cni-ipam-state", "routes": []object{{"dst": "0.0.0.0/0"}},
					"ranges": [][]object{{{"subnet": pods.String()}}},
				},
			},
			{"type": "portmap", "capabilities": object{"portMappings": true}},
		},
	}, "", "  ")
}

// planned writes the files that a cluster is made from into the fleet's folder.
func planned(dir, id, cluster string, r ranges, noCNI bool) (plan, error) {
	p := plan{name: prefix(id) + "-" + cluster, ranges: r, kubeconfig: kubeconfigIn(dir, cluster)}
	if !noCNI {
		return p, nil
	}
	b, err := conflist(r.pods)
	if err != nil {
		return p, err
	}
	p.conflist = conflistIn(dir, cluster)
	if err := os.WriteFile(p.conflist, b, 0o644); err != nil { // the node's containerd reads it
		return p, fmt.Errorf("writing the configuration of cluster %s's network: %w", cluster, err)
	}
	return p, nil
}

// bringUp makes the clusters of a fleet side by side. Its error is that of ctx where ctx ends; what was made by then is
// gone, or the error says that it may not be.
func bringUp(ctx context.Context, id string, h host, plans []plan) error {
	errs := make([]error, len(plans))
	var creating sync.WaitGroup
	for i, p := range plans {
		creating.Go(func() {
			err := kindcluster.NewProvider(kindcluster.ProviderWithDocker()).Create(p.name,
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
		if nodes, err := nodesOf(sweep, id); err == nil && len(nodes) > 0 {
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
