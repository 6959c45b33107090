package build

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// tail is the end of a log, for an error.
func tail(path string) string {
	const lines = 15
	b, err := os.ReadFile(path)
	if err != nil || len(bytes.TrimSpace(b)) == 0 {
		return ""
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return fmt.Sprintf("\nthe last lines of %s:\n  %s", path, strings.Join(all, "\n  "))
}

// remedies say what to do about failures that are not the build's own, by the words in which tools speak of them.
var remedies = []struct {
	words  []string
	remedy string
}{
	{
		[]string{"no space left on device", "No space left on device", "disk quota exceeded", "Disk quota exceeded"},
		"the disk is full: free some 15 GB in the cache folders of meshproof and Go, or name others (XDG_CACHE_HOME, GOCACHE, GOMODCACHE, TMPDIR)",
	},
	{
		[]string{
			"network is unreachable", "no such host", "server misbehaving", "connection refused", "i/o timeout", "TLS handshake timeout",
			"Temporary failure in name resolution", "Failed to establish a new connection",
			"E: Failed getting release file", "E: Couldn't download", "E: Couldn't find these debs", "Temporary failure resolving",
		},
		"a package registry was not reached: the build needs a Go module proxy (GOPROXY), PyPI (pip's index) and a Debian mirror (apt's sources)",
	},
}

// remedy is what to do about a failure, as a line for the end of its error; "" where nobody knows.
func remedy(err error, log string) string {
	text := err.Error() + log
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		text += remedies[0].words[0]
	}
	for _, r := range remedies {
		for _, w := range r.words {
			if strings.Contains(text, w) {
				return "\n" + r.remedy + "; then run the command again: what was finished is kept"
			}
		}
	}
	return ""
}
