package loadgen

import (
	"context"
	"time"
)

// result is what became of one request. Its times are after the start of the load.
type result struct {
	n        int64         // number of the request
	intended time.Duration // when it was meant to be sent
	sent     time.Duration // when it was sent: before a connection was opened for it, if that had to be
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
	recorder recorder
	now      func() time.Duration // after the start of the load
	stop     context.Context      // done: nothing more is sent
	abort    context.Context      // done: what is under way is given up
}

// engine sends the requests of a job, each at its time, and returns when all are recorded. It retries nothing. Its requests are
// those of the attack's Share alone: the i-th that it sends is Share.nth(i).
type engine func(job) error
