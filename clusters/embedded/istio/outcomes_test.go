package istio

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/meshproof/meshproof/clusters/conformance"
	"github.com/meshproof/meshproof/internal/oidc"
)

// mutual asks a pod as a sidecar with the identity of a service account would; code 0 is a connection without an answer.
func (m *testMesh) mutual(to *testPod, account, method, path string) answer {
	m.t.Helper()
	id := leaf(m.t, m.world.issuers["east"], "spiffe://cluster.local/ns/app/sa/"+account)
	raw, err := net.DialTimeout("tcp", to.Inbound(), 10*time.Second)
	if err != nil {
		return answer{err: err}
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(10 * time.Second))
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{*id}, NextProtos: mtlsALPN})
	if err := c.Handshake(); err != nil {
		return answer{err: err}
	}
	tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return c, nil }, DisableKeepAlives: true}
	defer tr.CloseIdleConnections()
	return ask(m.t, &http.Client{Transport: tr}, method, "http://shop"+path)
}

// TestEachRowOfThePolicyTableHoldsOrIsListed goes through what Istio's policy is expected to do, row by row: what the
// model does is seen on real sockets, what it does not do is refused and listed in ARCHITECTURE.md.
func TestEachRowOfThePolicyTableHoldsOrIsListed(t *testing.T) {
	const (
		plain  = ""
		closed = 0
	)
	policy := func(name, spec string) string {
		return "\n---\nkind: AuthorizationPolicy\nmetadata: {name: " + name + ", namespace: app}\nspec: " + spec
	}
	users := "\n---\nkind: RequestAuthentication\nmetadata: {name: users, namespace: app}\n" +
		"spec: {jwtRules: [{issuer: \"" + issuerURL + "\", jwksUri: \"" + issuerURL + "/keys\"}]}"
	from := func(source string) string { return policy("from", "{rules: [{from: [{source: {"+source+"}}]}]}") }
	members := []asking{{plain, "/", "", 403}, {"cart", "/", "", 200}, {"stock", "/", "", 403}}
	for _, tt := range []struct {
		row, objs       string
		asks            []asking
		refused, unlike string // an object that is refused, and the sentence about it in ARCHITECTURE.md
	}{
		{row: "STRICT: plaintext", objs: strictMesh, asks: []asking{{plain, "/", "", closed}, {"cart", "/", "", 200}}},
		{row: "PERMISSIVE: plaintext or mutual TLS", asks: []asking{{plain, "/", "", 200}, {"cart", "/", "", 200}}},
		{row: "DISABLE: plaintext, and mutual TLS", objs: disabledMesh, asks: []asking{{plain, "/", "", 200}, {"cart", "/", "", closed}}},
		{
			row:     "order: CUSTOM first",
			refused: "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: app}\nspec: {action: CUSTOM, provider: {name: x}, rules: [{}]}",
			unlike:  "There is no external authorizer: an AuthorizationPolicy with action CUSTOM is refused. One with action AUDIT decides nothing, and nothing is logged for it.",
		},
		{
			row: "order: DENY before ALLOW", objs: policy("allow", "{rules: [{}]}") + policy("deny", "{action: DENY, rules: [{to: [{operation: {paths: [/secret]}}]}]}"),
			asks: []asking{{"cart", "/secret", "", 403}, {"cart", "/", "", 200}},
		},
		{row: "order: no ALLOW policy", objs: policy("deny", "{action: DENY, rules: [{to: [{operation: {paths: [/secret]}}]}]}"), asks: []asking{{"cart", "/", "", 200}, {plain, "/", "", 200}}},
		{row: "order: an ALLOW policy matches, or else it is denied", objs: policy("allow", "{rules: [{to: [{operation: {paths: [/ok]}}]}]}"), asks: []asking{{"cart", "/ok", "", 200}, {"cart", "/", "", 403}}},
		{row: "ALLOW without rules", objs: policy("nothing", "{}"), asks: []asking{{plain, "/", "", 403}, {"cart", "/", "", 403}}},
		{
			row:     "HTTP-only fields on a TCP port",
			refused: "apiVersion: v1\nkind: Service\nmetadata: {name: shop, namespace: app}\nspec: {ports: [{name: tcp-db, port: 80}]}",
			unlike:  "Every port speaks HTTP/1.1, and a Service whose port does not say http is refused: what an AuthorizationPolicy with HTTP-only fields does on a TCP port is not modelled.",
		},
		{row: "principals: a client in plaintext", objs: from("principals: [cluster.local/ns/app/sa/cart]"), asks: members},
		{row: "namespaces: a client in plaintext", objs: from("namespaces: [app]"), asks: []asking{{plain, "/", "", 403}, {"cart", "/", "", 200}}},
		{row: "serviceAccounts: a client in plaintext", objs: from("serviceAccounts: [app/cart]"), asks: members},
		{row: "principals of anybody: a client in plaintext", objs: from(`principals: ["*"]`), asks: []asking{{plain, "/", "", 403}, {"cart", "/", "", 200}}},
		{row: "RequestAuthentication: a bad token", objs: users, asks: []asking{
			{plain, "/", goodToken, 200}, {plain, "/", oidc.Expired, 401}, {plain, "/", oidc.WrongIssuer, 401}, {plain, "/", oidc.Malformed, 401}, {plain, "/", oidc.ForeignKey, 401},
		}},
		{row: "RequestAuthentication: no token", objs: users, asks: []asking{{plain, "/", "", 200}}},
		{row: "RequestAuthentication and ALLOW of requestPrincipals: no token", objs: users + from(`requestPrincipals: ["*"]`), asks: []asking{
			{plain, "/", "", 403}, {plain, "/", goodToken, 200}, {plain, "/", oidc.Expired, 401},
		}},
		{
			row:     "ipBlocks",
			refused: "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: app}\nspec: {rules: [{from: [{source: {ipBlocks: [10.0.0.0/8]}}]}]}",
			unlike:  "All pods share one IP address, so policy about addresses is refused.",
		},
		{
			row:     "serviceAccounts together with principals",
			refused: "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: app}\nspec: {rules: [{from: [{source: {serviceAccounts: [a/b], principals: [x]}}]}]}",
		},
	} {
		t.Run(tt.row, func(t *testing.T) {
			conformance.Unlike(t, tt.unlike, tt.refused, check)
			if len(tt.asks) > 0 {
				askAll(t, tt.objs, tt.asks)
			}
		})
	}
}

const goodToken oidc.Defect = "none"

// asking is a request of a service account ("": in plaintext), with a token that has a defect ("": no token), and its answer.
type asking struct {
	account, path string
	token         oidc.Defect // or goodToken
	want          int
}

// askAll asks a pod of shop. What was answered with 200 and nothing else must have reached the workload.
func askAll(t *testing.T, objs string, asks []asking) {
	m := newMesh(t, objs)
	shop := m.pod("shop", nil)
	issuer := users(t, m)
	passed := 0
	for _, a := range asks {
		var got answer
		switch {
		case a.account != "":
			got = m.mutual(shop, a.account, "GET", a.path)
		case a.token != "":
			defect := a.token
			if defect == goodToken {
				defect = oidc.Good
			}
			token, err := issuer.Mint("anna", nil, time.Minute, defect)
			if err != nil {
				t.Fatal(err)
			}
			got = ask(t, client(t, shop.Inbound()), "GET", "http://shop"+a.path, "Authorization", "Bearer "+token)
		default:
			got = ask(t, client(t, shop.Inbound()), "GET", "http://shop"+a.path)
		}
		if got.code != a.want || got.code == 403 && got.body != "RBAC: access denied" {
			t.Errorf("%+v: %+v", a, got)
		}
		if got.code == 200 {
			passed++
		}
	}
	if n := len(shop.requests()); n != passed {
		t.Errorf("the workload got %d requests, and %d were answered with 200", n, passed)
	}
}

func TestArchitectureListsWhatTheModelReads(t *testing.T) {
	section := conformance.Modelled(t)
	for kind, set := range map[string]map[string]bool{
		"PeerAuthentication": peerAuthenticationFields, "AuthorizationPolicy": authorizationPolicyFields,
		"RequestAuthentication": requestAuthenticationFields, "VirtualService": virtualServiceFields, "DestinationRule": destinationRuleFields,
		"ServiceEntry": serviceEntryFields,
	} {
		var fields []string
		for f, read := range set {
			if read {
				fields = append(fields, "spec."+f)
			}
		}
		conformance.Lists(t, section, kind, fields)
	}
}
