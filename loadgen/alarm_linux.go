package loadgen

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// fdAlarm is a timer of the kernel's (timerfd_create(2)) that the runtime waits for as for a connection. It fires to the
// microsecond, where a sleep of the runtime's may come a millisecond late in a process that is idle.
type fdAlarm struct {
	file *os.File

	mu    sync.Mutex
	fd    int
	woken bool
	shut  bool
}

// newAlarm makes the most exact alarm that there is here.
func newAlarm() alarm {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return newTimerAlarm() // a sandbox may forbid it
	}
	return &fdAlarm{file: os.NewFile(uintptr(fd), "timerfd"), fd: fd}
}

func (a *fdAlarm) wait(d time.Duration) {
	if !a.set(d, false) {
		return
	}
	var times [8]byte // how often it fired
	_, _ = a.file.Read(times[:])
}

// set lets the timer fire after d. It reports false where there is nothing to wait for.
func (a *fdAlarm) set(d time.Duration, wake bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.shut || a.woken {
		return false
	}
	a.woken = wake
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(d, 1)))}
	return unix.TimerfdSettime(a.fd, 0, &spec, nil) == nil
}

func (a *fdAlarm) wake() { a.set(1, true) }

func (a *fdAlarm) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.shut = true
	_ = a.file.Close()
}
