package kind_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"

	securityapi "istio.io/api/security/v1beta1"
	typeapi "istio.io/api/type/v1beta1"
	security "istio.io/client-go/pkg/apis/security/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/internal/workload"
	"github.com/meshproof/meshproof/scenarios"
)

// policyCase is what holds for one service, and what is asked of it. The service and its namespace are both called TARGET
// in it, so that it can be tried on any.
type policyCase struct {
	Policies []*securityapi.AuthorizationPolicy `json:"policies,omitempty"`
	Peer     *securityapi.PeerAuthentication    `json:"peer,omitempty"`
	Tokens   *securityapi.RequestAuthentication `json:"tokens,omitempty"`
	// Linkerd is what there is instead in Linkerd.
	Linkerd *linkerdCase `json:"linkerd,omitempty"`
	// Portable is a scenario's policy for the service; where there is any, nothing else is.
	Portable []scenarios.Rule `json:"portable,omitempty"`
	Asks     []policyAsk      `json:"asks"`
}

// policyAsk is one request.
type policyAsk struct {
	From   string `json:"from"` // alpha in namespace people, beta in namespace office, or the outsider, who has no sidecar
	Method string `json:"method"`
	Path   string `json:"path"`
	Team   string `json:"team,omitempty"`  // header x-team
	Token  string `json:"token,omitempty"` // customer, staff, or a defect of oidc's
}

func (c policyCase) String() string {
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

const target = "TARGET"

// maxPolicies is how many AuthorizationPolicies a case has at most.
const maxPolicies = 3

// generator draws cases from a seed. They are within what the embedded driver interprets and what istiod accepts.
type generator struct{ *rand.Rand }

func newGenerator(seed uint64) *generator { return &generator{rand.New(rand.NewPCG(seed, 6))} }

func (g *generator) chance(of float64) bool { return g.Float64() < of }

func (g *generator) pick(from ...string) string { return from[g.IntN(len(from))] }

// some draws up to n different ones.
func (g *generator) some(n int, from ...string) []string {
	var out []string
	for _, i := range g.Perm(len(from))[:1+g.IntN(n)] {
		out = append(out, from[i])
	}
	return out
}

func (g *generator) policyCase() policyCase {
	var c policyCase
	for range g.IntN(maxPolicies + 1) {
		c.Policies = append(c.Policies, g.authorization())
	}
	if g.chance(0.5) {
		c.Peer = g.peer()
	}
	if g.chance(0.5) {
		c.Tokens = &securityapi.RequestAuthentication{Selector: g.selector(), JwtRules: []*securityapi.JWTRule{{
			Issuer: scenarios.IssuerURL, JwksUri: scenarios.IssuerKeys, ForwardOriginalToken: g.chance(0.5),
		}}}
		if g.chance(0.5) {
			c.Tokens.JwtRules[0].Audiences = g.some(2, "shop", "office")
		}
	}
	for range 8 {
		c.Asks = append(c.Asks, g.ask())
	}
	return c
}

// portableCase draws a scenario's own policy, which package meshes translates.
func (g *generator) portableCase(mesh scenarios.MeshName) policyCase {
	var c policyCase
	if mesh == scenarios.MeshLinkerd {
		c.Linkerd = &linkerdCase{} // nothing else is said
	}
	for range 1 + g.IntN(3) {
		r := scenarios.Rule{From: g.pick("alpha", "beta"), To: target}
		if g.chance(0.5) {
			r.Methods = g.some(2, "GET", "POST", "PUT")
		}
		if g.chance(0.6) {
			r.Paths = g.some(2, "/", "/items", "/items/*", "/admin", "/items/42")
		}
		c.Portable = append(c.Portable, r)
	}
	for range 8 {
		c.Asks = append(c.Asks, g.ask())
	}
	return c
}

func (g *generator) selector() *typeapi.WorkloadSelector {
	switch n := g.IntN(6); {
	case n < 3:
		return nil
	case n < 5:
		return &typeapi.WorkloadSelector{MatchLabels: map[string]string{workload.LabelApp: target}}
	}
	return &typeapi.WorkloadSelector{MatchLabels: map[string]string{workload.LabelApp: "another"}}
}

var modes = []securityapi.PeerAuthentication_MutualTLS_Mode{
	securityapi.PeerAuthentication_MutualTLS_STRICT, securityapi.PeerAuthentication_MutualTLS_PERMISSIVE,
	securityapi.PeerAuthentication_MutualTLS_DISABLE, securityapi.PeerAuthentication_MutualTLS_UNSET,
}

func (g *generator) peer() *securityapi.PeerAuthentication {
	mode := func() *securityapi.PeerAuthentication_MutualTLS {
		return &securityapi.PeerAuthentication_MutualTLS{Mode: modes[g.IntN(len(modes))]}
	}
	p := &securityapi.PeerAuthentication{Selector: g.selector(), Mtls: mode()}
	if p.Selector != nil && g.chance(0.5) {
		p.PortLevelMtls = map[uint32]*securityapi.PeerAuthentication_MutualTLS{uint32(scenarios.WorkloadPort): mode()}
	}
	return p
}

func (g *generator) authorization() *securityapi.AuthorizationPolicy {
	p := &securityapi.AuthorizationPolicy{Selector: g.selector()}
	rules := g.IntN(3)
	switch n := g.IntN(8); {
	case n < 3:
		p.Action, rules = securityapi.AuthorizationPolicy_DENY, 1+g.IntN(2)
	case n == 3:
		p.Action = securityapi.AuthorizationPolicy_AUDIT
	}
	for range rules {
		p.Rules = append(p.Rules, g.rule())
	}
	return p
}

func (g *generator) rule() *securityapi.Rule {
	r := &securityapi.Rule{}
	for range g.IntN(3) {
		r.From = append(r.From, &securityapi.Rule_From{Source: g.source()})
	}
	for range g.IntN(3) {
		r.To = append(r.To, &securityapi.Rule_To{Operation: g.operation()})
	}
	if g.chance(0.3) {
		r.When = append(r.When, g.condition())
	}
	return r
}

var (
	principals = []string{
		"cluster.local/ns/people/sa/alpha", "cluster.local/ns/office/sa/beta", "*", "*/sa/alpha", "cluster.local/ns/people/*", "cluster.local/ns/office/sa/alpha", "*beta",
	}
	namespaces        = []string{"people", "office", "peo*", "*ice", "*", target}
	serviceAccounts   = []string{"people/alpha", "office/beta", "alpha", target + "/alpha"}
	requestPrincipals = []string{"*", scenarios.IssuerURL + "/ann", scenarios.IssuerURL + "/*", "*/bob", "nobody/*"}
	roles             = []string{"customer", "staff", "cust*", "*aff", "*"}
	teams             = []string{"red", "blue", "re*", "*ue", "*"}
	methods           = []string{"GET", "POST", "PUT", "*", "P*", "*T"}
	paths             = []string{"/", "/items", "/items/*", "*", "*/42", "/admin", "/admin*", "/items/42"}
	hosts             = []string{target + "." + target + ".svc.cluster.local", "*.svc.cluster.local", target + ".*", "another.example", target + "." + target + ".svc.cluster.local:80", "X." + target}
	ports             = []string{"8080", "80", "9090"}
)

// either fills a list or the list of what must not be.
func (g *generator) either(in, not *[]string, from []string) {
	if g.chance(0.3) {
		*not = g.some(2, from...)
		if g.chance(0.7) {
			return
		}
	}
	*in = g.some(2, from...)
}

func (g *generator) source() *securityapi.Source {
	s := &securityapi.Source{}
	switch g.IntN(5) {
	case 0:
		g.either(&s.Principals, &s.NotPrincipals, principals)
	case 1:
		g.either(&s.Namespaces, &s.NotNamespaces, namespaces)
	case 2:
		g.either(&s.ServiceAccounts, &s.NotServiceAccounts, serviceAccounts)
	case 3:
		g.either(&s.RequestPrincipals, &s.NotRequestPrincipals, requestPrincipals)
	case 4:
		g.either(&s.Principals, &s.NotPrincipals, principals)
		g.either(&s.RequestPrincipals, &s.NotRequestPrincipals, requestPrincipals)
	}
	return s
}

func (g *generator) operation() *securityapi.Operation {
	o := &securityapi.Operation{}
	switch g.IntN(5) {
	case 0:
		g.either(&o.Methods, &o.NotMethods, methods)
	case 1:
		g.either(&o.Paths, &o.NotPaths, paths)
	case 2:
		g.either(&o.Hosts, &o.NotHosts, hosts)
	case 3:
		g.either(&o.Ports, &o.NotPorts, ports)
	case 4:
		g.either(&o.Methods, &o.NotMethods, methods)
		g.either(&o.Paths, &o.NotPaths, paths)
	}
	return o
}

func (g *generator) condition() *securityapi.Condition {
	c := &securityapi.Condition{}
	var from []string
	switch g.IntN(5) {
	case 0:
		c.Key, from = "source.principal", principals
	case 1:
		c.Key, from = "source.namespace", namespaces
	case 2:
		c.Key, from = "request.headers[x-team]", teams
	case 3:
		c.Key, from = "request.auth.principal", requestPrincipals
	case 4:
		c.Key, from = "request.auth.claims[role]", roles
	}
	g.either(&c.Values, &c.NotValues, from)
	return c
}

func (g *generator) ask() policyAsk {
	a := policyAsk{
		From:   g.pick("alpha", "alpha", "beta", "beta", scenarios.OutsiderName),
		Method: g.pick("GET", "GET", "GET", "POST", "PUT", "DELETE"),
		Path: g.pick("/", "/items", "/items/42", "/items/42", "/items/", "/admin", "/admin/x", "/Items", "/items/42?x=1", "/items/../admin", "/./items",
			"/items//42", "/%69tems", "/items%2f42"),
	}
	if g.chance(0.4) {
		a.Team = g.pick("red", "blue", "redder")
	}
	if g.chance(0.5) {
		a.Token = g.pick("customer", "customer", "staff", "staff", "expired", "wrong-issuer", "wrong-audience", "malformed", "foreign-key")
	}
	return a
}

// objects are a case's for one service. What the case does not have is there too, and selects nothing: one set of objects
// replaces another.
func (c policyCase) objects(service string) ([]clusters.Object, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	var own policyCase
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(b), target, service)), &own); err != nil {
		return nil, err
	}
	if own.Linkerd != nil {
		return own.Linkerd.objects(service), nil
	}
	nobody := &typeapi.WorkloadSelector{MatchLabels: map[string]string{workload.LabelApp: "nobody"}}
	meta := func(kind, name string) (metav1.TypeMeta, metav1.ObjectMeta) {
		return metav1.TypeMeta{APIVersion: "security.istio.io/v1", Kind: kind}, metav1.ObjectMeta{Namespace: service, Name: name}
	}
	var objs []clusters.Object
	for i := range maxPolicies {
		p := &security.AuthorizationPolicy{}
		p.TypeMeta, p.ObjectMeta = meta("AuthorizationPolicy", fmt.Sprint("case-", i))
		p.Spec.Selector = nobody
		if i < len(own.Policies) {
			q := own.Policies[i]
			p.Spec.Selector, p.Spec.Action, p.Spec.Rules = q.Selector, q.Action, q.Rules
		}
		objs = append(objs, p)
	}
	pa := &security.PeerAuthentication{}
	pa.TypeMeta, pa.ObjectMeta = meta("PeerAuthentication", "case")
	pa.Spec.Selector = nobody
	if own.Peer != nil {
		pa.Spec.Selector, pa.Spec.Mtls, pa.Spec.PortLevelMtls = own.Peer.Selector, own.Peer.Mtls, own.Peer.PortLevelMtls
	}
	ra := &security.RequestAuthentication{}
	ra.TypeMeta, ra.ObjectMeta = meta("RequestAuthentication", "case")
	ra.Spec.Selector = nobody
	if own.Tokens != nil {
		ra.Spec.Selector, ra.Spec.JwtRules = own.Tokens.Selector, own.Tokens.JwtRules
	}
	return append(objs, pa, ra), nil
}
