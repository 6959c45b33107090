package verify

import (
	"fmt"
	"sort"
	"strings"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

func l5dID(w scenarios.Workload) string {
	return w.ServiceAccount + "." + w.Namespace + ".serviceaccount.identity.linkerd.cluster.local"
}

// l5dTLS are the labels of who sent something.
func l5dTLS(clientID string) string {
	if clientID == "" {
		return `tls="no_identity",no_tls_reason="no_tls_from_remote"`
	}
	return fmt.Sprintf(`tls="true",client_id=%q`, clientID)
}

const (
	l5dTarget = `target_addr="10.244.0.33:8080",target_ip="10.244.0.33",target_port="8080",`
	l5dServer = `srv_group="policy.linkerd.io",srv_kind="server",srv_name="web",srv_port="8080"`
	l5dRoute  = `,route_group="gateway.networking.k8s.io",route_kind="HTTPRoute",route_name="web-0"`
	l5dAuthz  = `,authz_group="policy.linkerd.io",authz_kind="authorizationpolicy",authz_name="web-0"`
)

// Series as in the recordings of testdata, by client; "" is one in plaintext.
func l5dAllowed(id string) string {
	return "inbound_http_authz_allow_total{" + l5dTarget + l5dServer + l5dRoute + l5dAuthz + "," + l5dTLS(id) + "}"
}

func l5dDenied(id string) string {
	return "inbound_http_authz_deny_total{" + l5dTarget + l5dServer + l5dRoute + "," + l5dTLS(id) + "}"
}

func l5dNoRoute(id string) string {
	return "inbound_http_route_not_found_total{" + l5dTarget + l5dServer + "," + l5dTLS(id) + "}"
}

func l5dOpened(id string) string {
	return `tcp_open_total{direction="inbound",peer="src",` + l5dTarget + l5dTLS(id) + "," + l5dServer + "}"
}

// arriveLinkerd is what happens to a request at a callee in Linkerd.
func (b *builder) arriveLinkerd(from, at *simPod, a Ask, p *evidence.Probe) (int, string) {
	id := ""
	if from.w.Meshed {
		id = b.l5dID(from.w)
	}
	b.departs(from, a.To)
	if from.UID == at.UID { // meets no proxy
		b.receive(at, p.ID, p.Window, a.From+"@"+a.Cluster, a.Method, a.Path, "", 1)
		return 200, ""
	}
	switch {
	case id == "":
		at.counts[l5dOpened("")]++
	case !at.clients[from.UID]:
		// A proxy connects to every endpoint of a service as soon as it sends it anything.
		for _, p := range b.of(a.To, "") {
			if !p.clients[from.UID] {
				p.clients[from.UID] = true
				p.counts[l5dOpened(id)]++
			}
		}
	}
	routed := false
	for i := range b.s.Spec.Policy.Allow {
		r := &b.s.Spec.Policy.Allow[i]
		routed = routed || r.To == a.To && r.Matches(a.Method, a.Path)
	}
	switch {
	case !routed:
		at.counts[l5dNoRoute(id)]++
		return 404, ""
	case id == "" || !b.s.Spec.Policy.Allows(a.From, a.To, a.Method, a.Path):
		at.counts[l5dDenied(id)]++
		return 403, ""
	}
	at.counts[l5dAllowed(id)]++
	b.receive(at, p.ID, p.Window, a.From+"@"+a.Cluster, a.Method, a.Path, id, 1)
	return 200, ""
}

// linkerdPage has, beside what the pod counts, what deceives: the proxy's own port, health checks, request_total without
// what was refused, connections to the workload itself, and requests that the proxy sent.
func (p *simPod) linkerdPage() string {
	p.scrapes++
	const admin = `target_addr="0.0.0.0:4191",target_ip="0.0.0.0",target_port="4191",srv_group="",srv_kind="default",srv_name="all-unauthenticated",srv_port="4191",route_group="",route_kind="default",`
	const loopback = `tls="no_identity",no_tls_reason="no_tls_from_remote"`
	series := map[string]int64{
		`inbound_http_authz_allow_total{` + admin + `route_name="default",authz_group="",authz_kind="default",authz_name="all-unauthenticated",` + loopback + `}`:                                                                                                        p.scrapes,
		`inbound_http_authz_allow_total{` + admin + `route_name="probe",authz_group="",authz_kind="default",authz_name="probe",` + loopback + `}`:                                                                                                                        10 * p.scrapes,
		`inbound_http_authz_allow_total{` + l5dTarget + `srv_group="",srv_kind="default",srv_name="all-unauthenticated",srv_port="8080",route_group="",route_kind="default",route_name="probe",authz_group="",authz_kind="default",authz_name="probe",` + loopback + `}`: 10 * p.scrapes,
		`tcp_open_total{direction="inbound",peer="src",target_addr="0.0.0.0:4191",target_ip="0.0.0.0",target_port="4191",` + loopback + `,srv_group="",srv_kind="default",srv_name="all-unauthenticated",srv_port="4191"}`:                                               11 * p.scrapes,
		`tcp_open_total{direction="inbound",peer="dst",tls="no_identity",no_tls_reason="loopback"}`:                                                                                                                                                                      3 * p.scrapes,
		sentTo("default", "egress-fallback"): 2 * p.scrapes,
	}
	if p.w.Service != nil {
		series[sentTo("Service", "cart")] = 2 * p.scrapes
	}
	for k, n := range p.counts {
		series[k] = n
		if labels, ok := strings.CutPrefix(k, "inbound_http_authz_allow_total{"); ok {
			series[`request_total{direction="inbound",`+labels] = n
			series[`response_total{direction="inbound",`+strings.TrimSuffix(labels, "}")+`,status_code="200",classification="success",grpc_status="",error=""}`] = n
		}
	}
	keys := make([]string, 0, len(series))
	for k := range series {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	var s strings.Builder
	fmt.Fprintf(&s, "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds %v\n", p.start)
	last := ""
	for _, k := range keys {
		if name, _, _ := strings.Cut(k, "{"); name != last {
			fmt.Fprintf(&s, "# TYPE %s counter\n", name)
			last = name
		}
		fmt.Fprintf(&s, "%s %d\n", k, series[k])
	}
	return s.String()
}
