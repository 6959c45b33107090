package verify

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// dialect is what is particular to one mesh: how its evidence says who spoke to whom, and how.
type dialect interface {
	// proxied reports whether the mesh puts a proxy beside its workloads, which then has metrics.
	proxied() bool
	// traits are what can be asked of the mesh's evidence, and what can't.
	traits() traits
	// identity is the name that a workload's certificate carries.
	identity(w scenarios.Workload) string
	// serverName is the name that a client must ask for in a TLS handshake with a workload's pod.
	serverName(w scenarios.Workload) string
	// certificate says what is wrong with the certificate that a workload serves under an identity, and why in a word; both are
	// empty where nothing is.
	certificate(c *x509.Certificate, identity string) (reason, wrong string)
	// peer reads from a workload's record who sent the request and, where traits say so, to whom, as the proxies say;
	// both are empty where no proxy said anything.
	peer(r *evidence.Request) (from, to string, err error)
	// leaf reads from a workload's record the SHA-256 of the certificate that the request was made with, in hex; empty
	// where no proxy said it.
	leaf(r *evidence.Request) string
	// families are the metrics that counts needs.
	families() []string
	// countsRequests reports whether a page has the mesh's own count of requests by who sent them.
	countsRequests(body string) bool
	// counts reads the increase of metrics over a window.
	counts(deltas []sample) counts
	// access reads one line of the proxies' access log.
	access(line json.RawMessage) (accessLine, error)
	// sidecars says what is wrong with the containers of a pod that belongs into the mesh, and why in a word; both are
	// empty where nothing is.
	sidecars(p *evidence.Pod) (reason, wrong string)
}

// traits are how one mesh differs from another in the evidence that it can give.
type traits struct {
	logs          bool     // its proxies write a line for each request
	guardsEdge    bool     // its proxy at the ingress checks users' tokens, and writes a line for each request
	namesReceiver bool     // a workload's record says under whose identity the request was received
	tellsLeaf     bool     // a workload's record says which certificate the request was made with
	refusals      []int    // status codes by which its policy refuses
	readsPlain    bool     // a request in plaintext is read, and refused like any other; otherwise it is closed unread
	keeps         bool     // two proxies keep a connection between them, and no request can ask for another
	tls           []string // versions of TLS that its proxies speak
	loopback      bool     // what a pod sends to its own address meets no proxy
	countsEarly   bool     // its proxies count a request when they let it in; otherwise when it was answered
	// issues is the mesh whose control plane issues the certificates that workloads serve.
	issues scenarios.MeshName
	// idle is after how long the proxies drop a series that nothing moved; 0 where they never do.
	idle time.Duration
}

// dialectOf finds the dialect of a mesh, as its entry in the scenario has it built.
func dialectOf(e scenarios.MeshEntry) (dialect, error) {
	switch e.Name {
	case scenarios.MeshNone:
		return noneDialect{}, nil
	case scenarios.MeshIstio:
		return istioDialect{}, nil
	case scenarios.MeshLinkerd:
		return linkerdDialect{}, nil
	case scenarios.MeshLayered:
		return newLayeredDialect(e.Layered)
	}
	return nil, fmt.Errorf("this version cannot judge mesh %q", e.Name)
}

// Identity is the name that a workload's certificate must carry in a mesh; empty where the mesh gives none or is not
// known.
func Identity(e scenarios.MeshEntry, w scenarios.Workload) string {
	d, err := dialectOf(e)
	if err != nil || !d.proxied() || !w.Meshed {
		return ""
	}
	return d.identity(w)
}

// ServerName is the name that a client must ask for in a TLS handshake with one of a service's pods, for its proxy to
// answer under the service's identity.
func ServerName(mesh scenarios.MeshName, w scenarios.Workload) string {
	d, err := dialectOf(scenarios.MeshEntry{Name: mesh})
	if err != nil {
		return w.Host()
	}
	return d.serverName(w)
}

// counts is what the proxies of one service counted in a window, in words that every mesh shares.
type counts struct {
	requests    []requestCount // requests that arrived, by who sent them
	allowed     int64          // requests that the policy let pass
	denied      int64          // requests that the policy refused
	judged      bool           // allowed and denied are there
	served      int64          // requests that arrived and were answered, by whomever
	serves      bool           // served is there
	handshakes  int64          // TLS handshakes completed
	handshook   bool           // handshakes is there
	turnedAway  int64          // connections closed because nothing serves their kind: plaintext under STRICT
	countsTurns bool           // turnedAway is there
	// opened are the connections that clients opened, by client; one that opened none and has a series is there with 0.
	// Only where traits.keeps.
	opened map[client]int64
	// answered are good answers, by client, where requests does not say what became of them. Only where
	// traits.countsEarly.
	answered map[client]int64
	// parents are requests that the proxies sent, by the kind and name of what Linkerd balanced them over:
	// "Service/web", or "default/endpoint" where it balanced nothing because its client had chosen the pod.
	parents map[string]int64
}

// client is who sends requests, as a proxy tells clients apart. One in plaintext has no principal.
type client struct {
	principal string
	secured   bool // by mutual TLS; with an empty principal: TLS without a client certificate
}

func (c client) String() string {
	switch {
	case !c.secured:
		return "clients in plaintext"
	case c.principal == "":
		return "clients under TLS without a certificate"
	}
	return c.principal
}

// refusal is one way to be turned away.
type refusal struct {
	client
	code int
}

// requestCount is the increase of one series of requests.
type requestCount struct {
	client
	security string // what the series says of how the request came
	allowed  bool   // let in, and answered well where the series says that
	code     int    // response code; 0 where the series does not say
	n        int64
}

// accessLine is one line of an access log.
type accessLine struct {
	id      string // x-request-id
	peer    string // identity of who sent it
	local   string // identity under which it was received
	issuer  string // distinguished name of who issued the sender's certificate; "" where the log does not say
	tls     string // "TLSv1.3"; "" for plaintext
	code    int
	details string // why the proxy answered as it did
}

// denied reports whether the line names policy as the cause of the answer.
func (l accessLine) denied() bool {
	return l.code == 403 && strings.HasPrefix(l.details, "rbac_access_denied")
}

// secured reports whether the request came over a version of TLS that a mesh may use.
func (l accessLine) secured() bool { return l.tls == "TLSv1.2" || l.tls == "TLSv1.3" }

// workloadContainer is the name of the workload's own container in every pod of Meshproof.
const workloadContainer = "workload"

// foreignSidecars lists the containers of a pod, init containers among them, that are neither the workload nor known.
func foreignSidecars(p *evidence.Pod, known ...string) []string {
	var out []string
	for _, c := range append(slices.Clone(p.Containers), p.InitContainers...) {
		if c != workloadContainer && !slices.Contains(known, c) {
			out = append(out, c)
		}
	}
	return out
}

// reasonSidecars is why a pod with the wrong containers disproves mutual TLS.
const reasonSidecars = "WrongSidecarSet"

// howMany counts the containers of a list that have one of the names.
func howMany(list []string, names ...string) (n int) {
	for _, c := range list {
		if slices.Contains(names, c) {
			n++
		}
	}
	return n
}

// wantSidecar says what is wrong with the containers of a pod that should have one proxy, and exactly one of the init
// containers that make its traffic go through it. The containers named besides may be there.
func wantSidecar(p *evidence.Pod, proxy, capture, validation string, besides ...string) (reason, wrong string) {
	proxies := howMany(p.Containers, proxy) + howMany(p.InitContainers, proxy)
	foreign := foreignSidecars(p, append(besides, proxy, capture, validation)...)
	switch {
	case proxies == 0 && len(foreign) > 0:
		return reasonSidecars, fmt.Sprintf("has no %s, and has %s", proxy, strings.Join(foreign, ", "))
	case proxies == 0:
		return reasonSidecars, "has no " + proxy
	case proxies > 1:
		return reasonSidecars, fmt.Sprintf("has %d %s containers", proxies, proxy)
	case howMany(p.InitContainers, capture, validation) != 1:
		return reasonSidecars, fmt.Sprintf("has not exactly one of the init containers %s and %s: its traffic may not be captured", capture, validation)
	}
	if len(foreign) > 0 {
		return reasonSidecars, fmt.Sprintf("has %s beside the workload and %s", strings.Join(foreign, ", "), proxy)
	}
	return "", ""
}
