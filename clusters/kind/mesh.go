package kind

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/bundle"
	"github.com/meshproof/meshproof/internal/agent"
	"github.com/meshproof/meshproof/scenarios"
)

// installWithin bounds how long a control plane may take to come up, its images being on the nodes.
const installWithin = 4 * time.Minute

// mesh is what the driver must know of a mesh beside the charts that it is installed from.
type mesh interface {
	// charts and images are what a bundle must have of it; images by the last element of their names.
	charts() []string
	images() []string
	// optional are charts that are used where the bundle has them.
	optional() []string
	// joined says how several clusters are joined with these charts, and whether the mesh's own extension does it.
	joined(charts map[string]bundle.Part) (how string, own bool)
	// flavor says which build of the mesh a bundle's images are.
	flavor(images map[string]image) string
	// imageValues are the values of a chart that name images.
	imageValues(chart string, images map[string]image) map[string]any
	// clusterValues are the values of a chart that follow from what the driver made of a cluster.
	clusterValues(c *cluster, chart string) map[string]any
	// takes reports whether clusters of the mesh have a definition of the object's kind.
	takes(obj clusters.Object) bool
	// object is an object of the mesh with what only the driver knows.
	object(f *fleet, obj clusters.Object) clusters.Object
	// template adds to a pod's template what its proxy must leave alone.
	template(f *fleet, t *corev1.PodTemplateSpec)
	// before makes what the charts need to be there.
	before(ctx context.Context, c *cluster) error
	// join makes the cluster known to the control planes of the others, and waits until pods get their proxies.
	join(ctx context.Context, c *cluster) error
	// lacking says which proxies of a cluster do not have the newest configuration.
	lacking(ctx context.Context, c *cluster) ([]string, error)
	// imported adds to a slice of another cluster's pods what the mesh must know of them, with the fleet's lock held.
	imported(s *discoveryv1.EndpointSlice, behind []*pod)
	// proxies is how the proxies in pods are read.
	proxies() []proxy
	// added are those of the charts and images that no bundle has by being built.
	added() (charts, images []string)
}

// joinedByDriver says how the driver joins clusters by itself.
const joinedByDriver = "Meshproof's own EndpointSlices of the other clusters' pods"

// setting is an object of a mesh as it was applied.
type setting struct {
	obj     clusters.Object
	version string
}

// versions are those of the settings that a mesh reads, by group/kind/namespace/name, with the fleet's lock held.
func (c *cluster) versions(m mesh) map[string]string {
	out := map[string]string{}
	for key, s := range c.settings {
		if m.takes(s.obj) {
			out[key] = s.version
		}
	}
	return out
}

// proxy is how a mesh's proxies are read.
type proxy struct {
	container string
	image     string // by what the mesh calls it
	port      int    // of metrics, which the proxy itself doesn't capture
	path      string // of metrics
	logs      bool   // it writes an access log, of JSON objects, to its container's log
}

// meshOf finds what the driver knows of a mesh; nil for none.
func meshOf(name string) (mesh, error) {
	switch name {
	case meshNone:
		return nil, nil
	case string(scenarios.MeshIstio):
		return istio{}, nil
	case string(scenarios.MeshLinkerd):
		return linkerd{}, nil
	case string(scenarios.MeshLayered):
		return layered{}, nil
	}
	return nil, fmt.Errorf("%w: this version of the kind driver makes no clusters with mesh %q: use --driver embedded", clusters.ErrNotPossible, name)
}

// possible says why clusters of a mesh cannot be made from the bundle, where that is known before anything is looked at
// more closely: it has nothing of what no build brings.
func (p *Provider) possible(name string) error {
	m, err := meshOf(name)
	if err != nil || m == nil {
		return err
	}
	charts, images := m.added()
	b, err := bundle.Open(p.cfg.Bundle)
	if err != nil || len(charts) == 0 {
		return nil // a bundle is what is missing, not the mesh: who needs it says so
	}
	for _, want := range charts {
		if _, err := b.Named(chartPart(want)); err == nil {
			return nil
		}
	}
	for _, want := range images {
		if _, err := imagesNamed(b, want); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%w: the bundle %s has nothing of what mesh %s needs beside what a build brings: %s, or use --driver embedded, which has a model of it",
		clusters.ErrNotPossible, b.Dir(), name, toAdd(charts, images))
}

// toAdd says what to do about charts and images that no build brings.
func toAdd(charts, images []string) string {
	return fmt.Sprintf("run `meshproof bundle pull` on a host with a network, or `meshproof bundle add` with the images %s and the charts %s",
		strings.Join(images, " and "), strings.Join(charts, " and "))
}

// chartPart is the name of a chart in a bundle.
func chartPart(name string) string { return "chart-" + name }

// image is a container image of a bundle.
type image struct {
	part bundle.Part
	// ref is the reference under which nodes know it; repository is that without the image's own name and tag.
	ref, repository, tag string
}

// name is the image's reference without its tag.
func (i image) name() string { return strings.TrimSuffix(i.ref, ":"+i.tag) }

// material is what a mesh is installed from, as a bundle has it.
type material struct {
	bundle *bundle.Bundle
	images map[string]image
	charts map[string]bundle.Part
}

// materialOf finds everything that a mesh needs in the bundle. The error names all that is missing.
func (p *Provider) materialOf(name string) (*material, error) {
	m, err := meshOf(name)
	if err != nil || m == nil {
		return nil, err
	}
	if err := p.possible(name); err != nil {
		return nil, err
	}
	b, err := bundle.Open(p.cfg.Bundle)
	if err != nil {
		return nil, fmt.Errorf("mesh %s is installed from a bundle: %w", name, err)
	}
	mat := &material{bundle: b, images: map[string]image{}, charts: map[string]bundle.Part{}}
	charts := m.charts()
	for _, more := range m.optional() {
		if _, err := b.Named(chartPart(more)); err == nil {
			charts = append(charts, more)
		}
	}
	if err := mat.choose(charts, m.images(), p.cfg.Versions); err != nil {
		if charts, images := m.added(); len(charts) > 0 {
			err = fmt.Errorf("%w\nwhat a build does not bring: %s", err, toAdd(charts, images))
		}
		return nil, fmt.Errorf("mesh %s: %w", name, err)
	}
	return mat, nil
}

// Build implements clusters.Provider.
func (p *Provider) Build(name string) (clusters.Build, error) {
	mat, err := p.materialOf(name)
	if err != nil {
		return clusters.Build{}, err
	}
	if mat == nil {
		return clusters.Build{Joined: joinedByDriver}, nil
	}
	m, err := meshOf(name)
	if err != nil {
		return clusters.Build{}, err
	}
	build := clusters.Build{Flavor: m.flavor(mat.images), Components: map[string]string{}, Proxies: map[string]string{}}
	for _, px := range m.proxies() {
		build.Proxies[px.container] = mat.images[px.image].ref
	}
	build.Joined, build.Links = m.joined(mat.charts)
	for _, c := range mat.charts {
		build.Components[c.Name] = c.Version
	}
	for _, i := range mat.images {
		build.Components[i.part.Name] = i.part.Version + " (" + i.part.Source + ")"
	}
	return build, nil
}

// check makes sure that everything is as the bundle says it is.
func (m *material) check(ctx context.Context) error {
	if m == nil { // no mesh
		return nil
	}
	parts := slices.Collect(maps.Values(m.charts))
	for _, img := range m.images {
		parts = append(parts, img.part)
	}
	for _, p := range parts {
		if err := m.bundle.Check(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// load hands every image of the mesh to whoever loads it, one after the other: nodes have little else to do then, and
// unpacking keeps a core busy.
func (m *material) load(load func(ref string, open func() (io.ReadCloser, error)) error) error {
	if m == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(m.images)) {
		img := m.images[name]
		if err := load(img.ref, opener(m.bundle.Path(img.part))); err != nil {
			return err
		}
	}
	return nil
}

// install brings the mesh up in all clusters, each by itself, and then together.
func (f *fleet) install(ctx context.Context, p *Provider) error {
	if f.mesh == nil {
		return nil
	}
	mat, err := p.materialOf(f.spec.Mesh)
	if err == nil && !f.hasImages {
		err = mat.check(ctx)
	}
	if err != nil {
		return err
	}
	f.images = mat.images
	ctx, cancel := context.WithTimeout(ctx, installWithin)
	defer cancel()
	all := func(do func(context.Context, *cluster) error) error {
		g, gctx := errgroup.WithContext(ctx)
		for _, c := range f.list {
			g.Go(func() error { return do(gctx, c) })
		}
		return g.Wait()
	}
	err = f.timed("install the mesh", func() error {
		return all(func(ctx context.Context, c *cluster) error { return c.installMesh(ctx, mat) })
	})
	if err != nil {
		return err
	}
	err = f.timed("join the control planes", func() error {
		return all(func(ctx context.Context, c *cluster) error { return f.mesh.join(ctx, c) })
	})
	if err != nil {
		return err
	}
	return f.settle(ctx)
}

// installMesh makes one cluster's control plane.
func (c *cluster) installMesh(ctx context.Context, mat *material) error {
	if !c.f.hasImages {
		if err := mat.load(c.f.loader(ctx, prefix(c.f.spec.ID)+"-"+c.name)); err != nil {
			return err
		}
	}
	if err := c.f.mesh.before(ctx, c); err != nil {
		return fmt.Errorf("preparing cluster %s for mesh %s: %w", c.name, c.f.spec.Mesh, err)
	}
	again := c.f.made.Mesh == c.f.spec.Mesh && c.f.reused
	namespaces := map[string]bool{} // those with releases, and whether their pods know the trust of this trial
	for _, r := range c.f.spec.Install[c.name].Releases {
		part, ok := mat.charts[r.Chart]
		if !ok {
			return fmt.Errorf("mesh %s wants chart %s, which this driver does not look for", c.f.spec.Mesh, r.Chart)
		}
		r.Values = over(over(r.Values, c.f.mesh.imageValues(r.Chart, mat.images)), c.f.mesh.clusterValues(c, r.Chart))
		if err := c.mayInstall(ctx, r, namespaces); err != nil {
			return err
		}
		if err := answered(ctx, func() error { return c.installChart(ctx, r, opener(mat.bundle.Path(part))) }); err != nil {
			return err
		}
		namespaces[r.Namespace] = !again
	}
	c.mapper.Reset() // charts bring definitions
	return c.installed(ctx, namespaces)
}

// installed waits until the control planes in some namespaces are ready, after it had those made anew that know the trust of
// an earlier trial: what is new beside them would never trust them, nor become ready.
func (c *cluster) installed(ctx context.Context, namespaces map[string]bool) error {
	sorted := slices.Sorted(maps.Keys(namespaces))
	for _, ns := range sorted {
		if namespaces[ns] {
			continue
		}
		if err := c.restart(ctx, ns); err != nil {
			return err
		}
		namespaces[ns] = true
	}
	for _, ns := range sorted {
		if err := c.controlPlaneReady(ctx, ns); err != nil {
			return err
		}
	}
	return nil
}

// mayInstall waits until a release can be installed beside those in some namespaces: it may need what is there, as a gateway
// needs its injector, and an extension the webhooks of its control plane.
func (c *cluster) mayInstall(ctx context.Context, r clusters.Release, namespaces map[string]bool) error {
	if _, ok := namespaces[r.Namespace]; ok {
		return c.controlPlaneReady(ctx, r.Namespace)
	}
	a, ok := c.f.mesh.(answerer)
	if !ok || len(namespaces) == 0 {
		return nil
	}
	if err := c.installed(ctx, namespaces); err != nil {
		return err
	}
	return a.answers(ctx, c)
}

// answerer is a mesh whose webhooks other charts need.
type answerer interface {
	// answers waits until they answer: kube-proxy may know of their pods later than these are ready.
	answers(ctx context.Context, c *cluster) error
}

// controlPlaneReady waits until every Deployment of a mesh's namespace is whole.
func (c *cluster) controlPlaneReady(ctx context.Context, ns string) error {
	if err := c.until(ctx, func(ctx context.Context) ([]string, error) { return c.lackingDeployments(ctx, ns) }); err != nil {
		return fmt.Errorf("waiting for the control plane of mesh %s in cluster %s: %w", c.f.spec.Mesh, c.name, err)
	}
	return nil
}

// passControlPort adds the agent's own port to a list of ports, in an annotation of the template, that a proxy leaves alone.
func passControlPort(t *corev1.PodTemplateSpec, annotation string) {
	if t.Annotations == nil {
		t.Annotations = map[string]string{}
	}
	own := strconv.Itoa(agent.ControlPort)
	if was := t.Annotations[annotation]; was != "" {
		own = was + "," + own
	}
	t.Annotations[annotation] = own
}
