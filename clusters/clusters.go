package clusters

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/loadgen"
	"github.com/meshproof/meshproof/scenarios"
)

// ErrNotModelled is wrapped by errors about objects or fields that a driver with modelled data planes does not
// interpret. They are refused, never approximated.
var ErrNotModelled = errors.New("not modelled")

// ErrNotPossible is wrapped by errors about what cannot be done here, whatever is tried: this kernel or this driver has no
// means for it. Nothing was changed.
var ErrNotPossible = errors.New("not possible here")

// ErrSenderLost is wrapped by the error of an attack whose sender, or the way to it, was lost: what it sent last, and how
// that was answered, nobody knows.
var ErrSenderLost = errors.New("the sender of the load was lost")

// LostSender is an ErrSenderLost of which it is known until when all that sent had told of it.
type LostSender struct {
	Whole time.Duration // after the start of the load: the end of the last phase that was told whole; 0 where there is none
	Err   error
}

// Error implements error.
func (l *LostSender) Error() string { return ErrSenderLost.Error() + ": " + l.Err.Error() }

// Unwrap makes it an ErrSenderLost.
func (l *LostSender) Unwrap() []error { return []error{ErrSenderLost, l.Err} }

// Object is a typed Kubernetes object.
type Object interface {
	runtime.Object
	metav1.Object
}

// Provider makes clusters.
type Provider interface {
	// Driver is the provider's name on the command line.
	Driver() string
	// Models says what of this driver is a model rather than the real thing, one sentence each; empty when nothing is.
	Models() []string
	// Check says what of these objects the driver cannot apply, before anything is started.
	Check(mesh string, objs []Object) error
	// Build says which build of a mesh the driver's clusters get. The error names what is missing of it.
	Build(mesh string) (Build, error)
	// CheckTopology says what of a Spec's clusters and of the network between them the driver cannot make, before
	// anything is started. No other field of the Spec but Mesh and Keep plays a part.
	CheckTopology(spec Spec) error
	// CheckLoad says what of a traffic the driver's pods cannot send, or the way to its service cannot take, in a mesh,
	// before anything is started. workers is how many processes are to send it together.
	CheckLoad(mesh string, tr scenarios.Traffic, workers int) error
	// Create brings up the clusters of spec. On an error, and when ctx ends, nothing is left, or the error wraps ErrLeft.
	Create(ctx context.Context, spec Spec) (Fleet, error)
}

// Build is which build of a mesh a driver has.
type Build struct {
	// Flavor is empty for what the mesh's project publishes, and for models. Otherwise it names the build: what it costs
	// is never said of the mesh by its bare name.
	Flavor     string
	Components map[string]string // versions, by name
	Proxies    map[string]string // images of its proxies, by the names of their containers; nil for models
	// Links: the mesh's own extension that joins clusters is there (Linkerd's multicluster). Without it a driver joins them
	// as it can.
	Links bool
	// Joined says how the driver joins several clusters of the mesh; empty where that is no matter of the driver's.
	Joined string
}

// FlavorUpstreamEnvoy is Istio's own control plane and agent with Envoy as the Envoy project publishes it, which lacks
// Istio's extensions: no istio_* metrics, no ALPN of its own.
const FlavorUpstreamEnvoy = "upstream Envoy"

// Installation is what a mesh's control plane in one cluster is made from.
type Installation struct {
	Releases []Release // in the order of installation
	Objects  []Object  // applied when the control plane is ready
}

// Release is a Helm chart with the values that it is installed with. Where charts and images come from is the driver's
// matter, and so are the values that name images.
type Release struct {
	Name      string
	Namespace string
	Chart     string // the chart's own name
	Values    map[string]any
}

// Spec is what a Provider makes a Fleet from.
type Spec struct {
	// ID names the fleet on its host, where it is the only one of that name: 6 to 20 lower-case letters and digits. What
	// a driver makes outside of this process carries it.
	ID       string
	Trial    evidence.Trial
	Clusters []string       // names
	Nodes    map[string]int // of a cluster, by its name; 1 where there is no entry. A driver may have no nodes
	// Separate: pods reach other clusters by the clusters' gateways alone, not by addresses of pods and Services. What
	// is sent to such an address of another cluster is dropped.
	Separate bool
	Latency  time.Duration // one way, between two clusters
	Mesh     string        // the mesh whose control plane the clusters get, by its name in scenarios
	// Install is what that control plane is installed from, by cluster. A driver whose data planes are models needs none.
	Install map[string]Installation
	Seed    int64 // for everything that the driver draws: pod names, balancing, workloads' own latency
	// LeafLifetime is how long workloads' certificates hold, where that is no matter of what is applied or installed; 0: as
	// the mesh has it by itself.
	LeafLifetime time.Duration
	Keep         bool // the fleet may be kept when it ends (Keepable)
	// Faults are the scenario's. A driver that has tools to carry some of them out gets these ready (Injector).
	Faults []scenarios.Fault
	// Tools are what such a tool is installed from in each cluster. Where none of the faults that it is for is possible, it
	// is left out.
	Tools []Release
	// Sink takes what workloads, proxies and pods say. What a workload recorded arrives soon after the request was
	// answered, and before Close returns.
	Sink evidence.Sink
	// Hosts are names outside of the clusters that gateways and proxies must reach, each with its host:port as this
	// process reaches it.
	Hosts map[string]string
	// Log, unless nil, is told which steps are done and how long they took.
	Log *slog.Logger
}

// Validate says what of a Spec no driver can make.
func (s Spec) Validate() error {
	switch {
	case len(s.Clusters) == 0:
		return errors.New("no clusters were asked for")
	case s.Latency < 0:
		return fmt.Errorf("a latency of %s between clusters is not possible", s.Latency)
	case s.Sink == nil:
		return errors.New("clusters without a sink for evidence prove nothing")
	}
	for i, name := range s.Clusters {
		if name == "" || slices.Contains(s.Clusters[:i], name) {
			return fmt.Errorf("clusters[%d] is named %q: each wants a name of its own", i, name)
		}
	}
	for name, n := range s.Nodes {
		if n < 1 || !slices.Contains(s.Clusters, name) {
			return fmt.Errorf("%d nodes of cluster %q are not possible: there are clusters %q, and each wants one at least", n, name, s.Clusters)
		}
	}
	return nil
}

// ErrLeft is wrapped by an error that something of a fleet may still be there.
var ErrLeft = errors.New("something of the clusters may be left")

// Fleet is a set of clusters with networks between them.
type Fleet interface {
	// Cluster returns a cluster of the spec by name, or nil.
	Cluster(name string) Cluster
	// Clusters lists the clusters in the order of the spec.
	Clusters() []Cluster
	// Link is the network between two different clusters.
	Link(a, b string) Link
	// Close removes all clusters, and waits until they are gone. Their pods' producers have ended in evidence by then.
	Close(ctx context.Context) error
}

// Cluster is one Kubernetes cluster.
type Cluster interface {
	Name() string
	// Apply creates objects or replaces those with the same kind, namespace and name.
	Apply(ctx context.Context, objs ...Object) error
	// WaitReady returns when every Deployment has all its replicas ready and every configuration has reached every
	// proxy, or with an error that names what is not ready and why.
	WaitReady(ctx context.Context) error
	// Pods lists the pods that run now, sorted by namespace, service and ordinal of creation.
	Pods(ctx context.Context) ([]Pod, error)
	// KillPod ends one pod at once (SIGKILL, no grace). Its Deployment replaces it. reason is journalled in evidence.
	KillPod(ctx context.Context, uid, reason string) error
	// Outage ends all pods of a service at once (SIGKILL, no grace), and lets none come in their place until restore is
	// called. reason is journalled in evidence.
	Outage(ctx context.Context, namespace, service, reason string) (restore func(context.Context) error, err error)
	// RotateIssuer gives the mesh's control plane another intermediate of the same root; where two meshes are layered, both
	// of their control planes. What evidence says is trusted of the cluster from then on is both, the new one first. It
	// returns when control planes were given it: certificates follow as they are renewed. The error wraps ErrNotPossible
	// where the mesh has no issuer.
	RotateIssuer(ctx context.Context) error
	// Send lets the workload in the pod make a request with its own client, through its mesh.
	Send(ctx context.Context, from Pod, req Request) Response
	// Attack lets the pod send a load: by its own network, through its mesh, to the address that the attack names. Its
	// ticks and phases go to the fleet's sink as they happen. When ctx ends, the load is stopped as loadgen.Run stops
	// one. The error wraps ErrSenderLost where the pod ended before it had said all, or one of the attack's Workers. Progress may be nil. The start of
	// the attack is wall time: pods' clocks are this host's.
	Attack(ctx context.Context, from Pod, a loadgen.Attack, progress func(loadgen.Progress)) error
	// Handshake makes a TLS handshake with the pod's application port from another pod's network, without a client
	// certificate and without resumption, and reads the served chain.
	Handshake(ctx context.Context, to Pod, serverName string) HandshakeResult
	// Scrape reads the metric page of every proxy in the pod. ErrNoProxy where it has none; a page that cannot be read
	// says so itself.
	Scrape(ctx context.Context, pod Pod) ([]Page, error)
	// Ingress is the base URL by which the host reaches the cluster's ingress. The Host header selects the service:
	// its DNS name in the cluster (scenarios.Workload.Host).
	Ingress(ctx context.Context) (string, error)
}

// ErrNoProxy is returned by Scrape for a pod without a mesh's proxy.
var ErrNoProxy = errors.New("pod has no proxy")

// Page is the metric page of one proxy.
type Page struct {
	Container string // of the proxy: "linkerd-proxy", "istio-proxy", or a gateway's own, "gateway"
	Body      string
	Err       error // why it could not be read
}

// Proxy names the page in evidence: a mesh's sidecar has no name there.
func (p Page) Proxy() string {
	if p.Container == "istio-proxy" || p.Container == "linkerd-proxy" {
		return ""
	}
	return p.Container
}

// Pod is one running pod.
type Pod struct {
	evidence.PodRef
	ServiceAccount string
	Containers     []string
	InitContainers []string
	Images         map[string]string // of all containers, by their names; nil where they say nothing
	Ready          bool
}

// Meshed reports whether the pod has any container beside its workload.
func (p Pod) Meshed() bool { return len(p.Containers)+len(p.InitContainers) > 1 }

// Request is what Send sends: to http://<Host>:80<Path>.
type Request struct {
	Host    string
	Method  string
	Path    string
	Header  http.Header   // added as it is; Meshproof's tags among it
	Fresh   bool          // a TCP connection of its own from the workload (the tag in Header asks the proxies for the same)
	Timeout time.Duration // default 5 s
}

// Response is what the client saw.
type Response struct {
	Status int         // 0: none
	Header http.Header //
	Body   string      // first 256 bytes
	Error  string      // where Status is 0: "closed", "refused", "timeout", or "other: …"
	Took   time.Duration
}

// HandshakeResult is what a handshake read.
type HandshakeResult struct {
	Version string // "TLS 1.3"
	Cipher  string
	Chain   [][]byte // DER, leaf first
	Resumed bool
	Error   string // "not TLS", "closed", "refused", "timeout", or "other: …"
}

// Link is the network between two clusters, in both directions.
type Link interface {
	// Delay adds d to the latency of every packet, in each direction, until revert is called. The error wraps
	// ErrNotPossible where that is known to be impossible.
	Delay(ctx context.Context, d time.Duration) (revert func(context.Context) error, err error)
	// Partition lets no packet pass, on new and on open connections, until revert is called.
	Partition(ctx context.Context) (revert func(context.Context) error, err error)
	// Probe opens a measurement across the link, from one cluster's outsider pod to the other's, past every mesh.
	Probe(ctx context.Context) (LinkProbe, error)
}

// LinkProbe measures a link. It is not safe for concurrent use.
type LinkProbe interface {
	// Fresh dials a new connection and has one byte echoed.
	Fresh(ctx context.Context) (time.Duration, error)
	// Established has one byte echoed on a connection that is kept from call to call. Answers to earlier calls that
	// were given up are skipped.
	Established(ctx context.Context) (time.Duration, error)
	Close() error
}
