package main

import (
	"os"
	"testing"
)

func TestPeakMemoryIsReadFromAProcess(t *testing.T) {
	if got := highWater("Name:\tx\nVmPeak:\t 1240000 kB\nVmHWM:\t   20480 kB\nVmRSS:\t   10240 kB\n"); got != 20 {
		t.Errorf("%g MB, want 20", got)
	}
	if got := highWater("Name:\tx\nState:\tZ (zombie)\n"); got != 0 {
		t.Errorf("%g MB of a process that has ended", got)
	}
	if got := watchPeak(os.Getpid())(); got < 1 || got > 10_000 {
		t.Errorf("%g MB for this process", got)
	}
}
