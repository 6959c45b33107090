package embedded

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/trust"
	"github.com/meshproof/meshproof/scenarios"
)

// fleet is the clusters of one trial, and the world of their proxies.
type fleet struct {
	spec     clusters.Spec
	timing   timing
	factory  *proxy.Factory // nil without a mesh
	net      *network
	issuers  *trust.Authorities
	list     []*cluster
	ctx      context.Context // ends with the fleet
	cancel   context.CancelFunc
	tasks    sync.WaitGroup // everything that runs by itself; added to under mu while not closed
	starting chan struct{}  // bounds the pods that start at once
	sinkErr  atomic.Pointer[error]
	gone     chan struct{} // closed when Close has done its work

	mu      sync.Mutex // guards what follows, and the state of clusters, deployments and pods
	version uint64
	changed chan struct{} // closed at the next change
	closed  bool
}

var (
	_ clusters.Fleet = (*fleet)(nil)
	_ proxy.World    = (*fleet)(nil)
)

func newFleet(spec clusters.Spec, t timing, factory *proxy.Factory) *fleet {
	f := &fleet{
		spec: spec, timing: t, factory: factory,
		net:      newNetwork(spec.Clusters, spec.Latency),
		starting: make(chan struct{}, max(2, runtime.GOMAXPROCS(0))),
		gone:     make(chan struct{}),
		changed:  make(chan struct{}),
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f
}

// trust makes the certificate authorities, and says so in evidence.
func (f *fleet) trust() error {
	var err error
	if f.issuers, err = trust.NewAuthorities(scenarios.MeshName(f.spec.Mesh), f.spec.Clusters); err != nil {
		return err
	}
	return f.trusted(f.issuers.Certificates())
}

// trusted says in evidence which certificates are trusted from now on.
func (f *fleet) trusted(certificates map[string]string) error {
	return f.append(&evidence.Event{Header: f.header("fleet"), Kind: evidence.EventTrust, Data: certificates})
}

// Cluster implements clusters.Fleet.
func (f *fleet) Cluster(name string) clusters.Cluster {
	if c := f.cluster(name); c != nil {
		return c
	}
	return nil
}

func (f *fleet) cluster(name string) *cluster {
	i := slices.IndexFunc(f.list, func(c *cluster) bool { return c.name == name })
	if i < 0 {
		return nil
	}
	return f.list[i]
}

// Clusters implements clusters.Fleet.
func (f *fleet) Clusters() []clusters.Cluster {
	list := make([]clusters.Cluster, len(f.list))
	for i, c := range f.list {
		list[i] = c
	}
	return list
}

// fleetLink is a link with its two ends.
type fleetLink struct {
	*link
	f    *fleet
	a, b *cluster
}

// Link implements clusters.Fleet. It is nil where there is no such link.
func (f *fleet) Link(a, b string) clusters.Link {
	l := f.net.links[pairOf(a, b)]
	if l == nil {
		return nil
	}
	return fleetLink{link: l, f: f, a: f.cluster(a), b: f.cluster(b)}
}

// Dial implements proxy.World.
func (f *fleet) Dial(ctx context.Context, from, to, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return f.net.dial(ctx, from, to, addr)
	}
	c := f.cluster(to)
	if c == nil {
		return nil, fmt.Errorf("no cluster is called %q", to)
	}
	return c.dialService(ctx, from, draw(f.spec.Seed, "kube-proxy of proxies", to, strconv.FormatUint(c.draws.Add(1), 10)), addr)
}

// Sink implements proxy.World.
func (f *fleet) Sink() evidence.Sink { return f.spec.Sink }

// Trial implements proxy.World.
func (f *fleet) Trial() evidence.Trial { return f.spec.Trial }

// Issuer implements proxy.World.
func (f *fleet) Issuer(mesh scenarios.MeshName, cluster string) *trust.Issuer {
	return f.issuers.Issuer(mesh, cluster)
}

// LeafLifetime implements proxy.World.
func (f *fleet) LeafLifetime() time.Duration { return f.spec.LeafLifetime }

func (f *fleet) header(src string) evidence.Header {
	return evidence.Header{Trial: f.spec.Trial, Src: src, T: time.Now().UTC()}
}

// append hands evidence on. Its first error is also that of everything which is asked of the fleet later.
func (f *fleet) append(item evidence.Item) error {
	err := f.spec.Sink.Append(item)
	if err != nil {
		err = fmt.Errorf("recording evidence: %w", err)
		f.sinkErr.CompareAndSwap(nil, &err)
	}
	return err
}

// broken is the error that makes the fleet useless, or nil.
func (f *fleet) broken() error {
	if err := f.sinkErr.Load(); err != nil {
		return *err
	}
	return nil
}

func (f *fleet) podEvent(p *pod, kind, message string) error {
	return f.append(&evidence.Event{Header: f.header("cluster/" + p.ref.Cluster), Kind: kind, At: p.ref, Message: message})
}

// later does something after some time, with the lock held, unless the fleet is closed before; then it publishes.
func (f *fleet) later(d time.Duration, do func()) {
	f.tasks.Go(func() {
		if !f.sleep(d) {
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.closed {
			return
		}
		do()
		f.publish()
	})
}

// sleep waits, and says whether it came to the end before the fleet did.
func (f *fleet) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-f.ctx.Done():
		return false
	}
}

// run starts a pod and makes it ready.
func (f *fleet) run(p *pod) {
	f.starting <- struct{}{}
	err := f.ctx.Err()
	if err == nil {
		err = p.start(f, p.of.cluster.snapshot.Load())
	}
	<-f.starting

	f.mu.Lock()
	d := p.of
	if p.phase == ended { // killed, retired or closed while it started
		f.mu.Unlock()
		if err == nil {
			p.kill()
		}
		return
	}
	defer f.mu.Unlock()
	if err != nil {
		d.remove(p)
		d.failure = err
		_ = f.podEvent(p, evidence.EventPodEnded, "it did not start: "+err.Error())
		d.coming++
		f.later(f.timing.retry, func() { d.coming--; d.reconcile() })
		f.notify()
		return
	}
	p.phase, p.listed, d.failure = ready, true, nil
	_ = f.podEvent(p, evidence.EventPodReady, "")
	d.reconcile()
	f.publish()
}

// remove takes a pod off its Deployment. The lock must be held.
func (d *deployment) remove(p *pod) {
	p.phase = ended
	d.pods = slices.DeleteFunc(d.pods, func(q *pod) bool { return q == p })
}

// retire ends a pod gracefully: it leaves the endpoints first. Whoever retires publishes. The lock must be held.
func (f *fleet) retire(p *pod, reason string) {
	up := p.phase == ready
	p.of.remove(p)
	p.listed = false
	_ = f.podEvent(p, evidence.EventPodEnded, reason)
	if !up {
		return // run ends it
	}
	f.tasks.Go(func() {
		f.sleep(f.timing.settle)
		p.drain(f.ctx, f.timing.grace)
	})
}

// Close implements clusters.Fleet. It may be called more than once. When ctx ends first, the rest goes on by itself.
func (f *fleet) Close(ctx context.Context) error {
	f.mu.Lock()
	if !f.closed {
		f.closed = true
		go f.teardown(f.pods())
	}
	f.mu.Unlock()
	select {
	case <-f.gone:
		return f.broken()
	case <-ctx.Done():
		return fmt.Errorf("removing the embedded clusters: %w", ctx.Err())
	}
}

// pods marks every pod as ended, and lists those that were ready. The lock must be held.
func (f *fleet) pods() []*pod {
	var up []*pod
	for _, c := range f.list {
		for _, p := range c.pods() {
			if p.phase == ready {
				up = append(up, p)
			}
			p.of.remove(p)
			_ = f.podEvent(p, evidence.EventPodEnded, "the clusters are removed")
		}
	}
	f.notify()
	return up
}

func (f *fleet) teardown(up []*pod) {
	defer close(f.gone)
	f.cancel()
	for _, c := range f.list {
		c.front.stop()
	}
	var killing sync.WaitGroup
	for _, p := range up {
		killing.Go(p.kill)
	}
	killing.Wait()
	f.tasks.Wait()
	for _, c := range f.list {
		c.scraper.CloseIdleConnections()
	}
	f.net.close()
}
