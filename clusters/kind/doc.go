// Package kind is the driver whose clusters are real: Kubernetes in Docker
// containers, made by the library of sigs.k8s.io/kind.
//
// The files to start with:
//
//	provider.go  Provider: what it is made of, Check, Create
//	preflight.go what must be true of the host, before anything is started
//	docker.go    the docker command
//	cidr.go      address ranges that nobody else uses
//	create.go    one cluster: its configuration, bringing it up, undoing that
//	clean.go     removing a fleet by its ID alone
//	fleet.go     a Fleet: its clusters, and their end
//	cluster.go   one cluster: clients, commands to its agents
//	apply.go     server-side apply
//	pods.go      the pods that stand, their events in evidence
//	logs.go      containers' logs, from their first line on
//	records.go   workloads' records, by their containers' logs
//	access.go    proxies' access logs
//	scrape.go    proxies' metric pages
//	usage.go     what containers use, as kubelets say
//	ready.go     what is not ready
//	webhook.go   changes that are made again where a webhook did not answer
//	hopeless.go  what no waiting mends
//	why.go       why a pod is not ready, and what to do
//	kept.go      fleets that were kept: their file, who uses them
//	keep.go      keeping a fleet: noting what it is, and getting it back there
//	reuse.go     a fleet of kept clusters
//	drift.go     what differs between then and now
//	inventory.go the objects of a cluster that stay
//	nodestate.go what of a node stays
//	nodekernel.go of its packet filter and settings, what iptables does not show
//	klog.go      what Kubernetes' libraries say of themselves
//	explain.go   what a host lacks, and what to do
//	node.go      one node of a cluster, and its network
//	services.go  Services across clusters
//	gateway.go   the way into a cluster where networks are separate
//	network.go   the network between clusters, partition
//	rules.go     routes and packet filters of nodes, as text
//	latency.go   latency and delay between clusters
//	image.go     the agent's image
//	hosts.go     names outside of the clusters
//	mesh.go      what the driver must know of a mesh; installing it from a bundle
//	rotate.go    another issuer for a control plane
//	versions.go  which of a bundle's versions a mesh is installed in
//	furnish.go   the mesh of clusters that are kept: installed over itself, or removed
//	helm.go      one chart
//	chaos.go     Chaos Mesh: what of it is possible here; installing and removing it
//	chaos_objects.go its objects, made from faults
//	chaos_read.go what faults in pods change, read past every mesh
//	experiment.go one of its objects, from its making until it is gone
//	ambient.go   Istio's ambient mode, found on a cluster
//	istio.go     Istio: trust, clusters that read each other, pods' annotations
//	istio_eastwest.go Istio between separate networks: the gateway that leads mutual TLS through
//	istio_settled.go what istiod still does when it is ready
//	istio_sync.go whether Istio's proxies have their newest configuration
//	linkerd.go   Linkerd: trust, identities of other clusters' pods, pods' annotations
//	linkerd_links.go clusters joined by Linkerd's own multicluster extension
//	reader.go    with what one cluster reads another
//	linkerd_rotate.go another issuer for its identity service
//	linkerd_sync.go whether Linkerd's proxies have their newest policy and endpoints
//	layered.go   both meshes: Istio's gateway, Linkerd behind it
//	layered_gateway.go that gateway in its pod
//
// # How a request is witnessed
//
// Workloads run in cmd/meshproof-agent. Each writes a numbered line for every
// request before it answers; the driver follows them through the API server
// from the first one on. A number that is missing is recorded in evidence as
// lost. Before clusters are removed, every agent says its last number, and the
// driver waits until it has that line. A command (send this request, make this
// handshake) goes to the agent through the API server's proxy; what it asks for
// goes out by the pod's own network.
//
// # One Service in several clusters
//
// As on the embedded driver, a Service reaches the ready pods of its namespace
// and name in every cluster that has it. Without a mesh the driver does what a
// multi-cluster controller would (KEP-1645): it keeps EndpointSlices of the
// other clusters' pods beside the Service's own, under a managed-by label of
// its own, and kube-proxy balances over all of them. A cluster is ready when
// kube-proxy's rules hold just these addresses, on every node.
//
// Istio's control planes read the other clusters themselves (multi-primary) and pass over these slices, which are marked as imported:
// through them an endpoint would have no identity. They stay for whoever has no
// sidecar: in plaintext, too, every pod of every cluster must be asked.
//
// Linkerd's clusters are joined by its own multicluster extension where the bundle has it: each has a service mirror and
// a Link for every other one, and reads it with an account of its own there. Every service is a member of a federated
// Service, by which Linkerd's destination controllers know its pods in all clusters, with their identities; a route leads
// there what is sent to the service's own name. Linkerd passes over the slices then: their endpoints refer to what it does
// not know.
//
// Without the extension Linkerd's control plane reads its own cluster alone. It takes these slices for
// endpoints, too, and knows the identity of what is in them by an annotation, the
// one by which Linkerd's multicluster extension says whose gateway it mirrors:
// all pods of a Service have one service account, and so one identity.
//
// # Istio's gateway before Linkerd
//
// In layers, Istio's proxy stands in the ingress's own pod, written by hand: no
// injector of Istio's has a part in it, and Linkerd's takes it for a workload. To
// istiod it is a sidecar that captures nothing. A Sidecar object has it listen
// for the outside and lead what comes in to the workload; what the workload sends
// goes to Envoy's HTTP proxy port on the pod's loopback, which nothing captures.
// So settings hold for it as they do on the embedded driver: those about what it
// receives, and those about what it sends, without a Gateway object. From there
// on the pod's own Linkerd proxy, where there is one, captures it.
//
// # A mesh's evidence
//
// What proxies say is read as any monitoring would: metric pages through the API
// server, from ports that proxies do not capture, and access logs by the
// kubelet, from the first line on. Envoy counts the lines that it writes. Before
// clusters are removed, the driver waits for that many from every proxy; what is
// missing is recorded in evidence as lost. A proxy that was killed with its pod
// loses what it had not flushed.
//
// # Nodes
//
// The first node of a cluster runs the control plane and workloads, the others
// workloads alone. The controllers give each node a range of the cluster's
// pod addresses; where the image of nodes has no CNI, the driver configures one
// with that range, and routes between the nodes. Between clusters there is a
// route for the range of each node, by that node: by way of any one node,
// which would forward, answers would come back by another, and kube-proxy drops
// what connection tracking saw only one half of.
//
// # Separate networks
//
// There are no routes between clusters then, and each node drops what comes
// from, or goes to, an address of a pod or a Service of another cluster. What
// can be reached of another cluster are ports of its nodes. Each Service that
// several clusters know has one, by a NodePort Service of its own that selects
// pods of its own cluster alone, so nothing that came by it goes on to another
// cluster; the other clusters' EndpointSlices name the nodes and that port. So
// kube-proxy takes each node of another cluster for one endpoint, whatever
// stands behind it, and where no pod does there is none. Who asked is seen as
// one of the nodes: their address translation hides pods.
//
// # Latency, delay, partition
//
// Packets to another cluster leave every node through the kernel's packet queue,
// and meshproof-agent, on the node, holds each for the latency in force. That
// needs nfnetlink_queue and no netem, which many kernels lack; where the agent
// ends, packets pass at once. Within a cluster, between its nodes too, nothing
// is held back. A partition drops what comes from the other cluster's
// addresses, on every node, before connection tracking sees it.
//
// # Names outside of the clusters
//
// The issuer of users' tokens lives in the process of the run, as on the
// embedded driver: its keys are nowhere else. Pods reach it by the gateway
// address of the fleet's Docker network, where the driver forwards connections
// to it.
//
// # What it leaves
//
// Nothing, unless clusters are to be kept: a fleet's containers, its Docker network and its folder of
// kubeconfigs carry its ID, which the runner journals before Create. Clean
// removes them by the ID alone, at whatever moment a run was killed.
//
// # Clusters that are kept
//
// What clusters are is noted when they are new: every object but those that a
// cluster makes and changes by itself, and of each node its image, agent,
// packet filter, routes, images and CNI. Keep removes what was applied since,
// waits until that is what the clusters are again, and writes kept.json, which
// whoever reuses the fleet compares with, and removes before it changes
// anything. Who uses a fleet holds its lock; so a run that was killed leaves
// no fleet that could be taken for a kept one.
package kind
