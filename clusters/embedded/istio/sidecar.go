package istio

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/clusters/embedded/proxy/relay"
	"github.com/meshproof/meshproof/internal/trust"
	"github.com/meshproof/meshproof/scenarios"
)

// drainTime is how long connections of a filter chain that is gone are kept: the default of Istio's drainDuration, which
// becomes Envoy's --drain-time-s.
const drainTime = 45 * time.Second

// maxHeader is Envoy's limit of a request's header, beyond which it answers 431.
const maxHeader = 60 << 10

// sidecar is the modelled proxy of one pod.
type sidecar struct {
	*relay.Process
	pod     proxy.Pod
	world   proxy.World
	source  string // of evidence
	self    party  // in metrics
	told    string // what peers are told of it
	id      *identity
	metrics *metrics
	dice    *relay.Dice
	app     *host // the workload
	drain   time.Duration

	config   atomic.Pointer[config]
	updating sync.Mutex // of the fields below
	hosts    map[hostKey]*host
	keys     keyring
	timers   []*time.Timer

	inboundSet inboundSet
}

// hostKey names a host's connections: they outlive updates that do not change what they are.
type hostKey struct {
	upstream    string
	cluster     string
	uid, addr   string
	secure      bool
	sni         string
	identities  string
	maxRequests int
}

func start(pod proxy.Pod, world proxy.World, first *proxy.Snapshot) (*sidecar, error) {
	issuer := func() *trust.Issuer { return world.Issuer(scenarios.MeshIstio, pod.Cluster) }
	if issuer() == nil {
		return nil, fmt.Errorf("starting the proxy of %s in cluster %s: the cluster has no certificate authority", pod.Pod, pod.Cluster)
	}
	id, err := newIdentity(pod, issuer)
	if err != nil {
		return nil, fmt.Errorf("starting the proxy of %s in cluster %s: %w", pod.Pod, pod.Cluster, err)
	}
	process, err := relay.NewProcess()
	if err != nil {
		return nil, fmt.Errorf("starting the proxy of %s in cluster %s: %w", pod.Pod, pod.Cluster, err)
	}
	p := &sidecar{
		Process: process,
		pod:     pod, world: world, source: "proxy/" + pod.Cluster + "/" + pod.Pod,
		id: id, metrics: newMetrics(id, time.Now()), dice: relay.NewDice(pod.Seed), drain: drainTime,
		hosts: map[hostKey]*host{},
	}
	p.self = partyOf(pod.Workload, pod.Namespace, pod.Cluster, pod.Labels)
	p.told = metadata(p.self)
	p.self.Principal = id.Leaf.URI
	p.app = &host{Pool: relay.Pool{Dial: p.dialApp, Timeout: connectTimeout, Goroutines: &p.Goroutines}}
	p.Update(first)
	p.serve()
	return p, nil
}

func (p *sidecar) serve() {
	page := http.NewServeMux()
	page.Handle("GET /metrics", promhttp.HandlerFor(p.metrics.registry, promhttp.HandlerOpts{}))
	server := p.id.serverTLS()
	p.Serve(relay.Handlers{
		Admit:     func(c *relay.Conn) { p.admit(c, server) },
		Inbound:   http.HandlerFunc(p.serveInbound),
		Outbound:  http.HandlerFunc(p.serveOutbound),
		Metrics:   page,
		MaxHeader: maxHeader,
	})
	p.Goroutines.Go(func() { p.id.Keep(p.Context()) })
}

// Edge implements proxy.Edge: an ingress is entered through its sidecar, which decides who may.
func (p *sidecar) Edge() string { return p.Inbound() }

// Pages implements proxy.Proxy.
func (p *sidecar) Pages() []proxy.Page {
	name := proxyName
	if p.pod.Gateway != nil {
		name = p.pod.Gateway.Name
	}
	return []proxy.Page{{Container: name, Addr: p.Metrics()}}
}

// Update implements proxy.Proxy. Connections to endpoints that are still there are kept.
func (p *sidecar) Update(snap *proxy.Snapshot) {
	p.updating.Lock()
	defer p.updating.Unlock()
	next := compile(snap, p.pod)
	next.tokens = p.keys.rules(settingsOf(snap.Objects).requestAuthentications, p.pod, snap.Hosts)
	if p.Context().Err() != nil {
		return
	}
	keep := map[hostKey]*host{}
	for _, u := range next.upstreams {
		u.stats = p.metrics.upstream(u.name)
		var hosts []*host
		for _, ep := range u.endpoints {
			key := hostKey{u.name, ep.Cluster, ep.UID, ep.Addr, ep.secure, u.sni, strings.Join(u.identities, " "), u.dest.maxRequests}
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
			h.Close()
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
	p.Stop()
	for _, t := range p.timers {
		t.Stop()
	}
	hosts := p.hosts
	p.hosts = nil
	p.updating.Unlock()
	p.Process.Kill(func() {
		for _, h := range hosts {
			h.Close()
		}
		p.app.Close()
	})
}

func (p *sidecar) dialApp(ctx context.Context) (net.Conn, error) {
	return orError(p.DialTCP(ctx, p.pod.AppAddr))
}

// newHost prepares connections to an endpoint.
func (p *sidecar) newHost(u *upstream, ep endpoint) *host {
	h := &host{ep: ep.Endpoint, secure: ep.secure, Pool: relay.Pool{
		Timeout: connectTimeout, MaxRequests: u.dest.maxRequests, Goroutines: &p.Goroutines,
	}}
	h.Dial = func(ctx context.Context) (net.Conn, error) {
		return orError(p.Process.Dial(func() (net.Conn, error) { return p.world.Dial(ctx, p.pod.Cluster, ep.Cluster, ep.Addr) }))
	}
	if ep.secure {
		h.Dial = p.secureDial(u, h.Dial)
	}
	return h
}

// explain says in Envoy's words why there is no response.
func explain(f *relay.Failure) string {
	switch f.Kind {
	case relay.ConnectFailure:
		return explainDial(f.Err)
	case relay.ResetFailure:
		return "connection termination"
	default:
		return f.Err.Error()
	}
}

func explainDial(err error) string {
	const transport = "remote connection failure, transport failure reason: "
	var errno syscall.Errno
	switch {
	case errors.Is(err, relay.ErrConnectTimeout):
		return relay.ErrConnectTimeout.Error()
	case isTLSFailure(err):
		return transport + "TLS_error: " + err.Error()
	case errors.As(err, &errno):
		s := errno.Error() // "connection refused", which Envoy writes with a capital
		return transport + "delayed connect error: " + strings.ToUpper(s[:1]) + s[1:]
	default:
		return transport + "delayed connect error: " + err.Error()
	}
}

// orError keeps a missing connection from becoming an interface that is not nil.
func orError(c *relay.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	return c, nil
}
