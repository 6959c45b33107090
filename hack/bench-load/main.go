// Command bench-load holds Meshproof's load generator against others: all on one
// machine, in turn, several rounds, against the same servers. It prints what
// docs/benchmarks.md records.
//
//	go run ./hack/bench-load -rounds 3 -budget 20m
//
// Generators are installed from package registries into a cache folder. What is
// not there is listed as missing.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-load:", err)
		os.Exit(1)
	}
}

// command runs the benchmark, or, as its own child, one of its parts.
func command(ctx context.Context, args []string) error {
	if len(args) > 1 && args[0] == "send" {
		var j job
		if err := json.Unmarshal([]byte(args[1]), &j); err != nil {
			return fmt.Errorf("what to send: %w", err)
		}
		return send(ctx, j, args[2:])
	}
	if len(args) == 1 && args[0] == "serve" {
		return serve(ctx)
	}
	b := &bench{}
	f := flag.NewFlagSet("bench-load", flag.ContinueOnError)
	f.IntVar(&b.rounds, "rounds", 3, "how often each is measured; medians are printed")
	f.DurationVar(&b.each, "each", 3*time.Second, "how long one measurement lasts")
	f.IntVar(&b.conns, "conns", 32, "connections, where a generator goes as fast as it can")
	budget := f.Duration("budget", time.Hour, "how long all of it may take; what is left then is not measured, and said")
	f.BoolVar(&b.long, "long", false, "also 1 and 10 million requests, for memory")
	only := f.String("only", "", "one part: speed, rate, accuracy, freeze or memory")
	offline := f.Bool("offline", false, "install nothing")
	if err := f.Parse(args); err != nil {
		return err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return fmt.Errorf("finding the cache folder: %w", err)
	}
	b.bin = filepath.Join(cache, "meshproof", "bench-load", "bin")
	b.deadline = time.Now().Add(*budget)
	if b.folder, err = os.MkdirTemp("", "meshproof-bench-load-"); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(b.folder) }()
	if b.self, err = os.Executable(); err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	return b.run(ctx, *only, *offline)
}
