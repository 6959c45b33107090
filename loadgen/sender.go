package loadgen

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// sender is the engine of HTTP/1.1 over connections of its own.
//
// One goroutine keeps time: when a request is due, it takes the connection that became free last and writes the request
// to it there and then. Nothing is handed over, because no other goroutine has to run before the request is on its way.
// Each connection has a goroutine that reads, from its opening to its end; so an idle connection that the server closes
// is seen at once, and not used. Whoever has read an answer looks whether a request is due already, and sends that
// itself: where the load is more than one goroutine can write, all do.
//
// Where there are sessions, each has connections of its own: what is said here of connections that are free is said of those of
// the request's session, and where there is no room for another one, one that is free is closed. A connection is opened
// where none is free, up to Traffic.MaxInFlight. The request that it is opened for waits for it,
// and the wait counts in its latency.
type sender struct {
	job
	timeout time.Duration
	dialer  dialer
	*agenda
	idle    idles
	conns   map[*conn]struct{}
	opened  int // connections so far
	running sync.WaitGroup
}

// newSender makes the engine. The alarm wakes it for requests.
func newSender(newAlarm func() alarm) engine {
	return func(j job) error {
		s := &sender{
			job: j, timeout: j.attack.Traffic.Timeout.D(), dialer: newDialer(j.attack, j.mix.base, j.gauge),
			agenda: newAgenda(j, newAlarm()), conns: map[*conn]struct{}{}, idle: newIdles(j.attack.Traffic.Sessions),
		}
		defer s.alarm.close()
		defer context.AfterFunc(j.stop, s.halt)()
		defer context.AfterFunc(j.abort, s.closeAll)()
		if j.schedule.Closed() {
			s.loop()
		} else {
			s.advance()
			s.keepTime()
			s.closeIdle()
		}
		s.running.Wait()
		return nil
	}
}

// keepTime sends each request when it is due, or has it sent, until all are, or the load is stopped.
func (s *sender) keepTime() {
	for {
		s.mu.Lock()
		switch now := s.now(); {
		case s.ended():
			s.mu.Unlock()
			return
		case s.at > now:
			wait := s.at - now
			s.mu.Unlock()
			s.alarm.wait(wait)
		case s.idle.n > 0 && s.sendOn(s.idle.take(s.session), now): // unlocked by it
		case len(s.conns) < s.attack.Traffic.MaxInFlight:
			c := &conn{sender: s, shard: s.opened % runtime.GOMAXPROCS(0), session: s.session}
			s.opened++
			s.conns[c] = struct{}{}
			n, at := s.next, s.at
			s.advance()
			s.mu.Unlock()
			s.running.Go(func() { c.live(n, at) })
		default:
			s.waits = true
			spare := s.idle.spare()
			s.mu.Unlock()
			if spare != nil {
				spare.close()
			}
			<-s.freed
		}
	}
}

// sendOn sends the next request on a connection that was idle, and lets mu go. It is false, and mu still held, where there is
// no such connection.
func (s *sender) sendOn(c *conn, now time.Duration) bool {
	if c == nil {
		return false
	}
	alive := c.begin(s.next, s.at, now)
	if alive {
		s.advance()
	}
	s.mu.Unlock()
	if alive {
		s.gauge.enter()
		c.write()
	}
	return true
}

// more begins the next request on a connection that is free, where one is due. Where none is, the connection is put aside
// and remains; where there will be none any more, it is to be closed.
func (s *sender) more(c *conn, now time.Duration) (due, remains bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended():
		return false, false
	case s.at <= now && c.session == s.session:
		c.begin(s.next, s.at, now)
		s.advance()
		return true, true
	}
	s.idle.add(c)
	s.resume()
	return false, true
}

// gone forgets a connection that has ended.
func (s *sender) gone(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.idle.remove(c)
	s.resume()
}

// closeIdle closes the connections that are free, once nothing more is sent.
func (s *sender) closeIdle() {
	s.mu.Lock()
	idle := s.idle.clear()
	s.mu.Unlock()
	for _, c := range idle {
		c.close()
	}
}

// closeAll gives up what is under way.
func (s *sender) closeAll() {
	s.mu.Lock()
	var all []*conn
	for c := range s.conns {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		c.close()
	}
}
