package linkerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/clusters/embedded/proxy/relay"
)

// StartGateway starts the proxy of a pod that has a gateway of its own, and returns the world as that gateway sees it:
// whatever it dials is captured.
func StartGateway(pod proxy.Pod, world proxy.World, first *proxy.Snapshot) (proxy.Proxy, proxy.World, error) {
	if pod.Gateway == nil {
		return nil, nil, fmt.Errorf("starting the proxy of %s in cluster %s: the pod has no gateway whose connections it would capture", pod.Pod, pod.Cluster)
	}
	p, err := start(pod, world, first, time.Now)
	if err != nil {
		return nil, nil, err
	}
	return p, captured{world, p.Outbound()}, nil
}

// captured is a World whose connections go to a proxy. On Linux iptables sends them there, and the proxy asks the kernel
// where they were meant to go (SO_ORIGINAL_DST). Here a line ahead of the first byte says so.
type captured struct {
	proxy.World
	outbound string
}

// Dial implements proxy.World. Like every captured connection it opens whether or not anybody is at its destination.
func (w captured) Dial(ctx context.Context, _, to, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", w.outbound)
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(c, to+" "+addr+"\n"); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// address is where a connection was meant to go.
type address struct{ cluster, addr string }

var errNoDestination = errors.New("a connection without its destination")

// readDestination reads the line that captured wrote, and nothing after it.
func readDestination(c io.Reader) (address, error) {
	const most = 512 // two names and a port
	var line []byte
	for b := [1]byte{}; len(line) < most; line = append(line, b[0]) {
		if _, err := io.ReadFull(c, b[:]); err != nil {
			return address{}, err
		}
		if b[0] == '\n' {
			to, addr, ok := strings.Cut(string(line), " ")
			if !ok {
				return address{}, errNoDestination
			}
			return address{to, addr}, nil
		}
	}
	return address{}, errNoDestination
}

// Parents in metrics of what is no Service.
const (
	toPod    = "endpoint"
	toNobody = "egress-fallback"
)

// at finds what is at an address: a Service at its ClusterIP, for which its name stands; a pod at its own, which is
// reached as it is, without balancing, retries or time-outs of its Service; or what the mesh does not know.
func (c *config) at(to address) *service {
	if host, _, err := net.SplitHostPort(to.addr); err == nil {
		if s := c.services[strings.ToLower(host)]; s != nil {
			return s
		}
	}
	if d, ok := c.pods[to]; ok {
		return &service{fallback: toPod, endpoints: []destination{d}}
	}
	d := destination{}
	d.Cluster, d.Addr = to.cluster, to.addr
	return &service{fallback: toNobody, endpoints: []destination{d}}
}

// remember takes over the pods of an earlier configuration that are endpoints no longer. They end only after they have left
// the endpoints, and until then a connection to one is still a connection to that pod.
func (c *config) remember(last *config) {
	if last == nil || last.pods == nil {
		return
	}
	for at, d := range last.pods {
		if _, ok := c.pods[at]; !ok {
			d.left = true
			c.pods[at] = d
		}
	}
}

// again is what was configured earlier as it is now: nil for an address where no endpoint is.
func (c *config) again(last *service) *service {
	if last.fallback == "" {
		if s := c.services[strings.ToLower(last.Host)]; s != nil {
			return s
		}
		return &service{Service: last.Service}
	}
	was := last.endpoints[0]
	if is, ok := c.pods[address{was.Cluster, was.Addr}]; ok && !is.left && is.UID == was.UID {
		return &service{fallback: toPod, endpoints: []destination{is}}
	}
	return nil
}

// key names the balancer of a service.
func (s *service) key() string {
	if s.fallback == "" {
		return s.Host
	}
	return s.fallback + " " + s.endpoints[0].Cluster + " " + s.endpoints[0].Addr
}

// capturedConn is a connection that speaks HTTP, and where it was meant to go.
type capturedConn struct {
	net.Conn
	to address
}

// capture finds out what a captured connection is, and hands it to the HTTP server or passes it on as it is.
func (p *linkerdProxy) capture(c *relay.Conn) {
	if c.SetReadDeadline(time.Now().Add(detectTimeout)) != nil {
		c.Close()
		return
	}
	to, err := readDestination(c)
	if err != nil {
		c.Close()
		return
	}
	svc := p.config.Load().at(to)
	http, stream := isHTTP(c)
	if c.SetReadDeadline(time.Time{}) != nil {
		c.Close()
		return
	}
	target := serviceTarget
	if svc.fallback != "" {
		target = appTarget
	}
	p.source(c, target)
	if !http {
		p.connect(c, stream, svc)
		return
	}
	if !p.Captured.Give(&capturedConn{stream, to}) {
		c.Close()
	}
}

// source counts a connection that a process of the pod opened.
func (p *linkerdProxy) source(c *relay.Conn, target labels) {
	p.opened(c, labels("").with("direction", "outbound", "peer", "src").and(target).and(loopback))
}

// connect passes on a connection that is not HTTP.
func (p *linkerdProxy) connect(c *relay.Conn, stream net.Conn, svc *service) {
	defer c.Close()
	b := p.balancer(svc)
	if b == nil {
		return
	}
	e, probe, err := b.pick(p.Context())
	if err != nil {
		return
	}
	e.breaker.record(unknown, probe, p.clock()) // breakers are for requests
	ctx, cancel := context.WithTimeout(p.Context(), outboundConnectTimeout)
	defer cancel()
	far, err := e.dial(ctx)
	if err != nil {
		return
	}
	defer far.Close()
	var back sync.WaitGroup
	back.Go(func() { pipe(stream, far) })
	pipe(far, stream)
	back.Wait()
}
