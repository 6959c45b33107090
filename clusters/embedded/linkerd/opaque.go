package linkerd

import (
	"io"
	"net"
	"sync"
	"time"

	"github.com/meshproof/meshproof/clusters/embedded/proxy/relay"
)

// opaqueSet knows the connections that are passed on without being read: they end when the policy no longer lets them in.
type opaqueSet struct {
	mu   sync.Mutex
	open map[*relay.Conn]tlsState
}

func (s *opaqueSet) add(c *relay.Conn, t tlsState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[*relay.Conn]tlsState{}
	}
	s.open[c] = t
}

func (s *opaqueSet) remove(c *relay.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

// recheck ends the connections that a policy does not authorize.
func (s *opaqueSet) recheck(p *linkerdProxy, policy *portPolicy) {
	s.mu.Lock()
	var ended []*relay.Conn
	for c, t := range s.open {
		if policy.authorizeTCP(t) == nil {
			p.metrics.inc(tcpTerminate, appTarget.and(policy.labels()).and(t.labels()))
			ended = append(ended, c)
			delete(s.open, c)
		}
	}
	s.mu.Unlock()
	for _, c := range ended {
		c.Close()
	}
}

// forward passes a connection that is not HTTP to the workload, where the policy lets it in.
func (p *linkerdProxy) forward(c *relay.Conn, stream net.Conn, state tlsState, policy *portPolicy) {
	defer c.Close()
	authz := policy.authorizeTCP(state)
	if authz == nil {
		p.metrics.inc(tcpDeny, appTarget.and(policy.labels()).and(state.labels()))
		return
	}
	p.metrics.inc(tcpAllow, appTarget.and(policy.labels()).and(authz.meta.labels("authz")).and(state.labels()))
	app, err := p.app.Open(p.Context())
	if err != nil {
		p.metrics.inc(tcpErrors, labels("").with("error", "i/o").and(appTarget))
		return
	}
	defer app.Close()
	if c.SetReadDeadline(time.Time{}) != nil {
		return
	}
	p.opened(c, p.sourceLabels(state, policy))
	p.opaques.add(c, state)
	defer p.opaques.remove(c)
	if p.config.Load().app != policy {
		p.opaques.recheck(p, p.config.Load().app) // it changed meanwhile
	}
	var back sync.WaitGroup
	back.Go(func() { pipe(stream, app) })
	pipe(app, stream)
	back.Wait()
}

// pipe copies until the source ends. An error ends both.
func pipe(to, from net.Conn) {
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		from.Close()
		return
	}
	if relay.CloseWrite(to) != nil {
		to.Close()
	}
}
