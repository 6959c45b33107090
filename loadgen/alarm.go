package loadgen

import (
	"sync"
	"time"
)

// alarm wakes one goroutine in time.
type alarm interface {
	// wait returns when d has passed, or wake was called. It may return early for nothing.
	wait(d time.Duration)
	wake() // ends the wait that is under way, and every later one
	close()
}

// timerAlarm is a timer of the runtime's. Where the process has nothing else to do, the runtime rounds the wait up to a
// millisecond.
type timerAlarm struct {
	timer *time.Timer
	woken chan struct{} // closed
	once  sync.Once
}

func newTimerAlarm() alarm {
	t := time.NewTimer(0)
	<-t.C
	return &timerAlarm{timer: t, woken: make(chan struct{})}
}

func (a *timerAlarm) wait(d time.Duration) {
	a.timer.Reset(d)
	select {
	case <-a.timer.C:
	case <-a.woken:
	}
}

func (a *timerAlarm) wake() { a.once.Do(func() { close(a.woken) }) }

func (a *timerAlarm) close() { a.timer.Stop() }
