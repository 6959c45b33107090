package runner

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
)

// environmentError is a failure of the host in words for users.
type environmentError struct {
	message string
	err     error
}

func (e *environmentError) Error() string   { return e.message }
func (e *environmentError) Unwrap() []error { return []error{ErrEnvironment, e.err} }

// environment tells a failure of the host once, though many writers met it, with the remedy where it is known and where
// the evidence lies, if dir names it.
func environment(err error, dir string) error {
	if errors.Is(err, ErrEnvironment) {
		return err
	}
	var causes []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if !slices.Contains(causes, line) {
			causes = append(causes, line)
		}
	}
	message := fmt.Sprintf("%s: %s", ErrEnvironment, strings.Join(causes, "; "))
	if full(err) {
		message += ": free some space, or run with another --out"
	}
	if dir != "" {
		message += fmt.Sprintf(" (what was recorded lies in %s; meshproof report %s shows it)", dir, dir)
	}
	return &environmentError{message: message, err: err}
}

// full reports whether an error is that of a full disk or an exhausted quota.
func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
