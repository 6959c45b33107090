//go:build !linux

package loadgen

// newAlarm makes the most exact alarm that there is here.
func newAlarm() alarm { return newTimerAlarm() }
