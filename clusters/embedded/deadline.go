package embedded

import (
	"sync"
	"time"
)

// deadline is a deadline of a connection: a channel that is closed once it has passed. Setting it moves those who wait
// already, as net.Conn asks for. (The way of net.Pipe.)
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	gone  chan struct{}
}

func (d *deadline) init() { d.gone = make(chan struct{}) }

func (d *deadline) passed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.gone
}

// set moves the deadline; the zero time means none.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.gone // the timer has fired: wait until it has closed the channel
	}
	d.timer = nil
	over := false
	select {
	case <-d.gone:
		over = true
	default:
	}
	if t.IsZero() {
		if over {
			d.gone = make(chan struct{})
		}
		return
	}
	if wait := time.Until(t); wait > 0 {
		if over {
			d.gone = make(chan struct{})
		}
		gone := d.gone
		d.timer = time.AfterFunc(wait, func() { close(gone) })
		return
	}
	if !over {
		close(d.gone)
	}
}
