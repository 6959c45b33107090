package verify

import (
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/meshproof/meshproof/scenarios"
)

// windowEdge is the round, at each stage, of what is asked from outside of the clusters.
const windowEdge = "edge"

// defects are the kinds of token that no ingress may take, with Istio's answer to each: Envoy's filter jwt_authn
// answers 401, but 403 for an audience that is not allowed (its onComplete), and a request without any token passes it
// and is denied by policy.
var defects = []Token{
	{Kind: TokenExpired, Status: http.StatusUnauthorized},
	{Kind: TokenWrongIssuer, Status: http.StatusUnauthorized},
	{Kind: TokenWrongAudience, Status: http.StatusForbidden},
	{Kind: TokenMalformed, Status: http.StatusUnauthorized},
	{Kind: TokenForeignKey, Status: http.StatusUnauthorized},
	{Kind: TokenNone, Status: http.StatusForbidden},
}

// door is a request from outside that the policy admits with these claims.
type door struct {
	method, path string
	claims       map[string]string
}

// tokenSubjects lists the services that are asked from outside with tokens: those that traffic from outside is
// for, or that a rule opens to the ingress. There are none without an issuer.
func tokenSubjects(s *scenarios.Scenario) []scenarios.Workload {
	if s.Spec.Identity.Issuer == nil {
		return nil
	}
	entered := map[string]bool{}
	for _, t := range s.Spec.Traffic {
		entered[t.To] = entered[t.To] || !t.Inside()
	}
	if s.Spec.Policy.Default == scenarios.DefaultDeny {
		for _, r := range s.Spec.Policy.Allow {
			entered[r.To] = entered[r.To] || r.From == scenarios.IngressName
		}
	}
	var out []scenarios.Workload
	for _, w := range s.Workloads() {
		if w.Service != nil && entered[w.Name] {
			out = append(out, w)
		}
	}
	return out
}

// doorsOf lists one request for each rule that admits requests from outside to a service, or every method and path that
// the rule names.
func doorsOf(p *scenarios.Policy, to string, every bool) []door {
	if p.Default != scenarios.DefaultDeny {
		return []door{{http.MethodGet, "/", nil}}
	}
	var out []door
	for _, r := range p.Allow {
		if r.From != scenarios.IngressName || r.To != to {
			continue
		}
		methods, paths := r.Methods, []string{"/"}
		if len(methods) == 0 {
			methods = []string{http.MethodGet}
		}
		if len(r.Paths) > 0 {
			paths = r.Paths
		}
		if !every {
			methods, paths = methods[:1], paths[:1]
		}
		for _, m := range methods {
			for _, path := range paths {
				out = append(out, door{m, pathLike(path), r.Claims})
			}
		}
	}
	return out
}

// edgeRound is what is asked through the ingress of every cluster: at the first door of each service every defect of a
// token, and at each door a good token, one that lacks a claim, and one that has another value of it. Each refusal has
// a twin with a good token. Where objects of a mesh may open or close the edge besides (tokens_extra.go), every door is
// asked without a token too, and so is each that those objects name.
func edgeRound(s *scenarios.Scenario, stage string) Round {
	r := Round{Name: stage + "/" + windowEdge}
	ingress, _ := s.Workload(scenarios.IngressName)
	extra := extraDoors(s)
	for _, to := range tokenSubjects(s) {
		for _, cluster := range ingress.Clusters {
			seen := map[string]bool{}
			doors := doorsOf(&s.Spec.Policy, to.Name, len(extra) > 0)
			if len(doors) == 0 {
				continue
			}
			twin := outsideAsk(cluster, to.Name, doors[0], Token{Kind: TokenGood, Claims: doors[0].claims, Status: http.StatusOK})
			twin.Allowed = true
			for i, d := range doors {
				good := outsideAsk(cluster, to.Name, d, Token{Kind: TokenGood, Claims: d.claims, Status: http.StatusOK})
				good.Allowed = true
				asks := []Ask{good}
				add := func(t Token) {
					a := outsideAsk(cluster, to.Name, d, t)
					twin := good
					a.Twin = &twin
					asks = append(asks, a)
				}
				if i == 0 {
					for _, t := range defects {
						if t.Kind != TokenNone && t.Kind != TokenMalformed {
							t.Claims = d.claims
						}
						add(t)
					}
				}
				for _, t := range refusedClaims(&s.Spec.Policy, to.Name, d) {
					add(t)
				}
				if len(extra) > 0 {
					for _, t := range extraTokens(&s.Spec.Policy, to.Name, d, extra) {
						if t.Kind != TokenGood { // what the policy admits here is a door of its own
							add(t)
						}
					}
				}
				for _, a := range asks {
					if !seen[a.Cell] { // two rules may open the same door
						seen[a.Cell] = true
						r.Asks = append(r.Asks, a)
					}
				}
			}
			for _, d := range extra {
				for _, t := range extraTokens(&s.Spec.Policy, to.Name, d, extra) {
					a := outsideAsk(cluster, to.Name, d, t)
					if a.Allowed = t.Kind == TokenGood; !a.Allowed {
						a.Twin = &twin
					}
					if !seen[a.Cell] {
						seen[a.Cell] = true
						r.Asks = append(r.Asks, a)
					}
				}
			}
		}
	}
	return r
}

func outsideAsk(cluster, to string, d door, t Token) Ask {
	text := t.Kind
	for _, name := range slices.Sorted(maps.Keys(t.Claims)) {
		text += " " + name + "=" + t.Claims[name]
	}
	if t.Claim != "" && t.Claims[t.Claim] == "" {
		text += " without " + t.Claim
	}
	return Ask{
		Cell: fmt.Sprintf("%s@%s->%s %s %s (token %s)", scenarios.OutsideName, cluster, to, d.method, d.path, text),
		From: scenarios.OutsideName, Cluster: cluster, To: to, Method: d.method, Path: d.path,
		Connection: connFresh, Times: minTimes, Token: &t,
	}
}

// refusedClaims lists tokens that differ in one claim from what a door asks for, and that no other rule admits.
func refusedClaims(p *scenarios.Policy, to string, d door) []Token {
	var out []Token
	for _, name := range slices.Sorted(maps.Keys(d.claims)) {
		without := maps.Clone(d.claims)
		delete(without, name)
		if len(without) == 0 {
			without = nil
		}
		if !p.Admits(to, d.method, d.path, without) {
			out = append(out, Token{Kind: TokenMissingClaim, Claim: name, Claims: without, Status: http.StatusForbidden})
		}
		for _, value := range otherValues(p, name, d.claims[name]) {
			other := maps.Clone(d.claims)
			other[name] = value
			if !p.Admits(to, d.method, d.path, other) {
				out = append(out, Token{Kind: TokenWrongClaim, Claim: name, Claims: other, Status: http.StatusForbidden})
				break
			}
		}
	}
	return out
}

// otherValues lists values of a claim that are not the right one: first those that open other doors.
func otherValues(p *scenarios.Policy, name, right string) []string {
	var out []string
	for _, r := range p.Allow {
		if v, ok := r.Claims[name]; ok && v != right {
			out = appendNew(out, v)
		}
	}
	return append(out, right+"-meshproof")
}
