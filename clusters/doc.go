// Package clusters holds the interface that every driver meets: a Provider
// brings up a Fleet of clusters, to which Kubernetes objects are applied and
// from whose pods requests are sent. What is true of every driver is in one
// conformance test, package clusters/conformance.
//
// A driver is thin: it knows nothing of scenarios' expectations, of checks or
// of reports. What its workloads and proxies see it hands to the evidence.Sink
// it was created with, as it happens.
package clusters
