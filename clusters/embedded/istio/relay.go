package istio

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	serverName   = "istio-envoy"
	bodyKept     = 1 << 20 // largest request body that is kept for a retry: Envoy's default buffer
	relayBuffer  = 16 << 10
	headXFCC     = "X-Forwarded-Client-Cert"
	headID       = "X-Request-Id"
	headProto    = "X-Forwarded-Proto"
	headAttempt  = "X-Envoy-Attempt-Count"
	headPeer     = "X-Envoy-Peer-Metadata"
	headPeerID   = "X-Envoy-Peer-Metadata-Id"
	headDuration = "X-Envoy-Upstream-Service-Time"
)

// hopByHop are the headers that end at a proxy (RFC 9110 section 7.6.1, and what older ones meant).
var hopByHop = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Proxy-Authenticate": true, "Proxy-Authorization": true,
	"Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true, "Expect": true, "Content-Length": true, "Host": true,
}

// passable reports whether a header is handed on: it is neither hop-by-hop nor named by Connection.
func passable(name string, connection []string) bool {
	if hopByHop[name] {
		return false
	}
	for _, v := range connection {
		for _, token := range strings.Split(v, ",") {
			if textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(token)) == name {
				return false
			}
		}
	}
	return true
}

// requestHeader copies what is handed on of a request's header.
func requestHeader(in http.Header) http.Header {
	out := make(http.Header, len(in)+4)
	connection := in["Connection"]
	for k, v := range in {
		if passable(k, connection) {
			out[k] = v
		}
	}
	return out
}

// target is the path and query that a request asks for, as the client wrote it.
func target(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		return r.RequestURI
	}
	return r.URL.RequestURI() // a request in absolute form
}

// writeHead writes request line and header. Values come from a parsed header, which holds no line breaks.
func writeHead(w *bufio.Writer, r *outgoing) {
	w.WriteString(r.method)
	w.WriteByte(' ')
	w.WriteString(r.uri)
	w.WriteString(" HTTP/1.1\r\nHost: ")
	w.WriteString(r.host)
	w.WriteString("\r\n")
	for k, vs := range r.header {
		for _, v := range vs {
			w.WriteString(k)
			w.WriteString(": ")
			w.WriteString(v)
			w.WriteString("\r\n")
		}
	}
	switch {
	case r.stream == nil && (len(r.body) > 0 || bodyExpected(r.method)):
		w.WriteString("Content-Length: ")
		w.WriteString(strconv.Itoa(len(r.body)))
		w.WriteString("\r\n")
	case r.stream != nil && r.length >= 0:
		w.WriteString("Content-Length: ")
		w.WriteString(strconv.FormatInt(r.length, 10))
		w.WriteString("\r\n")
	case r.stream != nil:
		w.WriteString("Transfer-Encoding: chunked\r\n")
	}
	w.WriteString("\r\n")
}

func bodyExpected(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// takeBody fills in the body of r: kept as a whole where it is small enough, streamed otherwise.
func takeBody(w http.ResponseWriter, in *http.Request, r *outgoing) error {
	if in.Body == nil || in.Body == http.NoBody || in.ContentLength == 0 {
		return nil
	}
	kept, err := io.ReadAll(io.LimitReader(in.Body, bodyKept+1))
	if err != nil {
		return err
	}
	if len(kept) <= bodyKept {
		r.body = kept
		return nil
	}
	// The answer may begin before the request ends; net/http would otherwise drop the rest of the request then.
	if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
		return err
	}
	r.stream = io.MultiReader(bytes.NewReader(kept), in.Body)
	r.length = in.ContentLength
	r.stopStream = func() { http.NewResponseController(w).SetReadDeadline(longAgo) }
	return nil
}

var buffers = sync.Pool{New: func() any { b := make([]byte, relayBuffer); return &b }}

// relay writes a response. record is called once, before the client can see the last byte of it; broken says that the
// response ended too early. relay then ends the client's connection as well, so that it cannot take the part for the
// whole, by http.ErrAbortHandler.
func relay(w http.ResponseWriter, x *exchange, finish func(whole bool), record func(broken bool)) {
	copyResponseHeader(w.Header(), x)
	left := x.ContentLength
	if left == 0 || x.Body == http.NoBody {
		record(false)
		w.WriteHeader(x.StatusCode)
		finish(true)
		return
	}
	w.WriteHeader(x.StatusCode)
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	recorded := false
	for {
		n, err := x.Body.Read(*buf)
		left -= int64(n)
		// With a length, the client knows the last byte by counting; otherwise the end is written after this returns.
		if !recorded && (left == 0 || err == io.EOF) {
			recorded = true
			record(false)
		}
		if n > 0 {
			if _, werr := w.Write((*buf)[:n]); werr != nil {
				if !recorded {
					record(false) // the client went away; its response was as told
				}
				finish(false)
				return
			}
		}
		switch {
		case err == io.EOF:
			finish(true)
			return
		case err != nil:
			if !recorded {
				record(true)
			}
			finish(false)
			panic(http.ErrAbortHandler)
		case left != 0:
			http.NewResponseController(w).Flush()
		}
	}
}

func copyResponseHeader(out http.Header, x *exchange) {
	connection := x.Header["Connection"]
	for k, v := range x.Header {
		if passable(k, connection) {
			out[k] = v
		}
	}
	if x.ContentLength >= 0 {
		out.Set("Content-Length", strconv.FormatInt(x.ContentLength, 10))
	}
	out["Server"] = []string{serverName}
	out[headDuration] = []string{strconv.FormatInt(time.Since(x.began).Milliseconds(), 10)}
	if _, ok := out["Content-Type"]; !ok {
		out["Content-Type"] = nil // or net/http would guess one
	}
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
