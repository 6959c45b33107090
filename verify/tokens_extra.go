package verify

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/meshproof/meshproof/scenarios"
)

// An object that a scenario applies on top of its portable policy may open the edge to a claim, a method or a path that
// the policy does not name. As inside (words.go), the plan asks by the words of both.

// edgeRules visits the rules of every AuthorizationPolicy among a mesh entry's objects that may hold for the ingress.
func edgeRules(e scenarios.MeshEntry, visit func(policy string, rule map[string]any)) {
	extraRules(e, scenarios.IngressName, func(policy string, rule map[string]any) {
		if ns, _, _ := strings.Cut(policy, "/"); ns == scenarios.IngressNamespace || ns == "istio-system" {
			visit(policy, rule)
		}
	})
}

// claimOf is the name of the claim that a condition is about; "" where it is about something else.
func claimOf(when map[string]any) string {
	name, ok := strings.CutPrefix(fmt.Sprint(when["key"]), "request.auth.claims[")
	if !ok {
		return ""
	}
	return strings.TrimSuffix(name, "]")
}

// extraDoors lists what the objects of any mesh entry may admit from outside: every mesh is asked the same.
func extraDoors(s *scenarios.Scenario) []door {
	var out []door
	for _, e := range s.Spec.Meshes {
		edgeRules(e, func(_ string, rule map[string]any) {
			all := []map[string]string{nil} // each of a condition's values may open the door
			for _, w := range list(rule["when"]) {
				name, values := claimOf(object(w)), texts(object(w)["values"])
				if name == "" || len(values) == 0 {
					continue
				}
				var more []map[string]string
				for _, claims := range all {
					for _, v := range values {
						with := map[string]string{name: strings.ReplaceAll(v, "*", "meshproof-any")}
						maps.Copy(with, claims)
						more = append(more, with)
					}
				}
				all = more
			}
			methods, paths := []string(nil), []string(nil)
			for _, t := range list(rule["to"]) {
				op := object(object(t)["operation"])
				methods = append(methods, texts(op["methods"])...)
				for _, p := range texts(op["paths"]) {
					paths = append(paths, pathLike(p))
				}
			}
			if len(methods) == 0 || slices.ContainsFunc(methods, func(m string) bool { return strings.Contains(m, "*") }) {
				methods = []string{http.MethodGet, http.MethodDelete}
			}
			if len(paths) == 0 {
				paths = []string{"/", unlisted}
			}
			for _, m := range methods {
				for _, p := range paths {
					for _, claims := range all {
						out = append(out, door{m, p, claims})
					}
				}
			}
		})
	}
	return out
}

// extraTokens lists the tokens with which a door is asked because of the objects' words: where the policy refuses them,
// no token at all, those that open one of the extra doors, and one without claims; and good ones where it admits them,
// which an object may deny.
func extraTokens(p *scenarios.Policy, to string, d door, extra []door) []Token {
	out := []Token{{Kind: TokenNone, Status: http.StatusForbidden}}
	if !p.Admits(to, d.method, d.path, nil) {
		out = append(out, Token{Kind: TokenMissingClaim, Status: http.StatusForbidden})
	}
	for _, x := range extra {
		if len(x.claims) > 0 && !p.Admits(to, d.method, d.path, x.claims) {
			out = append(out, Token{Kind: TokenWrongClaim, Claims: x.claims, Status: http.StatusForbidden})
		}
	}
	for _, known := range doorsOf(p, to, false) {
		if p.Admits(to, d.method, d.path, known.claims) {
			out = append(out, Token{Kind: TokenGood, Claims: known.claims, Status: http.StatusOK})
		}
	}
	return out
}

// unaskedEdge names a condition of a mesh entry's objects at the edge that no token of the plan meets; "" where there
// is none. What hides behind it is not known.
func unaskedEdge(e scenarios.MeshEntry) (what string) {
	note := func(format string, args ...any) {
		if what == "" {
			what = fmt.Sprintf(format, args...)
		}
	}
	edgeRules(e, func(policy string, rule map[string]any) {
		for _, f := range list(rule["from"]) {
			source := object(object(f)["source"])
			for _, k := range sortedKeys(source) {
				switch k {
				case "principals", "namespaces", "serviceAccounts": // nobody outside has one
				case "requestPrincipals":
					if !slices.Contains(texts(source[k]), "*") {
						note("AuthorizationPolicy %s decides by who the user is", policy)
					}
				default:
					note("AuthorizationPolicy %s decides by %s", policy, k)
				}
			}
		}
		for _, t := range list(rule["to"]) {
			for _, k := range sortedKeys(object(object(t)["operation"])) {
				if !slices.Contains([]string{"methods", "paths", "hosts", "ports"}, k) {
					note("AuthorizationPolicy %s decides by %s", policy, k)
				}
			}
		}
		for _, w := range list(rule["when"]) {
			if claimOf(object(w)) == "" || len(texts(object(w)["notValues"])) > 0 {
				note("AuthorizationPolicy %s decides by %v", policy, object(w)["key"])
			}
		}
	})
	for _, o := range e.Objects {
		if o["kind"] != "RequestAuthentication" {
			continue
		}
		for _, r := range list(object(o["spec"])["jwtRules"]) {
			if is := object(r)["issuer"]; is != scenarios.IssuerURL {
				note("RequestAuthentication %v takes tokens of the issuer %v", object(o["metadata"])["name"], is)
			}
		}
	}
	return what
}
