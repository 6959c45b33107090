package istio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/meshproof/meshproof/clusters/embedded/proxy"
)

// drainTime is how long connections of a filter chain that is gone are kept: the default of Istio's drainDuration, which
// becomes Envoy's --drain-time-s.
const drainTime = 45 * time.Second

// maxHeader is Envoy's limit of a request's header, beyond which it answers 431.
const maxHeader = 60 << 10

// sidecar is the modelled proxy of one pod.
type sidecar struct {
	pod     proxy.Pod
	world   proxy.World
	source  string // of evidence
	self    party  // in metrics
	told    string // what peers are told of it
	id      *identity
	metrics *metrics
	dice    *dice
	app     *host // the workload
	drain   time.Duration

	config   atomic.Pointer[config]
	updating sync.Mutex // of the fields below
	hosts    map[hostKey]*host
	keys     keyring
	timers   []*time.Timer

	inbound, outbound, stats net.Listener
	accepted                 *handoff
	servers                  []*http.Server

	ctx        context.Context
	cancel     context.CancelFunc
	conns      connSet
	inboundSet inboundSet
	serving    sync.WaitGroup // of servers and their connections
	goroutines sync.WaitGroup // of everything else
}

// hostKey names a host's connections: they outlive updates that do not change what they are.
type hostKey struct {
	upstream    string
	cluster     string
	uid, addr   string
	secure      bool
	identities  string
	maxRequests int
}

func start(pod proxy.Pod, world proxy.World, first *proxy.Snapshot) (*sidecar, error) {
	issuer := world.Issuer(pod.Cluster)
	if issuer == nil {
		return nil, fmt.Errorf("starting the proxy of %s in cluster %s: the cluster has no certificate authority", pod.Pod, pod.Cluster)
	}
	id, err := newIdentity(pod, issuer)
	if err != nil {
		return nil, fmt.Errorf("starting the proxy of %s in cluster %s: %w", pod.Pod, pod.Cluster, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &sidecar{
		pod: pod, world: world, source: "proxy/" + pod.Cluster + "/" + pod.Pod,
		id: id, metrics: newMetrics(id, time.Now()), dice: newDice(pod.Seed), drain: drainTime,
		hosts: map[hostKey]*host{}, ctx: ctx, cancel: cancel,
	}
	p.self = partyOf(pod.Workload, pod.Namespace, pod.Cluster, pod.Labels)
	p.told = metadata(p.self)
	p.self.Principal = id.leaf.URI
	p.app = &host{connect: p.dialApp, explain: explainDial, goroutines: &p.goroutines}
	if err := p.listen(); err != nil {
		cancel()
		return nil, fmt.Errorf("starting the proxy of %s in cluster %s: %w", pod.Pod, pod.Cluster, err)
	}
	p.Update(first)
	p.serve()
	return p, nil
}

func (p *sidecar) listen() error {
	var opened []net.Listener
	for _, l := range []*net.Listener{&p.inbound, &p.outbound, &p.stats} {
		var err error
		if *l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			for _, o := range opened {
				o.Close()
			}
			return fmt.Errorf("opening a port on 127.0.0.1: %w", err)
		}
		opened = append(opened, *l)
	}
	p.accepted = newHandoff(p.inbound.Addr())
	return nil
}

func (p *sidecar) serve() {
	page := http.NewServeMux()
	page.Handle("GET /metrics", promhttp.HandlerFor(p.metrics.registry, promhttp.HandlerOpts{}))
	p.server(p.accepted, http.HandlerFunc(p.serveInbound), nil)
	p.server(p.outbound, http.HandlerFunc(p.serveOutbound), &p.conns)
	p.server(p.stats, page, &p.conns)
	p.goroutines.Go(p.acceptInbound)
	p.goroutines.Go(func() { p.id.keep(p.ctx) })
}

// server serves HTTP/1.1 on a listener, whose connections it adds to track unless that is nil.
func (p *sidecar) server(l net.Listener, h http.Handler, track *connSet) {
	s := &http.Server{
		Handler:        h,
		MaxHeaderBytes: maxHeader,
		ErrorLog:       log.New(io.Discard, "", 0), // what matters is in access log and metrics
		BaseContext:    func(net.Listener) context.Context { return p.ctx },
		ConnContext:    func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		ConnState: func(_ net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				p.serving.Add(1)
			case http.StateClosed, http.StateHijacked:
				p.serving.Done()
			}
		},
	}
	if track != nil {
		l = trackingListener{l, track}
	}
	p.servers = append(p.servers, s)
	p.serving.Go(func() { s.Serve(l) }) // returns when the listener is closed
}

// connKey is the context key of a request's connection.
type connKey struct{}

type trackingListener struct {
	net.Listener
	set *connSet
}

// Accept implements net.Listener.
func (l trackingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.set.add(c)
}

// Inbound implements proxy.Proxy.
func (p *sidecar) Inbound() string { return p.inbound.Addr().String() }

// Edge implements proxy.Edge: an ingress is entered through its sidecar, which decides who may.
func (p *sidecar) Edge() string { return p.Inbound() }

// Outbound implements proxy.Proxy.
func (p *sidecar) Outbound() string { return p.outbound.Addr().String() }

// Metrics implements proxy.Proxy.
func (p *sidecar) Metrics() string { return p.stats.Addr().String() }

// Update implements proxy.Proxy. Connections to endpoints that are still there are kept.
func (p *sidecar) Update(snap *proxy.Snapshot) {
	p.updating.Lock()
	defer p.updating.Unlock()
	next := compile(snap, p.pod)
	next.tokens = p.keys.rules(settingsOf(snap.Objects).requestAuthentications, p.pod, snap.Hosts)
	if p.ctx.Err() != nil {
		return
	}
	keep := map[hostKey]*host{}
	for _, u := range next.upstreams {
		u.stats = p.metrics.upstream(u.name)
		var hosts []*host
		for _, ep := range u.endpoints {
			key := hostKey{u.name, ep.Cluster, ep.UID, ep.Addr, ep.secure, strings.Join(u.identities, " "), u.dest.maxRequests}
			h := p.hosts[key]
			if h == nil {
				h = p.newHost(u, ep)
			}
			keep[key] = h
			hosts = append(hosts, h)
		}
		u.balancer = newBalancer(u.dest.balancing, hosts, p.dice)
	}
	last := p.config.Swap(next)
	for key, h := range p.hosts {
		if keep[key] == nil {
			h.close()
		}
	}
	p.hosts = keep
	if last != nil && last.mode != next.mode {
		p.drainInbound()
	}
}

// drainInbound ends, after the drain time, the connections whose filter chain is gone by then.
func (p *sidecar) drainInbound() {
	p.timers = append(p.timers, time.AfterFunc(p.drain, func() {
		for _, c := range p.inboundSet.stale(p.config.Load().mode) {
			c.Close()
		}
	}))
}

// Kill implements proxy.Proxy.
func (p *sidecar) Kill() {
	p.updating.Lock()
	p.cancel()
	for _, t := range p.timers {
		t.Stop()
	}
	hosts := p.hosts
	p.hosts = nil
	p.updating.Unlock()

	p.inbound.Close()
	p.conns.abort()
	for _, s := range p.servers {
		s.Close()
	}
	for _, h := range hosts {
		h.close()
	}
	p.app.close()
	p.serving.Wait()
	p.goroutines.Wait()
}

func (p *sidecar) dialApp(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", p.pod.AppAddr)
	if err != nil {
		return nil, err
	}
	return p.conns.add(c)
}

// newHost prepares connections to an endpoint.
func (p *sidecar) newHost(u *upstream, ep endpoint) *host {
	h := &host{
		ep: ep.Endpoint, secure: ep.secure, maxRequests: u.dest.maxRequests,
		explain: explainDial, goroutines: &p.goroutines,
	}
	dial := func(ctx context.Context) (net.Conn, error) {
		c, err := p.world.Dial(ctx, p.pod.Cluster, ep.Cluster, ep.Addr)
		if err != nil {
			return nil, err
		}
		return p.conns.add(c)
	}
	h.connect = dial
	if ep.secure {
		h.connect = p.secureDial(u, dial)
	}
	return h
}

// explainDial says in Envoy's words why there is no connection.
func explainDial(err error) string {
	const transport = "remote connection failure, transport failure reason: "
	var errno syscall.Errno
	switch {
	case errors.Is(err, errConnectTimeout):
		return errConnectTimeout.Error()
	case isTLSFailure(err):
		return transport + "TLS_error: " + err.Error()
	case errors.As(err, &errno):
		s := errno.Error() // "connection refused", which Envoy writes with a capital
		return transport + "delayed connect error: " + strings.ToUpper(s[:1]) + s[1:]
	default:
		return transport + "delayed connect error: " + err.Error()
	}
}
