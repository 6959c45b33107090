// Package loadgen sends the load of a scenario and records how it was answered.
//
// The load is open: a Schedule says when each request is meant to be sent,
// whatever became of the ones before it. Two latencies are kept for each
// request: from the intended send time, which shows what a user would have
// waited, and from the actual one, which hides what queued up in the generator
// (coordinated omission).
//
// # Engines
//
// HTTP is sent by this package's own engines: a goroutine that keeps time and
// writes requests itself, and one goroutine that reads for each connection. In
// HTTP/1.1 (sender.go) a request goes to the connection that became free last;
// in HTTP/2 (http2.go) to the oldest connection that has room for one more, and
// what is due together goes out in one write. Frames are read and written by
// golang.org/x/net's Framer, header blocks are written by this package
// (http2_block.go). A vegeta attack on net/http's client sends both too, where
// an engine is asked for that shares nothing with the first but the schedule,
// the mix and the record. docs/benchmarks.md has what each costs.
//
// A load that a workload sends is the same Attack, run by whoever opens
// connections in that workload's name: it crosses the wire as JSON, with its
// start as wall time, and its ticks and phases come back as they are.
//
// gRPC calls are sent by that attack (grpc.go), and lines over TCP by the engine
// of HTTP/1.1 (tcp.go). Scenarios send HTTP/1.1, and HTTP/2 where a driver's way
// in takes it (clusters.Provider.CheckLoad); the other protocols are for a load
// at an address of the user's own.
//
// A closed loop (loop.go) has users in place of a schedule. Its latencies count
// from when a user was done thinking, which moves with the answers: they are
// those of the service, and say nothing of who would have asked meanwhile.
//
// # Which request is which
//
// Requests are numbered in the order of their intended times, and request n has
// the same method, path and ID for the same seed, in every run. Requests may
// overtake each other on the wire. vegeta calls a Targeter concurrently and
// without the number of a hit, so for that engine the request is made one layer
// further in: vegeta writes the number into a header, and the transport of this
// package replaces the whole request by the n-th one of the mix and takes the
// header out.
//
// # What is recorded
//
// A Tick for each slice of time, with the latencies of the requests that were
// meant for it, and a Phase for each phase, with latencies by outcome, with
// the lag of all requests, and with what the process saw of itself meanwhile:
// CPU, garbage collections, connections. Histograms are HDR histograms, so
// memory does not grow with the number of requests, and what several workers
// recorded, each of its Share of an attack, adds up exactly to what one would
// have. Whether the figures can be believed is verify's to say.
//
// A request counts as sent from when it has a connection, or one is opened for
// it: how long that takes is the service's latency. What it waits before, for
// one of those under way to end, or in HTTP/2 for a place on an open connection
// whose server takes no more at once, is the generator's, and shows as lag. It
// counts as answered from when the kernel received the last of the answer, on
// Linux, over TCP (arrival.go): how long that lay there until somebody of this
// process came to read it is the generator's delay too. Elsewhere, and in
// vegeta's attack, it counts until it was read.
//
// # What is never done
//
// No redirect is followed, no environment proxy is used, and nothing is
// retried: net/http would by itself repeat a GET whose kept connection was
// closed before the first byte of the answer, and so hide an error; it is kept
// from that. Nor is a request of HTTP/2 sent again that the server refused, or
// says with GOAWAY that it has not begun, though it might be: it counts as
// "reset", or as "goaway". One intended request is at most one request on the
// wire.
package loadgen
