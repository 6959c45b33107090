// Package proxy is what the embedded clusters and a modelled data plane need
// of each other: the clusters start one Proxy in each meshed pod and hand it
// Snapshots of the configuration; the proxy terminates the pod's inbound and
// outbound connections and reaches other pods through the World.
package proxy

import (
	"context"
	"net"

	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/trust"
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
	// Gateway is the container of the pod's own template that is Istio's gateway; nil where there is none, and for the
	// other proxy of a pod that has both.
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
	// Issuer is the certificate authority of a cluster.
	Issuer(cluster string) *trust.Issuer
}

// Proxy is the modelled sidecar of one pod.
type Proxy interface {
	// Inbound is the address where connections to the pod's application port arrive.
	Inbound() string
	// Outbound is the address of the listener that captures the workload's own HTTP requests. The Host header says
	// where they are meant to go.
	Outbound() string
	// Metrics is the address that serves /metrics.
	Metrics() string
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

// Factory starts the proxy of a pod with a first configuration. Containers names what it adds to the pod.
type Factory struct {
	Mesh           string // the mesh's name, as in Endpoint
	Containers     []string
	InitContainers []string
	// Selects reports whether the mesh's injector puts a proxy into a pod with these labels and annotations, in a
	// namespace with those.
	Selects func(namespace, pod Meta) bool
	// Skips says why the injector leaves a pod alone that it selects; "" where it does not. nil: never.
	Skips func(corev1.PodSpec) string
	// Annotates returns the annotations that the injector adds to the pod. nil: none.
	Annotates func(namespace, pod Meta) map[string]string
	// Check says which of the objects, or which of their fields, the model does not interpret.
	Check func([]clusters.Object) error
	Start func(pod Pod, world World, first *Snapshot) (Proxy, error)
}

// Meta is the part of an object's metadata that selects it.
type Meta struct {
	Labels      map[string]string
	Annotations map[string]string
}
