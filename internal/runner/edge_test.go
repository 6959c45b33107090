package runner_test

import (
	"bytes"
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/meshproof/meshproof/internal/runner"
	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

// secret is whatever of a token or a key could be used: the parts of a JWT, a private key, a bearer's credentials.
var secret = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8}|PRIVATE KEY|"d":"|Bearer [A-Za-z0-9]|meshproof\.malformed`)

// claim is how the JSON of a JWT's part begins; histograms in base64 look like one now and then, until they are decoded.
var claim = regexp.MustCompile(`^\{"[a-z_]+("|$)`)

// secretIn finds the first secret; -1: there is none.
func secretIn(data []byte) int {
	for _, at := range secret.FindAllIndex(data, -1) {
		m := data[at[0]:at[1]]
		if !bytes.HasPrefix(m, []byte("eyJ")) {
			return at[0]
		}
		if part, err := base64.RawURLEncoding.DecodeString(string(m)); err == nil && claim.Match(part) {
			return at[0]
		}
	}
	return -1
}

func TestSecretsAreKnown(t *testing.T) {
	for text, want := range map[string]int{
		"X=eyJhbGciOiJFUzI1NiJ9.eyJzdWIi": 2, "//eyJpc3MiOiJ": 2, "-----BEGIN PRIVATE KEY": 11, "Bearer abc": 0,
		"+LVkweyJ3EgUzjBK/AMfB1Hfg": -1, "abc": -1,
	} {
		if got := secretIn([]byte(text)); got != want {
			t.Errorf("%s: %d", text, got)
		}
	}
}

func TestTheEdgeLetsInGoodTokensAloneAndLeavesNoneInTheRunsFolder(t *testing.T) {
	s, err := scenarios.LoadLibrary("edge-tokens")
	if err != nil {
		t.Fatal(err)
	}
	journals := t.TempDir()
	out, err := runner.Run(t.Context(), runner.Options{
		Scenario: s, Provider: models(),
		Out: t.TempDir(), Journal: journals, Seed: 1, Version: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	if out.Result.Verdict != verify.Pass {
		t.Errorf("%s: %s", out.Result.Verdict, out.Result.Message)
	}
	for _, c := range out.Result.Checks {
		if want := map[string]verify.Verdict{"none": verify.Gap, "istio": verify.Pass, "linkerd": verify.Gap, "layered": verify.Pass}[c.Trial.Mesh]; c.Kind == verify.KindIdentity && c.Verdict != want {
			t.Errorf("%s of %s is %s: %s", c.ID, c.Trial.Mesh, c.Verdict, c.Message)
		}
	}
	kinds := map[string]int{}
	for _, c := range out.Result.Tokens {
		kinds[c.Token]++
		if c.Verdict == verify.Pass && c.Status != c.Wanted {
			t.Errorf("%s under %s: answered %s, and Istio answers %s", c.ID, c.Trial.Mesh, c.Status, c.Wanted)
		}
	}
	if len(kinds) != 9 {
		t.Errorf("kinds of token: %v", kinds)
	}
	files := 0
	for _, dir := range []string{out.Dir, journals} {
		err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			files++
			data, err := os.ReadFile(path)
			if at := secretIn(data); at >= 0 {
				t.Errorf("%s has a secret: %q", path, data[max(0, at-80):min(len(data), at+20)])
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 10 {
		t.Errorf("only %d files were looked at", files)
	}
}

const edge = `
apiVersion: meshproof/v1alpha1
kind: Scenario
metadata: {name: edge}
spec:
  meshes: [{name: MESH}]
  identity: {issuer: {audience: shop}}
  topology:
    clusters: [{name: east}, {name: west}]
    services: [{name: shop, clusters: [east]}]
  policy: {default: deny, allow: [{from: ingress, to: shop, claims: {role: customer}}]}
  traffic:
    - name: users
      to: shop
      token: {claims: {role: customer, tier: gold}}
      profile: {stages: [{rate: 40, for: 1s}]}
  expect:
    errors: [{traffic: users, rate: 0.5}]
`

func TestAHoleThatAnObjectOpensAtTheEdgeIsFound(t *testing.T) {
	istioWith := func(object string) string { return "name: istio, objects: [" + object + "]" }
	const anyUser = `{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: debug, namespace: edge}, spec: {rules: [{from: [{source: {requestPrincipals: ["*"]}}]}]}}`
	const users = `{apiVersion: security.istio.io/v1, kind: RequestAuthentication, metadata: {name: users, namespace: edge}, spec: {selector: {matchLabels: {app: ingress}}, jwtRules: [{issuer: "http://issuer.meshproof.internal", JWT}]}}`
	for _, c := range []struct {
		name, mesh string
		want       verify.Verdict
		reason     string
		kinds      []string // of token that got through, or that the mesh itself did not refuse
	}{
		{"none", "name: istio", verify.Pass, "Proved", nil},
		{"none in layers", "name: layered", verify.Pass, "Proved", nil},
		{"none in layers without Linkerd at the gateway", "name: layered, layered: {gateway: direct}", verify.Pass, "Proved", nil},
		{
			"a forgotten policy at the gateway of layers", "name: layered, objects: [" + anyUser + "]", verify.Fail, "ClaimsIgnored",
			[]string{verify.TokenMissingClaim, verify.TokenWrongClaim},
		},
		{
			"a forgotten policy that lets in any user", istioWith(anyUser),
			verify.Fail, "ClaimsIgnored",
			[]string{verify.TokenMissingClaim, verify.TokenWrongClaim},
		},
		{
			"a forgotten policy for testers", istioWith(`{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: debug, namespace: edge}, spec: {rules: [{to: [{operation: {paths: [/debug]}}], when: [{key: "request.auth.claims[role]", values: [tester]}]}]}}`),
			verify.Fail, "ClaimsIgnored",
			[]string{verify.TokenWrongClaim},
		},
		{
			"a policy that lets in whoever comes", istioWith(`{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: debug, namespace: edge}, spec: {rules: [{}]}}`),
			verify.Fail, "TokenAccepted",
			[]string{verify.TokenNone, verify.TokenMissingClaim, verify.TokenWrongClaim},
		},
		{
			"a policy that looks at a header", istioWith(`{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: debug, namespace: edge}, spec: {rules: [{when: [{key: "request.headers[x-debug]", values: ["1"]}]}]}}`),
			verify.Invalid, "NotAsked", nil,
		},
		{
			"a check without audiences", istioWith(strings.Replace(users, "JWT", `jwksUri: "http://issuer.meshproof.internal/keys", forwardOriginalToken: true`, 1)),
			verify.Fail, "TokenAccepted",
			[]string{verify.TokenWrongAudience},
		},
		{
			"a check whose keys are nowhere", istioWith(strings.Replace(users, "JWT", `jwksUri: "http://elsewhere.internal/keys", forwardOriginalToken: true`, 1)),
			verify.Fail, "OverBlocked",
			[]string{verify.TokenGood},
		},
		{
			"a check that keeps the token from the gateway", istioWith(strings.Replace(users, "JWT", `audiences: [shop], jwksUri: "http://issuer.meshproof.internal/keys"`, 1)),
			verify.Fail, "OverBlocked",
			[]string{verify.TokenGood},
		},
		{"no mesh, and no gap declared", "name: none", verify.Fail, "ClaimsIgnored", []string{verify.TokenMissingClaim, verify.TokenWrongClaim}},
		{"a gap that is none", "name: istio, gaps: [edge-claims]", verify.Invalid, "GapClosed", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, _ := run(t, strings.Replace(edge, "name: MESH", c.mesh, 1), 1, nil)
			for _, k := range out.Result.Checks {
				if k.Kind == verify.KindIdentity && (k.Verdict != c.want || k.Reason != c.reason) {
					t.Errorf("%s %s: %s, want %s %s", k.Verdict, k.Reason, k.Message, c.want, c.reason)
				}
			}
			failed := map[string]bool{}
			for _, k := range out.Result.Tokens {
				if k.Verdict == verify.Fail {
					failed[k.Token] = true
				}
			}
			if len(failed) != len(c.kinds) {
				t.Errorf("failed: %v, want %v", failed, c.kinds)
			}
			for _, k := range c.kinds {
				if !failed[k] {
					t.Errorf("kind %s did not fail: %v", k, failed)
				}
			}
			if (out.Result.Verdict == verify.Pass) != (c.want == verify.Pass) {
				t.Errorf("the run is %s: %s", out.Result.Verdict, out.Result.Message)
			}
		})
	}
}

func TestNoProofOfTokensOfARealRunStandsWithoutAPieceOfItsEvidence(t *testing.T) {
	for _, mesh := range []string{"name: istio", "name: none, gaps: [edge-claims]"} {
		out, rec := run(t, strings.Replace(edge, "name: MESH", mesh, 1), 1, nil)
		for _, c := range out.Result.Checks {
			if c.Kind != verify.KindIdentity {
				continue
			}
			if c.Verdict != verify.Pass && c.Verdict != verify.Gap {
				t.Fatalf("%s: %s: %s", mesh, c.Verdict, c.Message)
			}
			for i, ref := range c.Used {
				if i%11 != 0 { // verify's own test takes away every single piece of a synthetic record
					continue
				}
				for _, after := range verify.Evaluate(without(rec, ref)).Checks {
					if after.ID == c.ID && after.Verdict == c.Verdict {
						t.Errorf("%s: still %s without %s:%d", mesh, c.Verdict, ref.Stream, ref.Line)
					}
				}
			}
		}
	}
}
