// Package relay is what modelled sidecars have in common, whatever their mesh:
// a process with three ports that dies at once, connections that are kept and
// reused, requests and responses that are passed on, and a certificate that is
// renewed. What a sidecar decides is not here.
package relay
