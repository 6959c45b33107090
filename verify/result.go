package verify

import (
	"time"

	"github.com/meshproof/meshproof/evidence"
)

// Verdict is the outcome of a check, a trial or a run.
type Verdict string

// The verdicts. Precedence over a run: ERROR > FAIL > INVALID > PASS; GAP and SKIPPED do not count.
const (
	Pass    Verdict = "PASS"
	Fail    Verdict = "FAIL"
	Invalid Verdict = "INVALID"
	Error   Verdict = "ERROR"
	Skipped Verdict = "SKIPPED"
	Gap     Verdict = "GAP"
)

// Result is everything that a record proves.
type Result struct {
	Verdict     Verdict `json:"verdict"`
	Reason      string  `json:"reason"`  // CamelCase: why the verdict is not PASS; "AllProved" where it is
	Message     string  `json:"message"` // the same as a sentence
	Modelled    bool    `json:"modelled"`
	Partial     bool    `json:"partial"`     // the record has no seal: the run did not come to its end
	Interrupted bool    `json:"interrupted"` // the user stopped it
	// Flavors are the builds of meshes that are not what their projects publish, by mesh.
	Flavors map[string]string `json:"flavors,omitempty"`
	Trials  []Trial           `json:"trials"`
	Checks  []Check           `json:"checks"`
	Cells   []Cell            `json:"cells"`
	Tokens  []Cell            `json:"tokens"` // what came of each kind of token, from outside
	Phases  []Phase           `json:"phases"`
	Faults  []Fault           `json:"faults"`
	Costs   []Cost            `json:"costs"`
}

// Trial is one mesh in one block, judged by its own checks.
type Trial struct {
	evidence.Trial
	Verdict Verdict `json:"verdict"`
	Reason  string  `json:"reason"`
	Message string  `json:"message"`
}

// Kinds of Check.
const (
	KindMTLS     = "mtls"
	KindPolicy   = "policy"
	KindIdentity = "identity" // users' tokens at the edge
	// KindBalancing is, of mesh layered, whether Linkerd balances what the gateway sends.
	KindBalancing = "balancing"
	KindLatency   = "latency"
	KindErrors    = "errors"
	KindRecovery  = "recovery"
	KindRotation  = "rotation"
	KindFailover  = "failover"
	KindFault     = "fault"
	KindLoad      = "load"
	KindRun       = "run" // the trial went all its way, and its record is whole
)

// Check is one thing that had to be proved about one trial, or about one mesh over all its blocks, in the form of a
// Kubernetes condition.
type Check struct {
	ID        string         `json:"id"` // kind/subject, the same for every trial: "mtls/shop->cart"
	Kind      string         `json:"kind"`
	Subject   string         `json:"subject"`
	Trial     evidence.Trial `json:"trial"` // block 0: over all blocks
	Verdict   Verdict        `json:"verdict"`
	Reason    string         `json:"reason"`  // CamelCase
	Message   string         `json:"message"` // what was expected, what was seen
	Witnesses []Witness      `json:"witnesses,omitempty"`
	Observed  string         `json:"observed,omitempty"` // the figure that was judged, with unit
	Limit     string         `json:"limit,omitempty"`    // the figure it was held against
	// Used is the evidence without which the verdict would not stand.
	Used []evidence.Ref `json:"used,omitempty"`
}

// Witness is one independent line of evidence of a check. All of a check's witnesses must agree.
type Witness struct {
	Name    string         `json:"name"` // "workload record", "proxy metrics", "served chain", "refused plaintext", "access log", …
	Verdict Verdict        `json:"verdict"`
	Message string         `json:"message"`
	Used    []evidence.Ref `json:"used,omitempty"`
}

// Cell is one cell of the policy matrix of one trial.
type Cell struct {
	ID         string         `json:"id"`
	Trial      evidence.Trial `json:"trial"`
	From       string         `json:"from"` // workload
	Cluster    string         `json:"cluster"`
	To         string         `json:"to"`
	Method     string         `json:"method"`
	Path       string         `json:"path"`
	Connection string         `json:"connection"`
	Expected   string         `json:"expected"` // "allowed" or "refused"
	Observed   string         `json:"observed"` // "allowed", "refused", "mixed" or "unknown"
	Status     string         `json:"status"`   // what the client saw: "200", "403", "closed", …
	Verdict    Verdict        `json:"verdict"`
	Message    string         `json:"message,omitempty"`
	Used       []evidence.Ref `json:"used,omitempty"`
	// Of a request from outside: which kind of token it carried, which claims, the status that Istio would answer, and
	// who refused it why.
	Token  string            `json:"tokenKind,omitempty"`
	Claims map[string]string `json:"claims,omitempty"`
	Wanted string            `json:"wanted,omitempty"`
	Cause  string            `json:"cause,omitempty"`
}

// Phase is the latency and error rate of one phase of one traffic in one trial. Quantiles are in microseconds.
type Phase struct {
	Trial       evidence.Trial   `json:"trial"`
	Traffic     string           `json:"traffic"`
	Phase       string           `json:"phase"`
	StartMicros int64            `json:"startMicros"`
	ForMicros   int64            `json:"forMicros"`
	Offered     int64            `json:"offered"`
	Achieved    int64            `json:"achieved"`
	ErrorRate   float64          `json:"errorRate"`
	Codes       map[string]int   `json:"codes"`
	Intended    map[string]int64 `json:"intended"` // "p50", "p90", "p99", "p999", "max"
	Service     map[string]int64 `json:"service"`
	Verdict     Verdict          `json:"verdict"` // INVALID where the generator fell short
	Sending     Sending          `json:"sending"`
	Sessions    *Sessions        `json:"sessions,omitempty"` // nil where the traffic has none
}

// Fault is what became of one fault in one trial. Times count from the start of the load.
type Fault struct {
	Trial          evidence.Trial `json:"trial"`
	Name           string         `json:"name"`
	Kind           string         `json:"kind"`
	Target         string         `json:"target"`
	By             string         `json:"by"` // who carried it out
	StartMicros    int64          `json:"startMicros"`
	EndMicros      int64          `json:"endMicros"`      // revert; pod-kill: the replacement is ready
	Effect         string         `json:"effect"`         // what the effect probe saw, in words
	Verdict        Verdict        `json:"verdict"`        // PASS: it happened; INVALID: it did not, or cannot be told
	RecoveryMicros int64          `json:"recoveryMicros"` // -1: not recovered, or cannot be told
	Began          time.Time      `json:"began"`
	// Of an outage: the time from its beginning until another cluster served in its place; -1 where it did not, or nobody
	// asked.
	FailoverMicros int64 `json:"failoverMicros"`
}
