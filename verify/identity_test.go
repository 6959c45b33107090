package verify

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// edgeScenario is testScenario with an issuer, and with a second door that wants another claim.
func edgeScenario(mesh scenarios.MeshName, gaps ...scenarios.Gap) *scenarios.Scenario {
	s := testScenario(mesh, gaps...)
	s.Spec.Identity.Issuer = &scenarios.Issuer{Kind: scenarios.IssuerOIDC, Audience: "shop"}
	s.Spec.Policy.Allow[0].Paths = []string{"/"}
	s.Spec.Policy.Allow[0].Claims = map[string]string{"role": "customer"}
	s.Spec.Policy.Allow = append(s.Spec.Policy.Allow, scenarios.Rule{
		From: "ingress", To: "shop", Methods: []string{"GET"}, Paths: []string{"/office/*"}, Claims: map[string]string{"role": "staff"},
	})
	s.Spec.Traffic[0].Token = &scenarios.Token{Claims: map[string]string{"role": "customer"}}
	return s
}

// enter plays one proof request from outside.
func (b *builder) enter(a Ask, p *evidence.Probe) {
	p.Header = b.head("probe")
	p.Cell, p.From, p.To, p.Method, p.Path, p.Connection = a.Cell, evidence.PodRef{Cluster: a.Cluster, Service: "outside"}, a.To, a.Method, a.Path, a.Connection
	p.Token = &evidence.Token{Kind: a.Token.Kind, Claims: a.Token.Claims, SHA256: "sum of " + p.ID}
	if a.Token.Kind == TokenNone {
		p.Token.SHA256 = ""
	}
	p.Micros = 50
	ingress, to := b.of(scenarios.IngressName, a.Cluster)[0], b.of(a.To, "")[0]
	door := func(status int, refused string) {
		b.put(&evidence.Request{
			Header: b.head("pod/" + ingress.Cluster + "/" + ingress.Pod), ID: p.ID, Window: p.Window, At: ingress.PodRef,
			Method: a.Method, Path: a.Path, Remote: "127.0.0.1:1", Status: status, Refused: refused,
		})
	}
	p.Status = a.Token.Status
	switch {
	case a.Allowed || onClaims(a.Token.Kind) && !b.meshed():
		p.Status = 200
		header := ""
		if b.meshed() {
			header = xfcc(ingress, to)
		}
		if b.linkerd() {
			header = b.l5dID(ingress.w)
			to.counts[l5dAllowed(header)]++
			b.departs(ingress, a.To)
		}
		b.receive(to, p.ID, p.Window, "ingress@"+a.Cluster, a.Method, a.Path, header, 1)
		door(200, "")
	case b.meshed():
		details := "jwt_authn_access_denied{" + a.Token.Kind + "}"
		if onClaims(a.Token.Kind) || a.Token.Kind == TokenNone {
			details = "rbac_access_denied_matched_policy[none]"
		}
		b.put(&evidence.Access{Header: b.head("proxy/" + ingress.Cluster + "/" + ingress.Pod), At: ingress.PodRef, Line: accessJSON(p.ID, "", "", "", p.Status, details)})
	default:
		door(p.Status, "no good: "+a.Token.Kind)
	}
	b.put(p)
}

func checkOf(t *testing.T, res *Result, id string) Check {
	t.Helper()
	for _, c := range res.Checks {
		if c.ID == id {
			return c
		}
	}
	t.Fatalf("there is no check %s", id)
	return Check{}
}

func TestTheEdgeIsAskedWithEveryKindOfTokenThroughEveryIngress(t *testing.T) {
	s := edgeScenario(scenarios.MeshIstio)
	plan := NewPlan(s, StageBefore)
	if plan.Rounds[0].Name != "before/edge" || len(plan.Rounds) != 3 {
		t.Fatalf("rounds: %d, the first %s", len(plan.Rounds), plan.Rounds[0].Name)
	}
	var got []string
	for _, a := range plan.Rounds[0].Asks {
		if a.Cluster == "west" {
			continue
		}
		got = append(got, fmt.Sprintf("%s %v %d", a.Cell, a.Allowed, a.Token.Status))
		if a.Allowed != (a.Twin == nil) || a.Twin != nil && (a.Twin.Token.Kind != TokenGood || a.Twin.Path != a.Path || a.Twin.Cluster != a.Cluster) {
			t.Errorf("%s: twin %+v", a.Cell, a.Twin)
		}
		if a.Allowed != s.Spec.Policy.Admits(a.To, a.Method, a.Path, a.Token.Claims) && onClaims(a.Token.Kind) {
			t.Errorf("%s: not as the policy says", a.Cell)
		}
	}
	want := []string{
		"outside@east->shop GET / (token good role=customer) true 200",
		"outside@east->shop GET / (token expired role=customer) false 401",
		"outside@east->shop GET / (token wrong-issuer role=customer) false 401",
		"outside@east->shop GET / (token wrong-audience role=customer) false 403",
		"outside@east->shop GET / (token malformed) false 401",
		"outside@east->shop GET / (token foreign-key role=customer) false 401",
		"outside@east->shop GET / (token none) false 403",
		"outside@east->shop GET / (token missing-claim without role) false 403",
		"outside@east->shop GET / (token wrong-claim role=staff) false 403",
		"outside@east->shop GET /office/meshproof-any (token good role=staff) true 200",
		"outside@east->shop GET /office/meshproof-any (token missing-claim without role) false 403",
		"outside@east->shop GET /office/meshproof-any (token wrong-claim role=customer) false 403",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("asks (-want +got):\n%s", d)
	}
	if n := len(plan.Rounds[0].Asks); n != 2*len(want) {
		t.Errorf("%d asks through two ingresses", n)
	}
}

func TestWhatAnotherRuleAdmitsIsNotExpectedToBeRefused(t *testing.T) {
	s := edgeScenario(scenarios.MeshIstio)
	s.Spec.Policy.Allow = append(s.Spec.Policy.Allow, scenarios.Rule{From: "ingress", To: "shop", Methods: []string{"GET"}, Paths: []string{"/"}})
	for _, a := range NewPlan(s, StageBefore).Rounds[0].Asks {
		if a.Path == "/" && onClaims(a.Token.Kind) {
			t.Errorf("%s is expected to be refused, and a rule without claims admits it", a.Cell)
		}
	}
}

func TestTheEdgeIsProvedWhereNothingElseIsExpected(t *testing.T) {
	s := edgeScenario(scenarios.MeshIstio)
	s.Spec.Expect.MTLS, s.Spec.Expect.Policy = nil, nil
	if plan := NewPlan(s, StageAfter); len(plan.Rounds) != 1 || plan.Rounds[0].Name != "after/edge" {
		t.Fatalf("%d rounds", len(plan.Rounds))
	}
	res := Evaluate(goodRecord(t, s))
	if c := checkOf(t, res, "identity/shop"); c.Verdict != Pass || res.Verdict != Pass {
		t.Errorf("%s; %s %s: %s", res.Message, c.Verdict, c.Reason, c.Message)
	}
}

func TestGoodAndBadTokensAreProvedBeforeIstio(t *testing.T) {
	res := Evaluate(goodRecord(t, edgeScenario(scenarios.MeshIstio)))
	if res.Verdict != Pass || len(res.Tokens) != 24 {
		t.Errorf("%s: %s; %d cells", res.Verdict, res.Message, len(res.Tokens))
	}
	for _, c := range res.Tokens {
		if c.Verdict != Pass || c.Observed != c.Expected || c.Status != c.Wanted || (c.Cause == "") != (c.Expected == allowed) {
			t.Errorf("%s: %s, %s %s %q: %s", c.ID, c.Verdict, c.Observed, c.Status, c.Cause, c.Message)
		}
	}
}

func TestClaimsAreAGapThatIsShownWhereThereIsNoMesh(t *testing.T) {
	for _, gap := range []scenarios.Gap{scenarios.GapPolicy, scenarios.GapEdgeClaims} {
		res := Evaluate(goodRecord(t, edgeScenario(scenarios.MeshNone, scenarios.GapMTLS, gap)))
		if c := checkOf(t, res, "identity/shop"); c.Verdict != Gap || c.Reason != "DeclaredGap" || c.Witnesses[0].Verdict != Pass || c.Witnesses[1].Verdict != Gap {
			t.Errorf("%s: %s %s: %s", gap, c.Verdict, c.Reason, c.Message)
		}
		for _, c := range res.Tokens {
			want := Pass
			if onClaims(c.Token) {
				want = Gap
			}
			if c.Verdict != want {
				t.Errorf("%s: %s is %s: %s", gap, c.ID, c.Verdict, c.Message)
			}
		}
	}
}

func TestClaimsThatNobodyLooksAtFailWhereNoGapIsDeclared(t *testing.T) {
	c := checkOf(t, Evaluate(goodRecord(t, edgeScenario(scenarios.MeshNone, scenarios.GapMTLS))), "identity/shop")
	if c.Verdict != Fail || c.Reason != reasonClaims {
		t.Errorf("%s %s: %s", c.Verdict, c.Reason, c.Message)
	}
}

func TestADeclaredGapOfClaimsThatIsClosedIsInvalid(t *testing.T) {
	c := checkOf(t, Evaluate(goodRecord(t, edgeScenario(scenarios.MeshIstio, scenarios.GapEdgeClaims))), "identity/shop")
	if c.Verdict != Invalid || c.Reason != "GapClosed" {
		t.Errorf("%s %s: %s", c.Verdict, c.Reason, c.Message)
	}
}

func TestTokensWithoutClaimsInThePolicyAreNoGap(t *testing.T) {
	s := edgeScenario(scenarios.MeshNone, scenarios.GapMTLS, scenarios.GapPolicy)
	for i := range s.Spec.Policy.Allow {
		s.Spec.Policy.Allow[i].Claims = nil
	}
	if c := checkOf(t, Evaluate(goodRecord(t, s)), "identity/shop"); c.Verdict != Pass || len(c.Witnesses) != 1 {
		t.Errorf("%s %s: %s", c.Verdict, c.Reason, c.Message)
	}
}

func ofKind(kind string) func(*evidence.Probe) bool {
	return func(p *evidence.Probe) bool { return p.Role == "ask" && p.Token != nil && p.Token.Kind == kind }
}

// admit makes a refused request from outside one that got through.
func admit(t *testing.T, rec *evidence.Record, kind string) *evidence.Probe {
	p := firstProbe(t, rec, "before/edge", ofKind(kind))
	q := firstProbe(t, rec, "before/edge", func(q *evidence.Probe) bool { return q.Role == "ask" && q.Status == 200 && q.Path == p.Path })
	p.Status, p.Body = 200, ""
	for _, r := range rec.Requests {
		if r.ID == q.ID {
			r.ID = p.ID
		}
	}
	return p
}

func TestWhatSpoilsOrDisprovesTheProofOfTokens(t *testing.T) {
	const edge = "before/edge"
	drop := func(rec *evidence.Record, id string) {
		rec.Accesses = slices.DeleteFunc(rec.Accesses, func(a *evidence.Access) bool { return strings.Contains(string(a.Line), `"`+id+`"`) })
	}
	twinOf := func(t *testing.T, rec *evidence.Record, p *evidence.Probe) *evidence.Probe {
		return firstProbe(t, rec, p.Window, func(q *evidence.Probe) bool { return q.ID == p.Twin })
	}
	for _, c := range []struct {
		name   string
		change func(*testing.T, *evidence.Record)
		want   Verdict
		reason string
	}{
		{"an expired token that got through", func(t *testing.T, rec *evidence.Record) { admit(t, rec, TokenExpired) }, Fail, reasonToken},
		{"no token, and through all the same", func(t *testing.T, rec *evidence.Record) { admit(t, rec, TokenNone) }, Fail, reasonToken},
		{"a forged token that got through", func(t *testing.T, rec *evidence.Record) { admit(t, rec, TokenForeignKey) }, Fail, reasonToken},
		{"a claim that nobody looked at", func(t *testing.T, rec *evidence.Record) { admit(t, rec, TokenWrongClaim) }, Fail, reasonClaims},
		{"a token that reached the service, whatever the client saw", func(t *testing.T, rec *evidence.Record) {
			admit(t, rec, TokenExpired).Status = 401
		}, Fail, reasonToken},
		{"a token that the mesh let in and the gateway alone refused", func(t *testing.T, rec *evidence.Record) {
			p := firstProbe(t, rec, edge, ofKind(TokenWrongAudience))
			r := *recordOf(t, rec, firstProbe(t, rec, edge, ofKind(TokenGood)).ID)
			for _, q := range rec.Requests {
				if q.At.Service == scenarios.IngressName {
					r = *q
				}
			}
			r.ID, r.Status, r.Refused, r.At.Cluster = p.ID, p.Status, "Audiences in Jwt are not allowed", p.From.Cluster
			rec.Requests = append(rec.Requests, &r)
		}, Fail, reasonToken},
		{"an answer without a record of anybody", func(t *testing.T, rec *evidence.Record) {
			firstProbe(t, rec, edge, ofKind(TokenExpired)).Status = 200
		}, Invalid, "NoRecord"},
		{"a refusal that no proxy names", func(t *testing.T, rec *evidence.Record) {
			p := firstProbe(t, rec, edge, ofKind(TokenExpired))
			lineOf(t, rec, p.ID).Line = accessJSON(p.ID, "", "", "", 401, "via_upstream")
		}, Invalid, "NoCause"},
		{"a refusal that no proxy logged", func(t *testing.T, rec *evidence.Record) {
			drop(rec, firstProbe(t, rec, edge, ofKind(TokenMissingClaim)).ID)
		}, Invalid, "EvidenceLost"},
		{"a refusal that is another status in the log", func(t *testing.T, rec *evidence.Record) {
			p := firstProbe(t, rec, edge, ofKind(TokenExpired))
			lineOf(t, rec, p.ID).Line = accessJSON(p.ID, "", "", "", 403, "jwt_authn_access_denied{Jwt_is_expired}")
		}, Invalid, "NoCause"},
		{"a gateway that is down", func(t *testing.T, rec *evidence.Record) {
			firstProbe(t, rec, edge, ofKind(TokenExpired)).Status = 502
		}, Invalid, "NoCause"},
		{"a connection that was closed", func(t *testing.T, rec *evidence.Record) {
			p := firstProbe(t, rec, edge, ofKind(TokenExpired))
			p.Status, p.Error = 0, "closed"
		}, Invalid, "NoCause"},
		{"a good token that was refused", func(t *testing.T, rec *evidence.Record) {
			p := firstProbe(t, rec, edge, ofKind(TokenGood))
			p.Status = 401
			rec.Requests = slices.DeleteFunc(rec.Requests, func(r *evidence.Request) bool { return r.ID == p.ID })
			renumber(rec)
		}, Fail, reasonBlock},
		{"a good token that no service was asked with", func(t *testing.T, rec *evidence.Record) {
			p := firstProbe(t, rec, edge, ofKind(TokenGood))
			rec.Requests = slices.DeleteFunc(rec.Requests, func(r *evidence.Request) bool {
				return r.ID == p.ID && r.At.Service != scenarios.IngressName
			})
			renumber(rec)
		}, Invalid, "NoRecord"},
		{"a good token that came by no ingress", func(t *testing.T, rec *evidence.Record) {
			p := firstProbe(t, rec, edge, ofKind(TokenGood))
			rec.Requests = slices.DeleteFunc(rec.Requests, func(r *evidence.Request) bool {
				return r.ID == p.ID && r.At.Service == scenarios.IngressName
			})
			renumber(rec)
		}, Invalid, "RecordedTwice"},
		{"a good token under another identity", func(t *testing.T, rec *evidence.Record) {
			p := firstProbe(t, rec, edge, ofKind(TokenGood))
			r := recordOf(t, rec, p.ID)
			r.XFCC = strings.ReplaceAll(r.XFCC, "sa/ingress", "sa/stranger")
		}, Fail, "WrongIdentity"},
		{"a token of another kind than was asked for", func(t *testing.T, rec *evidence.Record) {
			firstProbe(t, rec, edge, ofKind(TokenExpired)).Token.Kind = TokenGood
		}, Invalid, "NotAsked"},
		{"a token with other claims", func(t *testing.T, rec *evidence.Record) {
			firstProbe(t, rec, edge, ofKind(TokenExpired)).Token.Claims = nil
		}, Invalid, "NotAsked"},
		{"a request that says nothing of its token", func(t *testing.T, rec *evidence.Record) {
			firstProbe(t, rec, edge, ofKind(TokenExpired)).Token = nil
		}, Invalid, "NotAsked"},
		{"a twin without a good token", func(t *testing.T, rec *evidence.Record) {
			p := firstProbe(t, rec, edge, ofKind(TokenExpired))
			twinOf(t, rec, p).Token.Kind = TokenExpired
		}, Invalid, "NoTwin"},
		{"a twin with the very same token", func(t *testing.T, rec *evidence.Record) {
			p := firstProbe(t, rec, edge, ofKind(TokenExpired))
			twinOf(t, rec, p).Token.SHA256 = p.Token.SHA256
		}, Invalid, "NoTwin"},
		{"a twin through another ingress", func(t *testing.T, rec *evidence.Record) {
			p := firstProbe(t, rec, edge, ofKind(TokenExpired))
			twinOf(t, rec, p).From.Cluster = "west"
		}, Invalid, "NoTwin"},
		{"a twin that failed", func(t *testing.T, rec *evidence.Record) {
			twinOf(t, rec, firstProbe(t, rec, edge, ofKind(TokenExpired))).Status = 503
		}, Invalid, "TwinFailed"},
		{"a twin at another time", func(t *testing.T, rec *evidence.Record) {
			p := firstProbe(t, rec, edge, ofKind(TokenExpired))
			p.T = p.T.Add(-2 * time.Second)
		}, Invalid, "NoTwin"},
		{"no twin", func(t *testing.T, rec *evidence.Record) {
			firstProbe(t, rec, edge, ofKind(TokenExpired)).Twin = ""
		}, Invalid, "NoTwin"},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := goodRecord(t, edgeScenario(scenarios.MeshIstio))
			c.change(t, rec)
			res := Evaluate(rec)
			k := checkOf(t, res, "identity/shop")
			if k.Verdict != c.want || k.Reason != c.reason {
				t.Errorf("%s %s: %s\nwant %s %s", k.Verdict, k.Reason, k.Message, c.want, c.reason)
			}
			if res.Verdict == Pass {
				t.Error("the run still passes")
			}
		})
	}
}

func TestWhatKeepsTheGapOfClaimsFromBeingShown(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*testing.T, *evidence.Record)
		want   Verdict
		reason string
	}{
		{"a token that got through is no gap", func(t *testing.T, rec *evidence.Record) { admit(t, rec, TokenExpired) }, Fail, reasonToken},
		{"a refusal that the gateway does not name", func(t *testing.T, rec *evidence.Record) {
			recordOf(t, rec, firstProbe(t, rec, "before/edge", ofKind(TokenExpired)).ID).Refused = ""
		}, Invalid, "NoCause"},
		{"a request that arrived and was not answered", func(t *testing.T, rec *evidence.Record) {
			firstProbe(t, rec, "before/edge", ofKind(TokenWrongClaim)).Status = 502
		}, Invalid, "Unanswered"},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := goodRecord(t, edgeScenario(scenarios.MeshNone, scenarios.GapMTLS, scenarios.GapPolicy))
			c.change(t, rec)
			if k := checkOf(t, Evaluate(rec), "identity/shop"); k.Verdict != c.want || k.Reason != c.reason {
				t.Errorf("%s %s: %s\nwant %s %s", k.Verdict, k.Reason, k.Message, c.want, c.reason)
			}
		})
	}
}

func TestTheProofOfTokensDoesNotStandWithoutAnyPieceOfItsEvidence(t *testing.T) {
	for _, s := range []*scenarios.Scenario{
		edgeScenario(scenarios.MeshIstio), edgeScenario(scenarios.MeshNone, scenarios.GapMTLS, scenarios.GapPolicy),
	} {
		s.Spec.Expect.MTLS, s.Spec.Expect.Policy = nil, nil // a smaller record: what is here about tokens stays
		rec := goodRecord(t, s)
		c := checkOf(t, Evaluate(rec), "identity/shop")
		streams := map[evidence.Stream]int{}
		for i, ref := range c.Used {
			streams[ref.Stream]++
			if hurried() && i%7 != 0 {
				continue
			}
			if after := checkOf(t, Evaluate(without(rec, ref)), "identity/shop"); after.Verdict == c.Verdict {
				t.Errorf("%s: still %s without %s:%d", s.Spec.Meshes[0].Name, c.Verdict, ref.Stream, ref.Line)
			}
		}
		if streams[evidence.Probes] == 0 || streams[evidence.Requests] == 0 || streams[evidence.Events] == 0 {
			t.Errorf("%s: uses %v", s.Spec.Meshes[0].Name, streams)
		}
	}
}

func TestWhatObjectsSayOfTheEdgeIsAskedOrNamed(t *testing.T) {
	ap := func(namespace string, rule map[string]any) map[string]any {
		return map[string]any{
			"kind": "AuthorizationPolicy", "metadata": map[string]any{"namespace": namespace, "name": "extra"},
			"spec": map[string]any{"rules": []any{rule}},
		}
	}
	when := func(key string, values ...any) map[string]any {
		return map[string]any{"when": []any{map[string]any{"key": key, "values": values}}}
	}
	for _, c := range []struct {
		name    string
		object  map[string]any
		asked   string // part of a cell
		unasked string // part of what is named
	}{
		{"a claim of another value", ap("edge", when("request.auth.claims[role]", "tester")), "GET / (token wrong-claim role=tester)", ""},
		{"a claim that the policy does not know", ap("istio-system", when("request.auth.claims[debug]", "on*")), "GET / (token wrong-claim debug=onmeshproof-any)", ""},
		{"another path", ap("edge", map[string]any{"to": []any{map[string]any{"operation": map[string]any{"methods": []any{"PUT"}, "paths": []any{"/debug/*"}}}}}), "PUT /debug/meshproof-any (token missing-claim)", ""},
		{"no token at what the policy names", ap("edge", map[string]any{}), "GET / (token none)", ""},
		{"no token at what the object names", ap("edge", map[string]any{"to": []any{map[string]any{"operation": map[string]any{"methods": []any{"PUT"}, "paths": []any{"/debug/*"}}}}}), "PUT /debug/meshproof-any (token none)", ""},
		{"the second value of a claim", ap("edge", when("request.auth.claims[role]", "customer", "tester")), "GET / (token wrong-claim role=tester)", ""},
		{"a namespace behind the edge", ap("app", when("request.auth.claims[role]", "tester")), "", ""},
		{"a header", ap("edge", when("request.headers[x]", "1")), "", "decides by request.headers[x]"},
		{"one user", ap("edge", map[string]any{"from": []any{map[string]any{"source": map[string]any{"requestPrincipals": []any{"a/b"}}}}}), "", "decides by who the user is"},
		{"an address", ap("edge", map[string]any{"from": []any{map[string]any{"source": map[string]any{"ipBlocks": []any{"10.0.0.0/8"}}}}}), "", "decides by ipBlocks"},
		{"other paths than one", ap("edge", map[string]any{"to": []any{map[string]any{"operation": map[string]any{"notPaths": []any{"/"}}}}}), "", "decides by notPaths"},
		{"another issuer", map[string]any{"kind": "RequestAuthentication", "metadata": map[string]any{"name": "r"}, "spec": map[string]any{"jwtRules": []any{map[string]any{"issuer": "http://evil"}}}}, "", "takes tokens of the issuer http://evil"},
	} {
		t.Run(c.name, func(t *testing.T) {
			plain := len(edgeRound(edgeScenario(scenarios.MeshIstio), StageBefore).Asks)
			s := edgeScenario(scenarios.MeshIstio)
			s.Spec.Meshes[0].Objects = []map[string]any{c.object}
			asks := edgeRound(s, StageBefore).Asks
			if c.asked == "" && len(asks) != plain && c.unasked == "" {
				t.Errorf("%d asks, want %d", len(asks), plain)
			}
			if c.asked != "" && !slices.ContainsFunc(asks, func(a Ask) bool { return strings.Contains(a.Cell, c.asked) && a.Twin != nil }) {
				t.Errorf("nobody asks %s", c.asked)
			}
			if got := unaskedEdge(s.Spec.Meshes[0]); (c.unasked == "") != (got == "") || !strings.Contains(got, c.unasked) {
				t.Errorf("named: %q, want %q", got, c.unasked)
			}
		})
	}
}

func TestWhereObjectsNameTheEdgeEveryDoorIsAskedForAllThatTheyMayChange(t *testing.T) {
	s := edgeScenario(scenarios.MeshIstio)
	s.Spec.Policy = scenarios.Policy{Default: scenarios.DefaultDeny, Allow: []scenarios.Rule{
		{From: scenarios.IngressName, To: "shop", Methods: []string{"GET"}, Paths: []string{"/", "/products/*"}, Claims: map[string]string{"role": "customer"}},
		{From: scenarios.IngressName, To: "shop", Methods: []string{"GET"}, Paths: []string{"/open", "/free"}},
	}}
	s.Spec.Meshes[0].Objects = []map[string]any{{
		"kind": "AuthorizationPolicy", "metadata": map[string]any{"namespace": "edge", "name": "extra"},
		"spec": map[string]any{"action": "DENY", "rules": []any{map[string]any{"to": []any{map[string]any{"operation": map[string]any{"paths": []any{"/products/secret"}}}}}}},
	}}
	got := map[string]Ask{}
	for _, a := range edgeRound(s, StageBefore).Asks {
		if _, is, ok := strings.Cut(a.Cell, "->shop "); ok {
			got[is] = a
		}
	}
	for cell, allowed := range map[string]bool{
		"GET /products/meshproof-any (token good role=customer)": true,
		"GET /products/secret (token good role=customer)":        true,
		"GET /free (token good)":                                 true,
		"GET /open (token none)":                                 false,
		"GET /free (token none)":                                 false,
		"GET /products/secret (token none)":                      false,
	} {
		if a, ok := got[cell]; !ok || a.Allowed != allowed || (a.Twin != nil) == allowed {
			t.Errorf("%s: asked %v, allowed %v, twin %v", cell, ok, a.Allowed, a.Twin != nil)
		}
	}
}
