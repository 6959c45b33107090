package kind

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	chaosapi "github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/bundle"
	"github.com/meshproof/meshproof/scenarios"
)

// Images of Chaos Mesh, by the last elements of their names.
const (
	chaosController = "chaos-mesh"
	chaosDaemon     = "chaos-daemon"
	chaosDNS        = "chaos-coredns"
)

// chaos is Chaos Mesh in the clusters of a fleet.
type chaos struct {
	by        string           // its name with its version; "" where it is not installed
	namespace string           // where it stands
	not       map[string]error // why a fault is not possible here, by the fault's name
}

var _ clusters.Injector = (*fleet)(nil)

// Injector implements clusters.Injector.
func (f *fleet) Injector(fault scenarios.Fault) (string, error) {
	if err := f.chaos.not[fault.Name]; err != nil {
		return "", err
	}
	if f.chaos.by == "" {
		return "", fmt.Errorf("%w: the clusters were made without Chaos Mesh", clusters.ErrNotPossible)
	}
	return f.chaos.by, nil
}

// equip gives the clusters their mesh and what carries faults out, side by side. What clusters are that are to be kept is
// noted between the two: they are kept without tools.
func (f *fleet) equip(ctx context.Context, p *Provider) error {
	if f.spec.Keep {
		if err := f.furnish(ctx, p); err != nil {
			return err
		}
		return f.installTools(ctx, p)
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return f.furnish(gctx, p) })
	g.Go(func() error { return f.installTools(gctx, p) })
	return g.Wait()
}

// removeTools takes off the clusters what carried faults out, first of all what hangs on its controllers. Whatever else was
// not there when the clusters were noted goes along.
func (f *fleet) removeTools(ctx context.Context) error {
	if f.chaos.by == "" {
		return nil
	}
	var releases []keptRelease
	for _, r := range f.spec.Tools {
		releases = append(releases, keptRelease{r.Namespace, r.Name})
	}
	return all(f.list, func(c *cluster) error {
		for resource := range chaosKinds {
			to := c.dynamic.Resource(chaosapi.SchemeGroupVersion.WithResource(resource)).Namespace(f.chaos.namespace)
			list, err := to.List(ctx, metav1.ListOptions{})
			if err != nil {
				return fmt.Errorf("looking for what Chaos Mesh has in cluster %s: %w", c.name, err)
			}
			for i := range list.Items {
				e := &experiment{cluster: c.name, resource: to, obj: &list.Items[i]}
				if err := e.remove(ctx); err != nil && !errors.Is(err, clusters.ErrForced) { // its pods go, too
					return err
				}
			}
		}
		return c.removeMesh(ctx, releases, f.base)
	})
}

// installTools finds out which of the scenario's faults Chaos Mesh can carry out here, and installs it where there are any.
func (f *fleet) installTools(ctx context.Context, p *Provider) error {
	var faults []scenarios.Fault
	for _, fault := range f.spec.Faults {
		if fault.By == scenarios.ByChaosMesh {
			faults = append(faults, fault)
		}
	}
	if len(faults) == 0 || len(f.spec.Tools) == 0 {
		return nil
	}
	f.chaos.namespace = f.spec.Tools[0].Namespace
	mat, err := p.chaosMaterial()
	if err != nil {
		f.chaos.not = map[string]error{}
		for _, fault := range faults {
			f.chaos.not[fault.Name] = fmt.Errorf("%w: %w", clusters.ErrNotPossible, err)
		}
		return nil
	}
	err = f.timed("try what faults need", func() error {
		f.chaos.not, err = f.tryFaults(ctx, mat, faults)
		return err
	})
	if err != nil {
		return err
	}
	if len(f.chaos.not) == len(faults) {
		return nil
	}
	if err := mat.check(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, installWithin)
	defer cancel()
	err = f.timed("install Chaos Mesh", func() error {
		return all(f.list, func(c *cluster) error { return c.installChaos(ctx, mat) })
	})
	if err != nil {
		return err
	}
	f.chaos.by = mat.name()
	return nil
}

// chaosMaterial finds what Chaos Mesh is installed from in the bundle. Its name server may be missing.
func (p *Provider) chaosMaterial() (*material, error) {
	b, err := bundle.Open(p.cfg.Bundle)
	if err != nil {
		return nil, fmt.Errorf("Chaos Mesh is installed from a bundle: %w", err)
	}
	mat := &material{bundle: b, images: map[string]image{}, charts: map[string]bundle.Part{}}
	chart, err := b.Part("chart-" + chaosController)
	errs := []error{err}
	mat.charts[chaosController] = chart
	for _, name := range []string{chaosController, chaosDaemon, chaosDNS} {
		parts, err := imagesNamed(b, name)
		if err == nil {
			mat.images[name] = imageOf(parts[0], name)
		} else if name != chaosDNS {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("Chaos Mesh: %w", err)
	}
	return mat, nil
}

// Chaos names the Chaos Mesh that clusters get for faults by it. The error says what the bundle lacks of it.
func (p *Provider) Chaos() (string, error) {
	mat, err := p.chaosMaterial()
	if err != nil {
		return "", err
	}
	return mat.name(), nil
}

// name is what evidence calls a Chaos Mesh.
func (m *material) name() string {
	return chaosController + " " + m.images[chaosController].part.Version
}

// tryFaults says why faults are not possible here, by their names: what the bundle's Chaos Mesh lacks, and what the kernel
// cannot do, as a try in a network namespace of its own on a node shows.
func (f *fleet) tryFaults(ctx context.Context, mat *material, faults []scenarios.Fault) (map[string]error, error) {
	not := map[string]error{}
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	for _, fault := range faults {
		g.Go(func() error {
			why, err := f.tryFault(gctx, mat, fault)
			if err != nil {
				return fmt.Errorf("finding out whether fault %s is possible here: %w", fault.Name, err)
			}
			if why != "" {
				mu.Lock()
				defer mu.Unlock()
				not[fault.Name] = fmt.Errorf("%w: %s by Chaos Mesh: %s", clusters.ErrNotPossible, fault.Kind, why)
			}
			return nil
		})
	}
	return not, g.Wait()
}

func (f *fleet) tryFault(ctx context.Context, mat *material, fault scenarios.Fault) (why string, err error) {
	switch fault.Kind {
	case scenarios.DNSError:
		if mat.images[chaosDNS].ref == "" {
			return fmt.Sprintf("the bundle %s has no image %s, its name server", mat.bundle.Dir(), chaosDNS), nil
		}
	case scenarios.ClockSkew:
		has, err := imageHas(mat.bundle.Path(mat.images[chaosDaemon].part), chaosDaemon, fakeClock)
		if err != nil {
			return "", err
		}
		if !has {
			return fmt.Sprintf("the daemon of the bundle %s was built without the object that stands for the clock (%s)", mat.bundle.Dir(), fakeClock), nil
		}
	}
	for _, try := range clusters.Tries(fault) {
		on := f.list[0].control().name // all nodes have this host's kernel
		if _, err := Docker(ctx, append([]string{"exec", on, "unshare", "--net", "--"}, try.Command...)...); err != nil {
			if ctx.Err() != nil {
				return "", ctx.Err()
			}
			return fmt.Sprintf("%s, as a try on node %s showed: %s: %v", try.Lacks, on, strings.Join(try.Command, " "), err), nil
		}
	}
	return "", nil
}

// installChaos installs Chaos Mesh in a cluster, and waits until it takes orders.
func (c *cluster) installChaos(ctx context.Context, mat *material) error {
	if err := mat.load(c.f.loader(ctx, prefix(c.f.spec.ID)+"-"+c.name)); err != nil {
		return err
	}
	for _, r := range c.f.spec.Tools {
		r.Values = over(r.Values, chaosImageValues(mat.images))
		if err := c.installChart(ctx, r, opener(mat.bundle.Path(mat.charts[r.Chart]))); err != nil {
			return err
		}
	}
	err := c.until(ctx, func(ctx context.Context) ([]string, error) { return c.lackingChaos(ctx) })
	if err != nil {
		return fmt.Errorf("waiting for Chaos Mesh in cluster %s: %w", c.name, err)
	}
	return nil
}

// chaosImageValues lets the chart name the images that the nodes have.
func chaosImageValues(images map[string]image) map[string]any {
	values := map[string]any{}
	for name, key := range map[string]string{chaosController: "controllerManager", chaosDaemon: "chaosDaemon", chaosDNS: "dnsServer"} {
		img, ok := images[name]
		if !ok { // the one that may be missing is the name server's: its faults are skipped then
			values[key] = map[string]any{"create": false}
			continue
		}
		registry, path, _ := strings.Cut(img.repository, "/")
		values[key] = map[string]any{"imagePullPolicy": "IfNotPresent", "image": map[string]any{
			"registry": registry, "repository": strings.Trim(path+"/"+name, "/"), "tag": img.tag,
		}}
	}
	return values
}

// lackingChaos says what keeps Chaos Mesh from working: controllers, a daemon on each node, and the webhook through which
// every order goes.
func (c *cluster) lackingChaos(ctx context.Context) ([]string, error) {
	ns := c.f.chaos.namespace
	lacking, err := c.lackingDeployments(ctx, ns)
	if err != nil || len(lacking) > 0 {
		return lacking, err
	}
	daemons, err := c.client.AppsV1().DaemonSets(ns).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the DaemonSets of cluster %s: %w", c.name, err)
	}
	if len(daemons.Items) == 0 {
		lacking = append(lacking, fmt.Sprintf("namespace %s of cluster %s has no DaemonSet", ns, c.name))
	}
	for i := range daemons.Items {
		if s := daemons.Items[i].Status; int(s.NumberReady) != len(c.nodes) {
			lacking = append(lacking, fmt.Sprintf("DaemonSet %s/%s in cluster %s: ready on %d of %d nodes", ns, daemons.Items[i].Name, c.name, s.NumberReady, len(c.nodes)))
		}
	}
	if len(lacking) > 0 {
		return lacking, nil
	}
	obj, resource := podChaos(scenarios.Fault{Kind: scenarios.PodKill}, chaosapi.PodSelector{
		Mode: chaosapi.AllMode, Selector: chaosapi.PodSelectorSpec{Pods: map[string][]string{ns: {"nobody"}}},
	})
	e, err := c.experiment(obj, resource, "dry-run", 0)
	if err != nil {
		return nil, err
	}
	if _, err := e.resource.Create(ctx, e.obj, metav1.CreateOptions{FieldManager: fieldManager, DryRun: []string{metav1.DryRunAll}}); err != nil {
		return []string{fmt.Sprintf("the webhook of cluster %s does not take orders: %v", c.name, err)}, nil
	}
	return nil, nil
}

// Inject implements clusters.Injector.
func (f *fleet) Inject(ctx context.Context, fault scenarios.Fault, pods []clusters.Pod) (revert func(context.Context) error, err error) {
	if err := f.alive(); err != nil {
		return nil, err
	}
	if _, err := f.Injector(fault); err != nil {
		return nil, err
	}
	list, err := f.experiments(ctx, fault, pods)
	if err != nil {
		return nil, err
	}
	remove := func(ctx context.Context) error {
		return everyOne(list, func(e *experiment) error { return e.remove(ctx) })
	}
	if fault.Kind == scenarios.PodKill {
		f.expectKill(pods, fmt.Sprintf("pod-kill %s by Chaos Mesh", fault.Name))
	}
	if err := everyOne(list, func(e *experiment) error { return e.inject(ctx) }); err != nil {
		if fault.Kind == scenarios.PodKill {
			f.expectKill(pods, "")
		}
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), recoverWithin+forgetWithin)
		defer cancel()
		return nil, errors.Join(err, remove(undo))
	}
	return remove, nil
}

// expectKill notes why pods are about to end.
func (f *fleet) expectKill(pods []clusters.Pod, why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range pods {
		if c := f.cluster(p.Cluster); c != nil && c.pods[types.UID(p.UID)] != nil {
			c.pods[types.UID(p.UID)].reason = why
		}
	}
}

// everyOne does something with all of a list at once, and waits for all. Its error has all errors.
func everyOne[T any](list []T, do func(T) error) error {
	errs := make([]error, len(list))
	var wg sync.WaitGroup
	for i, x := range list {
		wg.Go(func() { errs[i] = do(x) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
