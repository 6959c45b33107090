package istio

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/meshproof/meshproof/clusters/embedded/proxy/relay"
)

// serveOutbound sends a request of the workload to where its Host header says.
func (p *sidecar) serveOutbound(w http.ResponseWriter, r *http.Request) {
	out := outboundRequest{sidecar: p, start: time.Now(), w: w, r: r, service: unknownService}
	v := p.config.Load().virtualHost(r.Host)
	if v == nil {
		// The cluster of everything that is not in the registry.
		out.service = service{r.Host, "BlackHoleCluster", "unknown"}
		out.fail(http.StatusBadGateway, "", "")
		return
	}
	out.service = v.service
	uri, ok := normalizePath(relay.Target(r))
	if !ok {
		out.fail(http.StatusBadRequest, "", "")
		return
	}
	path := withoutQuery(uri)
	for _, rt := range v.routes {
		if rt.matchesRequest(r.Method, path, r.Header) {
			out.send(rt, uri)
			return
		}
	}
	out.fail(http.StatusNotFound, "NR", "")
}

// outboundRequest is one request on its way to an upstream.
type outboundRequest struct {
	*sidecar
	start   time.Time
	w       http.ResponseWriter
	r       *http.Request
	service service
	at      *host // the host that was asked last
}

// send asks hosts, one after the other, as long as the route's retries say.
func (o *outboundRequest) send(rt *route, uri string) {
	up := rt.pick(o.dice.Draw)
	if up == nil {
		o.fail(http.StatusServiceUnavailable, "NC", "")
		return
	}
	o.service = up.service
	ctx := o.r.Context()
	if !o.suffer(ctx, rt.fault) {
		return
	}
	req := &relay.Outgoing{Method: o.r.Method, URI: uri, Host: o.r.Host, Header: o.outgoingHeader()}
	if err := relay.TakeBody(o.w, o.r, req, bodyKept); err != nil {
		o.gone()
	}
	retry := rt.retry
	if req.Stream != nil {
		retry.attempts = 0 // its body cannot be sent twice
	}
	if rt.deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, rt.deadline, errTimeout)
		defer cancel()
	}
	var tried []*host
	for n := 1; ; n++ {
		h := up.balancer.pick(tried, retry.reselected)
		if h == nil {
			o.fail(http.StatusServiceUnavailable, "UH", "no healthy upstream")
			return
		}
		tried, o.at = append(tried, h), h
		req.Header[headAttempt] = []string{strconv.Itoa(n)}
		again, wanted := n <= retry.attempts, false
		x, end, fail := o.try(ctx, h, req, retry.perTry)
		switch {
		case o.r.Context().Err() != nil:
			if x != nil {
				end(false)
			}
			o.gone()
		case fail != nil && ctx.Err() != nil: // the route's own timeout
			o.fail(http.StatusGatewayTimeout, "UT", "upstream request timeout")
			return
		case fail != nil:
			wanted = retry.retriesFailure(fail.Kind)
		default:
			wanted = retry.retriesStatus(x.StatusCode)
		}
		if !wanted || !again {
			o.answer(up, x, end, fail, n, wanted && retry.attempts > 0)
			return
		}
		if x != nil {
			end(false)
		}
		up.stats.retries.Inc()
		if !o.pause(ctx, n) {
			continue // the next try finds the context ended, and says so
		}
	}
}

var errTimeout = errors.New("upstream request timeout")

// try asks one host. end must be called once after a response was taken.
func (o *outboundRequest) try(ctx context.Context, h *host, req *relay.Outgoing, limit time.Duration) (*relay.Exchange, func(whole bool), *relay.Failure) {
	cancel := context.CancelFunc(func() {})
	if limit > 0 {
		ctx, cancel = context.WithTimeoutCause(ctx, limit, errTimeout)
	}
	h.active.Add(1)
	x, fail := h.Do(ctx, req)
	if fail != nil {
		if fail.Kind == relay.Canceled && context.Cause(ctx) == errTimeout {
			fail.Kind, fail.Err = relay.TimedOut, errTimeout
		}
		h.active.Add(-1)
		cancel()
		return nil, nil, fail
	}
	return x, func(whole bool) {
		x.Finish(whole)
		h.active.Add(-1)
		cancel()
	}, nil
}

// answer passes on what came of the last try.
func (o *outboundRequest) answer(up *upstream, x *relay.Exchange, end func(bool), fail *relay.Failure, tries int, exhausted bool) {
	flags := ""
	if exhausted {
		flags = "URX"
		up.stats.exhausted.Inc()
	}
	if fail != nil {
		code, flag, _, body := localReply(fail, tries > 1)
		o.fail(code, strings.Trim(flag+","+flags, ","), body)
		return
	}
	respond(o.w, x, end, func(broken bool) {
		if broken {
			flags = strings.Trim("UC,"+flags, ",")
		}
		o.count(x.StatusCode, flags)
	})
}

// outgoingHeader is the request's header with what the sidecar adds. Whatever the workload claims about certificates or
// about its own place in the mesh is taken out.
func (o *outboundRequest) outgoingHeader() http.Header {
	h := relay.RequestHeader(o.r.Header)
	delete(h, headXFCC)
	h[headPeer] = []string{o.told}
	h[headPeerID] = []string{o.nodeType() + "~127.0.0.1~" + o.pod.Pod + "." + o.pod.Namespace + "~" + o.pod.Namespace + ".svc.cluster.local"}
	if _, ok := h[headID]; !ok {
		h[headID] = []string{uuid.NewString()}
	}
	if _, ok := h[headProto]; !ok {
		h[headProto] = []string{"http"}
	}
	return h
}

// pause waits before the n-th retry; it reports false when ctx ended.
func (o *outboundRequest) pause(ctx context.Context, n int) bool {
	return relay.Sleep(ctx, time.Duration(o.dice.Draw(int(backoff(n)))))
}

// fail answers in the proxy's own name.
func (o *outboundRequest) fail(code int, flags, body string) {
	o.count(code, flags)
	reply(o.w, code, body)
}

// gone ends a request whose client went away.
func (o *outboundRequest) gone() {
	o.count(0, "DC")
	panic(http.ErrAbortHandler)
}

// count counts the request before the last byte of its response.
func (o *outboundRequest) count(code int, flags string) {
	s := requestSeries{
		reporter: "source", source: o.self, dest: unknownParty, service: o.service,
		code: code, flags: "-", policy: "unknown",
	}
	if flags != "" {
		s.flags = flags
	}
	if o.at != nil && o.at.ep.Workload != "" { // a ServiceEntry's endpoint is no workload that istiod knows
		ep := o.at.ep
		s.dest = partyOf(ep.Workload, ep.Namespace, ep.Cluster, ep.Labels)
		if o.at.secure && ep.Mesh == meshName { // a principal is a URI: Linkerd's certificates have none
			s.dest.Principal = spiffeID(ep.Namespace, ep.ServiceAccount)
		}
	}
	if o.at == nil || !o.at.secure {
		s.source.Principal = "unknown"
	}
	o.metrics.request(s, time.Since(o.start))
}

// localReply is Envoy's answer where an upstream gave none.
func localReply(f *relay.Failure, retried bool) (code int, flags, details, body string) {
	if f.Kind == relay.TimedOut {
		return http.StatusGatewayTimeout, "UT", "upstream_per_try_timeout", f.Err.Error()
	}
	flags = "UC"
	if f.Kind == relay.ConnectFailure {
		flags = "UF"
	}
	body = "upstream connect error or disconnect/reset before headers. "
	if retried {
		body += "retried and the latest "
	}
	body += "reset reason: " + explain(f)
	reason, _, _ := strings.Cut(explain(f), ",")
	details = "upstream_reset_before_response_started{" + strings.ReplaceAll(reason, " ", "_") + "}"
	return http.StatusServiceUnavailable, flags, details, body
}
