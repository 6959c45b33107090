// Package embedded is the driver whose clusters live in the process.
//
// Kubernetes objects are applied to it and interpreted: a Deployment makes
// pods, a Service finds the ready ones, a pod that is killed is replaced. Each
// pod is a real HTTP server on 127.0.0.1 (package workload); each meshed pod
// has a modelled sidecar from a proxy.Factory, with sockets and TLS of its own.
// What an object says and the model does not interpret is refused, never
// approximated (check.go).
//
// The files to start with:
//
//	provider.go  Provider: what it is made of, Check, Create
//	fleet.go     a Fleet: clusters, trust, what all of them know of each other
//	cluster.go   one cluster: what clusters.Cluster asks for, and its objects
//	check.go     what objects must look like
//	snapshot.go  what proxies know: made anew at every change
//	deploy.go    what the controllers do: Deployments, ReplicaSets, endpoints
//	pod.go       one pod: its workload, its proxy, its sockets
//	network.go   latency, delay and partition between clusters
//	wire.go      a connection that crosses from one cluster to another
//	probe.go     the echo that measures a link
//
// Two things keep the path of a request free of locks: proxies and the model
// of kube-proxy read immutable snapshots by an atomic pointer, and every pod
// has connection pools of its own.
package embedded
