// Package workload is the service under test: an HTTP server that records what
// it receives, waits, fails and calls others as its Config tells it, and the
// client that it calls with. The same code is the ingress and the outsider of
// a scenario. A driver decides where it runs; Deployment and its siblings say
// it to a cluster in Kubernetes' words.
package workload
