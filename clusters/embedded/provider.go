package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
)

// Provider makes fleets of embedded clusters.
type Provider struct {
	meshes map[string]proxy.Factory
	timing timing
}

// New makes a Provider that knows these meshes by name, and "none".
func New(meshes map[string]proxy.Factory) *Provider {
	return &Provider{meshes: meshes, timing: defaultTiming()}
}

var _ clusters.Provider = (*Provider)(nil)

const meshNone = "none"

// Driver implements clusters.Provider.
func (p *Provider) Driver() string { return "embedded" }

// Check implements clusters.Provider.
func (p *Provider) Check(mesh string, objs []clusters.Object) error {
	factory, err := p.factory(mesh)
	if err != nil {
		return err
	}
	return check(mesh, factory, objs)
}

func (p *Provider) factory(mesh string) (*proxy.Factory, error) {
	if mesh == meshNone {
		return nil, nil
	}
	factory, ok := p.meshes[mesh]
	if !ok {
		known := []string{meshNone}
		for name := range p.meshes {
			known = append(known, name)
		}
		slices.Sort(known)
		return nil, fmt.Errorf("the embedded driver has no model of mesh %q: it knows %s", mesh, strings.Join(known, ", "))
	}
	return &factory, nil
}

// CheckTopology implements clusters.Provider. How many nodes a cluster has makes no difference: it has none.
func (p *Provider) CheckTopology(spec clusters.Spec) error {
	if spec.Separate {
		return fmt.Errorf("separate networks are %w on the embedded driver, whose clusters reach each other's pods directly: use --driver kind, or a flat network", clusters.ErrNotModelled)
	}
	return nil
}

// Create implements clusters.Provider.
func (p *Provider) Create(ctx context.Context, spec clusters.Spec) (clusters.Fleet, error) {
	factory, err := p.factory(spec.Mesh)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(spec.Validate(), p.CheckTopology(spec)); err != nil {
		return nil, err
	}
	if err := checkFiles(); err != nil {
		return nil, err
	}
	spec.Clusters = slices.Clone(spec.Clusters)
	f := newFleet(spec, p.timing, factory)
	if err := f.create(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("creating the embedded clusters: %w", err), f.Close(context.WithoutCancel(ctx)))
	}
	return f, nil
}

func (f *fleet) create(ctx context.Context) error {
	if err := f.trust(); err != nil {
		return err
	}
	for _, name := range f.spec.Clusters {
		if err := ctx.Err(); err != nil {
			return err
		}
		c, err := newCluster(f, name)
		if err != nil {
			return err
		}
		f.list = append(f.list, c)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.publish()
	return ctx.Err()
}

// Models implements clusters.Provider.
func (p *Provider) Models() []string {
	t := p.timing
	return []string{
		"Clusters live in this process; their pods are real HTTP servers on 127.0.0.1.",
		"A cluster has no nodes, however many a scenario gives it: what lies between two nodes of one cluster is not there.",
		"Sidecars are models with real sockets, TLS and certificates that interpret the mesh's real objects; they are not Envoy or linkerd2-proxy, and their own cost is not a mesh's.",
		"Linkerd's proxies keep one HTTP/2 connection to each endpoint, whatever the workload asks for; an opaque port takes meshed TLS itself, without a transport header on port 4143, and policy about addresses is refused.",
		"The kubelet's probes of Linkerd's proxies come from the proxies themselves; a proxy's own port takes no TLS.",
		"A Service reaches the ready pods of the same namespace and name in every cluster, as in an Istio multi-primary mesh on a flat network; without a mesh the harness does the same, as a multi-cluster Service (KEP-1645) would.",
		"Where a ClusterIP is dialled, without a mesh or by way of a ServiceEntry, kube-proxy is a model: each new connection goes to a ready pod drawn from the seed; without one it is refused.",
		"Latency between clusters holds back every piece of data and every handshake, in each direction; there is no loss, no jitter and no limit of bandwidth, and within a cluster there is no latency.",
		"A partition holds data and handshakes back until it ends; they then go on at once, where TCP would wait for its next retransmission.",
		fmt.Sprintf("A killed pod leaves the endpoints after %s, and its replacement begins to start after %s; no kubelet, image or scheduler takes time.", t.propagate, t.restart),
		"A changed pod template brings up all new pods before the old ones end.",
		"Settings hold in every proxy as soon as they were applied, and certificates are signed in this process: no control plane takes time, and none fails.",
		"The load enters by a front listener that stands for the cloud's load balancer and ends at the ingress workload: through its sidecar in Istio, through Istio's gateway in its pod where the meshes are layered, past any proxy otherwise.",
		"In layers, Istio's gateway stands before and behind the ingress workload, as a sidecar does; VirtualServices hold for it without a Gateway object. Where Linkerd's proxy is in that pod, it learns the destination of a captured connection from the gateway's model, not from the kernel; a pod that has left its Service is known by its address until the gateway's pod ends.",
		"The ingress workload is the harness's own gateway, the same before every mesh: it checks tokens as Envoy's jwt_authn does, and wants one. In Istio its sidecar does so before it, and in layers the gateway, from the RequestAuthentication, and applies the AuthorizationPolicies with their claims.",
		"Tokens are read from the Authorization header alone, not from the query; a sidecar fetches the issuer's keys itself when it first needs them, where istiod would; and an issuer in this process signs them.",
	}
}
