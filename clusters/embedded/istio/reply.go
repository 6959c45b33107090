package istio

import (
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/meshproof/meshproof/clusters/embedded/proxy/relay"
)

const (
	serverName   = "istio-envoy"
	bodyKept     = 1 << 20 // largest request body that is kept for a retry: Envoy's default buffer
	headXFCC     = "X-Forwarded-Client-Cert"
	headID       = "X-Request-Id"
	headProto    = "X-Forwarded-Proto"
	headAttempt  = "X-Envoy-Attempt-Count"
	headPeer     = "X-Envoy-Peer-Metadata"
	headPeerID   = "X-Envoy-Peer-Metadata-Id"
	headDuration = "X-Envoy-Upstream-Service-Time"
)

// respond passes a response on with what Envoy adds; see relay.Respond.
func respond(w http.ResponseWriter, x *relay.Exchange, finish func(whole bool), record func(broken bool)) {
	relay.CopyHeader(w.Header(), x.Response)
	w.Header()["Server"] = []string{serverName}
	w.Header()[headDuration] = []string{strconv.FormatInt(time.Since(x.Began).Milliseconds(), 10)}
	relay.Respond(w, x.Response, finish, record)
}

// reply is a response that the proxy makes itself.
func reply(w http.ResponseWriter, code int, body string) {
	h := w.Header()
	h["Server"] = []string{serverName}
	if body == "" {
		h["Content-Length"] = []string{"0"}
		w.WriteHeader(code)
		return
	}
	h["Content-Type"] = []string{"text/plain"}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(code)
	io.WriteString(w, body)
}
