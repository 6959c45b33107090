package linkerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/meshproof/meshproof/clusters/embedded/proxy/relay"
)

// serveOutbound sends a request of the workload to where its Host header says, which stands for the address that the name
// resolves to; and one on a connection that was captured to where the connection was meant to go.
func (p *linkerdProxy) serveOutbound(w http.ResponseWriter, r *http.Request) {
	out := &outboundRequest{proxy: p, w: w, r: r, began: p.clock()}
	switch c := relay.ConnOf(r.Context()).(type) {
	case *capturedConn:
		out.svc = p.config.Load().at(c.to)
	case *relay.Conn:
		c.First.Do(func() { p.source(c, serviceTarget) })
		out.svc = p.config.Load().find(r.Host)
	}
	if out.svc == nil {
		out.fail(http.StatusBadGateway, "no Service is called "+r.Host)
		return
	}
	out.balancer = p.balancer(out.svc)
	if out.balancer == nil {
		panic(http.ErrAbortHandler)
	}
	out.send()
}

// outboundRequest is one request to a Service.
type outboundRequest struct {
	proxy    *linkerdProxy
	w        http.ResponseWriter
	r        *http.Request
	began    time.Time
	svc      *service
	balancer *balancer
}

// attempt is what came of asking once: an answer, or a response that the proxy makes itself.
type attempt struct {
	answer *answer
	ended  func(broken bool) // counts the answer, before its last byte
	code   int
	why    error
	label  string // of the error in metrics
	close  bool   // ends the workload's connection
}

var (
	errRetryTimeout    = errors.New("response header timeout")
	errRequestTimeout  = errors.New("timed out waiting for response headers: request timeout")
	errResponseTimeout = errors.New("timed out processing response stream: response stream timeout")
)

// send asks endpoints, one after the other, as long as the retries say.
func (o *outboundRequest) send() {
	req := &relay.Outgoing{Method: o.r.Method, URI: relay.Target(o.r), Host: o.r.Host, Header: relay.RequestHeader(o.r.Header)}
	if err := relay.TakeBody(o.w, o.r, req, retryBodyKept); err != nil {
		panic(http.ErrAbortHandler)
	}
	set := o.svc.settings
	ctx, cancel := context.WithCancel(o.r.Context())
	defer cancel()
	if set.request > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, set.request, errRequestTimeout)
		defer stop()
	}
	if set.response > 0 { // the body of the request was read already, or is on its way
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, set.response, errResponseTimeout)
		defer stop()
	}
	limit := 0
	if set.retry != nil && req.Stream == nil {
		limit = set.retry.limit
	}
	for n := 0; ; n++ {
		a := o.try(ctx, req, n < limit)
		if o.r.Context().Err() != nil {
			a.drop()
			panic(http.ErrAbortHandler)
		}
		wanted := set.retry != nil && o.retryable(set.retry, a) && ctx.Err() == nil
		if wanted && n < limit {
			a.drop()
			o.proxy.metrics.inc(routeRetries, o.svc.routeLabels())
			relay.Sleep(ctx, o.pause(n)) // the next attempt finds the context ended, and says so
			continue
		}
		switch {
		case wanted && limit > 0:
			o.proxy.metrics.inc(routeRetryLimit, o.svc.routeLabels())
		case n > 0:
			o.proxy.metrics.inc(routeRetrySuccess, o.svc.routeLabels())
		}
		o.respond(a)
		return
	}
}

// drop gives an answer up that nobody will read.
func (a *attempt) drop() {
	if a.answer != nil {
		a.ended(false)
		a.answer.finish(false)
		a.answer = nil
	}
}

func (o *outboundRequest) retryable(p *retryPolicy, a *attempt) bool {
	switch a.why {
	case errFailFast, errRetryTimeout:
		return true
	case errLoadShed:
		return false
	}
	return p.retries(a.status())
}

func (a *attempt) status() int {
	if a.answer != nil {
		return a.answer.StatusCode
	}
	return a.code
}

// pause before a retry: 25 ms, twice as long each time, at most 250 ms, and up to as much again.
func (o *outboundRequest) pause(n int) time.Duration {
	d := min(25*time.Millisecond<<min(n, 10), 250*time.Millisecond)
	return d + time.Duration(o.proxy.dice.Draw(int(d)))
}

// try asks one endpoint. mayRetry has the policy's limit for the response's header hold.
func (o *outboundRequest) try(ctx context.Context, req *relay.Outgoing, mayRetry bool) *attempt {
	e, probe, err := o.balancer.pick(ctx)
	switch {
	case errors.Is(err, errFailFast):
		return &attempt{code: http.StatusGatewayTimeout, why: err, label: "FAIL_FAST", close: true}
	case errors.Is(err, errLoadShed):
		return &attempt{code: http.StatusServiceUnavailable, why: err, label: "LOAD_SHED", close: true}
	case err != nil:
		return o.calledOff(ctx)
	}
	m := o.proxy.metrics
	m.inc(backendRequests, o.svc.routeLabels().and(o.svc.backendLabels()))
	m.inc(requestTotal, e.labels)
	began := o.proxy.clock()
	first := e.load.begin(o.proxy.clock)
	tryCtx, cancel := context.WithCancelCause(ctx)
	var limit *time.Timer
	if mayRetry && o.svc.settings.retry.timeout > 0 {
		limit = time.AfterFunc(o.svc.settings.retry.timeout, func() { cancel(errRetryTimeout) })
	}
	x, fail := e.do(tryCtx, req)
	stopped := limit == nil || limit.Stop()
	finish := func(code int, broken bool, result outcome) {
		first()
		e.breaker.record(result, probe, o.proxy.clock())
		if e.breaker != nil {
			o.balancer.notify()
		}
		if code == 0 {
			return
		}
		m.observe(responseLatency, e.labels.with("status_code", intText(code)), o.proxy.clock().Sub(began))
		m.inc(responseTotal, e.labels.and(classified(code, broken)))
		m.inc(backendStatuses, o.svc.routeLabels().and(o.svc.backendLabels()).and(statusLabels(code, "")))
	}
	if fail == nil && stopped {
		return o.answered(x, first, cancel, finish)
	}
	if x != nil {
		x.finish(false)
	}
	cancel(nil)
	switch {
	case context.Cause(tryCtx) == errRetryTimeout:
		finish(0, false, failed)
		return &attempt{code: http.StatusGatewayTimeout, why: errRetryTimeout, label: "RESPONSE_HEADERS_TIMEOUT"}
	case ctx.Err() != nil:
		finish(0, false, unknown)
		return o.calledOff(ctx)
	}
	a := &attempt{code: http.StatusBadGateway, why: fmt.Errorf("endpoint %s:%d: %w", podIP, 8080, fail.Err), close: true}
	if errors.Is(fail.Err, relay.ErrConnectTimeout) {
		a.code, a.why = http.StatusGatewayTimeout, fmt.Errorf("connect timed out after %s", outboundConnectTimeout)
	}
	finish(a.code, false, failed)
	return a
}

// calledOff is what becomes of a request whose time is over, or whose client went away.
func (o *outboundRequest) calledOff(ctx context.Context) *attempt {
	a := &attempt{code: http.StatusGatewayTimeout, why: context.Cause(ctx), label: "REQUEST_TIMEOUT"}
	if a.why == errResponseTimeout {
		a.label = "RESPONSE_STREAM_TIMEOUT"
	}
	return a
}

// answered wraps a response so that its first byte ends the measurement of the endpoint's latency.
func (o *outboundRequest) answered(x *answer, first func(), cancel context.CancelCauseFunc, finish func(int, bool, outcome)) *attempt {
	body := &firstByte{ReadCloser: x.Body, first: first}
	code := x.StatusCode
	x.Body = body
	end := x.finish
	x.finish = func(whole bool) {
		end(whole)
		cancel(nil)
	}
	return &attempt{answer: x, ended: func(broken bool) {
		result := succeeded
		if code >= 500 || broken {
			result = failed
		}
		finish(code, broken, result)
	}}
}

// firstByte calls first when anything was read.
type firstByte struct {
	io.ReadCloser
	once  sync.Once
	first func()
}

// Read implements io.Reader.
func (b *firstByte) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.once.Do(b.first)
	return n, err
}

// respond passes on what came of the last attempt.
func (o *outboundRequest) respond(a *attempt) {
	if a.answer == nil {
		o.count(a.code, a.label)
		why := a.why
		if a.close && a.label != "" {
			why = fmt.Errorf("%s: %w", o.svc.path(), a.why)
		}
		if a.close {
			o.w.Header()["Connection"] = []string{"close"}
			o.w.Header()[headCloseConn] = []string{"close"}
		}
		o.w.Header()[headError] = []string{oneLine(why.Error())}
		empty(o.w, a.code)
		return
	}
	x := a.answer
	// What a peer's proxy says of errors is for this proxy, not for the workload.
	x.Header.Del(headError)
	x.Header.Del(headCloseConn)
	relay.CopyHeader(o.w.Header(), x.Response)
	relay.Respond(o.w, x.Response, x.finish, func(broken bool) {
		a.ended(broken)
		label := ""
		if broken {
			label = "UNKNOWN"
		}
		o.count(x.StatusCode, label)
	})
}

// count counts the request at its route.
func (o *outboundRequest) count(code int, err string) {
	l := o.svc.routeLabels().with("hostname", "")
	if err != "" && code >= 500 && err != "UNKNOWN" {
		code = 0 // what the proxy's errors are answered with is decided above the route
	}
	o.proxy.metrics.inc(routeStatuses, l.and(statusLabels(code, err)))
}

// fail answers for a request that has no Service.
func (o *outboundRequest) fail(code int, why string) {
	o.w.Header()["Connection"] = []string{"close"}
	o.w.Header()[headError] = []string{oneLine(strings.TrimSpace(why))}
	empty(o.w, code)
}
