package istio

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	security "istio.io/client-go/pkg/apis/security/v1"

	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/internal/oidc"
)

// tokenRule is one jwtRule of a RequestAuthentication.
type tokenRule struct {
	oidc.Rule
	forward bool // the workload gets the token too
}

// keyring keeps the key sets of issuers over changes of the configuration, by where they come from.
type keyring map[string]*oidc.Keys

// rules takes the jwtRules that hold for a pod: those of the root namespace and of its own whose selector, if any,
// selects its labels.
func (k *keyring) rules(policies []*security.RequestAuthentication, pod proxy.Pod, hosts map[string]string) []tokenRule {
	var out []tokenRule
	for _, p := range policies {
		if p.Namespace != rootNamespace && p.Namespace != pod.Namespace || !proxy.SelectsLabels(p.Spec.GetSelector().GetMatchLabels(), pod.Labels) {
			continue
		}
		for _, r := range p.Spec.GetJwtRules() {
			from := fmt.Sprint(r.GetJwksUri(), hosts) // a host that moved has its keys fetched anew
			if *k == nil {
				*k = keyring{}
			}
			if (*k)[from] == nil {
				(*k)[from] = oidc.NewKeys(r.GetJwksUri(), hosts)
			}
			out = append(out, tokenRule{oidc.Rule{Issuer: r.GetIssuer(), Audiences: r.GetAudiences(), Keys: (*k)[from]}, r.GetForwardOriginalToken()})
		}
	}
	return out
}

// authenticate does what the filter jwt_authn does for a RequestAuthentication: a request without a token passes
// without claims, one with a good token passes with them, any other is refused. Unless told otherwise the token goes no
// further.
func (in *inboundRequest) authenticate() (oidc.Claims, oidc.Status) {
	if len(in.cfg.tokens) == 0 {
		return nil, ""
	}
	token, ok := oidc.Bearer(in.header)
	if !ok {
		return nil, ""
	}
	rules := make([]oidc.Rule, len(in.cfg.tokens))
	for i, r := range in.cfg.tokens {
		rules[i] = r.Rule
	}
	claims, refused := oidc.Verify(in.r.Context(), rules, token, time.Now())
	if refused != "" {
		return nil, refused
	}
	if i := slices.IndexFunc(in.cfg.tokens, func(r tokenRule) bool { return r.Issuer == claims["iss"] }); i >= 0 && !in.cfg.tokens[i].forward {
		delete(in.header, "Authorization")
	}
	return claims, ""
}

// challenge is what Envoy answers beside a refusal (RFC 6750, section 3).
func challenge(r *http.Request) string {
	return fmt.Sprintf("Bearer realm=\"http://%s%s\", error=\"invalid_token\"", r.Host, r.URL.EscapedPath())
}

// claimKey is the name of the claim that a condition is about. Claims in claims are not modelled.
func claimKey(key string) (string, bool) {
	name, ok := strings.CutPrefix(key, whenClaim)
	name, closed := strings.CutSuffix(name, "]")
	return name, ok && closed && name != "" && !strings.ContainsAny(name, "[]")
}

// texts are the values that an attribute of a request has.
type texts func(*authzRequest) []string

func requestPrincipal(r *authzRequest) []string {
	if p := r.claims.Principal(); p != "" {
		return []string{p}
	}
	return nil
}

func claimTexts(name string) texts {
	return func(r *authzRequest) []string { return r.claims.Texts(name) }
}

// onClaim matches what a token says: one of its texts is one of values, where there are any, and none is one of not.
// A request without a token, or whose token lacks the claim, matches no value and no match of not.
func onClaim(attr texts, values, not []string) predicate {
	in, out := compileAll(values, headerValue), compileAll(not, headerValue)
	return func(r *authzRequest) bool {
		have := attr(r)
		is := func(m matcher) bool { return slices.ContainsFunc(have, m) }
		return (len(in) == 0 || slices.ContainsFunc(in, is)) && !slices.ContainsFunc(out, is)
	}
}

// requestAuthentication refuses what istiod refuses, and what the model could not do.
func (r *report) requestAuthentication(p *security.RequestAuthentication) {
	r.selector("spec.selector", p.Spec.GetSelector().GetMatchLabels())
	seen := map[string]bool{}
	for i, rule := range p.Spec.GetJwtRules() {
		path := fmt.Sprintf("spec.jwtRules[%d]", i)
		if rule.GetIssuer() == "" {
			r.Refuse(path+".issuer", "it is empty; %s", byIstiod)
		}
		if seen[rule.GetIssuer()] {
			r.Refuse(path+".issuer", "%q is there twice, and which rule then holds is not modelled", rule.GetIssuer())
		}
		seen[rule.GetIssuer()] = true
		for j, a := range rule.GetAudiences() {
			if a == "" {
				r.Refuse(fmt.Sprintf("%s.audiences[%d]", path, j), "it is empty; %s", byIstiod)
			}
		}
		switch u, err := url.Parse(rule.GetJwksUri()); {
		case rule.GetJwksUri() == "":
			r.Refuse(path+".jwksUri", "it is empty, and finding it by discovery is not modelled: write it out")
		case err != nil || u.Scheme != "http" || u.Host == "":
			r.Refuse(path+".jwksUri", "%q is no http address; %s", rule.GetJwksUri(), useReal)
		}
	}
}
