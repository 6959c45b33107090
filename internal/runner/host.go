package runner

import (
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/meshproof/meshproof/evidence"
)

// host describes this machine, as far as Linux tells it.
func host() evidence.Host {
	h := evidence.Host{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU()}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		h.Kernel = strings.TrimSpace(string(b))
	}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemTotal:" {
				if kib, err := strconv.ParseInt(f[1], 10, 64); err == nil {
					h.MemoryMiB = kib / 1024
				}
			}
		}
	}
	return h
}
