package verify

// Plan is what must be asked in one proof window: rounds one after the other.
type Plan struct {
	Rounds []Round
}

// Round is a stretch of proof traffic between two scrapes of every proxy. Its name is the window's name in evidence:
// "<before|after>/<edge|fresh|established>".
type Round struct {
	Name       string
	Warmup     []Ask // sent before the round's first scrape, to have connections; no proof of anything
	Asks       []Ask
	Handshakes bool // read the served chain of every pod that belongs into the mesh
	// Cover repeats forbidden asks for pods that refused no workload of the mesh so far (Refusals), many at once: a balancer
	// that weighs what is under way leaves a pod aside that was slow, or is new, until the others are busier.
	Cover bool
}

// Ask is one cell of the plan: requests from one workload in one cluster to one service, each with a twin.
type Ask struct {
	Cell       string // the cell's ID: from@cluster->to METHOD path (connection)
	From       string // workload
	Cluster    string // of the caller
	To         string // service
	Method     string
	Path       string
	Connection string // "fresh" or "established"
	Allowed    bool   // what the portable policy, and mutual TLS where it is expected, say
	Times      int    // how often it is asked at least
	// Twin is a request that the policy allows, to the same service, sent at the same moment. Nil where Allowed:
	// such an ask proves itself.
	Twin *Ask
	// Token is what a request from outside carries, where there is an issuer: From is then scenarios.OutsideName, and
	// Cluster that of the ingress asked. Nil for requests between workloads.
	Token *Token
}

// Kinds of Token. The last two are good ones whose claims the policy refuses.
const (
	TokenGood          = "good"
	TokenExpired       = "expired"
	TokenWrongIssuer   = "wrong-issuer"
	TokenWrongAudience = "wrong-audience"
	TokenMalformed     = "malformed"
	TokenNone          = "none"
	TokenForeignKey    = "foreign-key"
	TokenMissingClaim  = "missing-claim"
	TokenWrongClaim    = "wrong-claim"
)

// Token is a token to be asked with.
type Token struct {
	Kind   string
	Claim  string            // of missing-claim and wrong-claim: which
	Claims map[string]string // beside those that every token has
	Status int               // how Istio answers; only allowed or refused is judged
}
