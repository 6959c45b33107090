package loadgen

import (
	"context"
	"fmt"
	"time"
)

// Protocol is what a load is sent in.
type Protocol string

// Protocols.
const (
	HTTP1 Protocol = "http1" // HTTP/1.1, a request at a time on each connection
	HTTP2 Protocol = "http2" // HTTP/2, many at a time; without TLS by prior knowledge (h2c)
	GRPC  Protocol = "grpc"  // gRPC calls, unary and streams, over HTTP/2 in the same way
	TCP   Protocol = "tcp"   // lines over TCP, a line at a time on each connection; see tcp.go
)

// multiplexed reports whether many requests go over a connection at a time.
func (p Protocol) multiplexed() bool { return p == HTTP2 || p == GRPC }

// Engine is what sends a load.
type Engine string

// Engines.
const (
	// Own is this package's engine: connections of its own, paced by the kernel's timer. It sends HTTP/1.1, HTTP/2 and TCP.
	Own Engine = "own"
	// Vegeta is vegeta's attack on net/http's client. It sends gRPC, and HTTP for who wants a second opinion.
	Vegeta Engine = "vegeta"
)

// engineFor is the engine that sends an attack, paced by alarms of some kind.
func engineFor(a Attack, s *Schedule, newAlarm func() alarm) (engine, error) {
	switch a.Protocol {
	case "", HTTP1, HTTP2, GRPC, TCP:
	default:
		return nil, fmt.Errorf("unknown protocol %q; want %s, %s, %s or %s", a.Protocol, HTTP1, HTTP2, GRPC, TCP)
	}
	switch {
	case a.Engine != "" && a.Engine != Own && a.Engine != Vegeta:
		return nil, fmt.Errorf("unknown engine %q; want %s or %s", a.Engine, Own, Vegeta)
	case s.Closed() && (a.Engine == Vegeta || a.Protocol.multiplexed()):
		return nil, fmt.Errorf("its profile is a closed loop, which is sent in %s and %s by engine %s alone", HTTP1, TCP, Own)
	case a.Engine == Own && a.Protocol == GRPC, a.Engine == Vegeta && a.Protocol == TCP:
		return nil, fmt.Errorf("engine %s does not send %s; leave the engine out", a.Engine, a.Protocol)
	case a.Engine == Vegeta, a.Protocol == GRPC:
		return vegetaEngine, nil
	case a.Protocol == HTTP2:
		return newMultiplexer(newAlarm), nil
	}
	return newSender(newAlarm), nil
}

// result is what became of one request. Its times are after the start of the load.
type result struct {
	n        int64         // number of the request
	intended time.Duration // when it was meant to be sent
	sent     time.Duration // when it was sent: before a connection was opened for it, if that had to be; of one that never was, when it ended
	done     time.Duration // when its answer had been read to the end, or it had failed
	code     int           // status of the answer; 0 where there was none
	class    string        // why there was none: closed, refused, timeout, other; or unsent, aborted, which are no outcomes
	bytes    int64         // of the answer's body
}

// recorder takes what became of each request, from many goroutines at once.
type recorder interface {
	// record counts a result. Whoever calls it from one goroutine gives the same shard, a small number from 0, each time.
	record(shard int, r result)
}

// job is what an engine has to send, and how.
type job struct {
	attack   Attack
	schedule *Schedule
	mix      *mix
	gauge    *gauge
	turns    turns // of a closed loop
	recorder recorder
	now      func() time.Duration // after the start of the load
	stop     context.Context      // done: nothing more is sent
	abort    context.Context      // done: what is under way is given up
}

// classOf says why there was no answer.
func (j job) classOf(err error) string {
	if j.abort.Err() != nil {
		return classAborted
	}
	return classOf(err)
}

// engine sends the requests of a job, each at its time, and returns when all are recorded. It retries nothing. Its requests are
// those of the attack's Share alone: the i-th that it sends is Share.nth(i).
type engine func(job) error
