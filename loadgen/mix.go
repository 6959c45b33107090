package loadgen

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/net/http/httpguts"

	"github.com/meshproof/meshproof/scenarios"
)

// WindowLoad is the value of scenarios.HeaderWindow on load.
const WindowLoad = "load"

// headerRequestID is the header by which Envoy and its like trace a request.
const headerRequestID = "X-Request-Id"

// mix makes the n-th request of a traffic, the same one each time.
type mix struct {
	base   *url.URL
	host   string
	caller []byte // nil where it is not said
	prefix string // of the ID: "<idPrefix>-<traffic>-"
	window []byte // WindowLoad, for each request
	seed   uint64
	kinds  []kind
	total  uint64   // of the weights
	tokens [][]byte // values of the Authorization header
	text   []byte   // what bodies are cut from
	each   bool     // each request has a connection of its own
	users  []int    // of each stage of a closed loop; nil of an open one
	extra  []field  // of every request, beside those of its own
	whole  []byte   // the body of every request whose kind has none
	part   part     // of the requests that is sent here
	jars   []jar    // of each session
}

// kind is one request kind, ready to be sent.
type kind struct {
	method string
	line   []byte      // how the request begins in HTTP/1.1: request line, Host, and what else never changes
	url    *url.URL    // shared by all requests of the kind: net/http only reads it
	upTo   uint64      // sum of the weights up to and with this kind
	header http.Header // that the scenario gives it; not in HTTP/1.1, where it stands in line
	site   *url.URL    // whose cookies it carries: the URL with the name that the server is asked by
	body   *scenarios.Body
}

func newMix(a Attack) (*mix, error) {
	base, err := url.Parse(a.Base)
	if err != nil {
		return nil, fmt.Errorf("the address to send to: %w", err)
	}
	want := "http://host:port or https://host:port"
	if a.Protocol == TCP {
		want = "tcp://host:port"
	}
	if base.Host == "" || (a.Protocol == TCP) != (base.Scheme == "tcp") || base.Scheme != "tcp" && base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("the address to send to, %q, is not of the form %s", a.Base, want)
	}
	if err := checkTCP(a, base); err != nil {
		return nil, err
	}
	m := &mix{
		base:   base,
		host:   a.Host,
		prefix: a.IDPrefix + "-" + a.Traffic.Name + "-",
		window: []byte(WindowLoad),
		seed:   a.seed(),
		each:   a.Traffic.Connections == scenarios.ConnectionsEach,
		whole:  a.Body,
		part:   part{Share: a.Share, deal: dealOf(a)},
		jars:   make([]jar, a.Traffic.Sessions),
	}
	if p := a.Traffic.Profile; p.Closed() {
		for _, st := range p.Stages {
			m.users = append(m.users, st.Users)
		}
	}
	if a.Caller != "" {
		m.caller = []byte(a.Caller)
	}
	for _, t := range a.Tokens {
		m.tokens = append(m.tokens, []byte("Bearer "+t))
	}
	requests := a.Traffic.Requests
	if len(requests) == 0 {
		requests = []scenarios.RequestKind{{}}
	}
	for i, r := range requests {
		path := "/" + strings.TrimPrefix(r.Path, "/")
		u, err := url.Parse(base.Scheme + "://" + base.Host + path)
		if err != nil {
			return nil, fmt.Errorf("path of request %d: %w", i+1, err)
		}
		if r.Weight < 0 {
			return nil, fmt.Errorf("request %d has weight %d; want 1 or more", i+1, r.Weight)
		}
		method := r.Method
		if method == "" {
			method = http.MethodGet
		}
		m.total += uint64(max(r.Weight, 1))
		k := kind{method: method, url: u, upTo: m.total, body: r.Body, site: u}
		if a.Host != "" {
			k.site = &url.URL{Scheme: u.Scheme, Host: a.Host, Path: u.Path}
		}
		if k.header, err = headerOf(r); err != nil {
			return nil, fmt.Errorf("request %d: %w", i+1, err)
		}
		k.line = http1Line(k, a.Host, m.each, len(a.Body))
		m.kinds = append(m.kinds, k)
	}
	if m.extra, err = extraFields(a.Header); err != nil {
		return nil, err
	}
	m.text = bodyText(requests, m.seed)
	// One look now saves a failure for each request later, or a request that is two.
	for name, value := range map[string]string{"host": a.Host, "caller": a.Caller, "prefix of the IDs": m.prefix} {
		if !httpguts.ValidHeaderFieldValue(value) {
			return nil, fmt.Errorf("the %s, %q, can't be in a header", name, value)
		}
	}
	for _, t := range a.Tokens {
		if !httpguts.ValidHeaderFieldValue(t) {
			return nil, errors.New("a user's token has characters that can't be in a header")
		}
	}
	for _, k := range m.kinds {
		if _, err := http.NewRequest(k.method, k.url.String(), nil); err != nil {
			return nil, fmt.Errorf("request %s %s: %w", k.method, k.url.Path, err)
		}
	}
	return m, nil
}

// kind draws the kind of request n by weight.
func (m *mix) kind(n uint64) kind {
	x := scenarios.Splitmix64(m.seed+n) % m.total
	for _, k := range m.kinds {
		if x < k.upTo {
			return k
		}
	}
	return m.kinds[len(m.kinds)-1]
}

// cookies are those that a request of a session carries, and keep keeps one that its answer gave.
func (m *mix) cookies(session int, n uint64) string {
	if len(m.jars) == 0 {
		return ""
	}
	return m.jars[session].header(m.kind(n).site)
}

func (m *mix) keep(session int, n uint64, text string) { m.jars[session].take(m.kind(n).site, text) }

// token is the value of the Authorization field of request n. Where there are sessions, each has its own, as long as there
// are tokens for all; which user asks has else nothing to do with what for: a draw of its own.
func (m *mix) token(n uint64) []byte {
	if m.part.deal != nil {
		return m.tokens[m.part.deal.Of(int64(n))%len(m.tokens)]
	}
	return m.tokens[scenarios.Splitmix64(m.seed^scenarios.Splitmix64(m.asker(n)))%uint64(len(m.tokens))]
}

// asker tells who asks in request n from who asks in others: in a closed loop its user, who keeps one token as one
// connection, else nobody who ever asked before.
func (m *mix) asker(n uint64) uint64 {
	stage := int(n / closedNumbers)
	if m.users == nil || stage >= len(m.users) {
		return n
	}
	return n % closedNumbers % uint64(m.users[stage])
}

// field is one header field of a request.
type field struct {
	name  string
	value []byte
}

// fields lists the header fields of request n after those in f, and keeps their text at the end of buf. Both may be used
// again for the next request.
func (m *mix) fields(f []field, buf []byte, n uint64) ([]field, []byte) {
	if len(m.tokens) > 0 {
		f = append(f, field{"Authorization", m.token(n)})
	}
	from := len(buf)
	buf = m.appendID(buf, n)
	id := buf[from:]
	f = append(f, field{scenarios.HeaderID, id}, field{scenarios.HeaderWindow, m.window})
	if m.caller != nil {
		f = append(f, field{scenarios.HeaderCaller, m.caller})
	}
	from = len(buf)
	buf = appendTraceID(buf, id)
	return append(append(f, field{headerRequestID, buf[from:]}), m.extra...), buf
}

// appendID appends the ID of request n.
func (m *mix) appendID(b []byte, n uint64) []byte {
	return strconv.AppendUint(append(b, m.prefix...), n, 10)
}

// header is the header of request n.
func (m *mix) header(n uint64) http.Header {
	fields, _ := m.fields(nil, nil, n)
	h := make(http.Header, len(fields)+4)
	maps.Copy(h, m.kind(n).header)
	for _, f := range fields {
		h.Add(f.name, string(f.value))
	}
	return h
}

// appendTraceID appends the UUID (RFC 9562, version 5, in the namespace of URLs) of a request's ID.
func appendTraceID(b, id []byte) []byte {
	var name [128]byte
	sum := sha1.Sum(append(append(name[:0], uuid.NameSpaceURL[:]...), id...))
	u := uuid.UUID(sum[:16])
	u[6] = u[6]&0x0f | 0x50 // version 5
	u[8] = u[8]&0x3f | 0x80 // variant of RFC 9562
	from := len(b)
	b = append(b, "00000000-0000-0000-0000-000000000000"...)
	text := b[from:]
	hex.Encode(text[0:8], u[0:4])
	hex.Encode(text[9:13], u[4:6])
	hex.Encode(text[14:18], u[6:8])
	hex.Encode(text[19:23], u[8:10])
	hex.Encode(text[24:], u[10:])
	return b
}
