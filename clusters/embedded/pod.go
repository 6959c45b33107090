package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/workload"
)

// phase is how far a pod is in its life.
type phase int

const (
	starting phase = iota
	ready
	ended
)

// pod is one pod. What it is does not change; its phase does.
type pod struct {
	of             *deployment
	ref            evidence.PodRef
	ordinal        int    // in its Deployment, counted from 0 over all time
	hash           string // of the template that it was made from
	labels         map[string]string
	annotations    map[string]string
	account        string
	cfg            workload.Config
	mesh           string            // whose sidecar it has; "" without one
	gateway        *corev1.Container // the gateway in its template; nil without one
	containers     []string
	initContainers []string

	// Guarded by the fleet's lock.
	phase  phase
	listed bool // among the endpoints

	// Set before the pod is ready, and not changed afterwards.
	app    *appServer
	client *workload.Client
	proxy  proxy.Proxy
	echo   *service // of an outsider

	life  context.Context // of its processes
	end   context.CancelFunc
	dead  atomic.Bool // nothing more is said in its name
	draws atomic.Uint64
}

// addr is where the network delivers connections to the pod's application port.
func (p *pod) addr() string {
	if p.proxy != nil {
		return p.proxy.Inbound()
	}
	return p.app.addr()
}

// public is the pod as others see it. The fleet's lock must be held.
func (p *pod) public() clusters.Pod {
	return clusters.Pod{
		PodRef: p.ref, ServiceAccount: p.account, Containers: p.containers, InitContainers: p.initContainers, Ready: p.phase == ready,
	}
}

func (p *pod) endpoint() proxy.Endpoint {
	return proxy.Endpoint{
		PodRef: p.ref, ServiceAccount: p.account, Workload: p.of.name, Labels: p.labels, Mesh: p.mesh, Addr: p.addr(),
	}
}

// proxied reports whether a proxy stands between the workload and the network.
func (p *pod) proxied() bool { return p.mesh != "" || p.gateway != nil }

// start brings up the pod's processes: the workload, and its proxies. On an error nothing is left.
func (p *pod) start(f *fleet, first *proxy.Snapshot) error {
	p.life, p.end = context.WithCancel(context.Background())
	p.client = workload.NewClient(p.dial)
	what := fmt.Sprintf("pod %s in cluster %s", p.ref.Pod, p.ref.Cluster)
	handler, err := workload.NewHandler(p.cfg, p.ref, func(r *evidence.Request) error {
		if p.dead.Load() {
			return errEnded
		}
		r.Trial = f.spec.Trial
		return f.spec.Sink.Append(r)
	}, p.client)
	if err != nil {
		return err
	}
	if p.app, err = newAppServer(what, handler); err != nil {
		return err
	}
	if p.proxied() {
		p.proxy, err = f.factory.Start(proxy.Pod{
			PodRef: p.ref, ServiceAccount: p.account, Workload: p.of.name, Labels: p.labels, Annotations: p.annotations,
			AppAddr: p.app.addr(), Seed: int64(draw(f.spec.Seed, "proxy", p.ref.Cluster, p.ref.Pod)),
			Mesh: p.mesh, Gateway: p.gateway,
		}, f, first)
		if err != nil {
			p.app.kill()
			p.client.Close()
			return fmt.Errorf("starting the proxy of %s: %w%s", what, err, remedy(err))
		}
	}
	if p.cfg.Role == workload.RoleOutsider {
		if p.echo, err = serve("the echo of "+what, func(c *net.TCPConn) { workload.Echo(c) }); err != nil {
			p.kill()
			return err
		}
	}
	p.app.serve()
	return nil
}

// dial opens a connection of the workload's.
func (p *pod) dial(ctx context.Context, addr string) (net.Conn, error) {
	if p.proxied() { // whatever the workload sends is captured
		var d net.Dialer
		return d.DialContext(ctx, "tcp", p.proxy.Outbound())
	}
	c := p.of.cluster
	return c.dialService(ctx, c.name, draw(c.f.spec.Seed, "kube-proxy", p.ref.Pod, strconv.FormatUint(p.draws.Add(1), 10)), addr)
}

var errEnded = errors.New("the pod has ended")

// kill ends the pod's processes at once, sockets first, and waits until nothing is left of them. What a handler comes to
// only because it was killed is recorded by nobody.
func (p *pod) kill() {
	p.end()
	if p.echo != nil {
		p.echo.stop()
	}
	if p.proxy != nil {
		p.proxy.Kill()
	}
	p.app.socket.kill()
	p.dead.Store(true)
	p.app.kill()
	p.client.Close()
}

// drain ends the pod as SIGTERM does: what is under way is answered first, for at most the grace period.
func (p *pod) drain(ctx context.Context, grace time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	_ = p.app.server.Shutdown(ctx) // what is still there then is killed
	p.kill()
}

// appServer is the process of the workload: an HTTP server that can be killed.
type appServer struct {
	*socket
	server  *http.Server
	cancel  context.CancelFunc
	serving sync.WaitGroup // the server, and each of its connections
}

func newAppServer(what string, h http.Handler) (*appServer, error) {
	sock, err := listen(what)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	a := &appServer{socket: sock, cancel: cancel}
	a.server = &http.Server{
		Handler:           a.waitedFor(h),
		Protocols:         workload.Protocols(),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // broken connections are in evidence, from both ends
		BaseContext:       func(net.Listener) context.Context { return ctx },
		// net/http does not wait for handlers when it is closed. Each connection's first state is set before its
		// goroutine starts, and its last one after its handler has returned.
		ConnState: func(_ net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				a.serving.Add(1)
			case http.StateClosed, http.StateHijacked:
				a.serving.Done()
			default:
			}
		},
	}
	return a, nil
}

// waitedFor is a handler that kill waits for in HTTP/2, too, where a connection may end before its handlers do.
func (a *appServer) waitedFor(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor > 1 {
			a.serving.Add(1)
			defer a.serving.Done()
		}
		h.ServeHTTP(w, r)
	})
}

func (a *appServer) serve() {
	a.serving.Go(func() { _ = a.server.Serve(a.socket) }) // ends with the socket
}

func (a *appServer) kill() {
	a.socket.kill()
	a.cancel()
	_ = a.server.Close()
	a.serving.Wait()
}
