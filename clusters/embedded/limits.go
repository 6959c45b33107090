package embedded

import (
	"errors"
	"fmt"
	"syscall"
)

// minFiles is how many open files a small scenario wants at its peak: two or three listeners and a dozen connections a
// pod, and a few connections for each request under way.
const minFiles = 1024

// checkFiles finds out before anything is started whether the process may open enough files. Without that, a run would
// crawl from one time-out to the next. Go itself raises the soft limit to the hard one at start.
func checkFiles() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("asking for the limit of open files: %w", err)
	}
	return enoughFiles(limit.Cur)
}

var errFewFiles = errors.New("too few open files are allowed")

func enoughFiles(limit uint64) error {
	if limit < minFiles {
		return fmt.Errorf("%w: %d, and the pods of a small scenario want %d: raise the limit (ulimit -n %d)", errFewFiles, limit, minFiles, 4*minFiles)
	}
	return nil
}
