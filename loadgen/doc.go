// Package loadgen sends the load of a scenario and records how it was answered.
//
// The load is open: a Schedule says when each request is meant to be sent,
// whatever became of the ones before it. One vegeta attack with one pacer
// carries the whole Schedule of a traffic. Two latencies are kept for each
// request: from the intended send time, which shows what a user would have
// waited, and from the actual one, which is vegeta's own and hides what queued
// up in the generator (coordinated omission).
//
// A load that a workload sends is the same Attack, run by whoever opens
// connections in that workload's name: it crosses the wire as JSON, with its
// start as wall time, and its ticks and phases come back as they are.
//
// # Which request is which
//
// The n-th request is vegeta's hit with sequence number n. Vegeta calls a
// Targeter concurrently and without that number, so the request is made one
// layer further in: vegeta writes the number into a header, and the transport
// of this package replaces the whole request by the n-th one of the mix and
// takes the header out. Request n therefore has the same method, path and ID
// for the same seed, in every run. Requests may overtake each other on the
// wire; only their intended times are ordered.
//
// # What is never done
//
// No redirect is followed, no environment proxy is used, and nothing is
// retried: net/http would by itself repeat a GET whose kept connection was
// closed before the first byte of the answer, and so hide an error. One
// intended request is at most one request on the wire.
package loadgen
