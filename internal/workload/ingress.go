package workload

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/oidc"
	"github.com/meshproof/meshproof/scenarios"
)

// recordKey finds the record of a request in its context, from the reverse proxy's call-backs.
type recordKey struct{}

// ingress forwards each request to the service that its Host header names. What clients say in the headers by which
// meshes speak to workloads is dropped: at an edge only the mesh itself may say it.
func (h *Handler) ingress() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Transport:  h.client,
		BufferPool: newBuffers(),
		ErrorLog:   discard(),
		Rewrite: func(p *httputil.ProxyRequest) {
			host := p.In.Host
			p.Out.URL.Scheme = "http"
			p.Out.URL.Host = host
			if _, _, err := net.SplitHostPort(host); err != nil {
				p.Out.URL.Host = net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(scenarios.ServicePort))
			}
			p.Out.Host = host
			for name := range p.Out.Header {
				if fromMesh(name) {
					p.Out.Header.Del(name)
				}
			}
			if len(h.tokens) > 0 {
				p.Out.Header.Del("Authorization") // it is for the edge
			}
			p.Out.Header.Set(scenarios.HeaderCaller, h.caller())
		},
		ModifyResponse: func(resp *http.Response) error {
			rec := resp.Request.Context().Value(recordKey{}).(*evidence.Request)
			rec.Status = resp.StatusCode
			if err := h.record(rec); err != nil {
				return &recordError{err}
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			status, body := http.StatusBadGateway, fmt.Sprintf("ingress: no answer from %s: %s\n", r.Host, ErrorClass(err))
			var failed *recordError
			if errors.As(err, &failed) {
				status, body = http.StatusInternalServerError, notRecorded(failed.err)
			} else {
				rec := r.Context().Value(recordKey{}).(*evidence.Request)
				rec.Status = status
				if err := h.record(rec); err != nil {
					status, body = http.StatusInternalServerError, notRecorded(err)
				}
			}
			http.Error(w, strings.TrimSuffix(body, "\n"), status)
		},
	}
}

// authenticate checks the token of a request; it must have one.
func (h *Handler) authenticate(r *http.Request) oidc.Status {
	if len(h.tokens) == 0 {
		return ""
	}
	token, ok := oidc.Bearer(r.Header)
	if !ok {
		return oidc.Denied
	}
	_, refused := oidc.Verify(r.Context(), h.tokens, token, time.Now())
	return refused
}

// refuse turns a request away, and says in its record why.
func (h *Handler) refuse(w http.ResponseWriter, rec *evidence.Request, why oidc.Status) {
	rec.Status, rec.Refused = why.Code(), string(why)
	status, body := rec.Status, rec.Refused
	if err := h.record(rec); err != nil {
		status, body = http.StatusInternalServerError, strings.TrimSuffix(notRecorded(err), "\n")
	}
	http.Error(w, body, status)
}

type recordError struct{ err error }

func (e *recordError) Error() string { return e.err.Error() }

// fromMesh reports whether a header, in canonical form, is one that a mesh's proxies speak by.
func fromMesh(name string) bool {
	return name == headerXFCC || strings.HasPrefix(name, "X-Envoy-") || strings.HasPrefix(name, "L5d-")
}
