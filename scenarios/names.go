package scenarios

import "fmt"

// Workloads that Meshproof adds to every cluster, and where they stand.
const (
	IngressName       = "ingress"  // the gateway that traffic enters by; also a caller in policy rules
	IngressNamespace  = "edge"     //
	OutsiderName      = "outsider" // a pod without any mesh, to ask what must be refused
	OutsiderNamespace = "outside"  //
	OutsideName       = "outside"  // in evidence: a client outside of the clusters
	TrustDomain       = "cluster.local"
	ServicePort       = 80   // port of every Service
	WorkloadPort      = 8080 // port of every workload's container
)

// IssuerOIDC is the one kind of issuer.
const IssuerOIDC = "oidc"

// The issuer of users' tokens as clusters know it. Its host name is not one of the Internet's: a driver resolves it.
const (
	IssuerHost = "issuer.meshproof.internal"
	IssuerURL  = "http://" + IssuerHost           // iss of every token
	IssuerKeys = "http://" + IssuerHost + "/keys" // its JSON Web Key Set
)

// Headers that tag Meshproof's own requests.
const (
	HeaderID         = "x-meshproof-id"
	HeaderWindow     = "x-meshproof-window"     // "load", or the name of a proof window
	HeaderCaller     = "x-meshproof-caller"     // "service@cluster"
	HeaderProof      = "x-meshproof-proof"      // "1" on proof traffic: retries are off for it
	HeaderConnection = "x-meshproof-connection" // "fresh": a connection of its own between the proxies
)

// Workload is one workload of a scenario: a service, an ingress or an outsider.
type Workload struct {
	Name           string
	Namespace      string
	ServiceAccount string
	Clusters       []string
	Replicas       int
	Meshed         bool // belongs into the mesh
	Service        *Service
}

// Host is the workload's DNS name inside a cluster.
func (w Workload) Host() string {
	return fmt.Sprintf("%s.%s.svc.%s", w.Name, w.Namespace, TrustDomain)
}

// SPIFFEID is the workload's identity in Istio's form.
func (w Workload) SPIFFEID() string {
	return fmt.Sprintf("spiffe://%s/ns/%s/sa/%s", TrustDomain, w.Namespace, w.ServiceAccount)
}

// LinkerdID is the workload's identity in Linkerd's form.
func (w Workload) LinkerdID() string {
	return fmt.Sprintf("%s.%s.serviceaccount.identity.linkerd.%s", w.ServiceAccount, w.Namespace, TrustDomain)
}

// Workloads lists the ingress, the services in the order of the file, and the outsider. Defaults must be filled in.
func (s *Scenario) Workloads() []Workload {
	all := make([]string, len(s.Spec.Topology.Clusters))
	for i, c := range s.Spec.Topology.Clusters {
		all[i] = c.Name
	}
	ws := []Workload{{Name: IngressName, Namespace: IngressNamespace, ServiceAccount: IngressName, Clusters: all, Replicas: 1, Meshed: true}}
	for i := range s.Spec.Topology.Services {
		v := &s.Spec.Topology.Services[i]
		ws = append(ws, Workload{
			Name: v.Name, Namespace: v.Namespace, ServiceAccount: v.Name,
			Clusters: v.Clusters, Replicas: v.Replicas, Meshed: true, Service: v,
		})
	}
	return append(ws, Workload{Name: OutsiderName, Namespace: OutsiderNamespace, ServiceAccount: OutsiderName, Clusters: all, Replicas: 1})
}

// Workload finds a workload by name.
func (s *Scenario) Workload(name string) (Workload, bool) {
	for _, w := range s.Workloads() {
		if w.Name == name {
			return w, true
		}
	}
	return Workload{}, false
}

// Inside reports whether the load is sent by a service rather than from outside of the clusters.
func (t *Traffic) Inside() bool { return t.Caller() != IngressName }

// Caller is the workload by which the load reaches the service that it is for: the ingress, or the service that sends.
func (t *Traffic) Caller() string {
	if t.From == "" { // of a run before there was a choice
		return IngressName
	}
	return t.From
}

// Allows reports whether the policy allows the request between two workloads. Claims play no part: they are judged at
// the edge, where tokens are.
func (p *Policy) Allows(from, to, method, path string) bool {
	if p.Default != DefaultDeny {
		return true
	}
	for _, r := range p.Allow {
		if r.From == from && r.To == to && r.Matches(method, path) {
			return true
		}
	}
	return false
}

// Admits reports whether the policy allows a request from outside whose valid token has these claims.
func (p *Policy) Admits(to, method, path string, claims map[string]string) bool {
	if p.Default != DefaultDeny {
		return true
	}
	for _, r := range p.Allow {
		if r.From == IngressName && r.To == to && r.Matches(method, path) && r.satisfied(claims) {
			return true
		}
	}
	return false
}

// ClaimsMatter reports whether some rule asks for claims.
func (p *Policy) ClaimsMatter() bool {
	for _, r := range p.Allow {
		if len(r.Claims) > 0 {
			return true
		}
	}
	return false
}

// satisfied reports whether a token has all claims that the rule asks for.
func (r *Rule) satisfied(claims map[string]string) bool {
	for name, want := range r.Claims {
		if have, ok := claims[name]; !ok || have != want {
			return false
		}
	}
	return true
}

// Matches reports whether the rule covers method and path.
func (r *Rule) Matches(method, path string) bool {
	ok := len(r.Methods) == 0
	for _, m := range r.Methods {
		ok = ok || m == method
	}
	if !ok {
		return false
	}
	if len(r.Paths) == 0 {
		return true
	}
	for _, p := range r.Paths {
		if n := len(p) - 1; n >= 0 && p[n] == '*' {
			if len(path) >= n && path[:n] == p[:n] {
				return true
			}
		} else if p == path {
			return true
		}
	}
	return false
}
