// Package proxy is what the embedded clusters and a modelled data plane need
// of each other: the clusters start one Proxy in each meshed pod and hand it
// Snapshots of the configuration; the proxy terminates the pod's inbound and
// outbound connections and reaches other pods through the World.
package proxy

import (
	"context"
	"net"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/trust"
	"github.com/meshproof/meshproof/scenarios"
)

// Pod is the pod that a proxy stands in.
type Pod struct {
	evidence.PodRef
	ServiceAccount string
	Workload       string // name of the Deployment
	Labels         map[string]string
	Annotations    map[string]string
	AppAddr        string // host:port of the workload's own listener, inside the pod
	Seed           int64  // for what the proxy draws
	Mesh           string // whose sidecar the injector put into it, as in Endpoint
	// Gateway is the container of the pod's own template that is Istio's gateway, an Envoy; nil elsewhere.
	Gateway *corev1.Container
}

// Endpoint is one ready pod behind a Service.
type Endpoint struct {
	evidence.PodRef
	ServiceAccount string
	Workload       string
	Labels         map[string]string
	Mesh           string // whose proxy it has: "istio" (label security.istio.io/tlsMode), "linkerd"; "" without one
	Addr           string // host:port where the network delivers connections to the pod's application port
}

// Service is one Service as seen from one cluster, with its endpoints in every cluster.
type Service struct {
	Namespace string
	Name      string
	Host      string // <name>.<namespace>.svc.cluster.local
	Port      int
	Endpoints []Endpoint
}

// Snapshot is the configuration of one cluster at one moment. It is never changed after it was handed out.
type Snapshot struct {
	Version  uint64
	Cluster  string
	Objects  []clusters.Object  // everything applied to this cluster
	Services map[string]Service // by Host
	Hosts    map[string]string  // names outside of the clusters, and their host:port
}

// World is what a proxy can reach.
type World interface {
	// Dial opens a TCP connection to addr in cluster to, through whatever the network between the clusters does. addr is
	// an Endpoint's, or <Service's Host>:<Port>, which stands for the Service's ClusterIP: kube-proxy draws a ready endpoint.
	Dial(ctx context.Context, from, to, addr string) (net.Conn, error)
	// Sink takes access log lines.
	Sink() evidence.Sink
	// Trial is stamped on every record.
	Trial() evidence.Trial
	// Issuer is the certificate authority of a mesh in a cluster, as it is now.
	Issuer(mesh scenarios.MeshName, cluster string) *trust.Issuer
	// LeafLifetime is how long Linkerd's identity service lets certificates hold; 0 where nothing says so. Istio's agents
	// ask for theirs themselves.
	LeafLifetime() time.Duration
}

// Proxy is what is modelled of the proxies of one pod: its sidecar, its gateway, or both.
type Proxy interface {
	// Inbound is the address where connections to the pod's application port arrive.
	Inbound() string
	// Outbound is the address of the listener that captures the workload's own HTTP requests. The Host header says
	// where they are meant to go.
	Outbound() string
	// Pages are where /metrics is served, one page for each container of a proxy.
	Pages() []Page
	// Update takes a new configuration; it holds when Update returns.
	Update(*Snapshot)
	// Kill closes every socket at once, as SIGKILL does, and waits for the proxy's goroutines.
	Kill()
}

// Edge is implemented by a Proxy that also stands between the outside and an ingress workload. Without it the ingress
// is entered past its proxy.
type Edge interface {
	// Edge is the address where connections from outside of the clusters arrive.
	Edge() string
}

// Page is the metric page of one proxy.
type Page struct {
	Container string // of the pod
	Addr      string // host:port that serves /metrics
}

// Factory is the model of a mesh's data plane.
type Factory struct {
	// Inject is the mesh's injector: what it does to a new pod in a namespace.
	Inject func(namespace, pod Meta, spec corev1.PodSpec) Injection
	// Gateway reports whether a container of a pod's own template is a gateway that the model runs. nil: none is.
	Gateway func(corev1.Container) bool
	// Check says which of the objects, or which of their fields, the model does not interpret.
	Check func([]clusters.Object) error
	// Start runs the proxies of a pod that has a sidecar or a gateway, with a first configuration.
	Start func(pod Pod, world World, first *Snapshot) (Proxy, error)
}

// Injection is what an injector does to a pod. The zero one leaves it alone.
type Injection struct {
	Mesh           string            // whose sidecar the pod gets, as in Endpoint; "" where it gets none
	InitContainers []string          // that are added
	Annotations    map[string]string // that are added
	Skipped        string            // why a pod that asks for a sidecar gets none
}

// Meta is the part of an object's metadata that selects it.
type Meta struct {
	Labels      map[string]string
	Annotations map[string]string
}
