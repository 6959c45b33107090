package relay

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

// relayBuffer is how much of a response is passed on at once, in bytes.
const relayBuffer = 16 << 10

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// hopByHop are the headers that end at a proxy (RFC 9110 section 7.6.1, and what older ones meant).
var hopByHop = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Proxy-Authenticate": true, "Proxy-Authorization": true,
	"Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true, "Expect": true, "Content-Length": true, "Host": true,
}

// Passable reports whether a header is handed on: it is neither hop-by-hop nor named by Connection.
func Passable(name string, connection []string) bool {
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

// RequestHeader copies what is handed on of a request's header.
func RequestHeader(in http.Header) http.Header {
	out := make(http.Header, len(in)+4)
	connection := in["Connection"]
	for k, v := range in {
		if Passable(k, connection) {
			out[k] = v
		}
	}
	return out
}

// Target is the path and query that a request asks for, as the client wrote it.
func Target(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		return r.RequestURI
	}
	return r.URL.RequestURI() // a request in absolute form
}

// writeHead writes request line and header. Values come from a parsed header, which holds no line breaks.
func writeHead(w *bufio.Writer, r *Outgoing) {
	w.WriteString(r.Method)
	w.WriteByte(' ')
	w.WriteString(r.URI)
	w.WriteString(" HTTP/1.1\r\nHost: ")
	w.WriteString(r.Host)
	w.WriteString("\r\n")
	for k, vs := range r.Header {
		for _, v := range vs {
			w.WriteString(k)
			w.WriteString(": ")
			w.WriteString(v)
			w.WriteString("\r\n")
		}
	}
	switch {
	case r.Stream == nil && (len(r.Body) > 0 || bodyExpected(r.Method)):
		w.WriteString("Content-Length: ")
		w.WriteString(strconv.Itoa(len(r.Body)))
		w.WriteString("\r\n")
	case r.Stream != nil && r.Length >= 0:
		w.WriteString("Content-Length: ")
		w.WriteString(strconv.FormatInt(r.Length, 10))
		w.WriteString("\r\n")
	case r.Stream != nil:
		w.WriteString("Transfer-Encoding: chunked\r\n")
	}
	w.WriteString("\r\n")
}

func bodyExpected(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// TakeBody fills in the body of r: kept as a whole where it has at most limit bytes, streamed otherwise.
func TakeBody(w http.ResponseWriter, in *http.Request, r *Outgoing, limit int64) error {
	if in.Body == nil || in.Body == http.NoBody || in.ContentLength == 0 {
		return nil
	}
	kept, err := io.ReadAll(io.LimitReader(in.Body, limit+1))
	if err != nil {
		return err
	}
	if int64(len(kept)) <= limit {
		r.Body = kept
		return nil
	}
	// The answer may begin before the request ends; net/http would otherwise drop the rest of the request then.
	if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
		return err
	}
	r.Stream = io.MultiReader(bytes.NewReader(kept), in.Body)
	r.Length = in.ContentLength
	r.stopStream = func() { http.NewResponseController(w).SetReadDeadline(longAgo) }
	return nil
}

var buffers = sync.Pool{New: func() any { b := make([]byte, relayBuffer); return &b }}

// Respond writes a response, whose header is in w already (CopyHeader). record is called once, before the client can see
// the last byte of it; broken says that the response ended too early. Respond then ends the client's connection as well,
// so that it cannot take the part for the whole, by http.ErrAbortHandler. finish is called once, in the end.
func Respond(w http.ResponseWriter, x *http.Response, finish func(whole bool), record func(broken bool)) {
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

// CopyHeader puts what is handed on of a response's header into out.
func CopyHeader(out http.Header, x *http.Response) {
	connection := x.Header["Connection"]
	for k, v := range x.Header {
		if Passable(k, connection) {
			out[k] = v
		}
	}
	if x.ContentLength >= 0 {
		out.Set("Content-Length", strconv.FormatInt(x.ContentLength, 10))
	}
	if _, ok := out["Content-Type"]; !ok {
		out["Content-Type"] = nil // or net/http would guess one
	}
}
