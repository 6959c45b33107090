package main

import (
	"context"
	"errors"

	"github.com/meshproof/meshproof/internal/runner"
	"github.com/meshproof/meshproof/verify"
)

// The exit codes of every command. There are no others.
const (
	exitPass        = 0   // all checks proved
	exitFail        = 1   // a check was disproved
	exitUsage       = 2   // usage or scenario error: nothing was started
	exitInvalid     = 3   // the evidence cannot support a verdict
	exitError       = 4   // the environment failed
	exitInterrupted = 130 // the user stopped the run (128 + SIGINT)
)

// exitOf is the exit code of a result.
func exitOf(r *verify.Result) int {
	if r.Interrupted {
		return exitInterrupted
	}
	return codeOfVerdict(r.Verdict)
}

// codeOfVerdict is the exit code of a verdict.
func codeOfVerdict(v verify.Verdict) int {
	switch v {
	case verify.Pass:
		return exitPass
	case verify.Fail:
		return exitFail
	case verify.Error:
		return exitError
	default:
		return exitInvalid
	}
}

// worse picks of two exit codes the one that a whole of several runs ends with: interrupted, then the precedence of
// verdicts ERROR > FAIL > INVALID > PASS.
func worse(a, b int) int {
	rank := map[int]int{exitPass: 0, exitInvalid: 1, exitFail: 2, exitUsage: 3, exitError: 4, exitInterrupted: 5}
	if rank[b] > rank[a] {
		return b
	}
	return a
}

// codeError carries an exit code through cobra. Its message, when it has one, goes to stderr.
type codeError struct {
	code int
	err  error
}

func (e *codeError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *codeError) Unwrap() error { return e.err }

// withCode gives an error its exit code.
func withCode(code int, err error) error { return &codeError{code: code, err: err} }

// codeOf finds the exit code of an error that a command returned.
func codeOf(err error) int {
	var ce *codeError
	switch {
	case err == nil:
		return exitPass
	case errors.As(err, &ce):
		return ce.code
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, runner.ErrEnvironment):
		return exitError
	default:
		return exitUsage // cobra's own errors, and whatever was wrong before anything was started
	}
}
