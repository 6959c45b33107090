package scenarios

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

const issuerPath = "spec.identity.issuer"

// minLeafLifetime is the shortest life of a workload's certificate. Half of it is left when a mesh renews it.
const minLeafLifetime = 4 * time.Second

var (
	audiencePattern = regexp.MustCompile(`^[A-Za-z0-9._:/-]{1,200}$`)
	claimPattern    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,62}$`)
	claimText       = regexp.MustCompile(`^[\x21-\x29\x2b-\x7e]{1,200}$`) // printable ASCII without spaces and *
)

// reservedClaims are those that every token has, or that decide when it is valid: the issuer alone writes them.
var reservedClaims = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti"}

func (v *validator) identity() {
	if is := v.s.Spec.Identity.Issuer; is != nil && is.Audience != "" && !audiencePattern.MatchString(is.Audience) {
		v.problem(issuerPath+".audience", quote(is.Audience)+" is not a name for an audience", "letters, digits and the signs -._:/, at most 200")
	}
	id := &v.s.Spec.Identity
	if id.Issuer == nil && id.LeafLifetime == 0 && v.d.positions.has("spec.identity") && v.d.sound("spec.identity") {
		v.problem("spec.identity", "says nothing", "add issuer: {audience: …} or leafLifetime, or remove it")
	}
	if l := id.LeafLifetime.D(); l != 0 && (l < minLeafLifetime || l%time.Second != 0) {
		v.problem("spec.identity.leafLifetime", fmt.Sprintf("certificates cannot hold %s", l), fmt.Sprintf("whole seconds, %s at least: certificates count in seconds, and who fetches a new one needs some", minLeafLifetime))
	}
}

// issued reports whether the scenario has an issuer, or would have one if its file could be read.
func (v *validator) issued() bool {
	return v.s.Spec.Identity.Issuer != nil || !v.d.sound("spec.identity")
}

// claims checks names and values of claims.
func (v *validator) claims(path string, claims map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		p := join(path, name)
		switch value := claims[name]; {
		case slices.Contains(reservedClaims, name):
			v.problem(p, "is a claim that the issuer alone writes", "choose another name; reserved are "+strings.Join(reservedClaims, ", "))
		case !claimPattern.MatchString(name):
			v.problem(p, quote(name)+" is not a name for a claim", "letters, digits, _ and -, starting with a letter or _, at most 63")
		case value == "": // said in decoding
		case strings.Contains(value, "*"):
			v.problem(p, quote(value)+" has a star, and claims are compared as they are", "name one value; write a rule for each")
		case !claimText.MatchString(value):
			v.problem(p, quote(value)+" is not a value for a claim", "printable ASCII without spaces, at most 200 characters")
		}
	}
}

// ruleClaims checks the claims that a rule asks for.
func (v *validator) ruleClaims(path string, r Rule) {
	if len(r.Claims) == 0 {
		return
	}
	switch {
	case r.From != IngressName && r.From != "" && v.d.sound(path+".from"):
		v.problem(path+".claims", "only requests from outside have a token, and this rule is about "+quote(r.From), "write from: ingress, or remove claims")
	case !v.issued():
		v.problem(path+".claims", "nobody issues tokens", "add spec.identity: {issuer: {audience: …}}, or remove claims")
	}
	v.claims(path+".claims", r.Claims)
}

// token checks that a traffic has a token exactly where it is of users and there is an issuer.
func (v *validator) token(path string, t *Traffic) {
	has := t.Token != nil || v.d.positions.has(path+".token")
	switch {
	case has && t.Inside() && v.d.sound(path+".from"):
		v.problem(path+".token", fmt.Sprintf("only users from outside have a token, and %s sends this traffic", t.From), "remove token, or send from the ingress")
	case has && !v.issued():
		v.problem(path+".token", "nobody issues tokens", "add spec.identity: {issuer: {audience: …}}, or remove token")
	case !has && !t.Inside() && v.s.Spec.Identity.Issuer != nil && v.d.sound(path+".token"):
		v.problem(path+".token", "is missing: with an issuer the ingress refuses every request without a token", "add token: {claims: {…}}, or token: {} where the policy asks for no claims")
	}
	if t.Token != nil {
		v.claims(path+".token.claims", t.Token.Claims)
	}
}

// admitted checks that the policy admits a request of a traffic with the token that it carries. path is the traffic's,
// request that of the kind of request.
func (v *validator) admitted(path, request string, t *Traffic, r RequestKind) {
	p := &v.s.Spec.Policy
	if t.Token == nil || !v.rulesKnown() || !v.d.sound(path+".token") || !v.d.sound(request) ||
		!p.Allows(IngressName, t.To, r.Method, r.Path) || p.Admits(t.To, r.Method, r.Path, t.Token.Claims) {
		return
	}
	var wanted []string
	for _, rule := range p.Allow {
		if rule.From == IngressName && rule.To == t.To && rule.Matches(r.Method, r.Path) {
			wanted = append(wanted, claimsText(rule.Claims))
		}
	}
	v.problem(path+".token", fmt.Sprintf("the policy refuses %s %s on %s with this token: every such request would be refused", r.Method, r.Path, t.To),
		"give it the claims of a rule: "+oneOf(wanted))
}

// claimsText writes claims as YAML on one line.
func claimsText(claims map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		parts = append(parts, name+": "+scalar(claims[name]))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
