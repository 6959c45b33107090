// Package istio models Istio's sidecar and gateway, and the parts of istiod
// that decide what they do, as Istio 1.31 behaves with the mesh configuration
// that Meshproof installs it with: Istio's defaults, and ECDSA keys.
//
// Real are the sockets, TLS handshakes, certificates, HTTP/1.1, retries,
// balancing decisions, counters and access log lines; and the objects are
// Istio's own. Modelled are the proxy's code, and therefore its cost.
// What is not interpreted is refused by Check with the object and the field,
// never skipped.
//
// Where the model chooses:
//
//   - outboundTrafficPolicy is REGISTRY_ONLY: a Host that is neither a
//     Service nor in a ServiceEntry gets 502. Pod IPs are no Hosts here.
//   - Authorization is decided for each request by the newest configuration,
//     also on connections that are older than it.
//   - A change of the mutual TLS mode holds for new connections. Older ones
//     whose filter chain is gone get "connection: close" with their next
//     response, and are closed after drainTime.
//   - HTTP/1.1 only, as between stock sidecars; no upgrades, no trailers
//     (Envoy drops HTTP/1 trailers unless told otherwise).
//   - A gateway (StartGateway) is the same proxy with a plaintext listener that
//     no PeerAuthentication is about. VirtualServices for "mesh" hold for it;
//     Gateway objects are not modelled. Its metrics have the sidecar's names.
//   - A ServiceEntry has resolution DNS and the names of Services as endpoints;
//     connections to it go to their ClusterIPs.
//   - A proxy with an RSA leaf ends the handshake with a server of Linkerd's,
//     which it knows by the name in its certificate: crypto/tls cannot announce,
//     as linkerd2-proxy does, that ECDSA alone is taken.
//   - All pods share one IP address, so policy about addresses is refused.
//   - Every port speaks HTTP/1.1, and a Service whose port does not say http is
//     refused: what an AuthorizationPolicy with HTTP-only fields does on a TCP
//     port is not modelled.
//   - There is no external authorizer: an AuthorizationPolicy with action
//     CUSTOM is refused. One with action AUDIT decides nothing, and nothing is
//     logged for it.
//   - Of Istio's and Envoy's metrics those are exported that checks read:
//     requests, their durations, retries, handshakes, refused connections,
//     authorization decisions, certificates.
//   - Access log lines are written at once, where Envoy flushes them each
//     second, and a sidecar that is killed loses none.
//   - Nothing enters past the capture, as what comes from the pod's own
//     loopback does; one page has the metrics of ports 15020 and 15090.
//   - Two DestinationRules for one host in a namespace are refused, because how
//     istiod merges them is not modelled.
//
// ARCHITECTURE.md has this list with those of the other models.
package istio
