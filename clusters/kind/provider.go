package kind

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/internal/workload"
	"github.com/meshproof/meshproof/scenarios"
)

// Driver is the driver's name on the command line and in journals.
const Driver = "kind"

const meshNone = "none"

// Config is what a Provider needs. All fields but Versions are needed.
type Config struct {
	// NodeImage is the image of the clusters' nodes, as Docker knows it; it is loaded into Docker when it returns.
	NodeImage func(ctx context.Context) (ref string, err error)
	// Bundle is the folder with the charts and images that meshes are installed from.
	Bundle string
	// Versions are the versions that meshes are taken in, by project (bundle.Istio, bundle.Linkerd); without an entry the
	// pinned one, or the only one that the bundle has. It may be nil.
	Versions map[string]string
	// State is the folder in which each fleet keeps its kubeconfigs, readable by their owner only.
	State string
}

// Provider makes fleets of kind clusters.
type Provider struct {
	cfg Config
	env sync.Mutex // kind's library reads the network of its nodes from the environment of the process

	lookInto sync.Mutex
	withCNI  map[string]bool // images of nodes that were looked into: whether they have a CNI that kind would install
	mu       sync.Mutex
	taken    map[string]*taken // kept fleets that Reusable has found, by ID
}

// New makes a Provider.
func New(cfg Config) *Provider { return &Provider{cfg: cfg, withCNI: map[string]bool{}} }

var _ clusters.Provider = (*Provider)(nil)

// Driver implements clusters.Provider.
func (p *Provider) Driver() string { return Driver }

// Models implements clusters.Provider: all of it is real.
func (p *Provider) Models() []string { return nil }

// CheckTopology implements clusters.Provider.
func (p *Provider) CheckTopology(spec clusters.Spec) error {
	if spec.Separate && spec.Mesh != meshNone && spec.Mesh != string(scenarios.MeshIstio) {
		// A gateway of Linkerd's asks with its own certificate (linkerd2-proxy, linkerd/app/gateway).
		return fmt.Errorf("network.kind separate: %w: this version has no gateways between clusters for mesh %s (Linkerd's ask in their own name, so policy behind them cannot tell callers apart, and its federated Services want a flat network): use a flat network, or --mesh %s,%s",
			clusters.ErrNotPossible, spec.Mesh, meshNone, scenarios.MeshIstio)
	}
	return nil
}

// Check implements clusters.Provider.
func (p *Provider) Check(mesh string, objs []clusters.Object) error {
	if err := p.possible(mesh); err != nil {
		return err
	}
	return checkObjects(mesh, objs)
}

// checkObjects refuses objects that clusters of a mesh cannot have.
func checkObjects(mesh string, objs []clusters.Object) error {
	m, err := meshOf(mesh)
	if err != nil {
		return err
	}
	var errs []error
	for _, obj := range objs {
		if err := checkObject(m, mesh, obj); err != nil {
			errs = append(errs, fmt.Errorf("%s %s: %w", clusters.KindName(obj), nameOf(obj), err))
		}
	}
	return errors.Join(errs...)
}

// checkObject refuses what a cluster of that mesh has no definition of, and images that nobody brings to its nodes.
func checkObject(m mesh, name string, obj clusters.Object) error {
	switch o := obj.(type) {
	case *corev1.Namespace, *corev1.ServiceAccount, *corev1.Service:
		return nil
	case *appsv1.Deployment:
		spec := &o.Spec.Template.Spec
		for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
			if c.Image != workload.Image && !(name == string(scenarios.MeshLayered) && isGateway(&c)) {
				return fmt.Errorf("container %s has image %q, which no node has: %s is there", c.Name, c.Image, workload.Image)
			}
		}
		return nil
	default:
		if m != nil && m.takes(obj) {
			return nil
		}
		return fmt.Errorf("clusters of mesh %s have no objects of this kind", name)
	}
}

func nameOf(obj clusters.Object) string {
	return strings.TrimPrefix(obj.GetNamespace()+"/"+obj.GetName(), "/")
}

func checkSpec(spec clusters.Spec) error {
	if !fleetID.MatchString(spec.ID) {
		return fmt.Errorf("%q is no ID of a fleet: want 6 to 20 lower-case letters and digits", spec.ID)
	}
	_, err := meshOf(spec.Mesh)
	return errors.Join(spec.Validate(), err, (&Provider{}).CheckTopology(spec))
}

// removeWithin bounds the removal of what a failed or stopped Create made.
const removeWithin = 45 * time.Second

// Create implements clusters.Provider.
func (p *Provider) Create(ctx context.Context, spec clusters.Spec) (clusters.Fleet, error) {
	if err := checkSpec(spec); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if t := p.take(spec.ID); t != nil {
		return p.reuse(ctx, spec, t)
	}
	h, err := p.examine(ctx, len(spec.Clusters), spec.Mesh)
	if err != nil {
		return nil, err
	}
	spec.Clusters = slices.Clone(spec.Clusters)
	f := newFleet(spec, p.cfg.State)
	if err := f.create(ctx, p, h); err != nil {
		down, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeWithin)
		defer cancel()
		if ctx.Err() != nil {
			err = ctx.Err() // what fell over on the way is no news
		}
		return nil, errors.Join(fmt.Errorf("creating kind clusters: %w", explain(err)), f.Close(down))
	}
	return f, nil
}

// create is the way from nothing to a fleet, step by step.
func (f *fleet) create(ctx context.Context, p *Provider, h host) error {
	dir := f.folder
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the folder of kubeconfigs: %w", err)
	}
	var err error
	if f.lock, err = lock(dir); err != nil {
		return err
	}
	if err := f.timed("create the network of the nodes", func() error { return f.makeNetwork(ctx, &h) }); err != nil {
		return err
	}
	if err := f.madeFrom(ctx, h); err != nil {
		return err
	}
	network := prefix(f.spec.ID)
	plans := make([]plan, len(f.spec.Clusters))
	for i, name := range f.spec.Clusters {
		var err error
		if plans[i], err = planned(dir, f.spec.ID, name, h.addresses[i], max(f.spec.Nodes[name], 1), h.noCNI); err != nil {
			return err
		}
	}
	mat, err := p.materialOf(f.spec.Mesh)
	if err != nil {
		return err
	}
	var image []byte
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return mat.check(gctx) })
	g.Go(func() (err error) {
		image, err = agentImage(h.agent)
		return err
	})
	g.Go(func() error {
		return f.timed("make the clusters", func() error {
			return p.inNetwork(network, func() error { return f.bringUp(gctx, h, plans) })
		})
	})
	if err := g.Wait(); err != nil {
		return err
	}
	if err := f.trust(); err != nil {
		return err
	}
	f.gateway = gateway(h.network)
	if err := f.relayHosts(ctx, f.gateway); err != nil {
		return err
	}
	f.hasImages = !f.spec.Keep // clusters that are kept are noted without
	if err := f.prepare(ctx, plans, image, mat); err != nil {
		return err
	}
	if f.spec.Keep {
		if f.bare, err = f.note(ctx); err != nil {
			return err
		}
	}
	f.watch()
	return f.equip(ctx, p)
}

// inNetwork does something while kind's library puts nodes into a Docker network.
func (p *Provider) inNetwork(network string, do func() error) error {
	p.env.Lock()
	defer p.env.Unlock()
	was, set := os.LookupEnv(networkEnv)
	if err := os.Setenv(networkEnv, network); err != nil {
		return err
	}
	defer func() {
		if set {
			_ = os.Setenv(networkEnv, was)
		} else {
			_ = os.Unsetenv(networkEnv)
		}
	}()
	return do()
}
