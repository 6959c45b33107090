package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/workload"
)

// cluster is one cluster of a fleet.
type cluster struct {
	f       *fleet
	name    string
	front   *service
	scraper *http.Transport

	snapshot atomic.Pointer[proxy.Snapshot] // what proxies and kube-proxy go by
	gateway  atomic.Pointer[string]         // address of the ingress workload; nil while there is none
	draws    atomic.Uint64                  // of kube-proxy, for proxies

	// Guarded by the fleet's lock.
	objects     map[string]clusters.Object // by clusters.Key; objects are not changed, only replaced
	deployments map[string]*deployment     // by the key of their object
	fallen      []*pod                     // killed, and still among the endpoints
}

var _ clusters.Cluster = (*cluster)(nil)

func newCluster(f *fleet, name string) (*cluster, error) {
	c := &cluster{
		f: f, name: name, scraper: &http.Transport{},
		objects: map[string]clusters.Object{}, deployments: map[string]*deployment{},
	}
	var err error
	c.front, err = serve("the load balancer of cluster "+name, c.forward)
	return c, err
}

// Name implements clusters.Cluster.
func (c *cluster) Name() string { return c.name }

// pods lists the pods that live. The fleet's lock must be held.
func (c *cluster) pods() []*pod {
	var all []*pod
	for _, key := range slices.Sorted(maps.Keys(c.deployments)) {
		all = append(all, c.deployments[key].pods...)
	}
	return all
}

// Apply implements clusters.Cluster. Either all of the objects are applied, in their order, or none.
func (c *cluster) Apply(ctx context.Context, objs ...clusters.Object) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	failed := func(err error) error { return fmt.Errorf("applying to cluster %s: %w", c.name, err) }
	if err := check(c.f.spec.Mesh, c.f.factory, objs); err != nil {
		return failed(err)
	}
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	if c.f.closed {
		return failed(errNetworkDown)
	}
	if err := c.namespacesExist(objs); err != nil {
		return failed(err)
	}
	for _, obj := range objs {
		if err := c.store(obj); err != nil {
			return failed(err)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(c.deployments)) {
		c.deployments[key].reconcile()
	}
	c.f.publish()
	return c.f.broken()
}

// namespacesExist refuses objects whose namespace is not there, neither applied nor earlier in the list.
func (c *cluster) namespacesExist(objs []clusters.Object) error {
	fresh := map[string]bool{}
	for _, obj := range objs {
		if ns, ok := obj.(*corev1.Namespace); ok {
			fresh[ns.Name] = true
			continue
		}
		ns := new(corev1.Namespace)
		ns.Name = obj.GetNamespace()
		if _, ok := c.objects[clusters.Key(ns)]; !ok && !fresh[ns.Name] {
			return fmt.Errorf("%s %s: namespace %q does not exist: apply it first", clusters.KindName(obj), nameOf(obj), ns.Name)
		}
	}
	return nil
}

// store takes one object. The fleet's lock must be held.
func (c *cluster) store(obj clusters.Object) error {
	key := clusters.Key(obj)
	obj = obj.DeepCopyObject().(clusters.Object)
	// Meshes decide between conflicting settings by age, which a replacement keeps, and which is known in whole seconds.
	switch old, ok := c.objects[key]; {
	case ok:
		obj.SetCreationTimestamp(old.GetCreationTimestamp())
	default:
		obj.SetCreationTimestamp(metav1.NewTime(time.Now().Truncate(time.Second)))
	}
	event := &evidence.Event{
		Header: c.f.header("cluster/" + c.name), Kind: evidence.EventApplied,
		Name: clusters.KindName(obj) + "/" + obj.GetNamespace() + "/" + obj.GetName(), At: evidence.PodRef{Cluster: c.name},
	}
	if err := c.f.append(event); err != nil {
		return err
	}
	if dep, ok := obj.(*appsv1.Deployment); ok {
		d := c.deployments[key]
		if d == nil {
			d = &deployment{cluster: c, namespace: dep.Namespace, name: dep.Name, names: map[string]bool{}}
			c.deployments[key] = d
		}
		if err := d.template(dep); err != nil {
			return err
		}
	}
	c.objects[key] = obj
	return nil
}

// WaitReady implements clusters.Cluster. What cannot become ready by itself is an error at once.
func (c *cluster) WaitReady(ctx context.Context) error {
	for {
		lacking, hopeless, changed := c.lacking()
		switch err := c.f.broken(); {
		case err != nil:
			return err
		case len(lacking) == 0:
			return nil
		case hopeless:
			return errors.New(strings.Join(lacking, "; "))
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", strings.Join(lacking, "; "), ctx.Err())
		}
	}
}

func (c *cluster) lacking() (lacking []string, hopeless bool, changed <-chan struct{}) {
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	if c.f.closed {
		return []string{"cluster " + c.name + " was removed"}, true, nil
	}
	for _, key := range slices.Sorted(maps.Keys(c.deployments)) {
		d := c.deployments[key]
		if s := d.status(); s != "" {
			lacking = append(lacking, s)
			hopeless = hopeless || d.failure != nil
		}
	}
	for _, p := range c.fallen {
		lacking = append(lacking, fmt.Sprintf("pod %s in cluster %s has ended and is still among the endpoints", p.ref.Pod, c.name))
	}
	return lacking, hopeless, c.f.changed
}

// Pods implements clusters.Cluster.
func (c *cluster) Pods(ctx context.Context) ([]clusters.Pod, error) {
	if err := errors.Join(ctx.Err(), c.f.broken()); err != nil {
		return nil, err
	}
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	all := c.pods()
	slices.SortStableFunc(all, func(a, b *pod) int {
		return cmp.Or(cmp.Compare(a.ref.Namespace, b.ref.Namespace), cmp.Compare(a.ref.Service, b.ref.Service), cmp.Compare(a.ordinal, b.ordinal))
	})
	pods := make([]clusters.Pod, len(all))
	for i, p := range all {
		pods[i] = p.public()
	}
	return pods, nil
}

// KillPod implements clusters.Cluster.
func (c *cluster) KillPod(ctx context.Context, uid, reason string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if reason == "" {
		return errors.New("killing a pod wants a reason: one that ends for none spoils the evidence")
	}
	f := c.f
	f.mu.Lock()
	p := c.byUID(uid)
	if p == nil || f.closed {
		f.mu.Unlock()
		return fmt.Errorf("no pod with UID %s runs in cluster %s: it may have ended already", uid, c.name)
	}
	up, err := c.fell(p, reason)
	if err != nil {
		f.mu.Unlock()
		return err
	}
	d := p.of
	d.coming++
	f.later(f.timing.restart, func() { d.coming--; d.reconcile() })
	f.notify()
	f.mu.Unlock()
	if up {
		p.kill()
	}
	return nil
}

// fell takes a pod off that is about to be killed. It stays among the endpoints until its death has got about. It reports
// whether the pod has processes. The fleet's lock must be held.
func (c *cluster) fell(p *pod, reason string) (up bool, err error) {
	if err := c.f.podEvent(p, evidence.EventPodEnded, reason); err != nil {
		return false, err
	}
	up = p.phase == ready
	p.of.remove(p)
	if p.listed {
		c.fallen = append(c.fallen, p)
		c.f.later(c.f.timing.propagate, func() {
			p.listed = false
			c.fallen = slices.DeleteFunc(c.fallen, func(q *pod) bool { return q == p })
		})
	}
	return up, nil
}

// byUID finds a pod that lives. The fleet's lock must be held.
func (c *cluster) byUID(uid string) *pod {
	for _, p := range c.pods() {
		if p.ref.UID == uid {
			return p
		}
	}
	return nil
}

// running finds a pod whose processes are up.
func (c *cluster) running(pod clusters.Pod) (*pod, error) {
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	p := c.byUID(pod.UID)
	switch {
	case p == nil:
		return nil, fmt.Errorf("pod %s does not run in cluster %s", pod.Pod, c.name)
	case p.phase != ready:
		return nil, fmt.Errorf("pod %s in cluster %s is still starting", pod.Pod, c.name)
	}
	return p, nil
}

// Send implements clusters.Cluster.
func (c *cluster) Send(ctx context.Context, from clusters.Pod, req clusters.Request) clusters.Response {
	p, err := c.running(from)
	if err != nil {
		return clusters.Response{Error: workload.ErrorClass(err)}
	}
	return p.client.Send(ctx, req)
}

// maxScrape bounds a metric page, in bytes.
const maxScrape = 64 << 20

// Scrape implements clusters.Cluster.
func (c *cluster) Scrape(ctx context.Context, pod clusters.Pod) ([]clusters.Page, error) {
	p, err := c.running(pod)
	if err != nil {
		return nil, err
	}
	if p.proxy == nil {
		return nil, clusters.ErrNoProxy
	}
	var pages []clusters.Page
	for _, from := range p.proxy.Pages() {
		page := clusters.Page{Container: from.Container}
		if page.Body, err = c.scrape(ctx, from.Addr); err != nil {
			page.Err = fmt.Errorf("scraping %s of pod %s in cluster %s: %w", from.Container, pod.Pod, c.name, err)
		}
		pages = append(pages, page)
	}
	return pages, nil
}

func (c *cluster) scrape(ctx context.Context, addr string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := c.scraper.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxScrape+1))
	switch {
	case err != nil:
		return "", err
	case resp.StatusCode != http.StatusOK:
		return "", fmt.Errorf("status %d", resp.StatusCode)
	case len(body) > maxScrape:
		return "", fmt.Errorf("the page is longer than %d bytes", maxScrape)
	}
	return string(body), nil
}

// dialService is the cluster's DNS and kube-proxy, for whatever dials a ClusterIP from a cluster: each connection goes to
// the ready pod of the Service that drawn chooses.
func (c *cluster) dialService(ctx context.Context, from string, drawn uint64, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	svc, ok := c.snapshot.Load().Services[host]
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	if len(svc.Endpoints) == 0 || port != strconv.Itoa(svc.Port) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	ep := svc.Endpoints[drawn%uint64(len(svc.Endpoints))]
	return c.f.net.dial(ctx, from, ep.Cluster, ep.Addr)
}

// outsider is the cluster's outsider, where it is ready.
func (c *cluster) outsider() *pod {
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	for _, p := range c.pods() {
		if p.phase == ready && p.echo != nil {
			return p
		}
	}
	return nil
}

// dialTimeout bounds dialling on the host's loopback.
const dialTimeout = 5 * time.Second
