// Meshproof is a multi-cluster simulation and chaos test harness for service
// meshes. This package is its command line, one file a command: it builds the
// object graph and prints; what is decided is decided elsewhere.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/embedded"
	"github.com/meshproof/meshproof/clusters/embedded/istio"
	"github.com/meshproof/meshproof/clusters/embedded/linkerd"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
)

// Version is the version of this build; the Makefile sets it with -ldflags.
var version = "0.1.0-dev"

func main() {
	os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr))
}

// execute runs one command line and returns its exit code.
func execute(args []string, stdout, stderr io.Writer) int {
	ctx, stop := interruptible(stderr)
	defer stop()
	root := newRoot(stdout, stderr)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && err.Error() != "" {
		fmt.Fprintln(stderr, "meshproof:", err)
	}
	return codeOf(err)
}

// newRoot builds the command tree.
func newRoot(stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "meshproof",
		Short: "Prove from evidence whether a service mesh keeps its promises under spikes and faults",
		Long: `Meshproof brings up clusters with Istio, with Linkerd, or with no mesh, drives traffic
spikes and faults through them, proves from recorded evidence whether mutual TLS, policy and
latency budgets held, and compares the meshes in one report.

Exit codes: 0 PASS, 1 FAIL, 2 usage or scenario error, 3 INVALID (the evidence can't
support a verdict), 4 the environment failed, 130 interrupted.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.AddCommand(
		newRun(), newValidate(), newList(), newRender(), newVerify(), newReport(), newSchema(), newClean(), newVersion(),
	)
	return root
}

// provider finds a driver by the name that --driver takes.
func provider(driver string) (clusters.Provider, error) {
	switch driver {
	case "embedded":
		return embedded.New(map[string]proxy.Factory{"istio": istio.Factory(), "linkerd": linkerd.Factory()}), nil
	case "kind", "existing":
		return nil, fmt.Errorf("--driver %s is not in this version: use --driver embedded", driver)
	}
	return nil, fmt.Errorf("--driver %q is not known: use --driver embedded", driver)
}

// interruptible ends the context at the first SIGINT or SIGTERM, so that a run stops load, reverts faults and writes a
// partial report; at the second the process ends at once, and the journal says what is left.
func interruptible(stderr io.Writer) (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		select {
		case <-signals:
			fmt.Fprintln(stderr, "\nmeshproof: stopping: reverting faults, removing clusters, writing a partial report (once more to leave at once)")
			cancel()
		case <-done:
			return
		}
		select {
		case <-signals:
			fmt.Fprintln(stderr, "meshproof: left at once: run `meshproof clean` to undo what may be left")
			os.Exit(exitInterrupted)
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel()
	}
}
