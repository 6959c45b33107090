package workload

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"strconv"
	"sync"
	"time"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/oidc"
	"github.com/meshproof/meshproof/scenarios"
)

// Headers by which meshes tell a workload about a request.
const (
	headerAttempt = "X-Envoy-Attempt-Count"
	headerXFCC    = "X-Forwarded-Client-Cert"
	headerL5d     = "L5d-Client-Id"
)

// Handler is a workload's server.
type Handler struct {
	cfg    Config
	at     evidence.PodRef
	record func(*evidence.Request) error
	client *Client
	proxy  *httputil.ReverseProxy // of an ingress
	tokens []oidc.Rule            // of an ingress that wants tokens
}

// NewHandler makes the server of the workload in the pod at. record takes every request that arrives, before its
// answer is sent, with everything filled in but the number and the trial; a request that cannot be recorded is answered with 500,
// so that nothing passes unseen. client makes the workload's calls.
func NewHandler(cfg Config, at evidence.PodRef, record func(*evidence.Request) error, client *Client) (*Handler, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("workload %s: %w", cfg.Name, err)
	}
	h := &Handler{cfg: cfg, at: at, record: record, client: client}
	if cfg.Role == RoleIngress {
		h.proxy = h.ingress()
		if t := cfg.Tokens; t != nil {
			h.tokens = []oidc.Rule{{Issuer: t.Issuer, Audiences: []string{t.Audience}, Keys: oidc.NewKeys(t.Keys, t.Hosts)}}
		}
	}
	return h, nil
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := h.observe(r)
	if h.proxy != nil {
		if refused := h.authenticate(r); refused != "" {
			h.refuse(w, rec, refused)
			return
		}
		h.proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), recordKey{}, rec)))
		return
	}
	status, body := h.serve(r, rec)
	rec.Status = status
	if err := h.record(rec); err != nil {
		status, body = http.StatusInternalServerError, notRecorded(err)
	}
	header := w.Header()
	header["Content-Type"] = []string{"text/plain; charset=utf-8"}
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // the client may be gone: that is for it to say
}

func notRecorded(err error) string {
	return "meshproof: the request could not be recorded: " + err.Error() + "\n"
}

// observe is the request as it arrived.
func (h *Handler) observe(r *http.Request) *evidence.Request {
	attempt, err := strconv.Atoi(r.Header.Get(headerAttempt))
	if err != nil {
		attempt = 0
	}
	rec := &evidence.Request{
		Header:      evidence.Header{Src: Source(h.at), T: time.Now().UTC()},
		ID:          r.Header.Get(scenarios.HeaderID),
		Attempt:     attempt,
		Window:      r.Header.Get(scenarios.HeaderWindow),
		Caller:      r.Header.Get(scenarios.HeaderCaller),
		At:          h.at,
		Method:      r.Method,
		Path:        r.URL.Path,
		XFCC:        r.Header.Get(headerXFCC),
		L5dClientID: r.Header.Get(headerL5d),
		Remote:      r.RemoteAddr,
	}
	if r.ProtoMajor > 1 {
		rec.Proto = r.Proto
	}
	return rec
}

// Source is the producer's name of the workload in a pod, in evidence.
func Source(at evidence.PodRef) string { return "pod/" + at.Cluster + "/" + at.Pod }

// serve does the workload's work and says what to answer. A proof request asks about the way to this workload and
// nothing else: it neither waits nor fails nor calls anybody.
func (h *Handler) serve(r *http.Request, rec *evidence.Request) (status int, body string) {
	ok := h.cfg.Name + "@" + h.cfg.Cluster + "\n"
	if r.Header.Get(scenarios.HeaderProof) == "1" {
		return http.StatusOK, ok
	}
	if d := latencyAt(h.cfg.Latency, h.cfg.draw(rec.ID, drawLatency, 0)); d > 0 && !sleep(r.Context(), d) {
		return statusClientGone, "the client went away\n"
	}
	for i, call := range h.cfg.Calls {
		if call.Share < 1 && h.cfg.draw(rec.ID, drawShare, i) >= call.Share {
			continue
		}
		if why := h.call(r, rec, call, i+1); why != "" {
			return http.StatusBadGateway, fmt.Sprintf("%s: call to %s %s: %s\n", h.cfg.Name, call.Host, call.Path, why)
		}
	}
	if h.cfg.ErrorRate > 0 && h.cfg.draw(rec.ID, drawError, 0) < h.cfg.ErrorRate {
		return http.StatusInternalServerError, h.cfg.Name + ": an error of its own\n"
	}
	return http.StatusOK, ok
}

// statusClientGone is recorded for a request whose client closed the connection before it was answered (nginx's 499).
const statusClientGone = 499

// call makes the k-th call of a request, and says what went wrong.
func (h *Handler) call(r *http.Request, rec *evidence.Request, call Call, k int) string {
	header := make(http.Header, 5)
	for _, tag := range [...]string{scenarios.HeaderWindow, scenarios.HeaderProof, scenarios.HeaderConnection} {
		if v := r.Header.Get(tag); v != "" {
			header.Set(tag, v)
		}
	}
	header.Set(scenarios.HeaderID, rec.ID+"."+strconv.Itoa(k))
	header.Set(scenarios.HeaderCaller, h.caller())
	resp := h.client.Send(r.Context(), clusters.Request{Host: call.Host, Method: call.Method, Path: call.Path, Header: header})
	switch {
	case resp.Status == 0:
		return resp.Error
	case resp.Status >= 400:
		return "status " + strconv.Itoa(resp.Status)
	}
	return ""
}

func (h *Handler) caller() string { return h.cfg.Name + "@" + h.cfg.Cluster }

// sleep waits, and says whether it came to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// discard keeps net/http from writing about broken connections to the terminal: evidence has them.
func discard() *log.Logger { return log.New(io.Discard, "", 0) }

// buffers lends the ingress its copying buffers.
type buffers struct{ pool sync.Pool }

func newBuffers() *buffers {
	return &buffers{pool: sync.Pool{New: func() any { b := make([]byte, 16<<10); return &b }}}
}

func (b *buffers) Get() []byte  { return *b.pool.Get().(*[]byte) }
func (b *buffers) Put(p []byte) { b.pool.Put(&p) }
