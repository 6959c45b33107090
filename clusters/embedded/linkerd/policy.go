package linkerd

import (
	"reflect"
	"strings"

	"github.com/meshproof/meshproof/clusters/linkerdapi"
)

// meta names a Server, a route or an authorization in metrics.
type meta struct{ group, kind, name string }

func byDefault(name string) meta { return meta{kind: "default", name: name} }

// protocol is what a port is known to speak.
type protocol int

const (
	detect protocol = iota // proxyProtocol unknown, and ports without a Server
	http1
	opaque
)

// portPolicy is what holds for one port of a pod. It never changes, apart from what its limiter remembers.
type portPolicy struct {
	server   meta
	port     string
	protocol protocol
	authzs   []authorization // that hold for every route, and for connections that are not HTTP
	routes   []route
	limits   *limits // nil: none
	limiter  *limiter
}

// unlessEqual is the old policy where the new one says the same, so that its limiter goes on.
func (p *portPolicy) unlessEqual(old *portPolicy) *portPolicy {
	a, b := *p, *old
	a.limiter, b.limiter = nil, nil
	if reflect.DeepEqual(a, b) {
		return old
	}
	return p
}

// route is one HTTPRoute.
type route struct {
	meta   meta
	rules  [][]routeMatch // any match of any rule; a rule without matches takes every request
	authzs []authorization
}

// authorization lets some clients in.
type authorization struct {
	meta meta
	// identities, and suffixes with their leading dot, of which a client must meet one. anyone: no identity is needed.
	anyone     bool
	identities map[string]bool
	suffixes   []string
}

// allows follows linkerd2-proxy: a URI identity is met exactly or not at all, so "*" is never met by one.
func (a *authorization) allows(t tlsState) bool {
	if a.anyone {
		return true
	}
	if !t.established || t.client.name == "" {
		return false
	}
	if a.identities[t.client.name] {
		return true
	}
	if t.client.uri {
		return false
	}
	for _, s := range a.suffixes {
		if strings.HasSuffix(t.client.name, s) {
			return true
		}
	}
	return false
}

func firstAllowing(as []authorization, t tlsState) *authorization {
	for i := range as {
		if as[i].allows(t) {
			return &as[i]
		}
	}
	return nil
}

// authorizeTCP decides about a connection that is not HTTP. A port that is known to speak HTTP/1 authorizes none.
func (p *portPolicy) authorizeTCP(t tlsState) *authorization {
	if p.protocol == http1 {
		return nil
	}
	return firstAllowing(p.authzs, t)
}

// authorizeHTTP decides about a request: route is nil where none matches, authorization where none applies.
func (p *portPolicy) authorizeHTTP(r asked, t tlsState) (*route, *authorization) {
	rt := p.find(r)
	if rt == nil {
		return nil, nil
	}
	if a := firstAllowing(rt.authzs, t); a != nil {
		return rt, a
	}
	return rt, firstAllowing(p.authzs, t)
}

// identityMatches adds an identity as policy writes it: a name, "*", or "*." and a suffix.
func (a *authorization) identityMatches(s string) {
	switch {
	case s == "*":
		a.suffixes = append(a.suffixes, "")
	case strings.HasPrefix(s, "*."):
		a.suffixes = append(a.suffixes, s[1:])
	default:
		if a.identities == nil {
			a.identities = map[string]bool{}
		}
		a.identities[s] = true
	}
}

// Default inbound policies.
const (
	allUnauthenticated     = "all-unauthenticated"
	allAuthenticated       = "all-authenticated"
	clusterUnauthenticated = "cluster-unauthenticated"
	clusterAuthenticated   = "cluster-authenticated"
	audit                  = "audit"
	deny                   = "deny"
)

var policyNames = []string{allUnauthenticated, allAuthenticated, clusterUnauthenticated, clusterAuthenticated, audit, deny}

// defaultAuthorizations is what a default policy, or a Server's accessPolicy, lets in. clusterNetworks are the chart's,
// which hold every private address, and so every pod here.
func defaultAuthorizations(policy string) []authorization {
	a := authorization{meta: byDefault(policy)}
	switch policy {
	case allUnauthenticated, clusterUnauthenticated, audit:
		a.anyone = true
	case allAuthenticated, clusterAuthenticated:
		a.identityMatches("*")
	default:
		return nil
	}
	return []authorization{a}
}

// authentications are what AuthorizationPolicies refer to, by namespace/name.
type authentications struct {
	mesh    map[string]*linkerdapi.MeshTLSAuthentication
	network map[string]*linkerdapi.NetworkAuthentication
}

// compile makes an authorization of a policy. It reports false where the policy refers to what is not there: such a
// policy authorizes nobody.
func (as authentications) compile(p *linkerdapi.AuthorizationPolicy) (authorization, bool) {
	a := authorization{meta: meta{linkerdapi.Group, "authorizationpolicy", p.Name}, anyone: true}
	for _, ref := range p.Spec.RequiredAuthenticationRefs {
		namespace := ref.Namespace
		if namespace == "" {
			namespace = p.Namespace
		}
		key := namespace + "/" + ref.Name
		switch ref.Kind {
		case "MeshTLSAuthentication":
			authn := as.mesh[key]
			if authn == nil {
				return a, false
			}
			a.anyone = false
			for _, id := range authn.Spec.Identities {
				a.identityMatches(id)
			}
			for _, r := range authn.Spec.IdentityRefs {
				ns := r.Namespace
				if ns == "" {
					ns = authn.Namespace
				}
				if r.Kind == "Namespace" {
					a.identityMatches("*" + identityOf(r.Name, "")) // which begins with a dot
					continue
				}
				a.identityMatches(identityOf(ns, r.Name))
			}
		case "ServiceAccount":
			a.anyone = false
			a.identityMatches(identityOf(namespace, ref.Name))
		case "NetworkAuthentication":
			if as.network[key] == nil {
				return a, false
			}
		}
	}
	return a, true
}
