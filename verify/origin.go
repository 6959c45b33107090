package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// A workload has one identity in all its clusters. From which of them a request came says the certificate that it was
// made with: it is the one that the caller's pod serves, or was issued by the caller's cluster.

// leavesOf lists who serves which leaf: workload@cluster, by the SHA-256 of the certificate in hex.
func leavesOf(handshakes map[podWindow][]*evidence.Handshake) map[string]string {
	out := map[string]string{}
	for _, list := range handshakes {
		for _, h := range list {
			if len(h.Chain) > 0 {
				sum := sha256.Sum256(h.Chain[0])
				out[hex.EncodeToString(sum[:])] = h.At.Service + "@" + h.At.Cluster
			}
		}
	}
	return out
}

// issuedIn reports whether the request was made with a certificate that its caller's cluster issued, by the word of the
// access log of who received it: certificates that are renewed often are not all seen where they are served.
func (x *trial) issuedIn(t *tally, rec *evidence.Request) bool {
	_, cluster, _ := strings.Cut(rec.Caller, "@")
	known, event, err := x.issuersAt(cluster, rec.T)
	if err != nil {
		return false
	}
	for _, l := range x.lines[rec.ID] {
		if l.At.UID != rec.At.UID || l.issuer == "" {
			continue
		}
		for _, c := range known {
			if c.Subject.String() == l.issuer {
				t.use(l.Ref(), event.Ref())
				return true
			}
		}
	}
	return false
}

// originOf is workload@cluster that a request's certificate belongs to; "" where that cannot be told.
func (x *trial) originOf(t *tally, rec *evidence.Request) string {
	if !x.d.traits().tellsLeaf {
		return ""
	}
	if at := x.leaves[strings.ToLower(x.d.leaf(rec))]; at != "" {
		return at
	}
	if x.issuedIn(t, rec) {
		return rec.Caller
	}
	return ""
}

// origin wants a request to have been made with a certificate that is served where its caller says that it is. An
// ingress serves nobody in the mesh, so its leaf is not known; and where no chains are read, nothing is claimed.
func (x *trial) origin(t *tally, rec *evidence.Request, from scenarios.Workload) {
	if from.Service == nil || len(x.leaves) == 0 || !x.d.traits().tellsLeaf {
		return
	}
	leaf := strings.ToLower(x.d.leaf(rec))
	switch at := x.leaves[leaf]; {
	case at == rec.Caller:
	case at != "":
		t.fail("WrongOrigin", refsOf(rec), "request %s says that it comes from %s, and was made with the certificate that %s serves", rec.ID, rec.Caller, at)
	case x.issuedIn(t, rec):
	case rec.Window != windowLoad: // under load, pods come and go between the rounds that read what they serve
		t.invalid("UnknownOrigin", refsOf(rec), "request %s of %s was made with a certificate that none of its pods serves (SHA-256 %q), so its cluster cannot be told", rec.ID, rec.Caller, leaf)
	}
}
