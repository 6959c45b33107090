package loadgen

import (
	"fmt"
	"runtime"
	"time"
)

// over is what a user of a closed loop learns of a request.
type over struct {
	done time.Duration // when it was answered, or had failed
	kept bool          // the connection can be used again
}

// loop sends a closed loop, of several workers those users u for whom u ≡ k modulo N (Share): each user has a connection, sends, waits for the answer, thinks, and sends again, until the
// phase ends. What is under way then is still answered, while the users of the next phase begin. A request's intended time
// is when its user was done thinking: it moves with the answers, so that nothing is learnt of who would have asked meanwhile.
func (s *sender) loop() {
	of := s.attack.Share.of()
	for _, p := range s.schedule.Phases() {
		if !s.sleep(p.Start) {
			return
		}
		for user := s.attack.Share.Worker; user < p.Closed.Users; user += of {
			s.running.Go(func() { s.user(p, user) })
		}
	}
}

// checkLoop refuses a closed loop that has more users than may send at once.
func checkLoop(a Attack, s *Schedule) error {
	for _, p := range s.phases {
		if p.Closed == nil {
			continue
		}
		if users := a.Share.before(int64(p.Closed.Users)); users > int64(a.Traffic.MaxInFlight) {
			return fmt.Errorf("phase %s has %d users, and maxInFlight is %d; want at least as many", p.Name, users, a.Traffic.MaxInFlight)
		}
	}
	return nil
}

// user is one user of a phase.
func (s *sender) user(p Phase, user int) {
	heard := make(chan over, 1)
	var mine *conn
	defer func() {
		if mine != nil {
			mine.close()
		}
	}()
	at := p.Start
	for turn := int64(0); at < p.End() && s.sleep(at); turn++ {
		n := p.Closed.Number(user, turn)
		if mine == nil || !mine.begin(n, at, s.now()) {
			s.mu.Lock()
			c := &conn{sender: s, shard: user % runtime.GOMAXPROCS(0), heard: heard}
			s.conns[c] = struct{}{}
			s.mu.Unlock()
			s.running.Go(func() { c.live(n, at) })
			mine = c
		} else {
			s.gauge.enter()
			mine.write()
		}
		o := <-heard
		if !o.kept {
			mine = nil
		}
		at = o.done + p.Closed.Think(n)
	}
}

// sleep waits until a time after the start of the load. It is false where the load is stopped.
func (s *sender) sleep(until time.Duration) bool {
	wait := until - s.now()
	if wait <= 0 || s.stopped.Load() {
		return !s.stopped.Load()
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.stop.Done():
		return false
	}
}
