package istio

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/meshproof/meshproof/internal/oidc"
)

const issuerURL = "http://issuer.test"

// edgeMesh has users' tokens checked at shop, and lets in customers, and staff to the office.
const edgeMesh = `
kind: RequestAuthentication
metadata: {name: users, namespace: app}
spec:
  selector: {matchLabels: {app: shop}}
  jwtRules: [{issuer: "http://issuer.test", audiences: [shop], jwksUri: "http://issuer.test/keys"}]
---
kind: AuthorizationPolicy
metadata: {name: users, namespace: app}
spec:
  selector: {matchLabels: {app: shop}}
  rules:
  - from: [{source: {requestPrincipals: ["*"]}}]
    to: [{operation: {paths: [/]}}]
    when: [{key: "request.auth.claims[role]", values: [customer, boss]}]
  - from: [{source: {requestPrincipals: ["http://issuer.test/anna"]}}]
    to: [{operation: {paths: [/office]}}]
    when: [{key: "request.auth.claims[role]", values: [staff]}, {key: "request.auth.claims[tier]", notValues: [none]}]
  - to: [{operation: {paths: [/anybody]}}]
  - from: [{source: {notRequestPrincipals: ["*"]}}]
    to: [{operation: {paths: [/strangers]}}]
`

func users(t *testing.T, m *testMesh) *oidc.Issuer {
	t.Helper()
	i, err := oidc.Start(issuerURL, "shop")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	m.hosts = map[string]string{"issuer.test": i.Addr()}
	m.update()
	return i
}

func TestRequestAuthenticationAndClaimsDecideWhoEnters(t *testing.T) {
	m := newMesh(t, edgeMesh)
	shop := m.pod("shop", nil)
	i := users(t, m)
	role := func(kv ...string) map[string]string {
		c := map[string]string{}
		for k := 0; k < len(kv); k += 2 {
			c[kv[k]] = kv[k+1]
		}
		return c
	}
	const denied = "RBAC: access denied"
	c := client(t, shop.Edge())
	for _, tt := range []struct {
		name, path string
		subject    string
		claims     map[string]string
		defect     oidc.Defect
		code       int
		body       string
		details    string
	}{
		{"a customer", "/", "anna", role("role", "customer"), oidc.Good, 200, "", "via_upstream"},
		{"the other value", "/", "anna", role("role", "boss"), oidc.Good, 200, "", "via_upstream"},
		{"staff at the wrong door", "/", "anna", role("role", "staff"), oidc.Good, 403, denied, "rbac_access_denied_matched_policy[none]"},
		{"no claim", "/", "anna", nil, oidc.Good, 403, denied, "rbac_access_denied_matched_policy[none]"},
		{"a claim that begins alike", "/", "anna", role("role", "customers"), oidc.Good, 403, denied, "rbac_access_denied_matched_policy[none]"},
		{"staff", "/office", "anna", role("role", "staff"), oidc.Good, 200, "", "via_upstream"},
		{"staff of no tier", "/office", "anna", role("role", "staff", "tier", "none"), oidc.Good, 403, denied, "rbac_access_denied_matched_policy[none]"},
		{"another person", "/office", "eve", role("role", "staff"), oidc.Good, 403, denied, "rbac_access_denied_matched_policy[none]"},
		{"no token", "/", "", nil, oidc.Good, 403, denied, "rbac_access_denied_matched_policy[none]"},
		{"no token where none is wanted", "/anybody", "", nil, oidc.Good, 200, "", "via_upstream"},
		{"no token for strangers", "/strangers", "", nil, oidc.Good, 200, "", "via_upstream"},
		{"a user where strangers are wanted", "/strangers", "anna", nil, oidc.Good, 403, denied, "rbac_access_denied_matched_policy[none]"},
		{"expired, even where no token is wanted", "/anybody", "anna", nil, oidc.Expired, 401, "Jwt is expired", "jwt_authn_access_denied{Jwt_is_expired}"},
		{"of another issuer", "/", "anna", role("role", "customer"), oidc.WrongIssuer, 401, "Jwt issuer is not configured", "jwt_authn_access_denied{Jwt_issuer_is_not_configured}"},
		{"for another audience", "/", "anna", role("role", "customer"), oidc.WrongAudience, 403, "Audiences in Jwt are not allowed", "jwt_authn_access_denied{Audiences_in_Jwt_are_not_allowed}"},
		{"malformed", "/", "anna", nil, oidc.Malformed, 401, string(oidc.BadFormat), oidc.BadFormat.Details()},
		{"forged", "/", "anna", role("role", "customer"), oidc.ForeignKey, 401, "Jwt verification fails", "jwt_authn_access_denied{Jwt_verification_fails}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var header []string
			if tt.subject != "" {
				token, err := i.Mint(tt.subject, tt.claims, time.Minute, tt.defect)
				if err != nil {
					t.Fatal(err)
				}
				header = []string{"Authorization", "Bearer " + token}
			}
			seen, logged := len(shop.requests()), len(m.access())
			a := ask(t, c, "GET", "http://shop"+tt.path, header...)
			if a.code != tt.code || tt.body != "" && a.body != tt.body {
				t.Errorf("%+v, want %d %q", a, tt.code, tt.body)
			}
			got := shop.requests()[seen:]
			if (len(got) == 1) != (tt.code == 200) {
				t.Errorf("the workload got %d requests", len(got))
			}
			for _, r := range got {
				if r.Header.Get("Authorization") != "" {
					t.Error("the token reached the workload")
				}
			}
			lines := m.access()[logged:]
			if len(lines) != 1 || !strings.Contains(string(lines[0].Line), `"details":"`+tt.details+`"`) || strings.Contains(string(lines[0].Line), "eyJ") {
				t.Errorf("access log: %s", lines[0].Line)
			}
			if bearer := a.header.Get("Www-Authenticate"); strings.HasPrefix(tt.details, "jwt_authn") != (bearer == `Bearer realm="http://shop`+tt.path+`", error="invalid_token"`) {
				t.Errorf("WWW-Authenticate: %s", bearer)
			}
		})
	}
}

func TestTheTokenIsForwardedOnlyWhereItIsSaid(t *testing.T) {
	m := newMesh(t, strings.Replace(edgeMesh, "/keys\"}", "/keys\", forwardOriginalToken: true}", 1))
	shop := m.pod("shop", nil)
	i := users(t, m)
	token, err := i.Mint("anna", map[string]string{"role": "customer"}, time.Minute, oidc.Good)
	if err != nil {
		t.Fatal(err)
	}
	if a := ask(t, client(t, shop.Edge()), "GET", "http://shop/", "Authorization", "Bearer "+token); a.code != 200 {
		t.Fatalf("%+v", a)
	}
	if got := shop.requests()[0].Header.Get("Authorization"); got != "Bearer "+token {
		t.Error("the token did not reach the workload")
	}
}

func TestARequestAuthenticationHoldsForWhatItSelects(t *testing.T) {
	m := newMesh(t, strings.Split(edgeMesh, "\n---\n")[0])
	shop, cart := m.pod("shop", nil), m.pod("cart", nil)
	users(t, m)
	for pod, want := range map[*testPod]int{shop: 401, cart: 200} {
		if a := ask(t, client(t, pod.Edge()), "GET", "http://x/", "Authorization", "Bearer rubbish"); a.code != want {
			t.Errorf("%s: %+v, want %d", pod.Workload, a, want)
		}
	}
	m.apply("")
	if a := ask(t, client(t, shop.Edge()), "GET", "http://x/", "Authorization", "Bearer rubbish"); a.code != 200 {
		t.Errorf("without a RequestAuthentication nobody looks at tokens: %+v", a)
	}
}

func TestKeysThatCannotBeFetchedRefuseTokens(t *testing.T) {
	m := newMesh(t, edgeMesh)
	shop := m.pod("shop", nil)
	i := users(t, m)
	m.apply(strings.Replace(edgeMesh, "issuer.test/keys", "elsewhere.test/keys", 1))
	token, err := i.Mint("anna", map[string]string{"role": "customer"}, time.Minute, oidc.Good)
	if err != nil {
		t.Fatal(err)
	}
	if a := ask(t, client(t, shop.Edge()), "GET", "http://shop/", "Authorization", "Bearer "+token); a.code != 401 || a.body != "Jwks remote fetch is failed" {
		t.Errorf("%+v", a)
	}
}
