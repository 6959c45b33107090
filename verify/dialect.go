package verify

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// dialect is what is particular to one mesh: how its evidence says who spoke to whom, and how.
type dialect interface {
	// proxied reports whether the mesh puts a proxy beside its workloads, which then has metrics and an access log.
	proxied() bool
	// identity is the name that a workload's certificate carries.
	identity(w scenarios.Workload) string
	// peer reads from a workload's record who sent the request and to whom, as the proxies say; both are empty where
	// no proxy said anything.
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
	// sidecars says what is wrong with the containers of a pod that belongs into the mesh; "" where nothing is.
	sidecars(p *evidence.Pod) string
}

// dialectOf finds the dialect of a mesh.
func dialectOf(mesh scenarios.MeshName) (dialect, error) {
	switch mesh {
	case scenarios.MeshNone:
		return noneDialect{}, nil
	case scenarios.MeshIstio:
		return istioDialect{}, nil
	}
	return nil, fmt.Errorf("this version cannot judge mesh %q", mesh)
}

// Identity is the name that a workload's certificate must carry in a mesh; empty where the mesh gives none or is not
// known.
func Identity(mesh scenarios.MeshName, w scenarios.Workload) string {
	d, err := dialectOf(mesh)
	if err != nil || !d.proxied() || !w.Meshed {
		return ""
	}
	return d.identity(w)
}

// counts is what the proxies of one service counted in a window, in words that every mesh shares.
type counts struct {
	requests    []requestCount // requests that arrived, by who sent them
	allowed     int64          // requests that the policy let pass
	denied      int64          // requests that the policy refused
	judged      bool           // allowed and denied are there
	handshakes  int64          // TLS handshakes completed
	handshook   bool           // handshakes is there
	turnedAway  int64          // connections closed because nothing serves their kind: plaintext under STRICT
	countsTurns bool           // turnedAway is there
}

// requestCount is the increase of one series of requests.
type requestCount struct {
	principal string
	secured   bool   // by mutual TLS
	security  string // what the series says of it
	code      int    // response code; 0 where there was none
	n         int64
}

// accessLine is one line of an access log.
type accessLine struct {
	id      string // x-request-id
	peer    string // identity of who sent it
	local   string // identity under which it was received
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
