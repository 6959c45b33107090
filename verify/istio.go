package verify

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// istioDialect is Istio with sidecars. Names of metrics and labels are those of Istio's standard metrics
// (istio_requests_total) and of Envoy's own statistics as a sidecar exports them.
type istioDialect struct{}

const (
	istioRequests   = "istio_requests_total"
	envoyRBAC       = "envoy_http_rbac"
	envoyServed     = "envoy_http_downstream_rq_completed"
	envoyHandshakes = "envoy_listener_ssl_handshake"
	envoyNoChain    = "envoy_listener_no_filter_chain_match"

	// istioInbound is the listener that captures what a pod receives.
	istioInbound = "0.0.0.0_15006"
)

func (istioDialect) proxied() bool { return true }

func (istioDialect) traits() traits {
	return traits{
		logs: true, guardsEdge: true, namesReceiver: true, tellsLeaf: true, refusals: []int{403},
		tls: []string{"TLS 1.2", "TLS 1.3"}, issues: scenarios.MeshIstio,
	}
}

// serverName is any: Istio's proxies route by SNI only between networks.
func (istioDialect) serverName(w scenarios.Workload) string { return w.Host() }

func (istioDialect) certificate(c *x509.Certificate, identity string) (reason, wrong string) {
	if len(c.URIs) != 1 || c.URIs[0].String() != identity {
		return "WrongIdentity", fmt.Sprintf("for %v, want exactly %s", c.URIs, identity)
	}
	return "", ""
}

func (istioDialect) identity(w scenarios.Workload) string { return w.SPIFFEID() }

func (istioDialect) peer(r *evidence.Request) (from, to string, err error) { return xfccPeer(r.XFCC) }

func (istioDialect) leaf(r *evidence.Request) string { return xfccLeaf(r.XFCC) }

func (istioDialect) families() []string {
	return []string{istioRequests, envoyRBAC, envoyServed, envoyHandshakes, envoyNoChain}
}

// countsRequests is false for upstream Envoy, which has no istio.stats filter.
func (istioDialect) countsRequests(body string) bool {
	return strings.Contains(body, "\n"+istioRequests+"{") || strings.HasPrefix(body, istioRequests+"{")
}

func (istioDialect) counts(deltas []sample) counts {
	var c counts
	for _, d := range deltas {
		switch d.name {
		case istioRequests:
			// The source's proxy counts the same request once more, with connection_security_policy="unknown".
			if d.labels["reporter"] != "destination" {
				continue
			}
			code, _ := strconv.Atoi(d.labels["response_code"])
			security := d.labels["connection_security_policy"]
			r := requestCount{security: fmt.Sprintf("connection_security_policy=%q", security), allowed: code/100 == 2, code: code, n: d.count}
			if security == "mutual_tls" {
				r.client = client{d.labels["source_principal"], true}
			}
			c.requests = append(c.requests, r)
		case envoyRBAC:
			// authz_dry_run_result counts what a rule on trial would have done.
			if !strings.HasPrefix(d.labels["http_conn_manager_prefix"], "inbound_") {
				continue
			}
			switch d.labels["authz_enforce_result"] {
			case "allowed":
				c.allowed, c.judged = c.allowed+d.count, true
			case "denied":
				c.denied, c.judged = c.denied+d.count, true
			}
		case envoyServed:
			if strings.HasPrefix(d.labels["http_conn_manager_prefix"], "inbound_") {
				c.served, c.serves = c.served+d.count, true
			}
		case envoyHandshakes:
			if d.labels["listener_address"] == istioInbound {
				c.handshakes, c.handshook = c.handshakes+d.count, true
			}
		case envoyNoChain:
			if d.labels["listener_address"] == istioInbound {
				c.turnedAway, c.countsTurns = c.turnedAway+d.count, true
			}
		}
	}
	return c
}

// access reads the JSON format that Meshproof gives the proxies (meshConfig.accessLogFormat); keys of it that are not
// needed here are not read. Envoy writes null for what it does not know.
func (istioDialect) access(line json.RawMessage) (accessLine, error) {
	var l struct {
		ID      *string `json:"id"`
		Peer    *string `json:"peer"`
		Local   *string `json:"local"`
		Issuer  *string `json:"issuer"`
		TLS     *string `json:"tls"`
		Code    *int    `json:"code"`
		Details *string `json:"details"`
	}
	if err := json.Unmarshal(line, &l); err != nil {
		return accessLine{}, fmt.Errorf("access log line: %w", err)
	}
	if l.Code == nil {
		return accessLine{}, fmt.Errorf("access log line: it has no code")
	}
	a := accessLine{code: *l.Code}
	for _, f := range []struct {
		from *string
		to   *string
	}{{l.ID, &a.id}, {l.Peer, &a.peer}, {l.Local, &a.local}, {l.Issuer, &a.issuer}, {l.TLS, &a.tls}, {l.Details, &a.details}} {
		if f.from != nil && *f.from != "-" {
			*f.to = *f.from
		}
	}
	return a, nil
}

// sidecars wants one istio-proxy, as a container or as a native sidecar (an init container that keeps running), and the
// init container that sets up the capture: istio-init, or istio-validation where the CNI plug-in does it.
func (istioDialect) sidecars(p *evidence.Pod) (reason, wrong string) {
	return wantSidecar(p, "istio-proxy", "istio-init", "istio-validation")
}
