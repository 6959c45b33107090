package linkerd

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/clusters/embedded/proxy/relay"
	"github.com/meshproof/meshproof/internal/trust"
	"github.com/meshproof/meshproof/scenarios"
)

// What the injector sets, and the proxy's own defaults.
const (
	inboundConnectTimeout  = 100 * time.Millisecond // to the workload
	outboundConnectTimeout = time.Second            // TCP and TLS
	detectTimeout          = 10 * time.Second       // of TLS, and of the protocol
	failfastTimeout        = 3 * time.Second        // of a balancer without a ready endpoint
	maxHeader              = 64 << 10
	retryBodyKept          = 64 << 10 // largest body that is kept for a retry
)

// linkerdProxy is the modelled proxy of one pod.
type linkerdProxy struct {
	*relay.Process
	pod     proxy.Pod
	world   proxy.World
	id      *identity
	metrics *metrics
	dice    *relay.Dice
	app     *relay.Pool // connections to the workload
	clock   func() time.Time

	config   atomic.Pointer[config]
	requests sync.RWMutex // held by each request; HTTP/2's handlers outlive their connection

	opaques opaqueSet

	updating  sync.Mutex           // of what follows
	balancers map[string]*balancer // by service.key
}

var _ proxy.Proxy = (*linkerdProxy)(nil)

func start(pod proxy.Pod, world proxy.World, first *proxy.Snapshot, clock func() time.Time) (*linkerdProxy, error) {
	failed := func(err error) error {
		return fmt.Errorf("starting the proxy of %s in cluster %s: %w", pod.Pod, pod.Cluster, err)
	}
	issuer := func() *trust.Issuer { return world.Issuer(scenarios.MeshLinkerd, pod.Cluster) }
	if issuer() == nil {
		return nil, failed(fmt.Errorf("the cluster has no certificate authority"))
	}
	p := &linkerdProxy{
		pod: pod, world: world, metrics: newMetrics(clock), dice: relay.NewDice(pod.Seed), clock: clock,
		balancers: map[string]*balancer{},
	}
	var err error
	p.id, err = newIdentity(identityOf(pod.Namespace, pod.ServiceAccount), issuer, cmp.Or(world.LeafLifetime(), leafLifetime), p.renewed)
	if err != nil {
		return nil, failed(err)
	}
	if p.Process, err = relay.NewProcess(); err != nil {
		return nil, failed(err)
	}
	p.gauges(time.Now())
	p.app = &relay.Pool{Dial: p.dialApp, Timeout: inboundConnectTimeout, Goroutines: &p.Goroutines}
	p.Update(first)
	p.serve()
	return p, nil
}

// renewed counts a certificate.
func (p *linkerdProxy) renewed(err error) {
	for result, is := range map[string]bool{"ok": err == nil, "error": err != nil} {
		n := 0.0
		if is {
			n = 1
		}
		p.metrics.add(certRefreshes, labels("").with("result", result), n)
	}
}

func (p *linkerdProxy) gauges(started time.Time) {
	unix := func(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }
	p.metrics.gauges = append(p.metrics.gauges, func(write func(name, help string, value float64)) {
		write("control_identity_cert_expiration_timestamp_seconds",
			"Time when this proxy's current mTLS identity certificate will expire (in seconds since the UNIX epoch).",
			float64(p.id.Now.Load().Leaf.NotAfter.Unix()))
		write("process_start_time_seconds", "Time that the process started (in seconds since the UNIX epoch).", unix(started))
	})
}

func (p *linkerdProxy) serve() {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true) // TLS has ended before it; there is no ALPN between Linkerd's proxies
	server := p.id.serverTLS()
	var capture func(*relay.Conn)
	if p.pod.Gateway != nil {
		capture = p.capture
	}
	p.Serve(relay.Handlers{
		Admit:     func(c *relay.Conn) { p.admit(c, server) },
		Capture:   capture,
		Inbound:   p.counted(p.serveInbound),
		Outbound:  p.counted(p.serveOutbound),
		Metrics:   p.counted(p.serveAdmin),
		MaxHeader: maxHeader,
		Protocols: &protocols,
	})
	p.Goroutines.Go(func() { p.id.Keep(p.Context()) })
	p.Goroutines.Go(p.kubelet)
}

// counted makes Kill wait for a handler, and lets none begin after it.
func (p *linkerdProxy) counted(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.requests.RLock()
		defer p.requests.RUnlock()
		if p.Context().Err() != nil {
			panic(http.ErrAbortHandler)
		}
		h(w, r)
	})
}

// Pages implements proxy.Proxy.
func (p *linkerdProxy) Pages() []proxy.Page {
	return []proxy.Page{{Container: proxyContainer, Addr: p.Metrics()}}
}

// Update implements proxy.Proxy. Connections to endpoints that are still there are kept.
func (p *linkerdProxy) Update(snap *proxy.Snapshot) {
	next := compile(snap, p.pod)
	p.updating.Lock()
	defer p.updating.Unlock()
	if p.Context().Err() != nil {
		return
	}
	next.remember(p.config.Load())
	if old := p.config.Load(); old != nil {
		next.app, next.admin = next.app.unlessEqual(old.app), next.admin.unlessEqual(old.admin)
	}
	p.config.Store(next)
	for key, b := range p.balancers {
		switch s := next.again(b.svc.Load()); {
		case s != nil:
			b.update(s)
		default: // or the connection to a pod that is gone would be tried for ever
			b.close()
			delete(p.balancers, key)
		}
	}
	p.opaques.recheck(p, next.app)
}

// balancer finds or makes the balancer of a Service: it is made with the first request, and connects then. nil after the
// end of the proxy.
func (p *linkerdProxy) balancer(s *service) *balancer {
	p.updating.Lock()
	defer p.updating.Unlock()
	if p.Context().Err() != nil {
		return nil
	}
	b := p.balancers[s.key()]
	if b == nil {
		b = newBalancer(p, s)
		p.balancers[s.key()] = b
	}
	return b
}

// Kill implements proxy.Proxy.
func (p *linkerdProxy) Kill() {
	p.updating.Lock()
	p.Stop()
	balancers := p.balancers
	p.balancers = nil
	p.updating.Unlock()
	p.Process.Kill(func() {
		for _, b := range balancers {
			b.close()
		}
		p.app.Close()
		p.requests.Lock() // those that began have ended
		defer p.requests.Unlock()
	})
}

// dialApp opens a connection to the workload.
func (p *linkerdProxy) dialApp(ctx context.Context) (net.Conn, error) {
	c, err := p.DialTCP(ctx, p.pod.AppAddr)
	if err != nil {
		return nil, err
	}
	p.opened(c, labels("").with("direction", "inbound", "peer", "dst").and(loopback))
	return c, nil
}

// opened counts a connection, and its end.
func (p *linkerdProxy) opened(c *relay.Conn, l labels) {
	release := p.metrics.hold(tcpOpen, l)
	p.metrics.inc(tcpOpen, l)
	p.metrics.inc(tcpOpenConnections, l)
	c.AfterClose(func() {
		p.metrics.add(tcpOpenConnections, l, -1)
		p.metrics.inc(tcpClose, l.with("errno", ""))
		release()
	})
}
