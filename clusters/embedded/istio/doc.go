// Package istio models Istio's sidecar, and the parts of istiod that decide
// what it does, as Istio 1.31 with its default mesh configuration behaves.
//
// Real are the sockets, TLS handshakes, certificates, HTTP/1.1, retries,
// balancing decisions, counters and access log lines; and the objects are
// Istio's own. Modelled are the proxy's code, and therefore its cost.
// What is not interpreted is refused by Check with the object and the field,
// never skipped.
//
// Where the model chooses:
//
//   - outboundTrafficPolicy is REGISTRY_ONLY: a Host that is no Service gets
//     502. Pod IPs are no Hosts here.
//   - Authorization is decided for each request by the newest configuration,
//     also on connections that are older than it.
//   - A change of the mutual TLS mode holds for new connections. Older ones
//     whose filter chain is gone get "connection: close" with their next
//     response, and are closed after drainTime.
//   - HTTP/1.1 only, as between stock sidecars; no upgrades, no trailers
//     (Envoy drops HTTP/1 trailers unless told otherwise).
//   - All pods share one IP address, so policy about addresses is refused.
package istio
