//go:build unix

package loadgen

import (
	"syscall"
	"time"
)

// cpuTime is the CPU time that this process used so far, user and system; 0 where the kernel does not say.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
