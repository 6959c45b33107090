package meshes

import (
	"maps"
	"slices"

	securityapi "istio.io/api/security/v1beta1"
	security "istio.io/client-go/pkg/apis/security/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/scenarios"
)

// istioTokens has the ingress check users' tokens. A request without one passes here: that it needs one is said in the
// AuthorizationPolicy.
func istioTokens(s *scenarios.Scenario) []clusters.Object {
	is := s.Spec.Identity.Issuer
	if is == nil {
		return nil
	}
	a := &security.RequestAuthentication{
		TypeMeta:   metav1.TypeMeta{APIVersion: "security.istio.io/v1", Kind: "RequestAuthentication"},
		ObjectMeta: metav1.ObjectMeta{Namespace: scenarios.IngressNamespace, Name: "users"},
	}
	a.Spec.Selector = selectWorkload(scenarios.IngressName)
	a.Spec.JwtRules = []*securityapi.JWTRule{{
		Issuer: scenarios.IssuerURL, Audiences: []string{is.Audience}, JwksUri: scenarios.IssuerKeys,
		ForwardOriginalToken: true, // the gateway behind the sidecar checks it too, as before every mesh
	}}
	return []clusters.Object{a}
}

// istioEdge is the AuthorizationPolicy of the ingress. It needs none where everybody may enter.
func istioEdge(s *scenarios.Scenario) []clusters.Object {
	if s.Spec.Policy.Default != scenarios.DefaultDeny && s.Spec.Identity.Issuer == nil {
		return nil
	}
	p := authorizationPolicy(scenarios.IngressNamespace, "from-outside")
	p.Spec.Selector = selectWorkload(scenarios.IngressName)
	p.Spec.Rules = outsideRules(s)
	return []clusters.Object{p}
}

// outsideRules says what may enter at the ingress. Without an issuer that is everything: the services behind decide by
// what the ingress asks of them. With one it is whoever has a good token, and under default deny only for what a rule
// allows with the claims that it asks for.
func outsideRules(s *scenarios.Scenario) []*securityapi.Rule {
	if s.Spec.Identity.Issuer == nil {
		return []*securityapi.Rule{{}}
	}
	user := func() *securityapi.Rule {
		return &securityapi.Rule{From: []*securityapi.Rule_From{{Source: &securityapi.Source{RequestPrincipals: []string{"*"}}}}}
	}
	if s.Spec.Policy.Default != scenarios.DefaultDeny {
		return []*securityapi.Rule{user()}
	}
	var rules []*securityapi.Rule
	for _, r := range s.Spec.Policy.Allow {
		to, ok := s.Workload(r.To)
		if !ok || r.From != scenarios.IngressName {
			continue
		}
		rule := user()
		rule.To = []*securityapi.Rule_To{{Operation: &securityapi.Operation{
			Hosts: []string{to.Host()}, Methods: slices.Clone(r.Methods), Paths: slices.Clone(r.Paths),
		}}}
		for _, name := range slices.Sorted(maps.Keys(r.Claims)) {
			rule.When = append(rule.When, &securityapi.Condition{Key: "request.auth.claims[" + name + "]", Values: []string{r.Claims[name]}})
		}
		rules = append(rules, rule)
	}
	return rules // none: nothing may enter
}
