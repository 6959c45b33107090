// Package agent is what runs inside real clusters: the workload of package
// workload, with what its driver needs beside it.
//
// The files to start with:
//
//	protocol.go  what driver and agent say to each other
//	records.go   records of requests: numbered lines on stdout, which the driver follows by the kubelet's log
//	control.go   the control port: the driver's commands, each with the run's token
//	attack.go    load that the pod sends, with its records as they happen
//	follow.go    the driver's end of that
//	self.go      what the pod says of itself, for faults in it: its clock, names, how fast it sends
//	server.go    the process: workload, control port, echo, and how it ends
//	queue.go     the kernel's queue of packets (nfnetlink_queue), spoken directly
//	delay.go     latency between clusters: packets of that queue, held for a while
//
// Commands reach the agent through the API server's proxy; what they ask for
// goes out by the pod's own network, through whatever proxy stands there. So a
// negative probe never comes from the API server, a node or a port-forward.
package agent
