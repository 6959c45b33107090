package loadgen

import (
	"net/http"
	"slices"
	"strconv"
)

// userAgent says who sends.
const userAgent = "meshproof"

// http1Line is how requests of a kind begin in HTTP/1.1 (RFC 9112): their line, and the fields that are the same each time.
// body is the size of a body that all have.
func http1Line(k kind, host string, each bool, body int) []byte {
	if host == "" {
		host = k.url.Host
	}
	line := k.method + " " + k.url.RequestURI() + " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: " + userAgent + "\r\n"
	if each {
		line += "Connection: close\r\n"
	}
	names := make([]string, 0, len(k.header))
	for name := range k.header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		line += name + ": " + k.header.Get(name) + "\r\n"
	}
	switch {
	case k.body != nil: // its size is drawn
	case body > 0:
		line += "Content-Length: " + strconv.Itoa(body) + "\r\n"
	case k.method == http.MethodPost, k.method == http.MethodPut, k.method == http.MethodPatch:
		// A server may want to know that nothing comes (RFC 9110, 8.6).
		line += "Content-Length: 0\r\n"
	}
	return []byte(line)
}

// appendHTTP1 appends request n as it goes over the wire. The fields are scratch space, for the next request again. A body
// that is too large to be written in passing is left in scratch.body, to be written after it. cookies is the value of its Cookie
// field; none where it is empty.
func (m *mix) appendHTTP1(b []byte, n uint64, scratch *scratch, cookies string) []byte {
	k := m.kind(n)
	b = append(b, k.line...)
	scratch.fields, scratch.text = m.fields(scratch.fields[:0], scratch.text[:0], n)
	for _, f := range scratch.fields {
		b = append(append(append(append(b, f.name...), ": "...), f.value...), "\r\n"...)
	}
	if cookies != "" {
		b = append(append(append(b, "Cookie: "...), cookies...), "\r\n"...)
	}
	body := m.body(n, &k)
	if k.body != nil {
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), int64(len(body)), 10), "\r\n"...)
	}
	b = append(b, "\r\n"...)
	scratch.body = nil
	if len(b)+len(body) > maxInline {
		scratch.body = body
		return b
	}
	return append(b, body...)
}

// scratch is space to make a request in.
type scratch struct {
	fields []field
	text   []byte
	body   []byte // shared; what of the body is to be written after the request's text
}
