// Package layered models Istio's gateway at the edge with Linkerd behind it.
// It adds nothing to the two models but who runs where: services have
// Linkerd's proxies; the pod of the ingress has Istio's gateway, an Envoy, as a
// container of its own template, beside Linkerd's proxy where Linkerd's
// injector puts one, and alone where it does not.
//
// Where the model chooses:
//
//   - The gateway stands before the ingress workload and behind it: what comes
//     from outside enters at the gateway, and what the ingress workload sends
//     leaves by it, as with a sidecar. That way the same ingress with the same
//     token check stands before every mesh. VirtualServices hold for it without
//     a Gateway object.
//   - With Linkerd's proxy in the pod, every connection that the gateway opens
//     is captured by that proxy, which goes by the address that was dialled: a
//     Service's, or a pod's own.
//   - Istio's sidecars are not here: a namespace or pod that asks for one is
//     refused.
package layered
