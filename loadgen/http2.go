package loadgen

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"
)

// multiplexer is the engine of HTTP/2 over connections of its own.
//
// It keeps time as sender does, and gives each request that is due to the oldest connection that has room for one more: as
// many as the server allows to be under way on it at once. Requests that are due together go out in one write. Each
// connection has a goroutine that reads; before it waits for more, it sends what is due by then. Where none has room, a
// connection is opened, and requests wait for it together, which counts in their latency; until the server has said how
// many it allows, it is taken to be maxUntold.
//
// A request counts as sent when it was given to a connection, also to one that was being opened, as in HTTP/1.1. Where it
// then has to wait on an open one, because the server allows fewer at once than it was given, it counts as sent only when it
// is: HTTP/1.1 would have opened another connection meanwhile, or been late, so that the wait is this generator's, and shows
// as lag. Its time-out counts from when it was given.
type multiplexer struct {
	job
	timeout time.Duration
	dialer  dialer
	*agenda
	underWay int            // requests that have been begun and not ended
	open     []*conn2       // those that take requests, the oldest first
	all      map[*conn2]int // with those that don't any more
	opened   int            // connections so far
	running  sync.WaitGroup
}

// maxUntold is how many requests are given to a connection whose server has not said what it allows: what it ought to at
// least (RFC 9113, 6.5.2). They are not sent before it does.
const maxUntold = 100

// newMultiplexer makes the engine. The alarm wakes it for requests.
func newMultiplexer(newAlarm func() alarm) engine {
	return func(j job) error {
		s := &multiplexer{
			job: j, timeout: j.attack.Traffic.Timeout.D(), dialer: newDialer(j.attack, j.mix.base, j.gauge),
			agenda: newAgenda(j, newAlarm()), all: map[*conn2]int{},
		}
		defer s.alarm.close()
		defer context.AfterFunc(j.stop, s.halt)()
		defer context.AfterFunc(j.abort, func() { s.close(func(*conn2) bool { return true }) })()
		s.advance()
		s.keepTime()
		s.close(func(c *conn2) bool { return c.used == 0 })
		s.running.Wait()
		return nil
	}
}

// keepTime sends each request when it is due, or has it sent, until all are, or the load is stopped.
func (s *multiplexer) keepTime() {
	var given []*conn2 // connections that requests were given to
	for {
		s.mu.Lock()
		now := s.now()
		for s.may(now) {
			c := s.roomy()
			if s.give(c, now) && !slices.Contains(given, c) {
				given = append(given, c)
			}
			now = s.now()
		}
		ended, full, wait := s.ended(), s.underWay >= s.attack.Traffic.MaxInFlight, s.at-now
		s.waits = full && !ended
		s.mu.Unlock()
		for _, c := range given {
			c.flush()
		}
		given = given[:0]
		switch {
		case ended:
			return
		case full:
			<-s.freed
		default:
			s.alarm.wait(wait)
		}
	}
}

// may reports whether a request is due, and may be sent. The caller holds mu.
func (s *multiplexer) may(now time.Duration) bool {
	return !s.ended() && s.at <= now && s.underWay < s.attack.Traffic.MaxInFlight
}

// roomy is the connection that takes the next request. The caller holds mu.
func (s *multiplexer) roomy() *conn2 {
	for _, c := range s.open {
		if c.used < c.limit {
			return c
		}
	}
	c := newConn2(s, s.opened%runtime.GOMAXPROCS(0))
	if c.limit = maxUntold; s.mix.each {
		c.limit = 1
	}
	s.opened++
	s.open = append(s.open, c)
	s.all[c] = 0
	s.running.Go(c.live)
	return c
}

// give gives the next request to a connection. It is false where that takes no more, or has just ended. The caller holds mu.
func (s *multiplexer) give(c *conn2, now time.Duration) bool {
	if !c.begin(s.next, s.at, now) {
		s.shut(c)
		return false
	}
	s.advance()
	s.underWay++
	c.used++
	if s.mix.each {
		s.shut(c)
	}
	return true
}

// shut gives a connection no more requests. The caller holds mu.
func (s *multiplexer) shut(c *conn2) {
	if i := slices.Index(s.open, c); i >= 0 {
		s.open = slices.Delete(s.open, i, i+1)
	}
}

// turn takes over what a connection has learnt, and lets it send what is due. limit is how many requests it may have under
// way, 0 where it takes no more. It reports whether the connection is still of use.
func (s *multiplexer) turn(c *conn2, ended, limit int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.used -= ended
	s.underWay -= ended
	if limit == 0 {
		s.shut(c)
	}
	if c.limit = limit; s.mix.each {
		c.limit = min(limit, 1)
	}
	takes := slices.Contains(s.open, c)
	for now := s.now(); takes && c.used < c.limit && s.may(now); now = s.now() {
		takes = s.give(c, now)
	}
	if s.underWay < s.attack.Traffic.MaxInFlight {
		s.resume()
	}
	return c.used > 0 || takes && !s.ended()
}

// gone forgets a connection that has ended, with requests that ended with it.
func (s *multiplexer) gone(c *conn2, ended int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut(c)
	delete(s.all, c)
	s.underWay -= ended
	s.resume()
}

// close closes connections.
func (s *multiplexer) close(which func(*conn2) bool) {
	s.mu.Lock()
	var some []*conn2
	for c := range s.all {
		if which(c) {
			some = append(some, c)
		}
	}
	s.mu.Unlock()
	for _, c := range some {
		c.close()
	}
}
