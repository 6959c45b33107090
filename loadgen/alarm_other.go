//go:build !linux

package loadgen

// newAlarm makes the most exact alarm of this system.
func newAlarm() (alarm, error) { return newTimerAlarm() }
