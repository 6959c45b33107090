package runner

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
)

func TestAFullDiskIsToldOnceWithTheRemedyAndThePlace(t *testing.T) {
	one := fmt.Errorf("writing evidence: %w", &fs.PathError{Op: "write", Path: "out/x/evidence/a", Err: syscall.ENOSPC})
	err := environment(errors.Join(one, one, errors.New("copying the journal: it did not go")), "out/x")
	if !errors.Is(err, ErrEnvironment) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("%v lost what it wraps", err)
	}
	want := "the environment failed: writing evidence: write out/x/evidence/a: no space left on device; " +
		"copying the journal: it did not go: free some space, or run with another --out " +
		"(what was recorded lies in out/x; meshproof report out/x shows it)"
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	if again := environment(err, "out/y"); again.Error() != want {
		t.Errorf("told twice: %s", again)
	}
}

func TestAFailureWithoutARecordNamesNoPlace(t *testing.T) {
	if msg := environment(errors.New("no journal"), "").Error(); strings.Contains(msg, "recorded") || strings.Contains(msg, "space") {
		t.Error(msg)
	}
}
