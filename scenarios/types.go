package scenarios

import "time"

// Version and kind that a scenario file must carry.
const (
	APIVersion = "meshproof/v1alpha1"
	Kind       = "Scenario"
)

// Scenario is one experiment: what stands, who may call whom, what is sent, what breaks, and what must hold.
type Scenario struct {
	// Version of the scenario language: meshproof/v1alpha1.
	APIVersion string `json:"apiVersion" jsonschema:"enum=meshproof/v1alpha1"`
	// Always Scenario.
	Kind string `json:"kind" jsonschema:"enum=Scenario"`
	// Name and description.
	Metadata Metadata `json:"metadata"`
	// The experiment itself.
	Spec Spec `json:"spec"`
}

// Metadata names a scenario.
type Metadata struct {
	// Name of the scenario: lower-case letters, digits and dashes (a DNS label), at most 63 characters.
	Name string `json:"name"`
	// What the scenario shows, in a sentence or two. The report prints it.
	Description string `json:"description,omitempty"`
}

// MaxBlocks bounds how often every mesh runs.
const MaxBlocks = 100

// Spec is the experiment.
type Spec struct {
	// The meshes to compare, each run by itself, one after the other.
	Meshes []MeshEntry `json:"meshes"`
	// How often every mesh runs, 1 to 100. A block is every mesh once, in an order drawn from the seed. Budgets over a
	// baseline are judged from 6 blocks. Default 1.
	Blocks int `json:"blocks,omitempty" jsonschema:"minimum=1,maximum=100"`
	// Clusters and the services on them.
	Topology Topology `json:"topology"`
	// Who users are, and how long workloads' certificates hold. Without an issuer nobody asks for a token.
	Identity Identity `json:"identity,omitzero"`
	// Who may call whom. Without it everybody may call everybody.
	Policy Policy `json:"policy,omitzero"`
	// Load: from outside, through an ingress, or from one of the services.
	Traffic []Traffic `json:"traffic,omitempty"`
	// What breaks, and when, counted from the start of the load.
	Faults []Fault `json:"faults,omitempty"`
	// What must hold.
	Expect Expect `json:"expect"`
}

// MeshName names a mesh.
type MeshName string

// The meshes that this version runs.
const (
	MeshNone    MeshName = "none"
	MeshIstio   MeshName = "istio"
	MeshLinkerd MeshName = "linkerd"
	MeshLayered MeshName = "layered" // Istio's gateway at the edge, Linkerd behind it
)

// ControlPlanes lists the meshes whose control planes stand in each cluster of a mesh, and issue certificates there.
func (m MeshName) ControlPlanes() []MeshName {
	switch m {
	case MeshNone:
		return nil
	case MeshLayered:
		return []MeshName{MeshIstio, MeshLinkerd}
	}
	return []MeshName{m}
}

// Gap names something that a mesh is known not to do.
type Gap string

// The gaps that can be declared.
const (
	GapMTLS       Gap = "mtls"
	GapPolicy     Gap = "policy"      // also policy on claims, which is part of it
	GapEdgeClaims Gap = "edge-claims" // policy on the claims of a token alone
)

// MeshEntry is one mesh of the comparison.
type MeshEntry struct {
	// The mesh.
	Name MeshName `json:"name" jsonschema:"enum=none,enum=istio,enum=linkerd,enum=layered"`
	// How the gateway of mesh layered reaches the services behind it. With name: layered alone.
	Layered *Layered `json:"layered,omitempty"`
	// What this mesh is known not to do: mtls, policy (policy on claims included), edge-claims (policy on claims alone). A declared gap must be demonstrated by requests that got
	// through; it is then shown as GAP and does not fail the run. A declared gap that is closed makes the run INVALID.
	Gaps []Gap `json:"gaps,omitempty" jsonschema:"enum=mtls,enum=policy,enum=edge-claims"`
	// Kubernetes objects to apply on top of what the portable policy is translated into. Numbers in them are float64,
	// as in JSON. An object with the kind,
	// namespace and name of a translated one replaces it. What you expect stays spec.policy: this is what you really have.
	Objects []map[string]any `json:"objects,omitempty"`
}

// LayeredGateway is how Istio's gateway speaks to the pods that Linkerd protects.
type LayeredGateway string

// The ways.
const (
	// GatewayMeshed is a gateway pod with Linkerd's proxy beside Envoy: the services see the gateway's Linkerd identity.
	GatewayMeshed LayeredGateway = "meshed"
	// GatewayDirect is a gateway without Linkerd's proxy: Envoy itself speaks mutual TLS to Linkerd's proxies, with a
	// certificate that Istio issued under the shared root. The services see the gateway's SPIFFE ID.
	GatewayDirect LayeredGateway = "direct"
)

// LayeredBalancing is who balances what a meshed gateway sends.
type LayeredBalancing string

// Who does.
const (
	BalancingService  LayeredBalancing = "service"  // Envoy connects to the Service, and Linkerd chooses the pod
	BalancingEndpoint LayeredBalancing = "endpoint" // Envoy chooses the pod; Linkerd's balancing, routes and retries are not in use
)

// Layered is how mesh layered is built.
type Layered struct {
	// meshed: the gateway pod has Linkerd's proxy beside Envoy. direct: Envoy speaks Linkerd's mutual TLS itself, with a
	// certificate that Istio issued under the shared root. Default meshed.
	Gateway LayeredGateway `json:"gateway,omitempty" jsonschema:"enum=meshed,enum=direct"`
	// With gateway: meshed: who chooses the pod for a request. service: Linkerd, as Envoy connects to the Service;
	// endpoint: Envoy, as a gateway does by default, which leaves Linkerd's balancing, routes and retries out. Default service.
	Balancing LayeredBalancing `json:"balancing,omitempty" jsonschema:"enum=service,enum=endpoint"`
}

// Topology is what stands.
type Topology struct {
	// The clusters, one or more.
	Clusters []Cluster `json:"clusters"`
	// The network between the clusters.
	Network Network `json:"network,omitzero"`
	// The services under test.
	Services []Service `json:"services"`
}

// Cluster is one cluster.
type Cluster struct {
	// Name of the cluster: a DNS label.
	Name string `json:"name"`
	// Nodes that it is made of, 1 to 10; workloads run on all of them. The embedded driver has no nodes. Default 1.
	Nodes int `json:"nodes,omitempty" jsonschema:"minimum=1,maximum=10"`
}

// NetworkKind is how clusters reach each other.
type NetworkKind string

// The kinds of network.
const (
	NetworkFlat     NetworkKind = "flat"     // pods reach the pods of other clusters by their addresses
	NetworkSeparate NetworkKind = "separate" // pods reach other clusters by those clusters' gateways alone
)

// Network is what lies between clusters.
type Network struct {
	// flat: pods reach pods and Services of other clusters by their own addresses. separate: what is sent to such an
	// address of another cluster is dropped, and only the other cluster's gateways are reached. Without a mesh that is a
	// port of its nodes for each Service; each node then counts as one endpoint of the Service, whatever stands behind
	// it. The embedded driver has no separate networks. Default flat.
	Kind NetworkKind `json:"kind,omitempty" jsonschema:"enum=flat,enum=separate"`
	// One-way latency between two clusters. Default 1ms. At most 10s.
	Latency Duration `json:"latency,omitempty"`
}

// Service is one service under test: an HTTP server that waits, fails and calls others as told.
type Service struct {
	// Name of the service and of its service account: a DNS label that starts with a letter. "ingress", "outsider" and "outside"
	// are taken.
	Name string `json:"name"`
	// Kubernetes namespace. Default "app".
	Namespace string `json:"namespace,omitempty"`
	// Clusters that it runs in. Default: all.
	Clusters []string `json:"clusters,omitempty"`
	// Replicas in each of its clusters, 1 to 20. Default 1.
	Replicas int `json:"replicas,omitempty" jsonschema:"minimum=1,maximum=20"`
	// What it calls, one after the other, for each request that it gets. An error of a call is an error of the request.
	Calls []Call `json:"calls,omitempty"`
	// Time that it takes by itself. Default none.
	Latency Latency `json:"latency,omitzero"`
	// Share of requests that it answers with 500 by itself, 0 to 1.
	ErrorRate float64 `json:"errorRate,omitempty" jsonschema:"minimum=0,maximum=1"`
}

// Call is one call that a service makes.
type Call struct {
	// The service called.
	To string `json:"to"`
	// Share of requests that make this call, above 0, at most 1. Default 1.
	Share *float64 `json:"share,omitempty" jsonschema:"exclusiveMinimum=0,maximum=1"`
	// HTTP method. Default GET.
	Method string `json:"method,omitempty"`
	// Path. Default /.
	Path string `json:"path,omitempty"`
}

// Latency is a log-normal distribution given by two of its quantiles.
type Latency struct {
	// Median.
	P50 Duration `json:"p50"`
	// 99th percentile, at least p50. Default: p50, a constant.
	P99 Duration `json:"p99,omitempty"`
}

// Identity is who users are, and how long workloads may show the same certificate.
type Identity struct {
	// The issuer of users' tokens. With it every request from outside needs a token: the ingress checks its signature,
	// issuer, audience and expiry before any mesh, and the check is proved with good and bad ones.
	Issuer *Issuer `json:"issuer,omitempty"`
	// How long a workload's certificate holds, in whole seconds, 4s at least. Every mesh renews certificates by itself before
	// they end: Istio after half of that time, Linkerd after 70%. Default: as long as the mesh lets them, 24h.
	LeafLifetime Duration `json:"leafLifetime,omitempty"`
}

// Issuer is an OpenID Connect issuer that Meshproof runs itself.
type Issuer struct {
	// Kind of the issuer: oidc.
	Kind string `json:"kind,omitempty" jsonschema:"enum=oidc"`
	// Whom tokens are for (aud): letters, digits and the signs -._:/, at most 200.
	Audience string `json:"audience"`
}

// Token is a user's token.
type Token struct {
	// Claims beside those that every token has (iss, sub, aud, exp, iat): name and text.
	Claims map[string]string `json:"claims,omitempty"`
}

// PolicyDefault is what happens to a request that no rule allows.
type PolicyDefault string

// The defaults.
const (
	DefaultAllow PolicyDefault = "allow"
	DefaultDeny  PolicyDefault = "deny"
)

// Policy is the portable policy: each mesh's own objects are made from it, and the policy matrix is judged against it.
type Policy struct {
	// What happens to a request that no rule allows: allow or deny. Default allow; deny where there are rules.
	Default PolicyDefault `json:"default,omitempty" jsonschema:"enum=allow,enum=deny"`
	// The rules. A request is allowed when one of them matches.
	Allow []Rule `json:"allow,omitempty"`
}

// Rule allows one caller to call one service.
type Rule struct {
	// The calling service, or "ingress".
	From string `json:"from"`
	// The service called.
	To string `json:"to"`
	// HTTP methods. Default: all.
	Methods []string `json:"methods,omitempty"`
	// Paths: exact (/items), or a prefix with a star at its end (/items/*). Default: all.
	Paths []string `json:"paths,omitempty"`
	// With from: ingress: claims that the user's token must have, each with exactly this text. It is judged where tokens
	// are, at the edge.
	Claims map[string]string `json:"claims,omitempty"`
}

// FaultKind names a kind of fault.
type FaultKind string

// The faults that this version injects.
const (
	PodKill          FaultKind = "pod-kill"
	NetworkDelay     FaultKind = "network-delay"
	NetworkLoss      FaultKind = "network-loss"
	NetworkBandwidth FaultKind = "network-bandwidth"
	Partition        FaultKind = "partition"
	CPUStress        FaultKind = "cpu-stress"
	MemoryStress     FaultKind = "memory-stress"
	ClockSkew        FaultKind = "clock-skew"
	DNSError         FaultKind = "dns-error"
	MeshAbort        FaultKind = "mesh-abort"
	MeshDelay        FaultKind = "mesh-delay"
	WorkloadOutage   FaultKind = "workload-outage"
	LeafRotation     FaultKind = "leaf-rotation"
	IssuerRotation   FaultKind = "issuer-rotation"
)

// FaultTool is what carries a fault out.
type FaultTool string

// The tools.
const (
	ByMeshproof FaultTool = "meshproof"  // the driver's own means
	ByChaosMesh FaultTool = "chaos-mesh" // Chaos Mesh, in real clusters
)

// Fault is one thing that breaks.
type Fault struct {
	// Name of the fault: a DNS label.
	Name string `json:"name"`
	// pod-kill: one pod of the target dies at once, and is replaced. Between two clusters: network-delay, every packet
	// takes longer, in each direction; network-loss, a share of the packets is lost, in each direction; partition, no
	// packet passes. In all pods of the target: network-bandwidth, what they send is limited to a rate; cpu-stress and
	// memory-stress, processes beside the workload take processors or memory; clock-skew, their clocks are off;
	// dns-error, no name resolves; workload-outage, they die at once, and none comes back until it ends. By the mesh's own proxies, on what callers in one cluster send to the target: mesh-abort, a
	// share of the requests is answered with an error; mesh-delay, it is held back. Of certificates, which breaks nothing:
	// leaf-rotation, every pod of the target is watched until its mesh has renewed its certificate; issuer-rotation, the
	// control plane of a cluster gets another intermediate of the same root, and every pod there is watched until it serves
	// a certificate of that one.
	Kind FaultKind `json:"kind" jsonschema:"enum=pod-kill,enum=network-delay,enum=network-loss,enum=network-bandwidth,enum=partition,enum=cpu-stress,enum=memory-stress,enum=clock-skew,enum=dns-error,enum=mesh-abort,enum=mesh-delay,enum=workload-outage,enum=leaf-rotation,enum=issuer-rotation"`
	// Who carries it out in real clusters: meshproof, by means of its driver, or chaos-mesh, which is then installed in the
	// clusters. The embedded driver has no Chaos Mesh: it makes pod-kill, network-delay and partition itself whatever
	// stands here, and skips all that is for Chaos Mesh alone. The report says who it was. Default meshproof for pod-kill, network-delay
	// and partition. Faults of the mesh, outages and rotations have none; everything else can be made by chaos-mesh alone.
	By FaultTool `json:"by,omitempty" jsonschema:"enum=meshproof,enum=chaos-mesh"`
	// pod-kill: whose pod dies. Which one of them is drawn from the seed. Faults in pods: whose pods, all of them.
	// Faults of the mesh: the service that is called, and the cluster of its callers. leaf-rotation: whose certificates.
	// issuer-rotation: the cluster.
	Target *FaultTarget `json:"target,omitempty"`
	// Faults between clusters: the two.
	Between []string `json:"between,omitempty"`
	// network-delay: how much longer a packet takes, in each direction. mesh-delay: how long a request is held back.
	Delay Duration `json:"delay,omitempty"`
	// network-loss: share of packets that is lost, above 0, at most 1. Faults of the mesh: share of the requests, default 1.
	Share float64 `json:"share,omitempty" jsonschema:"exclusiveMinimum=0,maximum=1"`
	// network-bandwidth: most that a pod sends, in bits per second, 64000 to 1000000000.
	BitsPerSecond int `json:"bitsPerSecond,omitempty" jsonschema:"minimum=64000,maximum=1000000000"`
	// cpu-stress: processes that each keep a processor busy, in each pod, 1 to 64. Default 1.
	Workers int `json:"workers,omitempty" jsonschema:"minimum=1,maximum=64"`
	// memory-stress: what is taken in each pod, in MiB (2^20 bytes), 16 to 65536.
	MemoryMiB int `json:"memoryMiB,omitempty" jsonschema:"minimum=16,maximum=65536"`
	// clock-skew: by how much the clocks are ahead, at least 5s.
	Ahead Duration `json:"ahead,omitempty"`
	// mesh-abort: HTTP status of the answer, 500 to 599. Default 503.
	Status int `json:"status,omitempty" jsonschema:"minimum=500,maximum=599"`
	// When, after the start of the load.
	At Duration `json:"at"`
	// For how long. A pod-kill and rotations have none.
	For Duration `json:"for,omitempty"`
}

// FaultTarget is what a fault is about.
type FaultTarget struct {
	// The service. leaf-rotation without it is about all services of the cluster, as issuer-rotation always is.
	Service string `json:"service,omitempty"`
	// The cluster. Default: the first that the service runs in.
	Cluster string `json:"cluster,omitempty"`
}

// Expect is what must hold.
type Expect struct {
	// Mutual TLS.
	MTLS *ExpectMTLS `json:"mtls,omitempty"`
	// The policy matrix.
	Policy *ExpectPolicy `json:"policy,omitempty"`
	// Latency budgets.
	Latency []ExpectLatency `json:"latency,omitempty"`
	// Error budgets.
	Errors []ExpectErrors `json:"errors,omitempty"`
	// Recovery budgets.
	Recovery []ExpectRecovery `json:"recovery,omitempty"`
	// Rotations of certificates.
	Rotation []ExpectRotation `json:"rotation,omitempty"`
	// Failovers from one cluster to another.
	Failover []ExpectFailover `json:"failover,omitempty"`
}

// ExpectMTLS says where mutual TLS must hold.
type ExpectMTLS struct {
	// On every edge between two workloads. Must be true.
	Everywhere bool `json:"everywhere"`
}

// ExpectPolicy says what of the policy must be proved.
type ExpectPolicy struct {
	// complete: every caller × callee × method × path that the policy distinguishes, and callers that it does not name.
	Matrix string `json:"matrix" jsonschema:"enum=complete"`
}

// ExpectLatency is a budget for latency from the intended send time: for quantiles of every mesh, for what they may be
// above those of a baseline mesh, or for both. At least one quantile must be given. Requests that fail count with the time that it took: where more than half fail, or more than 1% and the scenario gives no error budget
// for the phase, the latency proves nothing.
type ExpectLatency struct {
	// The traffic.
	Traffic string `json:"traffic"`
	// The phase. Default: each phase, by itself.
	Phase string `json:"phase,omitempty"`
	// Most that the median may be.
	P50 Duration `json:"p50,omitempty"`
	// Most that the 90th percentile may be.
	P90 Duration `json:"p90,omitempty"`
	// Most that the 99th percentile may be.
	P99 Duration `json:"p99,omitempty"`
	// How much slower than a baseline mesh every other mesh may be in the same phase. Judged from 6 blocks, and only
	// where data planes are real: a model says nothing about what a proxy costs.
	OverBaseline *LatencyOverBaseline `json:"overBaseline,omitempty"`
}

// LatencyOverBaseline is a budget for the difference between a quantile of latency and that of a baseline mesh, in the
// same phase of the same block. At least one quantile must be given.
type LatencyOverBaseline struct {
	// The baseline mesh: one of spec.meshes.
	Mesh MeshName `json:"mesh" jsonschema:"enum=none,enum=istio,enum=linkerd,enum=layered"`
	// Most that the median may be above that of the baseline.
	P50 Duration `json:"p50,omitempty"`
	// Most that the 90th percentile may be above that of the baseline.
	P90 Duration `json:"p90,omitempty"`
	// Most that the 99th percentile may be above that of the baseline.
	P99 Duration `json:"p99,omitempty"`
}

// ExpectErrors is a budget for errors (no response, or a status of 400 or more): for the rate of every mesh, for what
// it may be above that of a baseline mesh, or for both.
type ExpectErrors struct {
	// The traffic.
	Traffic string `json:"traffic"`
	// The phase. Default: each phase, by itself.
	Phase string `json:"phase,omitempty"`
	// Largest share of requests that may fail, from 0 to below 1.
	Rate *float64 `json:"rate,omitempty" jsonschema:"minimum=0,maximum=1"`
	// How many more requests than on a baseline mesh may fail on every other mesh in the same phase. Judged from 6 blocks.
	OverBaseline *ErrorsOverBaseline `json:"overBaseline,omitempty"`
}

// ErrorsOverBaseline is a budget for the difference between the error rate and that of a baseline mesh, in the same
// phase of the same block.
type ErrorsOverBaseline struct {
	// The baseline mesh: one of spec.meshes.
	Mesh MeshName `json:"mesh" jsonschema:"enum=none,enum=istio,enum=linkerd,enum=layered"`
	// Most that the share of requests that fail may be above that of the baseline, from 0 to below 1.
	Rate float64 `json:"rate" jsonschema:"minimum=0,maximum=1"`
}

// ExpectRecovery is a budget for the time until the steady state is back: from the kill (pod-kill) or the end of the
// fault (the others) to the moment from which the effect probe sees nothing of the fault any more and the error rate
// of every traffic stays within its error budget (1% where none is given).
type ExpectRecovery struct {
	// The fault.
	After string `json:"after"`
	// Most that it may take.
	Within Duration `json:"within"`
}

// ExpectRotation says how a leaf-rotation or issuer-rotation must go: by new handshakes without resumption, every pod of
// the target must be seen to serve a new certificate, after an issuer-rotation one of the new intermediate, under the
// same root.
type ExpectRotation struct {
	// The fault of kind leaf-rotation or issuer-rotation.
	After string `json:"after"`
	// Most time that it may take until the last pod serves its new certificate.
	Within Duration `json:"within"`
	// Most attempts that may be dropped until then, beyond those that are lost without a rotation: requests of all
	// traffic that fail, and attempts that proxies had to repeat. Default 0.
	Dropped int `json:"dropped,omitempty" jsonschema:"minimum=0,maximum=1000000"`
}

// ExpectFailover says how soon after the beginning of a workload-outage another cluster must serve in place of the one
// whose pods died: the time until it does, and until no traffic fails beyond its error budget (1% where none is given).
// When the outage is over, the first cluster must serve again.
type ExpectFailover struct {
	// The fault of kind workload-outage.
	After string `json:"after"`
	// The cluster that must serve. Default: the other one, where the service runs in two.
	To string `json:"to,omitempty"`
	// Most time that it may take.
	Within Duration `json:"within"`
}

// Duration is a time in Go's notation: 250ms, 4s, 1m30s. At most 24h.
type Duration time.Duration

// D is the duration as time.Duration.
func (d Duration) D() time.Duration { return time.Duration(d) }

// String writes the duration in Go's notation.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return err
	}
	*d = Duration(v)
	return nil
}
