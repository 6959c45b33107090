package verify

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// noneDialect is no mesh at all. It looks for identities as a mesh would carry them, so that one that is there after
// all is seen.
type noneDialect struct{}

func (noneDialect) proxied() bool { return false }

func (noneDialect) identity(w scenarios.Workload) string { return w.SPIFFEID() }

func (noneDialect) traits() traits {
	return traits{namesReceiver: true, tellsLeaf: true, refusals: []int{403}, tls: []string{"TLS 1.2", "TLS 1.3"}}
}

func (noneDialect) serverName(w scenarios.Workload) string { return w.Host() }

func (noneDialect) certificate(c *x509.Certificate, identity string) (reason, wrong string) {
	return istioDialect{}.certificate(c, identity)
}

func (noneDialect) peer(r *evidence.Request) (from, to string, err error) {
	if r.L5dClientID != "" {
		return r.L5dClientID, "", nil
	}
	return xfccPeer(r.XFCC)
}

func (noneDialect) leaf(*evidence.Request) string { return "" }

func (noneDialect) families() []string         { return nil }
func (noneDialect) countsRequests(string) bool { return false }
func (noneDialect) counts([]sample) counts     { return counts{} }
func (noneDialect) access(json.RawMessage) (accessLine, error) {
	return accessLine{}, errors.New("there are no proxies here to write an access log")
}

func (noneDialect) sidecars(p *evidence.Pod) (reason, wrong string) {
	if f := foreignSidecars(p); len(f) > 0 {
		return reasonSidecars, fmt.Sprintf("has %s beside the workload, and there should be no mesh", strings.Join(f, ", "))
	}
	return "", ""
}
