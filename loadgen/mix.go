package loadgen

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/meshproof/meshproof/scenarios"
)

// WindowLoad is the value of scenarios.HeaderWindow on load.
const WindowLoad = "load"

// headerRequestID is the header by which Envoy and its like trace a request.
const headerRequestID = "X-Request-Id"

// mix makes the n-th request of a traffic, the same one each time.
type mix struct {
	host   string
	caller string // "" where it is not said
	prefix string // of the ID: "<idPrefix>-<traffic>-"
	seed   uint64
	kinds  []kind
	total  uint64 // of the weights
	tokens []string
}

// kind is one request kind, ready to be sent.
type kind struct {
	method string
	url    *url.URL // shared by all requests of the kind: net/http only reads it
	upTo   uint64   // sum of the weights up to and with this kind
}

func newMix(a Attack) (*mix, error) {
	base, err := url.Parse(a.Base)
	if err != nil {
		return nil, fmt.Errorf("the address to send to: %w", err)
	}
	if base.Scheme != "http" || base.Host == "" {
		return nil, fmt.Errorf("the address to send to, %q, is not of the form http://host:port", a.Base)
	}
	m := &mix{
		host:   a.Host,
		caller: a.Caller,
		prefix: a.IDPrefix + "-" + a.Traffic.Name + "-",
		tokens: a.Tokens,
		seed:   a.seed(),
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
		m.kinds = append(m.kinds, kind{method: method, url: u, upTo: m.total})
	}
	// One look now saves a failure for each request later.
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

// id is the ID of request n.
func (m *mix) id(n uint64) string { return m.prefix + strconv.FormatUint(n, 10) }

// header is the header of request n.
func (m *mix) header(n uint64) http.Header {
	id := m.id(n)
	h := make(http.Header, 6)
	if len(m.tokens) > 0 {
		// A draw of its own: which user asks has nothing to do with what for.
		h.Set("Authorization", "Bearer "+m.tokens[scenarios.Splitmix64(m.seed^scenarios.Splitmix64(n))%uint64(len(m.tokens))])
	}
	h.Set(scenarios.HeaderID, id)
	h.Set(scenarios.HeaderWindow, WindowLoad)
	if m.caller != "" {
		h.Set(scenarios.HeaderCaller, m.caller)
	}
	h.Set(headerRequestID, uuid.NewSHA1(uuid.NameSpaceURL, []byte(id)).String())
	return h
}
