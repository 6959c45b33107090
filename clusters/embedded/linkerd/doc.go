// Package linkerd models linkerd2-proxy, and the parts of Linkerd's injector,
// destination and policy controllers that decide what it does, as Linkerd 2.20
// with its chart's default values behaves.
//
// Real are the sockets, TLS handshakes, certificates, HTTP/1.1 and HTTP/2,
// balancing decisions, retries, circuit breakers and counters; and the objects
// are Linkerd's own. Modelled are the proxy's code, and therefore its cost.
// What is not interpreted is refused by Check with the object and the field,
// never skipped.
//
// Where the model chooses:
//
//   - A Host that is no Service gets 502: in a cluster its name would not
//     resolve. Pod IPs are no Hosts here.
//   - All pods share one IP address: target_addr in metrics has it with the
//     port that a pod would have, pods are told apart by their names, and
//     policy about addresses is refused unless it speaks of every address.
//   - Beside a gateway of another mesh the proxy captures every connection that
//     the gateway opens, and goes by its destination: a Service, for whose
//     ClusterIP its name stands, or one pod of its own cluster. A pod that is
//     an endpoint no longer stays known by its address; the real controllers
//     know it until it is deleted. Everywhere else a workload's Host stands for
//     the ClusterIP.
//   - One port takes what real proxies take on two: TLS for an opaque port,
//     which comes to 4143 with a transport header, ends at the same port here.
//   - Where several authorizations apply, the first by name is the one that
//     metrics name; in the real proxy their order is not defined.
//   - A balancer lives as long as its proxy, where the real one forgets a
//     Service after some seconds without requests.
//   - HTTP/1.1 and its orig-proto upgrade to HTTP/2 between proxies; no other
//     upgrades, no trailers.
//   - gRPC is known by its refusals alone (grpc-status 5, 7 and 8 with status
//     200): what is let in goes to the workload as HTTP/1.1 without trailers,
//     and the proxy's other errors have the status codes of HTTP.
//   - Every client's address counts as one of clusterNetworks:
//     cluster-authenticated asks for an identity and refuses no member, and
//     cluster-unauthenticated lets everybody in.
//   - What a proxy sends to its own pod's address goes to the workload past
//     every proxy, as a real pod's loopback does; nothing else does.
//   - The proxy writes no log, in which a real one names each request that
//     audit let in or policy refused; labels tell both.
//   - A Server's port is 8080 or 4191, by number, and speaks unknown, HTTP/1 or
//     opaque; HTTP/2, gRPC and TLS are refused.
//   - Two Servers for one port of a pod are refused, because which one Linkerd
//     takes is not defined; and two limits on the rate of one Server, of which
//     Linkerd accepts the older one alone.
//   - EgressNetwork, GRPCRoute, TLSRoute, TCPRoute, ServerAuthorization,
//     ServiceProfile, ExternalWorkload and the objects of multicluster (Link)
//     are refused.
//   - HTTPRoutes decide who may enter, and are refused where their parent is a
//     Service; retries, timeouts and failure accrual come from a Service's
//     annotations, without those for gRPC and for idle streams.
//   - Of the proxy's metrics those are exported that checks read, and
//     inbound_http_errors_total and outbound_http_errors_total, which count
//     the responses that proxies make themselves, are not.
//
// ARCHITECTURE.md has this list with those of the other models.
package linkerd
