package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// watchPeak follows the peak resident memory of a process, every 20 ms, until the returned function is called, which says
// how much that was (MB). What the kernel says of a process that has ended (ru_maxrss) will not do: it begins with what the
// process that started it had.
func watchPeak(pid int) func() float64 {
	name := fmt.Sprintf("/proc/%d/status", pid)
	peak := 0.0
	over := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		t := time.NewTicker(20 * time.Millisecond)
		defer t.Stop()
		for {
			text, _ := os.ReadFile(name) // of one that has ended nothing new is known
			peak = max(peak, highWater(string(text)))
			select {
			case <-over:
				return
			case <-t.C:
			}
		}
	})
	return func() float64 {
		close(over)
		watching.Wait()
		return peak
	}
}

// highWater reads the peak resident memory (MB) of a process's status, as proc_pid_status(5) has it; 0 where it has none.
func highWater(status string) float64 {
	for l := range strings.Lines(status) {
		var kb float64
		if n, _ := fmt.Sscanf(l, "VmHWM: %f kB", &kb); n == 1 {
			return kb / 1024
		}
	}
	return 0
}
