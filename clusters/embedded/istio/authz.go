package istio

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	securityapi "istio.io/api/security/v1beta1"
	security "istio.io/client-go/pkg/apis/security/v1"

	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/internal/oidc"
)

// authzRequest is what an AuthorizationPolicy can see of a request.
type authzRequest struct {
	principal string // the peer's SPIFFE ID, "" without mutual TLS
	method    string
	path      string // without query
	host      string // as in the Host header
	port      int    // of the workload
	header    http.Header
	claims    oidc.Claims // of a token that RequestAuthentication found good, else nil
}

// authzDecision is the outcome. Envoy runs one filter for DENY policies and one for ALLOW policies, each only where
// there are any; each counts for itself what it let pass.
type authzDecision struct {
	allowed bool
	policy  string // that denied: "ns[app]-policy[web]-rule[0]", or "none" where no ALLOW policy matched
	passed  int    // filters that let the request pass
}

// authorizer holds the policies that select one workload.
type authorizer struct {
	deny, allow []authzRule // sorted by name, as Envoy tries them
	denies      bool        // there are DENY policies
	allows      bool        // there are ALLOW policies, if only such without rules
}

type authzRule struct {
	name    string
	sources []predicate // any of them; nil: everybody
	ops     []predicate // any of them; nil: everything
	when    predicate
}

type predicate func(*authzRequest) bool

// decide follows Istio's order: a DENY policy that matches denies; without any ALLOW policy everything is allowed;
// otherwise one must match. An ALLOW policy without rules matches nothing.
func (a *authorizer) decide(r *authzRequest) authzDecision {
	var d authzDecision
	if a.denies {
		if rule := firstMatch(a.deny, r); rule != nil {
			d.policy = rule.name
			return d
		}
		d.passed++
	}
	if a.allows {
		if firstMatch(a.allow, r) == nil {
			d.policy = "none"
			return d
		}
		d.passed++
	}
	d.allowed = true
	return d
}

func firstMatch(rules []authzRule, r *authzRequest) *authzRule {
	for i := range rules {
		if rules[i].matches(r) {
			return &rules[i]
		}
	}
	return nil
}

func (r *authzRule) matches(req *authzRequest) bool {
	any := func(ps []predicate) bool {
		return len(ps) == 0 || slices.ContainsFunc(ps, func(p predicate) bool { return p(req) })
	}
	return any(r.sources) && any(r.ops) && r.when(req)
}

// newAuthorizer takes the policies that hold for a workload: those of the root namespace and of its own, whose selector,
// if any, selects its labels. AUDIT policies do not decide about anything.
func newAuthorizer(policies []*security.AuthorizationPolicy, namespace string, labels map[string]string) *authorizer {
	a := &authorizer{}
	for _, p := range policies {
		if p.Namespace != rootNamespace && p.Namespace != namespace {
			continue
		}
		if !proxy.SelectsLabels(p.Spec.GetSelector().GetMatchLabels(), labels) {
			continue
		}
		var rules []authzRule
		for i, r := range p.Spec.GetRules() {
			rules = append(rules, compileRule(fmt.Sprintf("ns[%s]-policy[%s]-rule[%d]", p.Namespace, p.Name, i), p.Namespace, r))
		}
		switch p.Spec.GetAction() {
		case securityapi.AuthorizationPolicy_ALLOW:
			a.allows, a.allow = true, append(a.allow, rules...)
		case securityapi.AuthorizationPolicy_DENY:
			a.denies, a.deny = true, append(a.deny, rules...)
		}
	}
	byName := func(x, y authzRule) int { return strings.Compare(x.name, y.name) }
	slices.SortStableFunc(a.allow, byName)
	slices.SortStableFunc(a.deny, byName)
	return a
}

func compileRule(name, namespace string, r *securityapi.Rule) authzRule {
	rule := authzRule{name: name}
	for _, f := range r.GetFrom() {
		s := f.GetSource()
		rule.sources = append(rule.sources, all(
			onPrincipal(s.GetPrincipals(), s.GetNotPrincipals(), policyPrincipal),
			onClaim(requestPrincipal, s.GetRequestPrincipals(), s.GetNotRequestPrincipals()),
			onPrincipal(s.GetNamespaces(), s.GetNotNamespaces(), policyNamespace),
			onPrincipal(s.GetServiceAccounts(), s.GetNotServiceAccounts(), policyServiceAccount(namespace)),
		))
	}
	for _, t := range r.GetTo() {
		o := t.GetOperation()
		rule.ops = append(rule.ops, all(
			on(func(r *authzRequest) string { return r.method }, o.GetMethods(), o.GetNotMethods(), policyString),
			on(func(r *authzRequest) string { return r.path }, o.GetPaths(), o.GetNotPaths(), policyString),
			on(func(r *authzRequest) string { return r.host }, o.GetHosts(), o.GetNotHosts(), policyHost),
			on(func(r *authzRequest) string { return strconv.Itoa(r.port) }, o.GetPorts(), o.GetNotPorts(), exactly),
		))
	}
	var when []predicate
	for _, c := range r.GetWhen() {
		switch key := c.GetKey(); key {
		case whenPrincipal:
			when = append(when, onPrincipal(c.GetValues(), c.GetNotValues(), policyPrincipal))
		case whenNamespace:
			when = append(when, onPrincipal(c.GetValues(), c.GetNotValues(), policyNamespace))
		case whenRequestPrincipal:
			when = append(when, onClaim(requestPrincipal, c.GetValues(), c.GetNotValues()))
		default:
			if name, ok := claimKey(key); ok {
				when = append(when, onClaim(claimTexts(name), c.GetValues(), c.GetNotValues()))
				continue
			}
			header := http.CanonicalHeaderKey(strings.TrimSuffix(strings.TrimPrefix(key, whenHeader), "]"))
			when = append(when, onHeader(header, c.GetValues(), c.GetNotValues()))
		}
	}
	rule.when = all(when...)
	return rule
}

// Keys of conditions that the model knows.
const (
	whenPrincipal = "source.principal"
	whenNamespace = "source.namespace"
	whenHeader    = "request.headers[" // and the header's name, and "]"

	whenRequestPrincipal = "request.auth.principal"
	whenClaim            = "request.auth.claims[" // and the claim's name, and "]"
)

func exactly(v string) matcher { return func(s string) bool { return s == v } }

func all(ps ...predicate) predicate {
	return func(r *authzRequest) bool {
		for _, p := range ps {
			if !p(r) {
				return false
			}
		}
		return true
	}
}

// on matches an attribute: one of values, where there are any, and none of not.
func on(attr func(*authzRequest) string, values, not []string, compile func(string) matcher) predicate {
	in, out := compileAll(values, compile), compileAll(not, compile)
	return func(r *authzRequest) bool {
		v := attr(r)
		is := func(m matcher) bool { return m(v) }
		return (len(in) == 0 || slices.ContainsFunc(in, is)) && !slices.ContainsFunc(out, is)
	}
}

// onPrincipal matches the peer's identity. A peer without one matches no value, and so is no match of not either.
func onPrincipal(values, not []string, compile func(string) matcher) predicate {
	return on(func(r *authzRequest) string { return r.principal }, values, not, func(v string) matcher {
		m := compile(v)
		return func(id string) bool { return id != "" && m(id) }
	})
}

// onHeader matches a header; several of the same name count as one with commas. An absent header matches nothing.
func onHeader(name string, values, not []string) predicate {
	in, out := compileAll(values, headerValue), compileAll(not, headerValue)
	return func(r *authzRequest) bool {
		vs, present := r.header[name]
		v := strings.Join(vs, ",")
		is := func(m matcher) bool { return present && m(v) }
		return (len(in) == 0 || slices.ContainsFunc(in, is)) && !slices.ContainsFunc(out, is)
	}
}

// headerValue is policyString, but "*" asks for presence alone.
func headerValue(v string) matcher {
	if v == "*" {
		return func(string) bool { return true }
	}
	return policyString(v)
}

func compileAll(vs []string, compile func(string) matcher) []matcher {
	out := make([]matcher, len(vs))
	for i, v := range vs {
		out[i] = compile(v)
	}
	return out
}
