package reports

import (
	"encoding/json"
	"time"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/verify"
)

// SchemaVersion names the layout of report.json.
const SchemaVersion = "meshproof.report/v1"

// Report is everything that a report says about one run. It is published as report.json. Times of the load count in
// microseconds from its start; latencies are in microseconds; rates of errors are shares from 0 to 1.
type Report struct {
	// Layout of this document: meshproof.report/v1.
	SchemaVersion string `json:"schemaVersion"`
	// Name of the run: the scenario's name and the time in UTC.
	RunID string `json:"runID"`
	// The scenario that was run.
	Scenario Scenario `json:"scenario"`
	// Verdict over the whole run.
	Verdict verify.Verdict `json:"verdict" jsonschema:"enum=PASS,enum=FAIL,enum=INVALID,enum=ERROR"`
	// Why the verdict is what it is, in one CamelCase word.
	Reason string `json:"reason"`
	// The same as a sentence.
	Message string `json:"message"`
	// The data planes were models: the verdict is about semantics, never about cost.
	Modelled bool `json:"modelled"`
	// The run did not come to its end.
	Partial bool `json:"partial"`
	// The user stopped the run.
	Interrupted bool `json:"interrupted"`
	// What makes the record less than whole: changed files, lines that do not read.
	Problems []string `json:"problems"`
	// How many checks there are of each verdict.
	Counts map[verify.Verdict]int `json:"counts"`
	// The meshes compared, in the order of the scenario.
	Meshes []string `json:"meshes"`
	// How often every mesh ran, or was to run.
	Blocks int `json:"blocks"`
	// Each mesh in each block, judged by its own checks.
	Trials []Trial `json:"trials"`
	// Checks by meshes, blocks taken together.
	Matrix []Row `json:"matrix"`
	// Every check of every trial.
	Checks []Check `json:"checks"`
	// Latency and errors by phase of traffic.
	Phases []Phase `json:"phases"`
	// Load over time.
	Series []Series `json:"series"`
	// The policy matrix: what was asked, what was expected, what came.
	Cells []Cell `json:"cells"`
	// Users' tokens at the edge: what was asked with which, what was expected, what came.
	Tokens []TokenCell `json:"tokens"`
	// What became of each fault.
	Faults []Fault `json:"faults"`
	// What the meshes' containers used in each phase.
	Costs []Cost `json:"costs"`
	// Where the report comes from, and how to check it.
	Provenance Provenance `json:"provenance"`
}

// Scenario is what of a scenario the report prints.
type Scenario struct {
	// Name of the scenario.
	Name string `json:"name"`
	// What the scenario shows.
	Description string `json:"description"`
	// Latency budgets, for the charts.
	Budgets []Budget `json:"budgets"`
	// Which way each traffic goes.
	Traffic []Traffic `json:"traffic"`
}

// Traffic is the way that a traffic goes.
type Traffic struct {
	// Name of the traffic.
	Name string `json:"name"`
	// Who sends: a service, or ingress for load from outside.
	From string `json:"from"`
	// The cluster whose ingress is used, or whose pod of the service sends.
	Cluster string `json:"cluster"`
	// The service that it is for.
	To string `json:"to"`
}

// Budget is one limit on one quantile of latency.
type Budget struct {
	// The traffic.
	Traffic string `json:"traffic"`
	// The phase; empty for each phase.
	Phase string `json:"phase"`
	// p50, p90 or p99.
	Quantile string `json:"quantile"`
	// Most that it may be, in microseconds.
	Micros int64 `json:"micros"`
}

// Trial is one mesh in one block.
type Trial struct {
	// Number of the block, from 1.
	Block int `json:"block"`
	// Name of the mesh.
	Mesh string `json:"mesh"`
	// Verdict over the checks of the trial.
	Verdict verify.Verdict `json:"verdict" jsonschema:"enum=PASS,enum=FAIL,enum=INVALID,enum=ERROR,enum=SKIPPED,enum=GAP"`
	// Why, in one CamelCase word.
	Reason string `json:"reason"`
	// Why, in a sentence.
	Message string `json:"message"`
	// How long it took, in seconds; 0 where its end was not recorded.
	Seconds float64 `json:"seconds"`
	// It ran on clusters that had been made for an earlier trial: which. Empty where they were fresh.
	Reused string `json:"reused,omitempty"`
}

// Row is one check over all meshes.
type Row struct {
	// The check: kind and subject.
	ID string `json:"id"`
	// Kind of the check: mtls, policy, identity, latency, errors, recovery, fault, load or run.
	Kind string `json:"kind"`
	// What is checked.
	Subject string `json:"subject"`
	// How the meshes differ: verdicts; or figures, where all verdicts are the same and the highest and lowest figure are
	// apart by a tenth of the budget or more (of several blocks: and no block of one lies among those of the other).
	// Empty where they do not.
	Differ string `json:"differ" jsonschema:"enum=,enum=verdicts,enum=figures"`
	// One for each of the report's meshes, in that order.
	Cells []RowCell `json:"cells"`
}

// RowCell is one check of one mesh over its blocks.
type RowCell struct {
	// Name of the mesh.
	Mesh string `json:"mesh"`
	// The worst verdict of the blocks; INVALID where a block lacks the check; empty where no block has it.
	Verdict verify.Verdict `json:"verdict"`
	// The figure that was judged, of the block that gave the verdict.
	Observed string `json:"observed"`
	// The figure that it was held against.
	Limit string `json:"limit"`
	// Median of the figures of all blocks; empty where there is one block, or a block without a figure.
	Median string `json:"median"`
	// Lowest of these figures.
	Lowest string `json:"lowest"`
	// Highest of these figures.
	Highest string `json:"highest"`
	// In how many blocks the verdict was this one; 1 for a check over all blocks.
	Blocks int `json:"blocks"`
	// How many blocks the mesh ran in; 1 for a check over all blocks.
	Of int `json:"of"`
	// What sets the cell apart in its row: other (its verdict is not the one that most meshes have), lowest or highest
	// (figure). Empty where nothing does.
	Mark string `json:"mark" jsonschema:"enum=,enum=other,enum=lowest,enum=highest"`
	// Place in checks of the check that gave the verdict; -1 where there is none.
	Check int `json:"check"`
}

// overAllBlocks is the block of a check that is about a mesh over all its blocks.
const overAllBlocks = 0

// Check is one thing that had to be proved about one trial, or about one mesh over all its blocks.
type Check struct {
	// Kind and subject, the same for every trial.
	ID string `json:"id"`
	// Kind of the check.
	Kind string `json:"kind"`
	// What is checked.
	Subject string `json:"subject"`
	// Number of the block, from 1; 0 for a check over all blocks.
	Block int `json:"block"`
	// Name of the mesh.
	Mesh string `json:"mesh"`
	// The verdict.
	Verdict verify.Verdict `json:"verdict" jsonschema:"enum=PASS,enum=FAIL,enum=INVALID,enum=ERROR,enum=SKIPPED,enum=GAP"`
	// Why, in one CamelCase word.
	Reason string `json:"reason"`
	// What was expected and what was seen.
	Message string `json:"message"`
	// The figure that was judged, with its unit.
	Observed string `json:"observed"`
	// The figure that it was held against.
	Limit string `json:"limit"`
	// Independent lines of evidence.
	Witnesses []Witness `json:"witnesses"`
	// How many records the verdict stands on.
	EvidenceCount int `json:"evidenceCount"`
	// Some of these records, at most ten: those of dissenting witnesses first. Checks that passed name them without their content.
	Evidence []Excerpt `json:"evidence"`
}

// Witness is one independent line of evidence.
type Witness struct {
	// What kind of evidence it is.
	Name string `json:"name"`
	// What it says.
	Verdict verify.Verdict `json:"verdict"`
	// The same in words.
	Message string `json:"message"`
	// How many records it stands on.
	EvidenceCount int `json:"evidenceCount"`
}

// Excerpt is one record of evidence: where it stands and what it says, long values shortened and secrets removed.
type Excerpt struct {
	// Stream and line, such as requests:123.
	Ref string `json:"ref"`
	// The record; absent for checks that passed, and where the record is not there.
	Record json.RawMessage `json:"record,omitempty"`
}

// Phase is the latency and error rate of one phase of one traffic in one trial.
type Phase struct {
	// Number of the block, from 1.
	Block int `json:"block"`
	// Name of the mesh.
	Mesh string `json:"mesh"`
	// Name of the traffic.
	Traffic string `json:"traffic"`
	// Name of the phase.
	Phase string `json:"phase"`
	// Start after the start of the load.
	StartMicros int64 `json:"startMicros"`
	// Length.
	ForMicros int64 `json:"forMicros"`
	// Requests that the profile planned.
	Offered int64 `json:"offered"`
	// Of these: sent in time.
	Achieved int64 `json:"achieved"`
	// Share of requests that failed; null where it cannot be told.
	ErrorRate *float64 `json:"errorRate" jsonschema:"oneof_type=number;null"`
	// Answers by status code, and by kind of failure where there was none.
	Codes map[string]int `json:"codes"`
	// Quantiles of latency from the moment when a request should have been sent. This is what budgets are held against.
	Intended map[string]int64 `json:"intended"`
	// Quantiles of latency from the moment when it was sent.
	Service map[string]int64 `json:"service"`
	// INVALID where the load generator fell short.
	Verdict verify.Verdict `json:"verdict"`
	// What the load generator saw of itself.
	Sending Sending `json:"sending"`
	// How the requests of its sessions were balanced; absent where the traffic has none.
	Sessions *Sessions `json:"sessions,omitempty"`
}

// Sessions is how the requests of sessions were balanced in one phase.
type Sessions struct {
	// Sessions whose requests were answered.
	Sessions int `json:"sessions"`
	// Of these: sessions of which the same pod answered every request.
	OnePod int `json:"onePod"`
	// Most pods that answered one session.
	Most int `json:"most"`
	// Pods that answered any of them. Where one pod answers all, nothing shows that somebody sticks to sessions.
	Pods int `json:"pods"`
}

// Sending is what the load generator saw of itself in one phase, all of its processes together.
type Sending struct {
	// Processes that sent the phase together.
	Workers int `json:"workers"`
	// Quantiles of how much later requests were sent than intended, in microseconds.
	Lag map[string]int64 `json:"lag"`
	// Share of its processors that it used, 0 to 1; of the process that used most.
	CPU float64 `json:"cpu"`
	// Garbage collections.
	Collections int64 `json:"collections"`
	// Time that these stopped it for, in all, in microseconds.
	PauseMicros int64 `json:"pauseMicros"`
	// Longest of these pauses, in microseconds.
	LongestMicros int64 `json:"longestMicros"`
	// Connections that it opened.
	Opened int64 `json:"opened"`
	// Most connections that were open at once.
	Open int64 `json:"open"`
	// INVALID where the figures of the phase may be the generator's own doing.
	Verdict verify.Verdict `json:"verdict"`
	// Why, as a word.
	Reason string `json:"reason"`
	// Why, as a sentence.
	Message string `json:"message"`
}

// Series is one traffic of one trial over time.
type Series struct {
	// Number of the block, from 1.
	Block int `json:"block"`
	// Name of the mesh.
	Mesh string `json:"mesh"`
	// Name of the traffic.
	Traffic string `json:"traffic"`
	// Slices of time in order; long runs are merged into at most 600.
	Slices []Slice `json:"slices"`
	// How many requests took how long, by second; none where nothing was recorded.
	Heat *Heat `json:"heat,omitempty"`
}

// Heat is how many requests took how long, by time.
type Heat struct {
	// Edges of the classes of latency from the intended send time, rising: one more than there are classes.
	EdgesMicros []float64 `json:"edgesMicros"`
	// Stretches of time, of a second each or more, in order. Those without a request are left out.
	Columns []HeatColumn `json:"columns"`
}

// HeatColumn is one stretch of time of a Heat.
type HeatColumn struct {
	// Start after the start of the load.
	AtMicros int64 `json:"atMicros"`
	// Width.
	Micros int64 `json:"micros"`
	// Requests meant for then, by class of latency, from the lowest.
	Counts []int64 `json:"counts"`
}

// Slice is one slice of time.
type Slice struct {
	// Start after the start of the load.
	AtMicros int64 `json:"atMicros"`
	// Width.
	Micros int64 `json:"micros"`
	// Requests that should have been sent in it.
	Offered int64 `json:"offered"`
	// Requests that were sent in it.
	Sent int64 `json:"sent"`
	// Of offered: answered or failed.
	Done int64 `json:"done"`
	// Of done: failed.
	Errors int64 `json:"errors"`
	// Median latency from the intended send time; of merged slices the largest.
	P50Micros int64 `json:"p50Micros"`
	// 99th percentile of the same; of merged slices the largest.
	P99Micros int64 `json:"p99Micros"`
}

// Cell is one question to the policy of one trial, and its answer.
type Cell struct {
	// The question: caller, callee, method, path, kind of connection.
	ID string `json:"id"`
	// Number of the block, from 1.
	Block int `json:"block"`
	// Name of the mesh.
	Mesh string `json:"mesh"`
	// The calling workload.
	From string `json:"from"`
	// The cluster of the caller.
	Cluster string `json:"cluster"`
	// The service called.
	To string `json:"to"`
	// HTTP method.
	Method string `json:"method"`
	// Path.
	Path string `json:"path"`
	// fresh or established.
	Connection string `json:"connection"`
	// allowed or refused.
	Expected string `json:"expected"`
	// allowed, refused, mixed or unknown.
	Observed string `json:"observed"`
	// What the client saw: a status code, or how the connection ended.
	Status string `json:"status"`
	// What this cell proves.
	Verdict verify.Verdict `json:"verdict"`
	// Why, where it is not PASS.
	Message string `json:"message"`
}

// TokenCell is one kind of user's token with which a service was asked from outside in one trial, and the answer.
type TokenCell struct {
	// The question: ingress, service, method, path, token.
	ID string `json:"id"`
	// Number of the block, from 1.
	Block int `json:"block"`
	// Name of the mesh.
	Mesh string `json:"mesh"`
	// The cluster whose ingress was asked.
	Cluster string `json:"cluster"`
	// The service asked for.
	To string `json:"to"`
	// HTTP method.
	Method string `json:"method"`
	// Path.
	Path string `json:"path"`
	// good, expired, wrong-issuer, wrong-audience, malformed, none, foreign-key, missing-claim or wrong-claim.
	Kind string `json:"kind"`
	// Claims of the token beside those that every token has.
	Claims map[string]string `json:"claims"`
	// allowed or refused.
	Expected string `json:"expected"`
	// The status that Istio answers; only allowed or refused is judged.
	Wanted string `json:"wanted"`
	// allowed, refused, mixed or unknown.
	Observed string `json:"observed"`
	// What the client saw: a status code, or how the connection ended.
	Status string `json:"status"`
	// Who refused it at the edge, and why.
	Cause string `json:"cause"`
	// What this cell proves.
	Verdict verify.Verdict `json:"verdict"`
	// Why, where it is not PASS.
	Message string `json:"message"`
}

// Fault is what became of one fault in one trial.
type Fault struct {
	// Number of the block, from 1.
	Block int `json:"block"`
	// Name of the mesh.
	Mesh string `json:"mesh"`
	// Name of the fault.
	Name string `json:"name"`
	// Kind of the fault.
	Kind string `json:"kind"`
	// What it hit.
	Target string `json:"target"`
	// Who carried it out: meshproof, or chaos-mesh with its version.
	By string `json:"by"`
	// When it began.
	StartMicros int64 `json:"startMicros"`
	// When it was over: reverted, or the killed pod replaced.
	EndMicros int64 `json:"endMicros"`
	// What the effect probe saw.
	Effect string `json:"effect"`
	// PASS: it happened. INVALID: it did not, or cannot be told.
	Verdict verify.Verdict `json:"verdict"`
	// Time until the steady state was back; -1 where it did not come back or cannot be told.
	RecoveryMicros int64 `json:"recoveryMicros"`
	// Of an outage: time from its beginning until another cluster served in its place, without failures; -1 where none did,
	// or nobody asked.
	FailoverMicros int64 `json:"failoverMicros"`
}

// Cost is what the containers of one role used in one phase of one traffic of one trial. What is not known is null.
type Cost struct {
	// Number of the block, from 1.
	Block int `json:"block"`
	// Name of the mesh, with its build where that is not what the mesh's project publishes.
	Mesh string `json:"mesh"`
	// Name of the traffic; empty where nothing is known of the whole trial.
	Traffic string `json:"traffic"`
	// Name of the phase.
	Phase string `json:"phase"`
	// workloads, sidecars or control plane.
	Role string `json:"role"`
	// PASS: the figures are whole. INVALID: they are not. SKIPPED: there can be none.
	Verdict verify.Verdict `json:"verdict" jsonschema:"enum=PASS,enum=INVALID,enum=SKIPPED"`
	// Why there is no figure.
	Message string `json:"message"`
	// How many containers there were.
	Containers int `json:"containers"`
	// Core-seconds used.
	CPUSeconds *float64 `json:"cpuSeconds" jsonschema:"oneof_type=number;null"`
	// Core-seconds for 1,000 requests of the load.
	PerThousand *float64 `json:"perThousand" jsonschema:"oneof_type=number;null"`
	// How far the true figure may lie from that, in either direction.
	Within float64 `json:"within"`
	// What some container used at last is not known, because it ended or was not looked at again: it is that much at least.
	AtLeast bool `json:"atLeast"`
	// Bytes of all working sets together, mean over the samples.
	MemoryMean *int64 `json:"memoryMean" jsonschema:"oneof_type=integer;null"`
	// The highest of these.
	MemoryPeak *int64 `json:"memoryPeak" jsonschema:"oneof_type=integer;null"`
}

// Provenance says where a report comes from.
type Provenance struct {
	// Version of meshproof that made the run.
	Version string `json:"version"`
	// Version of Go that it was built with.
	GoVersion string `json:"goVersion"`
	// When the run started, UTC.
	Started time.Time `json:"started"`
	// Seed of everything that was drawn.
	Seed int64 `json:"seed"`
	// The driver.
	Driver string `json:"driver"`
	// What was modelled, one sentence each.
	Models []string `json:"models"`
	// Versions of what else took part.
	Components map[string]string `json:"components"`
	// The machine.
	Host evidence.Host `json:"host"`
	// Meshes of each block in the order in which they ran.
	Order [][]string `json:"order"`
	// The command line.
	Command []string `json:"command"`
	// Layout of the evidence.
	EvidenceSchema string `json:"evidenceSchema"`
	// The evidence is sealed with a hash over all its files.
	Sealed bool `json:"sealed"`
	// That hash; empty where there is none.
	SealRoot string `json:"sealRoot"`
}
