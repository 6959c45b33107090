package kind

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/trust"
	"github.com/meshproof/meshproof/internal/workload"
	"github.com/meshproof/meshproof/scenarios"
)

// fleet is the clusters of one trial.
type fleet struct {
	spec      clusters.Spec
	mesh      mesh             // nil for none
	images    map[string]image // of the mesh, by what it calls them
	log       *slog.Logger
	folder    string // of the fleet's own files
	lock      *os.File
	made      keptFile    // what the clusters were made from
	bare      fingerprint // what they were before they got a mesh; nil where they are not to be kept
	base      fingerprint // what they were before anything of a scenario was applied, with their mesh; nil as bare
	reused    bool        // they were made for an earlier trial, with all that belongs to no trial
	hasImages bool        // its nodes have the images of the mesh, apart from those of earlier trials
	gateway   netip.Addr  // of the nodes' network: this host
	token     string
	issuers   *trust.Authorities
	hosts     map[string]string // spec.Hosts as pods reach them
	list      []*cluster
	links     map[[2]string]*link
	ctx       context.Context // ends with the fleet
	cancel    context.CancelFunc
	tasks     sync.WaitGroup // everything that runs by itself; added to under mu while not closed
	sinkErr   atomic.Pointer[error]
	silent    atomic.Bool // nothing more is said in evidence

	noQueue error // why the kernel cannot hold packets back; nil where it can

	chaos chaos // what carries faults out; settled when the fleet is made

	closing sync.Mutex // held by Close
	gone    bool       // everything is removed

	mu      sync.Mutex // guards what follows, and the state of clusters' pods
	changed chan struct{}
	closed  bool
}

var _ clusters.Fleet = (*fleet)(nil)

func newFleet(spec clusters.Spec, state string) *fleet {
	f := &fleet{
		spec: spec, log: spec.Log, folder: filepath.Join(state, spec.ID), token: newToken(),
		hosts: map[string]string{}, links: map[[2]string]*link{},
		changed: make(chan struct{}),
	}
	f.mesh, _ = meshIn(spec) // Create has checked it
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	f.log = f.log.With("fleet", spec.ID)
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.takeKlog()
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

// prepare connects new clusters, brings the images of agent and mesh onto every node, and waits until the clusters' own
// parts work, all at once: until the controllers work a cluster mostly waits.
func (f *fleet) prepare(ctx context.Context, plans []plan, agent []byte, mat *material) error {
	g, gctx := errgroup.WithContext(ctx)
	for _, p := range plans {
		g.Go(func() error {
			load := f.loader(gctx, p.name)
			if err := load(workload.Image, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(agent)), nil }); err != nil {
				return err
			}
			if !f.hasImages {
				return nil
			}
			return mat.load(load)
		})
	}
	g.Go(func() error {
		if err := f.reach(gctx, plans); err != nil {
			return err
		}
		own, octx := errgroup.WithContext(gctx)
		own.Go(func() error {
			return f.timed("connect the clusters", func() error { return f.connect(octx) })
		})
		for _, c := range f.list {
			own.Go(func() error {
				return f.timed("wait for the cluster's own parts", func() error { return c.systemReady(octx) }, "cluster", c.name)
			})
		}
		return own.Wait()
	})
	return g.Wait()
}

// loader loads images onto the nodes of a cluster, and says how long it took.
func (f *fleet) loader(ctx context.Context, cluster string) func(ref string, open func() (io.ReadCloser, error)) error {
	return func(ref string, open func() (io.ReadCloser, error)) error {
		return f.timed("load image", func() error { return loadImage(ctx, cluster, ref, open) }, "cluster", cluster, "image", ref)
	}
}

// reach makes the clients of the clusters, and waits until these know their nodes.
func (f *fleet) reach(ctx context.Context, plans []plan) error {
	found := make([]*cluster, len(plans))
	var g errgroup.Group
	for i, name := range f.spec.Clusters {
		g.Go(func() (err error) {
			return f.timed("find the cluster's nodes", func() error {
				found[i], err = newCluster(ctx, f, name, plans[i])
				return err
			}, "cluster", name)
		})
	}
	err := g.Wait()
	f.list = slices.DeleteFunc(found, func(c *cluster) bool { return c == nil })
	return err
}

// watch begins to watch the clusters' pods.
func (f *fleet) watch() {
	for _, c := range f.list {
		f.run(c.watchPods)
	}
	f.run(f.mirror)
}

// unlock lets others use what the fleet has left.
func (f *fleet) unlock() error {
	if f.lock == nil {
		return nil
	}
	err := f.lock.Close()
	f.lock = nil
	return err
}

// run starts something that ends with the fleet.
func (f *fleet) run(do func(context.Context)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.tasks.Go(func() { do(f.ctx) })
	}
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

func (f *fleet) header(src string) evidence.Header {
	return evidence.Header{Trial: f.spec.Trial, Src: src, T: time.Now().UTC()}
}

// append hands evidence on, until the fleet has ended. Its first error is also that of everything which is asked of the
// fleet later.
func (f *fleet) append(item evidence.Item) error {
	if f.silent.Load() {
		return errClosed
	}
	err := f.spec.Sink.Append(item)
	if err != nil {
		err = fmt.Errorf("recording evidence: %w", err)
		f.sinkErr.CompareAndSwap(nil, &err)
	}
	return err
}

var errClosed = errors.New("the clusters were removed")

// broken is the error that makes the fleet useless, or nil.
func (f *fleet) broken() error {
	if err := f.sinkErr.Load(); err != nil {
		return *err
	}
	return nil
}

// alive is the error of a fleet that was closed or is broken.
func (f *fleet) alive() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return errClosed
	}
	return f.broken()
}

// failed records that the environment failed.
func (f *fleet) failed(format string, args ...any) {
	_ = f.append(&evidence.Event{Header: f.header("fleet"), Kind: evidence.EventError, Message: fmt.Sprintf(format, args...)})
}

// notify wakes who waits for a change. The fleet's lock must be held.
func (f *fleet) notify() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// change is closed at the next change.
func (f *fleet) change() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

// Close implements clusters.Fleet. It may be called more than once, also after one that failed.
func (f *fleet) Close(ctx context.Context) error {
	f.closing.Lock()
	defer f.closing.Unlock()
	if f.gone {
		return f.broken()
	}
	f.end(ctx)
	if err := f.timed("remove nodes and network", func() error { return Clean(ctx, filepath.Dir(f.folder), f.spec.ID) }); err != nil {
		return errLeft(f.spec.ID, err)
	}
	f.gone = true
	return errors.Join(f.broken(), f.unlock())
}

// end takes what workloads still have to say, and ends everything of the fleet in this process.
func (f *fleet) end(ctx context.Context) {
	f.mu.Lock()
	was := f.closed
	f.closed = true
	f.mu.Unlock()
	if was {
		return
	}
	_ = f.timed("take what workloads and proxies still have to say", func() error {
		return all(f.list, func(c *cluster) error {
			c.drain(ctx)
			return nil
		})
	})
	f.mu.Lock()
	for _, c := range f.list {
		c.endPods("the clusters are removed")
	}
	f.notify()
	f.mu.Unlock()
	f.silent.Store(true)
	f.cancel()
	for _, c := range f.list {
		c.transport.CloseIdleConnections()
	}
	f.tasks.Wait()
	leaveKlog()
	for _, c := range f.list {
		c.transport.CloseIdleConnections()
	}
}
