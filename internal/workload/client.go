package workload

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/scenarios"
)

const (
	// defaultTimeout is how long Send waits for an answer where the request does not say.
	defaultTimeout = 5 * time.Second
	// bodyKept is how much of a response's body a Response holds, in bytes.
	bodyKept = 256
	// bodyDrained is how much more of a body is read so that the connection can be used again, in bytes.
	bodyDrained = 64 << 10
)

// DialFunc opens the connection that a request to address ("host:port", the host as the request names it) travels on.
type DialFunc func(ctx context.Context, address string) (net.Conn, error)

// Client sends a workload's requests: plain HTTP/1.1, over connections that are kept, or over one of its own for each
// request. Redirects are not followed and nothing is sent twice.
type Client struct {
	kept, fresh *http.Transport
}

// NewClient makes a client whose connections dial opens.
func NewClient(dial DialFunc) *Client {
	transport := func(fresh bool) *http.Transport {
		return &http.Transport{
			DialContext:         func(ctx context.Context, _, addr string) (net.Conn, error) { return dial(ctx, addr) },
			DisableCompression:  true,
			DisableKeepAlives:   fresh,
			MaxIdleConnsPerHost: 10_000, // never the reason for a new connection
			IdleConnTimeout:     90 * time.Second,
		}
	}
	return &Client{kept: transport(false), fresh: transport(true)}
}

// Close closes the connections that no request is under way on.
func (c *Client) Close() {
	c.kept.CloseIdleConnections()
	c.fresh.CloseIdleConnections()
}

// RoundTrip implements http.RoundTripper on the kept connections.
func (c *Client) RoundTrip(req *http.Request) (*http.Response, error) {
	return c.roundTrip(c.kept, req)
}

// roundTrip sends the request once. Transport sends an idempotent request without a body again, and says so to
// nobody, when a kept connection breaks under it; the receiver might then have recorded one ID twice. A body that
// cannot be read twice, though empty, keeps it from that.
func (c *Client) roundTrip(t *http.Transport, req *http.Request) (*http.Response, error) {
	if req.Body == nil || req.Body == http.NoBody {
		switch req.Method {
		case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
			req = req.WithContext(req.Context()) // a shallow copy: a RoundTripper does not change its request
			req.Body = emptyBody{}
		}
	}
	return t.RoundTrip(req)
}

type emptyBody struct{}

func (emptyBody) Read([]byte) (int, error) { return 0, io.EOF }
func (emptyBody) Close() error             { return nil }

// Send makes one request and reads its answer.
func (c *Client) Send(ctx context.Context, r clusters.Request) clusters.Response {
	if r.Timeout <= 0 {
		r.Timeout = defaultTimeout
	}
	if r.Method == "" {
		r.Method = http.MethodGet
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	resp := c.send(ctx, r)
	resp.Took = time.Since(began)
	return resp
}

func (c *Client) send(ctx context.Context, r clusters.Request) clusters.Response {
	failed := func(err error) clusters.Response { return clusters.Response{Error: ErrorClass(err)} }
	path := r.Path
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	u, err := url.ParseRequestURI("http://" + net.JoinHostPort(r.Host, strconv.Itoa(scenarios.ServicePort)) + path)
	if err != nil {
		return failed(err)
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, "", http.NoBody)
	if err != nil {
		return failed(err)
	}
	req.URL = u
	req.Host = r.Host // port 80 is left out, as HTTP clients do
	if r.Header != nil {
		req.Header = r.Header.Clone()
	}
	t := c.kept
	if r.Fresh {
		t = c.fresh
	}
	resp, err := c.roundTrip(t, req)
	if err != nil {
		return failed(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, bodyKept))
	if err == nil {
		_, err = io.CopyN(io.Discard, resp.Body, bodyDrained)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return failed(err) // half an answer is none
	}
	return clusters.Response{Status: resp.StatusCode, Header: resp.Header, Body: string(body)}
}

// ErrorClass puts the error of a request or a connection into evidence's words: "timeout", "refused", "closed" or
// "other: …".
func ErrorClass(err error) string {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNABORTED), errors.Is(err, net.ErrClosed),
		// net/http keeps this one to itself: the server closed a kept connection just as it was used again.
		strings.Contains(err.Error(), "server closed idle connection"):
		return "closed"
	default:
		return "other: " + err.Error()
	}
}
