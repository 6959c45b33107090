// Meshproof-agent is what Meshproof runs inside real clusters: the service under
// test, the ingress and the outsider of a scenario, and, on nodes, the latency
// between clusters. Drivers start it; nobody needs to.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/meshproof/meshproof/internal/agent"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "meshproof-agent:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 0:
		return agent.Serve(ctx, os.Getenv, os.Stdout)
	case len(args) == 1 && args[0] == agent.DelayCommand:
		return agent.Delay(ctx, os.Stdin, os.Stdout)
	case len(args) == 1 && args[0] == agent.WorkerCommand:
		return agent.Work(ctx, os.Stdin, os.Stdout)
	}
	return fmt.Errorf("unknown arguments %q: the agent takes none, %q or %q", args, agent.DelayCommand, agent.WorkerCommand)
}
