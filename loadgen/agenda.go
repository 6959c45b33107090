package loadgen

import (
	"sync"
	"sync/atomic"
	"time"
)

// agenda is what an engine of this package sends next, and what its keeper of time waits for.
type agenda struct {
	alarm   alarm
	stopped atomic.Bool   // nothing more is sent
	freed   chan struct{} // more may be sent, and the keeper of time waits for that

	part part

	mu      sync.Mutex
	cursor  func() (n int64, at time.Duration, ok bool)
	next    int64         // number of the request that is sent next
	session int           // of that request; 0 where there are none
	at      time.Duration // when it is meant to be sent
	over    bool          // all is sent
	waits   bool          // the keeper of time waits for freed
}

// newAgenda is a job's part of its schedule, before its first request: advance goes to that.
func newAgenda(j job, a alarm) *agenda {
	return &agenda{alarm: a, freed: make(chan struct{}, 1), part: j.mix.part, cursor: j.mix.part.walk(j.schedule)}
}

// ended reports whether nothing more is to be sent. The caller holds mu.
func (a *agenda) ended() bool { return a.over || a.stopped.Load() }

// advance goes on to the request after the next one. The caller holds mu, or is alone.
func (a *agenda) advance() {
	n, at, ok := a.cursor()
	a.next, a.at, a.over = n, at, !ok
	if d := a.part.deal; ok && d != nil {
		a.session = d.Of(n)
	}
}

// resume lets the keeper of time go on, where it waits. The caller holds mu.
func (a *agenda) resume() {
	if a.waits {
		a.waits = false
		a.signal()
	}
}

func (a *agenda) signal() {
	select {
	case a.freed <- struct{}{}:
	default:
	}
}

// halt ends the sending.
func (a *agenda) halt() {
	a.stopped.Store(true)
	a.alarm.wake()
	a.signal()
}
