package linkerd

import (
	"bufio"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/meshproof/meshproof/clusters/conformance"
)

// serverOf is a Server of port 8080 of shop.
func serverOf(protocol, access string) string {
	return `apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: shop, namespace: app}
spec: {podSelector: {matchLabels: {app: shop}}, port: 8080, proxyProtocol: ` + protocol + `, accessPolicy: ` + access + `}
---
`
}

// TestEachRowOfThePolicyTableHoldsOrIsListed goes through what Linkerd's policy is expected to do, row by row: what the
// model does is seen on real sockets, what it does not do is refused and listed in ARCHITECTURE.md.
func TestEachRowOfThePolicyTableHoldsOrIsListed(t *testing.T) {
	const (
		plain   = ""
		noCert  = "no certificate"
		closed  = 0
		member  = cartID
		another = stockID
	)
	type ask struct {
		client string
		want   int
	}
	for _, tt := range []struct {
		row, policy, objs, path string
		asks                    []ask
		counted                 map[string]float64 // by metric and its labels: "metric name=value …"
		more                    func(*testing.T)
		refused, unlike         string // an object that is refused, and the sentence about it in ARCHITECTURE.md
	}{
		{
			row: "all-unauthenticated, the default", asks: []ask{{plain, 200}, {noCert, 200}, {member, 200}, {gatewayID, 200}},
			counted: map[string]float64{httpAllow + " authz_kind=default authz_name=all-unauthenticated": 4},
		},
		{
			row: "audit lets in and labels", policy: "audit", asks: []ask{{plain, 200}, {member, 200}},
			counted: map[string]float64{
				httpAllow + " authz_kind=default authz_name=audit tls=no_identity": 1, httpAllow + " authz_kind=default authz_name=audit tls=true": 1,
				requestTotal + " direction=inbound authz_name=audit": 2,
			},
			unlike: "The proxy writes no log, in which a real one names each request that audit let in or policy refused; labels tell both.",
		},
		{
			row: "audit as a Server's access policy", objs: serverOf("HTTP/1", "audit") + cartMayServer + cartOrGateway, asks: []ask{{plain, 200}, {member, 200}},
			counted: map[string]float64{httpAllow + " authz_kind=default authz_name=audit": 1, httpAllow + " authz_kind=authorizationpolicy": 1},
		},
		{row: "all-authenticated: unmeshed HTTP", policy: "all-authenticated", asks: []ask{{plain, 403}, {noCert, 403}, {member, 200}}},
		{
			row: "all-authenticated: unmeshed opaque", objs: serverOf("opaque", "all-authenticated"), asks: []ask{{plain, closed}, {noCert, closed}, {member, 200}},
			counted: map[string]float64{tcpDeny: 2, tcpAllow + " authz_name=all-authenticated": 1},
		},
		{row: "all-authenticated: a client with a SPIFFE ID", policy: "all-authenticated", asks: []ask{{gatewayID, 403}}},
		{
			row: "cluster-authenticated: a source outside of clusterNetworks", policy: "cluster-authenticated", asks: []ask{{plain, 403}, {member, 200}},
			unlike: "Every client's address counts as one of clusterNetworks: cluster-authenticated asks for an identity and refuses no member, and cluster-unauthenticated lets everybody in.",
		},
		{
			row: "deny: HTTP", policy: "deny", asks: []ask{{plain, 403}, {member, 403}},
			counted: map[string]float64{httpDeny + " srv_kind=default srv_name=deny srv_port=8080": 2, requestTotal + " direction=inbound srv_port=8080": 0},
		},
		{row: "deny: opaque", objs: serverOf("opaque", "deny"), asks: []ask{{plain, closed}, {member, closed}}, counted: map[string]float64{tcpDeny: 2}},
		{row: "a Server without authorization: HTTP", objs: shopServer, asks: []ask{{plain, 403}, {member, 403}}},
		{row: "a Server without authorization: opaque", objs: opaqueServer, asks: []ask{{plain, closed}, {member, closed}}},
		{
			row: "an HTTPRoute is attached and none matches", objs: shopServer + okRoute + cartMayOK + cartOrGateway, path: "/denied",
			asks: []ask{{plain, 404}, {member, 404}}, counted: map[string]float64{routeNotFound: 2},
		},
		{
			row: "HTTPLocalRateLimitPolicy is exceeded", objs: shopServer + cartMayServer + cartOrGateway + limitShop("total: {requestsPerSecond: 2}"),
			asks:    []ask{{another, 403}, {another, 403}, {member, 200}, {member, 200}, {member, 429}, {another, 403}},
			counted: map[string]float64{rateLimited + " ratelimit_scope=total": 1, httpAllow + " srv_port=8080": 3, httpDeny: 3},
		},
		{row: "a policy is tightened mid-connection: an opaque stream", more: func(t *testing.T) {
			m := newMesh(t, serverOf("opaque", "all-authenticated"))
			shop := m.pod("shop", nil)
			c, err := m.secured(shop, nil, dnsLeaf(cartID))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: shop\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			r := bufio.NewReader(c)
			if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 200 {
				t.Fatal(resp, err)
			} else if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Fatal(err)
			}
			m.apply(serverOf("opaque", "deny"))
			if _, err := r.ReadByte(); err == nil {
				t.Error("the stream goes on")
			}
			if got := shop.scrape(t, tcpTerminate, "client_id", cartID); got != 1 {
				t.Errorf("%v terminated", got)
			}
		}},
		{row: "what is not HTTP on a port that is looked into is opaque", more: func(t *testing.T) {
			for policy, want := range map[string]string{"all-authenticated": tcpDeny, "all-unauthenticated": tcpAllow} {
				m := newMesh(t, "")
				shop := m.pod("shop", nil, policy)
				c, err := net.Dial("tcp", shop.Inbound())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if _, err := io.WriteString(c, "\x00\x01\x02"); err != nil {
					t.Fatal(err)
				}
				if err := c.(*net.TCPConn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, c) // until it is closed, with a reset or without
				m.apply(adminServer)          // lets the metrics be read
				if got := shop.scrape(t, want, "tls", "no_identity"); got != 1 {
					t.Errorf("%s: %s is %v", policy, want, got)
				}
			}
		}},
		{row: "gRPC is denied or limited", more: func(t *testing.T) {
			m := newMesh(t, shopServer+cartMayServer+cartOrGateway+limitShop("total: {requestsPerSecond: 1}"))
			m.clock = new(handClock).now
			shop := m.pod("shop", nil)
			for _, tt := range []struct{ id, want string }{{stockID, "7"}, {cartID, ""}, {cartID, "8"}} {
				c, err := m.secured(shop, nil, dnsLeaf(tt.id))
				if err != nil {
					t.Fatal(err)
				}
				if a := overHTTP2(t, c, "/", "application/grpc"); a.code != 200 || a.header.Get("Grpc-Status") != tt.want {
					t.Errorf("%s: %+v, want grpc-status %q", tt.id, a, tt.want)
				}
			}
		}, unlike: "gRPC is known by its refusals alone (grpc-status 5, 7 and 8 with status 200): what is let in goes to the workload as HTTP/1.1 without trailers, and the proxy's other errors have the status codes of HTTP."},
		{
			row: "EgressNetwork Deny", refused: "apiVersion: policy.linkerd.io/v1alpha1\nkind: EgressNetwork\nmetadata: {name: all, namespace: app}\nspec: {trafficPolicy: Deny}",
			unlike: "EgressNetwork, GRPCRoute, TLSRoute, TCPRoute, ServerAuthorization, ServiceProfile, ExternalWorkload and the objects of multicluster (Link) are refused.",
		},
		{
			row: "ServerAuthorization", refused: "apiVersion: policy.linkerd.io/v1beta1\nkind: ServerAuthorization\nmetadata: {name: all, namespace: app}\nspec: {}",
			unlike: "EgressNetwork, GRPCRoute, TLSRoute, TCPRoute, ServerAuthorization, ServiceProfile, ExternalWorkload and the objects of multicluster (Link) are refused.",
		},
		{
			row: "proxyProtocol HTTP/2, gRPC and TLS", refused: strings.TrimSuffix(serverOf("gRPC", "deny"), "---\n"),
			unlike: "A Server's port is 8080 or 4191, by number, and speaks unknown, HTTP/1 or opaque; HTTP/2, gRPC and TLS are refused.",
		},
		{
			row: "NetworkAuthentication of some addresses", refused: "apiVersion: policy.linkerd.io/v1alpha1\nkind: NetworkAuthentication\nmetadata: {name: some, namespace: app}\nspec: {networks: [{cidr: 10.0.0.0/8}]}",
			unlike: "All pods share one IP address: target_addr in metrics has it with the port that a pod would have, pods are told apart by their names, and policy about addresses is refused unless it speaks of every address.",
		},
		{row: "probes are let in while no route is attached to their port", more: func(t *testing.T) {
			get := func(p *testPod, path string) int {
				c, err := net.Dial("tcp", p.Metrics())
				return request(c, err, "GET", path).code
			}
			m := newMesh(t, strings.Replace(adminServer, "accessPolicy: all-unauthenticated", "accessPolicy: deny", 1))
			shop := m.pod("shop", nil)
			if live, other := get(shop, "/live"), get(shop, "/metrics"); live != 200 || other != 403 {
				t.Errorf("without a route: /live %d, /metrics %d", live, other)
			}
			m.apply(strings.Replace(adminServer, "accessPolicy: all-unauthenticated", "accessPolicy: deny", 1) + strings.Replace(okRoute, "name: shop}", "name: admin}", 1))
			if live := get(shop, "/live"); live != 404 {
				t.Errorf("with a route: /live %d", live)
			}
		}},
	} {
		t.Run(tt.row, func(t *testing.T) {
			conformance.Unlike(t, tt.unlike, tt.refused, check)
			if tt.more != nil {
				tt.more(t)
			}
			if len(tt.asks) == 0 {
				return
			}
			m := newMesh(t, tt.objs)
			m.clock = new(handClock).now
			shop := m.pod("shop", nil, tt.policy)
			passed := 0
			for _, a := range tt.asks {
				path := tt.path
				if path == "" {
					path = "/ok"
				}
				var got int
				switch a.client {
				case plain:
					got = shop.plain("GET", path).code
				case noCert:
					got = m.as(shop, nil, "GET", path).code
				case gatewayID:
					got = m.as(shop, uriLeaf(gatewayID), "GET", path).code
				default:
					got = m.as(shop, dnsLeaf(a.client), "GET", path).code
				}
				if got != a.want {
					t.Errorf("%q: %d, want %d", a.client, got, a.want)
				}
				if got == 200 {
					passed++
				}
			}
			if n := len(shop.requests()); n != passed {
				t.Errorf("the workload got %d requests, and %d were answered with 200", n, passed)
			}
			m.apply(tt.objs + adminServer)
			for _, series := range slices.Sorted(maps.Keys(tt.counted)) {
				metric, text, _ := strings.Cut(series, " ")
				want := []string{"target_port", "8080"}
				for _, l := range strings.Fields(text) {
					name, value, _ := strings.Cut(l, "=")
					want = append(want, name, value)
				}
				if got := shop.scrape(t, metric, want...); got != tt.counted[series] {
					t.Errorf("%s: %v, want %v", series, got, tt.counted[series])
				}
			}
		})
	}
}

func TestArchitectureListsWhatTheModelReads(t *testing.T) {
	section := conformance.Modelled(t)
	var route []string
	for _, f := range routeFields {
		route = append(route, "spec."+f)
	}
	conformance.Lists(t, section, "HTTPRoute", route)
	conformance.Lists(t, section, "Service's annotations", slices.Collect(maps.Keys(readers)))
	conformance.Lists(t, section, "Namespace's annotations", slices.Collect(maps.Keys(injection)))
	conformance.Lists(t, section, "Pods' annotations", slices.Collect(maps.Keys(podInjection)))
}
