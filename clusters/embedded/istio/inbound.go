package istio

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/meshproof/meshproof/clusters/embedded/proxy/relay"
	"github.com/meshproof/meshproof/internal/oidc"
	"github.com/meshproof/meshproof/scenarios"
)

// handshakeTimeout is Istio's transport socket connect timeout of inbound listeners.
const handshakeTimeout = 15 * time.Second

// inboundConn is a connection that a filter chain took.
type inboundConn struct {
	net.Conn
	secure bool  // mutual TLS was terminated
	peer   *peer // nil without mutual TLS
	set    *inboundSet
}

// Close implements net.Conn.
func (c *inboundConn) Close() error {
	c.set.remove(c)
	return c.Conn.Close()
}

// keeps reports whether a port in this mode has a filter chain for the connection.
func (c *inboundConn) keeps(m mtlsMode) bool {
	return m == permissive || c.secure == (m == strict)
}

// inboundSet knows the inbound connections that have a filter chain.
type inboundSet struct {
	mu   sync.Mutex
	open map[*inboundConn]struct{}
}

func (s *inboundSet) add(c *inboundConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[*inboundConn]struct{}{}
	}
	s.open[c] = struct{}{}
}

func (s *inboundSet) remove(c *inboundConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

// stale lists the connections that a port in mode m would not take.
func (s *inboundSet) stale(m mtlsMode) []*inboundConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*inboundConn
	for c := range s.open {
		if !c.keeps(m) {
			out = append(out, c)
		}
	}
	return out
}

// admit finds the filter chain of a connection by its first bytes, and hands it to the HTTP server. It waits for these
// bytes without a limit, as Istio does.
func (p *sidecar) admit(c *relay.Conn, server *tls.Config) {
	start := time.Now()
	pre := relay.NewPrefixConn(c)
	isTLS, err := pre.IsTLS()
	if err != nil {
		c.Close()
		return
	}
	mode := p.config.Load().mode
	if mode == permissive && isTLS {
		// A port that takes both terminates TLS only where sidecars talk to each other.
		hello, ok := pre.Sniff()
		if !ok {
			c.Close()
			return
		}
		if !slices.ContainsFunc(hello.Protocols, func(s string) bool { return slices.Contains(mtlsALPN, s) }) {
			p.refuse(c, start)
			return
		}
	}
	switch {
	case mode == strict && !isTLS:
		p.refuse(c, start)
		return
	case mode == disabled || !isTLS:
		p.hand(&inboundConn{Conn: pre, set: &p.inboundSet})
		return
	}
	secured := tls.Server(pre, server)
	ctx, cancel := context.WithTimeout(p.Context(), handshakeTimeout)
	defer cancel()
	if err := secured.HandshakeContext(ctx); err != nil {
		switch kindOf(err) {
		case noCertificate:
			p.metrics.failVerifyNo.Inc()
		case failedChain:
			p.metrics.failVerifyError.Inc()
		case failedIdentity:
			p.metrics.failVerifySAN.Inc()
		default:
			p.metrics.connectionErrors.Inc()
		}
		c.Close()
		return
	}
	p.metrics.handshakes.Inc()
	p.hand(&inboundConn{Conn: secured, secure: true, peer: newPeer(secured.ConnectionState(), p.id.Leaf.URI), set: &p.inboundSet})
}

// refuse resets a connection that no filter chain takes, before a byte was sent.
func (p *sidecar) refuse(c *relay.Conn, start time.Time) {
	p.metrics.noFilterChain.Inc()
	p.logAccess(accessLine{Details: "filter_chain_not_found", Flags: "NR"}, nil, start)
	c.Reset()
}

func (p *sidecar) hand(c *inboundConn) {
	p.inboundSet.add(c)
	if !p.Accepted.Give(c) {
		c.Close()
	}
}

// serveInbound decides about a request and passes it to the workload.
func (p *sidecar) serveInbound(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	conn, ok := relay.ConnOf(r.Context()).(*inboundConn)
	if !ok {
		reply(w, http.StatusInternalServerError, "") // every connection comes from hand
		return
	}
	cfg := p.config.Load()
	if !conn.keeps(cfg.mode) {
		w.Header()["Connection"] = []string{"close"} // its filter chain drains
	}
	in := inboundRequest{sidecar: p, cfg: cfg, conn: conn, start: start, w: w, r: r, header: relay.RequestHeader(r.Header)}
	in.source = conn.peer.describe(in.header)
	in.tag()
	var uriOK bool
	if in.uri, uriOK = normalizePath(relay.Target(r)); !uriOK {
		in.finish(http.StatusBadRequest, "", "path_normalization_failed", "")
		reply(w, http.StatusBadRequest, "")
		return
	}
	claims, refused := in.authenticate()
	if refused != "" {
		in.finish(refused.Code(), "", refused.Details(), "")
		w.Header()["Www-Authenticate"] = []string{challenge(r)}
		reply(w, refused.Code(), string(refused))
		return
	}
	d := cfg.authz.decide(in.authz(claims))
	p.metrics.rbacAllowed.Add(float64(d.passed))
	if !d.allowed {
		p.metrics.rbacDenied.Inc()
		in.finish(http.StatusForbidden, "", "rbac_access_denied_matched_policy["+d.policy+"]", "")
		reply(w, http.StatusForbidden, "RBAC: access denied")
		return
	}
	in.forward()
}

// inboundRequest is one request on its way to the workload.
type inboundRequest struct {
	*sidecar
	cfg    *config
	conn   *inboundConn
	start  time.Time
	w      http.ResponseWriter
	r      *http.Request
	uri    string
	header http.Header
	source party
}

// tag sets what every request to a workload carries. The caller's certificate is appended to X-Forwarded-Client-Cert;
// without one nothing that a client wrote there is handed on.
func (in *inboundRequest) tag() {
	h := in.header
	if _, ok := h[headID]; !ok {
		h[headID] = []string{uuid.NewString()}
	}
	if _, ok := h[headProto]; !ok {
		h[headProto] = []string{"http"}
		if in.conn.secure {
			h[headProto] = []string{"https"}
		}
	}
	if in.conn.peer == nil {
		delete(h, headXFCC)
		return
	}
	h[headXFCC] = []string{strings.Join(append(slices.Clone(h[headXFCC]), in.conn.peer.xfcc), ",")}
}

func (in *inboundRequest) authz(claims oidc.Claims) *authzRequest {
	a := &authzRequest{
		method: in.r.Method, path: withoutQuery(in.uri), host: in.r.Host,
		port: scenarios.WorkloadPort, header: in.header, claims: claims,
	}
	if in.conn.peer != nil {
		a.principal = in.conn.peer.uri
	}
	return a
}

func (in *inboundRequest) forward() {
	out := &relay.Outgoing{Method: in.r.Method, URI: in.uri, Host: in.r.Host, Header: in.header}
	if err := relay.TakeBody(in.w, in.r, out, bodyKept); err != nil {
		in.finish(0, "DC", "downstream_remote_disconnect", "")
		panic(http.ErrAbortHandler)
	}
	in.app.active.Add(1)
	defer in.app.active.Add(-1)
	x, fail := in.app.Do(in.r.Context(), out)
	if fail != nil {
		if fail.Kind == relay.Canceled {
			in.finish(0, "DC", "downstream_remote_disconnect", in.pod.AppAddr)
			panic(http.ErrAbortHandler)
		}
		code, flags, details, body := localReply(fail, false)
		in.finish(code, flags, details, in.pod.AppAddr)
		reply(in.w, code, body)
		return
	}
	respond(in.w, x, x.Finish, func(broken bool) {
		if broken {
			in.finish(x.StatusCode, "UC", "upstream_reset_after_response_started{connection_termination}", in.pod.AppAddr)
			return
		}
		in.finish(x.StatusCode, "", "via_upstream", in.pod.AppAddr)
	})
}

// finish counts and logs the request. It comes before the last byte of the response, so that whoever has the response
// finds it counted.
func (in *inboundRequest) finish(code int, flags, details, upstream string) {
	s := requestSeries{
		reporter: "destination", source: in.source, dest: in.self, service: in.cfg.own,
		code: code, flags: "-", policy: "none",
	}
	if in.conn.secure {
		s.policy = "mutual_tls"
	} else {
		s.dest.Principal = "unknown"
	}
	if flags != "" {
		s.flags = flags
	}
	in.metrics.request(s, time.Since(in.start))
	path := in.uri
	if path == "" {
		path = in.r.RequestURI
	}
	in.logAccess(accessLine{
		Code: code, Details: details, Flags: flags, ID: text(in.header.Get(headID)),
		Method: text(in.r.Method), Path: text(path), Upstream: text(upstream),
	}, in.conn.peer, in.start)
}
