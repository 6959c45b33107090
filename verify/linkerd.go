package verify

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// linkerdDialect is Linkerd 2. Its proxies write no access log, so that policy as the cause of a refusal is told by
// counters alone: as many, by client and kind, as clients were refused. Names of metrics and labels are those of
// linkerd2-proxy.
type linkerdDialect struct{}

const (
	// linkerdAllow, linkerdDeny and linkerdNoRoute count together every request that arrived. request_total does not: it
	// leaves out what was refused. linkerdLimited counts those of linkerdAllow that were then turned away for their rate.
	// These are never dropped for idleness, as request_total is.
	linkerdAllow   = "inbound_http_authz_allow_total"
	linkerdDeny    = "inbound_http_authz_deny_total"
	linkerdNoRoute = "inbound_http_route_not_found_total"
	linkerdLimited = "inbound_http_local_ratelimit_total"
	// linkerdTCPDeny counts connections that were closed because what they carry is opaque and not authorised.
	linkerdTCPDeny = "inbound_tcp_authz_deny_total"
	linkerdOpened  = "tcp_open_total"
	// linkerdAnswered counts answers. A request that was authorised may still die on its way to the workload.
	linkerdAnswered = "response_total"
	linkerdSent     = "outbound_http_route_backend_requests_total"

	linkerdProxy     = "linkerd-proxy"
	linkerdInit      = "linkerd-init"
	linkerdValidator = "linkerd-network-validator" // takes its place where the CNI plug-in sets up the capture
)

func (linkerdDialect) proxied() bool { return true }

// traits: the time after which idle series are dropped is that of linkerd2-proxy's default configuration.
func (linkerdDialect) traits() traits {
	return traits{
		refusals: []int{http.StatusForbidden, http.StatusNotFound}, readsPlain: true, keeps: true, countsEarly: true, loopback: true,
		tls: []string{"TLS 1.3"}, idle: 10 * time.Minute, issues: scenarios.MeshLinkerd,
	}
}

func (linkerdDialect) identity(w scenarios.Workload) string { return w.LinkerdID() }

// serverName is the workload's identity: the proxy terminates TLS for no other name, and passes the rest through.
func (d linkerdDialect) serverName(w scenarios.Workload) string { return d.identity(w) }

// certificate wants one DNS name, no other, and the only kind of key that Linkerd's identity service signs.
func (linkerdDialect) certificate(c *x509.Certificate, identity string) (reason, wrong string) {
	if len(c.DNSNames) != 1 || c.DNSNames[0] != identity || len(c.URIs)+len(c.IPAddresses)+len(c.EmailAddresses) > 0 {
		return "WrongIdentity", fmt.Sprintf("for %v and %v, want exactly the DNS name %s", c.DNSNames, c.URIs, identity)
	}
	if _, ok := c.PublicKey.(*ecdsa.PublicKey); !ok {
		return "WrongKey", fmt.Sprintf("with a key of kind %s, want ECDSA", c.PublicKeyAlgorithm)
	}
	return "", ""
}

// peer is l5d-client-id, which the receiver's proxy sets and replaces. Nothing names the receiver, and a client can
// send any X-Forwarded-Client-Cert: Linkerd passes that on unread.
func (linkerdDialect) peer(r *evidence.Request) (from, to string, err error) {
	return r.L5dClientID, "", nil
}

// leaf is not told: l5d-client-id is a name, and pods of one service account in two clusters share it.
func (linkerdDialect) leaf(*evidence.Request) string { return "" }

func (linkerdDialect) families() []string {
	return []string{linkerdAllow, linkerdDeny, linkerdNoRoute, linkerdLimited, linkerdTCPDeny, linkerdOpened, linkerdAnswered, linkerdSent}
}

// countsRequests is always: a series that is not there is a count of 0, which then does not agree with the workloads'.
func (linkerdDialect) countsRequests(string) bool { return true }

func (linkerdDialect) counts(deltas []sample) counts {
	c := counts{countsTurns: true, opened: map[client]int64{}, answered: map[client]int64{}, parents: map[string]int64{}}
	for _, d := range deltas {
		if d.name == linkerdSent {
			c.parents[d.labels["parent_kind"]+"/"+d.labels["parent_name"]] += d.count
			continue
		}
		// The proxy's own port (4191) counts whoever scrapes it.
		if d.labels["srv_port"] != strconv.Itoa(scenarios.WorkloadPort) || kubelets(d.labels) {
			continue
		}
		r := requestCount{security: fmt.Sprintf("tls=%q", d.labels["tls"]), n: d.count}
		if d.labels["tls"] == "true" {
			r.client = client{d.labels["client_id"], true}
		}
		switch d.name {
		case linkerdAnswered:
			if code := d.labels["status_code"]; d.labels["direction"] == "inbound" && len(code) == 3 && code[0] == '2' {
				c.answered[r.client] += d.count
			}
			continue
		case linkerdAllow:
			r.allowed = true
		case linkerdDeny:
			r.code = http.StatusForbidden
		case linkerdNoRoute:
			r.code = http.StatusNotFound
		case linkerdLimited:
			r.code = http.StatusTooManyRequests
		case linkerdTCPDeny:
			if !r.secured {
				c.turnedAway += d.count
			}
			continue
		case linkerdOpened:
			if d.labels["direction"] == "inbound" && d.labels["peer"] == "src" {
				c.opened[r.client] += d.count
			}
			continue
		}
		c.requests = append(c.requests, r)
	}
	return c
}

// kubelets reports whether a series counts health checks. That a policy of the user's is named so makes it none.
func kubelets(labels map[string]string) bool {
	for _, what := range []string{"authz", "route"} {
		if labels[what+"_kind"] == "default" && labels[what+"_name"] == "probe" {
			return true
		}
	}
	return false
}

func (linkerdDialect) access(json.RawMessage) (accessLine, error) {
	return accessLine{}, errors.New("the proxies of Linkerd are not asked for an access log")
}

// sidecars wants one linkerd-proxy, as a native sidecar or as a container, and the init container that sets up the
// capture: linkerd-init, or linkerd-network-validator where the CNI plug-in does it.
func (linkerdDialect) sidecars(p *evidence.Pod) (reason, wrong string) {
	return wantSidecar(p, linkerdProxy, linkerdInit, linkerdValidator)
}
