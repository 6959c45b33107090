package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// stopping is what a user is told at the first and at the second signal.
type stopping struct{ first, second string }

// stopRun is what stopping a run means.
var stopRun = stopping{
	"stopping: reverting faults, removing clusters, writing a partial report (once more to leave at once)",
	"left at once: run `meshproof clean` to undo what may be left",
}

// interruptible ends the context at the first SIGINT, SIGTERM or SIGHUP, so that a run stops load, reverts faults and
// writes a partial report; at the second the process ends at once, and the journal says what is left. Until stop is
// called, a pipe that nobody reads any more ("| head -1") fails a write and does not kill the run.
func interruptible(parent context.Context, stderr io.Writer, say stopping) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		signal.Notify(signals, syscall.SIGHUP)
	}
	pipes := make(chan os.Signal, 1)
	signal.Notify(pipes, syscall.SIGPIPE) // nobody receives: the failed write says all
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-signals:
			fmt.Fprintln(stderr, "\nmeshproof:", say.first)
			cancel()
		case <-done:
			return
		}
		select {
		case <-signals:
			fmt.Fprintln(stderr, "meshproof:", say.second)
			os.Exit(exitInterrupted)
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		signal.Stop(pipes)
		close(done)
		<-ended
		cancel()
	}
}
