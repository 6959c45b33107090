package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a fleet of two clusters, a journal and a sink that write one common log of what happened, in order.
type world struct {
	mu         sync.Mutex
	log        []string // "intend east-slow", "delay", "revert", "settle east-slow", "inject east-slow" …
	records    []evidence.Fault
	handshakes []evidence.Handshake

	link    fakeLink
	cluster fakeCluster

	journalFails error
	sinkFails    string // action whose record cannot be written
}

func newWorld() *world {
	w := &world{}
	w.link = fakeLink{world: w, latency: time.Millisecond}
	w.cluster = fakeCluster{world: w, respawn: 300 * time.Millisecond}
	for i := range 3 {
		w.cluster.add(fmt.Sprintf("cart-%d", i), "cart", true)
	}
	w.cluster.add("shop-0", "shop", true)
	return w
}

func (w *world) env() Env {
	return Env{ServerName: func(service string) string { return service + ".app" }, Fleet: w, Sink: w, Journal: w, Trial: evidence.Trial{Block: 1, Mesh: "istio"}, OnChange: func(name string, active bool) {
		w.say(fmt.Sprintf("active %s %v", name, active))
	}}
}

func (w *world) say(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, s)
}

// Append implements evidence.Sink.
func (w *world) Append(item evidence.Item) error {
	if h, ok := item.(*evidence.Handshake); ok {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.handshakes = append(w.handshakes, *h)
		return nil
	}
	f := item.(*evidence.Fault)
	if f.Action == w.sinkFails {
		return errors.New("no space left on device")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.records = append(w.records, *f)
	if f.Action != evidence.FaultProbe {
		w.log = append(w.log, f.Action+" "+f.Name)
	}
	return nil
}

// Intend implements Journal.
func (w *world) Intend(what string, undo map[string]string) (func() error, error) {
	if w.journalFails != nil {
		return nil, w.journalFails
	}
	w.say("intend " + undo["fault"])
	return func() error {
		w.say("settle " + undo["fault"])
		return nil
	}, nil
}

// Cluster implements clusters.Fleet.
func (w *world) Cluster(name string) clusters.Cluster {
	if name == "east" || name == "west" {
		return &w.cluster
	}
	return nil
}

func (w *world) Clusters() []clusters.Cluster    { return nil }
func (w *world) Link(a, b string) clusters.Link  { return &w.link }
func (w *world) Close(ctx context.Context) error { return nil }

// before reports whether the log has first before second, both of them once.
func (w *world) before(t *testing.T, first, second string) {
	t.Helper()
	i, j := slices.Index(w.log, first), slices.Index(w.log, second)
	if i < 0 || j < 0 || i >= j {
		t.Errorf("the log has %q at %d and %q at %d; want them in this order: %v", first, i, second, j, w.log)
	}
}

// of returns the records of an action.
func (w *world) of(action string) (rs []evidence.Fault) {
	for _, r := range w.records {
		if r.Action == action {
			rs = append(rs, r)
		}
	}
	return rs
}

// samples returns the samples of a stage on a connection; "" is any.
func (w *world) samples(stage, connection string) (s []evidence.FaultSample) {
	for _, r := range w.of(evidence.FaultProbe) {
		if r.Probe.Stage == stage && (connection == "" || r.Probe.Connection == connection) {
			s = append(s, *r.Probe)
		}
	}
	return s
}

// messages joins what failures say.
func (w *world) messages() string {
	var s []string
	for _, r := range w.of(evidence.FaultFailed) {
		s = append(s, r.Message)
	}
	return strings.Join(s, "; ")
}

// fakeLink is a link in virtual time.
type fakeLink struct {
	world       *world
	latency     time.Duration
	delay       time.Duration
	cut         bool
	changes     int
	noEffect    bool // the injector says yes and does nothing
	injectFails error
	revertFails error
	probeFails  error
	heals       time.Duration // how long the effect lasts after the revert
	open        int           // probes
}

func (l *fakeLink) Delay(_ context.Context, d time.Duration) (func(context.Context) error, error) {
	return l.change(func() { l.delay += d }, func() { l.delay -= d })
}

func (l *fakeLink) Partition(context.Context) (func(context.Context) error, error) {
	return l.change(func() { l.cut = true }, func() { l.cut = false })
}

func (l *fakeLink) change(do, undo func()) (func(context.Context) error, error) {
	if l.injectFails != nil {
		return nil, l.injectFails
	}
	l.world.say("do")
	l.world.mu.Lock()
	defer l.world.mu.Unlock()
	l.changes++
	if !l.noEffect {
		do()
	}
	return func(ctx context.Context) error {
		if d, ok := ctx.Deadline(); !ok || time.Until(d) > RevertLimit || ctx.Err() != nil {
			return fmt.Errorf("the revert has no context of its own: %v", ctx.Err())
		}
		if l.revertFails != nil {
			return l.revertFails
		}
		l.world.say("undo")
		later := func() {
			l.world.mu.Lock()
			defer l.world.mu.Unlock()
			l.changes--
			if !l.noEffect {
				undo()
			}
		}
		if l.heals > 0 {
			time.AfterFunc(l.heals, later)
		} else {
			later()
		}
		return nil
	}, nil
}

func (l *fakeLink) Probe(context.Context) (clusters.LinkProbe, error) {
	if l.probeFails != nil {
		return nil, l.probeFails
	}
	l.world.mu.Lock()
	defer l.world.mu.Unlock()
	l.open++
	return fakeProbe{l}, nil
}

type fakeProbe struct{ l *fakeLink }

func (p fakeProbe) Fresh(ctx context.Context) (time.Duration, error) { return p.trips(ctx, 2) }

func (p fakeProbe) Established(ctx context.Context) (time.Duration, error) { return p.trips(ctx, 1) }

func (p fakeProbe) Close() error {
	p.l.world.mu.Lock()
	defer p.l.world.mu.Unlock()
	p.l.open--
	return nil
}

// trips makes round trips one after the other, or waits for the end of ctx on a cut link.
func (p fakeProbe) trips(ctx context.Context, n int) (time.Duration, error) {
	p.l.world.mu.Lock()
	cut, d := p.l.cut, time.Duration(2*n)*(p.l.latency+p.l.delay)
	p.l.world.mu.Unlock()
	began := time.Now()
	if cut || !sleep(ctx, d) {
		<-ctx.Done()
		return 0, fmt.Errorf("reading the echo: %w", ctx.Err())
	}
	return time.Since(began), nil
}

// fakeCluster is a cluster whose Deployments replace killed pods in virtual time.
type fakeCluster struct {
	clusters.Cluster
	world     *world
	pods      []clusters.Pod
	uids      int
	respawn   time.Duration // until a replacement is ready; it is listed after half of it; negative: never
	immortal  bool          // KillPod says yes and does nothing
	killFails error
	listFails func() error
	reason    string
	faulty    bool // of its settings, the one with the fault holds
	stuck     bool // whatever is applied
	applies   func() error
	asked     int

	leaves      map[string][]byte // served now, by UID; a pod that has none does not speak TLS
	rotates     func() error
	outageFails error
}

// faulty and well are the two settings of a mesh that makes a fault.
var (
	faulty = &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "faulty"}}
	well   = &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "well"}}
)

func (c *fakeCluster) Apply(_ context.Context, objs ...clusters.Object) error {
	if c.applies != nil {
		if err := c.applies(); err != nil {
			return err
		}
	}
	c.world.say("apply " + objs[0].GetName())
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	c.faulty = objs[0] == clusters.Object(faulty) && !c.stuck
	return nil
}

func (c *fakeCluster) WaitReady(ctx context.Context) error {
	sleep(ctx, time.Second)
	return ctx.Err()
}

// Send is answered with 503 every second time while the fault holds.
func (c *fakeCluster) Send(_ context.Context, from clusters.Pod, req clusters.Request) clusters.Response {
	time.Sleep(5 * time.Millisecond)
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	c.asked++
	res := clusters.Response{Status: 200, Took: 5 * time.Millisecond}
	if c.faulty && c.asked%2 == 0 {
		res.Status = 503
	}
	if from.Service != "shop" || req.Header.Get(scenarios.HeaderCaller) != "shop@east" || req.Header.Get(scenarios.HeaderProof) != "" || req.Path != "/carts/1" {
		res.Status = 400
	}
	return res
}

func (c *fakeCluster) add(name, service string, ready bool) string {
	c.uids++
	uid := fmt.Sprintf("uid-%d", c.uids)
	c.pods = append(c.pods, clusters.Pod{
		PodRef: evidence.PodRef{Cluster: "east", Namespace: "app", Service: service, Pod: name, UID: uid}, Ready: ready,
	})
	return uid
}

func (c *fakeCluster) Pods(context.Context) ([]clusters.Pod, error) {
	if c.listFails != nil {
		if err := c.listFails(); err != nil {
			return nil, err
		}
	}
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	return slices.Clone(c.pods), nil
}

func (c *fakeCluster) KillPod(_ context.Context, uid, reason string) error {
	if c.killFails != nil {
		return c.killFails
	}
	c.world.say("kill " + uid)
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	c.reason = reason
	i := slices.IndexFunc(c.pods, func(p clusters.Pod) bool { return p.UID == uid })
	if c.immortal || i < 0 {
		return nil
	}
	service := c.pods[i].Service
	c.pods = slices.Delete(c.pods, i, i+1)
	if c.respawn < 0 {
		return nil
	}
	time.AfterFunc(c.respawn/2, func() {
		c.world.mu.Lock()
		defer c.world.mu.Unlock()
		fresh := c.add(service+"-new", service, false)
		time.AfterFunc(c.respawn/2, func() {
			c.world.mu.Lock()
			defer c.world.mu.Unlock()
			for i := range c.pods {
				if c.pods[i].UID == fresh {
					c.pods[i].Ready = true
				}
			}
		})
	})
	return nil
}
