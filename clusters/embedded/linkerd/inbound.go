package linkerd

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/meshproof/meshproof/clusters/embedded/proxy/relay"
)

const (
	headClientID  = "L5d-Client-Id"
	headError     = "L5d-Proxy-Error"
	headCloseConn = "L5d-Proxy-Connection"
	grpcType      = "application/grpc"
)

// inboundConn is a connection that speaks HTTP.
type inboundConn struct {
	net.Conn
	tls tlsState
}

// admit finds out what a connection is, and hands it to the HTTP server, to the workload as it is, or to nobody.
func (p *linkerdProxy) admit(c *relay.Conn, server *tls.Config) {
	deadline := time.Now().Add(detectTimeout)
	if c.SetReadDeadline(deadline) != nil {
		c.Close()
		return
	}
	pre := relay.NewPrefixConn(c)
	isTLS, err := pre.IsTLS()
	if err != nil {
		c.Close()
		return
	}
	var (
		stream = net.Conn(pre)
		state  tlsState
		policy = p.config.Load().app
	)
	if isTLS {
		hello, heard := pre.Sniff()
		switch {
		case heard && hello.ServerName == p.id.Leaf.DNS:
			secured, err := p.terminate(pre, server)
			if err != nil {
				p.metrics.inc(tcpErrors, labels("").with("error", "i/o").and(appTarget))
				c.Close()
				return
			}
			stream, state = secured, tlsState{established: true, client: clientIDOf(secured.ConnectionState())}
		case heard:
			state.sni = hello.ServerName
		}
	}
	if policy.protocol == opaque {
		state.skipped = !state.established
		state.sni = ""
		p.forward(c, stream, state, policy)
		return
	}
	if policy.protocol == detect || isTLS {
		// A port that is known to speak HTTP/1 is believed where there is no TLS; HTTP/2 may come inside TLS.
		http, replay := isHTTP(stream)
		stream = replay
		if !http {
			p.forward(c, stream, state, policy)
			return
		}
	}
	if c.SetReadDeadline(time.Time{}) != nil {
		c.Close()
		return
	}
	p.opened(c, p.sourceLabels(state, policy))
	if !p.Accepted.Give(&inboundConn{stream, state}) {
		c.Close()
	}
}

func (p *linkerdProxy) terminate(c net.Conn, cfg *tls.Config) (*tls.Conn, error) {
	secured := tls.Server(c, cfg)
	ctx, cancel := context.WithTimeout(p.Context(), detectTimeout)
	defer cancel()
	return secured, secured.HandshakeContext(ctx)
}

// sourceLabels are those of an accepted connection.
func (p *linkerdProxy) sourceLabels(state tlsState, policy *portPolicy) labels {
	return labels("").with("direction", "inbound", "peer", "src").and(appTarget).and(state.labels()).and(policy.labels())
}

// replayConn gives back what was read ahead.
type replayConn struct {
	net.Conn
	r io.Reader
}

// Read implements net.Conn.
func (c *replayConn) Read(b []byte) (int, error) { return c.r.Read(b) }

// CloseWrite ends one direction where the connection can.
func (c *replayConn) CloseWrite() error { return relay.CloseWrite(c.Conn) }

// isHTTP reads ahead until it can tell. A connection that says nothing for too long is none.
func isHTTP(c net.Conn) (bool, net.Conn) {
	const (
		preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
		most    = 8 << 10 // of a request line
	)
	var read []byte
	replay := &replayConn{c, nil}
	defer func() { replay.r = io.MultiReader(bytes.NewReader(read), c) }()
	buf := make([]byte, 1024)
	for len(read) < most {
		n, err := c.Read(buf)
		read = append(read, buf[:n]...)
		if len(read) >= len(preface) && string(read[:len(preface)]) == preface {
			return true, replay
		}
		if line, _, ok := bytes.Cut(read, []byte("\r\n")); ok && !strings.HasPrefix(preface, string(line)+"\r\n") {
			return isRequestLine(string(line)), replay
		}
		if err != nil || len(read) > 0 && !isToken(read[0]) {
			return false, replay
		}
	}
	return false, replay
}

func isRequestLine(line string) bool {
	parts := strings.Split(line, " ")
	return len(parts) == 3 && parts[0] != "" && strings.HasPrefix(parts[2], "HTTP/1.")
}

// isTokens reports whether s is empty or a token (RFC 9110 section 5.6.2).
func isTokens(s string) bool {
	return strings.IndexFunc(s, func(c rune) bool { return c > '~' || !isToken(byte(c)) }) < 0
}

// isToken reports whether a token may have the byte.
func isToken(b byte) bool {
	return 'A' <= b && b <= 'Z' || 'a' <= b && b <= 'z' || '0' <= b && b <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", b) >= 0
}

// serveInbound decides about a request and passes it to the workload.
func (p *linkerdProxy) serveInbound(w http.ResponseWriter, r *http.Request) {
	conn, ok := relay.ConnOf(r.Context()).(*inboundConn)
	if !ok {
		w.WriteHeader(http.StatusInternalServerError) // every connection comes from admit
		return
	}
	in := p.newInbound(w, r, p.config.Load().app, appTarget, conn.tls)
	if in.authorize() {
		in.forward()
	}
}

// inboundRequest is one request to a port of the pod.
type inboundRequest struct {
	proxy  *linkerdProxy
	policy *portPolicy
	target labels
	tls    tlsState
	began  time.Time
	w      http.ResponseWriter
	r      *http.Request
	header http.Header // what is handed on of the request's
	series labels      // of the request, once it was authorized
}

func (p *linkerdProxy) newInbound(w http.ResponseWriter, r *http.Request, policy *portPolicy, target labels, t tlsState) *inboundRequest {
	in := &inboundRequest{
		proxy: p, policy: policy, target: target, tls: t, began: p.clock(), w: w, r: r, header: relay.RequestHeader(r.Header),
	}
	// Whatever a client says of itself is replaced, before a route looks at it. X-Forwarded-Client-Cert is nothing to
	// Linkerd, and passes.
	delete(in.header, headClientID)
	if t.client.name != "" {
		in.header[headClientID] = []string{t.client.name}
	}
	return in
}

// authorize answers for itself where the policy refuses. Only what it lets pass is in request_total. What a limit on the
// rate turns away was authorized, and is counted as that too.
func (in *inboundRequest) authorize() bool {
	p, m := in.policy, in.proxy.metrics
	route, authz := p.authorizeHTTP(asked{in.r.Method, in.r.URL.EscapedPath(), in.header}, in.tls)
	switch {
	case route == nil:
		m.inc(routeNotFound, in.target.and(p.labels()).and(in.tls.labels()))
		in.refuse(http.StatusNotFound, "no route found for request")
		return false
	case authz == nil:
		m.inc(httpDeny, in.target.and(p.labels()).and(route.meta.labels("route")).and(in.tls.labels()))
		in.refuse(http.StatusForbidden, "unauthorized request on route")
		return false
	}
	decided := p.labels().and(route.meta.labels("route")).and(authz.meta.labels("authz"))
	m.inc(httpAllow, in.target.and(decided).and(in.tls.labels()))
	if scope, why := p.limiter.check(in.tls.client, in.proxy.clock()); scope != "" {
		m.inc(rateLimited, in.target.and(p.labels()).and(p.limits.labels(scope)).and(in.tls.labels()))
		in.refuse(http.StatusTooManyRequests, why)
		return false
	}
	in.series = labels("").with("direction", "inbound").and(in.target).and(in.tls.labels()).and(decided)
	m.inc(requestTotal, in.series)
	return true
}

// grpcCodes are the codes of refusals where a request is gRPC (NotFound, PermissionDenied, ResourceExhausted).
var grpcCodes = map[int]string{http.StatusNotFound: "5", http.StatusForbidden: "7", http.StatusTooManyRequests: "8"}

// refuse answers without a body. Reasons are told to clients of the mesh alone. A request of gRPC is answered in its
// words; the proxy knows one by HTTP/2, also where that is between two proxies alone, and its content type.
func (in *inboundRequest) refuse(code int, why string) {
	h := in.w.Header()
	why = fmt.Sprintf("client %s: server: %s:%s: %s", in.r.RemoteAddr, podIP, in.policy.port, why)
	member := in.tls.client.name != ""
	if in.r.ProtoMajor == 2 && strings.HasPrefix(in.r.Header.Get("Content-Type"), grpcType) {
		h["Content-Type"] = []string{grpcType}
		h["Grpc-Status"] = []string{grpcCodes[code]}
		if member {
			h["Grpc-Message"] = []string{why}
		}
		code = http.StatusOK
	}
	if member {
		h[headError] = []string{why}
	}
	empty(in.w, code)
}

// empty writes a response without a body.
func empty(w http.ResponseWriter, code int) {
	w.Header()["Content-Length"] = []string{"0"}
	w.WriteHeader(code)
}

// forward passes the request to the workload.
func (in *inboundRequest) forward() {
	out := &relay.Outgoing{Method: in.r.Method, URI: relay.Target(in.r), Host: in.r.Host, Header: in.header}
	if err := relay.TakeBody(in.w, in.r, out, retryBodyKept); err != nil {
		panic(http.ErrAbortHandler) // the client is gone
	}
	x, fail := in.proxy.app.Do(in.r.Context(), out)
	if fail != nil {
		if fail.Kind == relay.Canceled {
			panic(http.ErrAbortHandler)
		}
		code, why := http.StatusBadGateway, fail.Err.Error()
		if errors.Is(fail.Err, relay.ErrConnectTimeout) {
			code, why = http.StatusGatewayTimeout, "connect timed out after "+inboundConnectTimeout.String()
		}
		in.finish(code, false)
		if in.tls.client.name != "" {
			in.w.Header()[headError] = []string{oneLine(why)}
			in.w.Header()[headCloseConn] = []string{"close"}
		}
		if in.r.ProtoMajor == 1 {
			in.w.Header()["Connection"] = []string{"close"}
		}
		empty(in.w, code)
		return
	}
	relay.CopyHeader(in.w.Header(), x.Response)
	relay.Respond(in.w, x.Response, x.Finish, func(broken bool) { in.finish(x.StatusCode, broken) })
}

// finish counts the response, before its last byte, so that whoever has it finds it counted.
func (in *inboundRequest) finish(code int, broken bool) {
	m := in.proxy.metrics
	m.observe(responseLatency, in.series.with("status_code", intText(code)), in.proxy.clock().Sub(in.began))
	m.inc(responseTotal, in.series.and(classified(code, broken)))
}

// oneLine makes a text fit for a header.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, s)
}
