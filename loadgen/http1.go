package loadgen

import (
	"net/http"
	"net/url"
)

// userAgent says who sends.
const userAgent = "meshproof"

// http1Line is how a request begins in HTTP/1.1 (RFC 9112): its line, and the fields that are the same each time.
func http1Line(method string, u *url.URL, host string) []byte {
	if host == "" {
		host = u.Host
	}
	line := method + " " + u.RequestURI() + " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: " + userAgent + "\r\n"
	switch method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		// A server may want to know that nothing comes (RFC 9110, 8.6).
		line += "Content-Length: 0\r\n"
	}
	return []byte(line)
}

// appendHTTP1 appends request n as it goes over the wire. The fields are scratch space, for the next request again.
func (m *mix) appendHTTP1(b []byte, n uint64, scratch *scratch) []byte {
	b = append(b, m.kind(n).line...)
	scratch.fields, scratch.text = m.fields(scratch.fields[:0], scratch.text[:0], n)
	for _, f := range scratch.fields {
		b = append(append(append(append(b, f.name...), ": "...), f.value...), "\r\n"...)
	}
	return append(b, "\r\n"...)
}

// scratch is space to make a request in.
type scratch struct {
	fields []field
	text   []byte
}
