package verify

// Plan is what must be asked in one proof window: rounds one after the other.
type Plan struct {
	Rounds []Round
}

// Round is a stretch of proof traffic between two scrapes of every proxy. Its name is the window's name in evidence:
// "<before|after>/<fresh|established>".
type Round struct {
	Name       string
	Warmup     []Ask // sent before the round's first scrape, to have connections; no proof of anything
	Asks       []Ask
	Handshakes bool // read the served chain of every pod that belongs into the mesh
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
	Times      int    // how often it is asked
	// Twin is a request that the policy allows, to the same service, sent at the same moment. Nil where Allowed:
	// such an ask proves itself.
	Twin *Ask
}
