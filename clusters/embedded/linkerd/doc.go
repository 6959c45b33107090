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
//     ClusterIP its name stands, or one pod. A pod that is an endpoint no
//     longer stays known by its address; the real controllers know it until it
//     is deleted. Everywhere else a workload's Host stands for the ClusterIP.
//   - One port takes what real proxies take on two: TLS for an opaque port,
//     which comes to 4143 with a transport header, ends at the same port here.
//   - Where several authorizations apply, the first by name is the one that
//     metrics name; in the real proxy their order is not defined.
//   - A balancer lives as long as its proxy, where the real one forgets a
//     Service after some seconds without requests.
//   - HTTP/1.1 and its orig-proto upgrade to HTTP/2 between proxies; no gRPC,
//     no other upgrades, no trailers.
package linkerd
