package loadgen

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync/atomic"
	"time"
)

// over is what a user of a closed loop learns of a request.
type over struct {
	done time.Duration // when it was answered, or had failed
	kept bool          // the connection can be used again
}

// turns is where the users of a closed loop are, phase after phase: of each, the intended time of its request that is not
// recorded yet, or that it will send next; done, where there will be none. Requests that were meant for before the earliest
// of them are all recorded, whatever holds a user up, on its way to the server or in this process.
type turns []atomic.Int64

// done is of a user who sends nothing more.
const done = math.MaxInt64

// newTurns begins with all users who send here at the start of their phases. It is nil for an open loop.
func newTurns(s *Schedule, share Share) turns {
	if !s.Closed() {
		return nil
	}
	var starts []time.Duration
	for _, p := range s.phases {
		starts = append(starts, slices.Repeat([]time.Duration{p.Start}, int(share.before(int64(p.Closed.Users))))...)
	}
	t := make(turns, len(starts))
	for i, at := range starts {
		t[i].Store(int64(at))
	}
	return t
}

// earliest is the intended time before which all is recorded.
func (t turns) earliest() time.Duration {
	first := int64(done)
	for i := range t {
		first = min(first, t[i].Load())
	}
	return time.Duration(first)
}

// loop sends a closed loop, of several workers those users u for whom u ≡ k modulo N (Share): each user has a connection,
// sends, waits for the answer, thinks, and sends again, until the phase ends. What is under way then is still answered, while the users of the next phase begin. A request's intended time
// is when its user was done thinking: it moves with the answers, so that nothing is learnt of who would have asked meanwhile.
func (s *sender) loop() {
	of, next := s.attack.Share.of(), 0
	for _, p := range s.schedule.Phases() {
		if !s.sleep(p.Start) {
			return
		}
		for user := s.attack.Share.Worker; user < p.Closed.Users; user += of {
			turn := &s.turns[next]
			next++
			s.running.Go(func() { s.user(p, user, turn) })
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

// user is one user of a phase, who says in its turn where it is.
func (s *sender) user(p Phase, user int, turn *atomic.Int64) {
	defer turn.Store(done)
	heard := make(chan over, 1)
	var mine *conn
	defer func() {
		if mine != nil {
			mine.close()
		}
	}()
	at := p.Start
	for i := int64(0); at < p.End() && s.sleep(at); i++ {
		n := p.Closed.Number(user, i)
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
		turn.Store(int64(at))
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
