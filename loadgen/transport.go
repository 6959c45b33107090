package loadgen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// headerSeq is the header in which vegeta hands over the number of a hit.
const headerSeq = "X-Vegeta-Seq"

// What became of a request without a response, as Codes has it.
const (
	classClosed  = "closed"
	classRefused = "refused"
	classTimeout = "timeout"
	classTLS     = "tls"
	// In HTTP/2 alone: the server reset the stream, or takes no more on the connection and had not begun this request.
	classReset  = "reset"
	classGoAway = "goaway"
	classOther  = "other"
)

// What became of a request that the generator itself gave up when it was stopped. Not an outcome of the load, and not
// counted as one.
const (
	classUnsent  = "unsent"  // it was never sent
	classAborted = "aborted" // it was sent; nobody waited for the answer
)

// transport sends the n-th request of a mix in place of vegeta's n-th hit.
type transport struct {
	mix     *mix
	share   Share
	gauge   *gauge
	timeout time.Duration
	stop    context.Context // done: nothing more is sent
	abort   context.Context // done: what is under way is given up
	inner   *http.Transport
	grpc    bool
	stream  int // messages of a call

	mu     sync.Mutex
	failed map[uint64]string // class by hit, until the collector takes it
}

func newTransport(m *mix, g *gauge, a Attack, stop, abort context.Context) *transport {
	t := &transport{mix: m, share: a.Share, gauge: g, timeout: a.Traffic.Timeout.D(), stop: stop, abort: abort, grpc: a.Protocol == GRPC, stream: max(a.Messages, 1), failed: map[uint64]string{}}
	d := newDialer(a, m.base, g)
	open := func(ctx context.Context, _, _ string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, t.timeout)
		defer cancel()
		return d.open(ctx)
	}
	t.inner = &http.Transport{
		DialContext:         open,
		DialTLSContext:      open,
		Protocols:           protocols(a.Protocol),
		DisableCompression:  true,
		DisableKeepAlives:   m.each,
		MaxIdleConnsPerHost: a.Traffic.MaxInFlight,
	}
	return t
}

// protocols lets net/http speak one protocol alone.
func protocols(p Protocol) *http.Protocols {
	only := &http.Protocols{}
	only.SetHTTP1(!p.multiplexed())
	only.SetHTTP2(p.multiplexed())
	only.SetUnencryptedHTTP2(p.multiplexed())
	return only
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(hit *http.Request) (*http.Response, error) {
	n, err := strconv.ParseUint(hit.Header.Get(headerSeq), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("the hit has no number: %w", err)
	}
	if err := t.stop.Err(); err != nil {
		t.fail(n, classUnsent)
		return nil, err
	}
	ctx, cancel := context.WithTimeout(t.abort, t.timeout)
	number := uint64(t.share.nth(int64(n)))
	k := t.mix.kind(number)
	header, payload := t.mix.header(number), t.mix.body(number, &k)
	if t.grpc {
		grpcHeader(header)
		k.method, payload = http.MethodPost, grpcStream(payload, t.stream)
	}
	req := (&http.Request{
		Method: k.method, URL: k.url, Host: t.mix.host, Header: header, Body: t.bodyFor(k.method, payload), ContentLength: int64(len(payload)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)

	t.gauge.enter()
	resp, err := t.inner.RoundTrip(req)
	if err != nil {
		t.fail(n, t.classOf(err))
		t.gauge.leave()
		cancel()
		return nil, err
	}
	// Whoever follows redirects looks here; nobody shall.
	resp.Header.Del("Location")
	resp.Body = &body{ReadCloser: resp.Body, failed: func(err error) { t.fail(n, t.classOf(err)) }, done: sync.OnceFunc(func() {
		t.gauge.leave()
		cancel()
	})}
	if t.grpc {
		resp.Body = &grpcBody{ReadCloser: resp.Body, answer: resp, failed: func(class string) { t.fail(n, class) }}
	}
	return resp, nil
}

func (t *transport) fail(n uint64, class string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed[n] = class
}

// failure takes the class of hit n out of the table; "" where it did not fail.
func (t *transport) failure(n uint64) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	class := t.failed[n]
	delete(t.failed, n)
	return class
}

func (t *transport) classOf(err error) string {
	if t.abort.Err() != nil {
		return classAborted
	}
	return classOf(err)
}

// classOf says why there was no response.
func classOf(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return classTimeout
	case isHandshake(err):
		return classTLS
	case errors.Is(err, syscall.ECONNREFUSED):
		return classRefused
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), err.Error() == serverClosedIdle:
		return classClosed
	}
	return classOther
}

// serverClosedIdle is the text of an error that net/http does not export: a kept connection was closed before the first
// byte of the answer.
const serverClosedIdle = "http: server closed idle connection"

// bodyFor returns a request's body, which cannot be read again. Of a request without one it is a body without a byte where
// net/http would repeat the request by itself: in HTTP/1.1 safe methods, when a kept connection is closed; in HTTP/2 any,
// when the server refuses the stream. With a body that cannot be read again it does not; and as this one turns out empty,
// the request is the same as without it.
func (t *transport) bodyFor(method string, payload []byte) io.ReadCloser {
	if len(payload) > 0 {
		return io.NopCloser(bytes.NewReader(payload))
	}
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return emptyBody{}
	}
	if t.inner.Protocols.HTTP2() {
		return emptyBody{}
	}
	return nil
}

type emptyBody struct{}

func (emptyBody) Read([]byte) (int, error) { return 0, io.EOF }
func (emptyBody) Close() error             { return nil }

// body watches the reading of a response.
type body struct {
	io.ReadCloser
	failed func(error)
	done   func()
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		b.failed(err)
	}
	return n, err
}

func (b *body) Close() error {
	defer b.done()
	return b.ReadCloser.Close()
}
