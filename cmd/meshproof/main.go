// Meshproof is a multi-cluster simulation and chaos test harness for service
// meshes. This package is its command line, one file a command: it builds the
// object graph and prints; what is decided is decided elsewhere.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/embedded"
	"github.com/meshproof/meshproof/clusters/embedded/istio"
	"github.com/meshproof/meshproof/clusters/embedded/layered"
	"github.com/meshproof/meshproof/clusters/embedded/linkerd"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/clusters/kind"
)

// Version is the version of this build; the Makefile sets it with -ldflags.
var version = "0.1.0-dev"

func main() {
	quietKlog()
	os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr))
}

// execute runs one command line and returns its exit code.
func execute(args []string, stdout, stderr io.Writer) int {
	out := &sticky{w: stdout}
	root := newRoot(out, stderr)
	root.SetArgs(args)
	cmd, err := root.ExecuteC()
	// What run shows is a courtesy, its product lies in a folder; of any other command the output is all there is.
	if err == nil && out.err != nil && cmd.Name() != "run" {
		err = withCode(exitError, fmt.Errorf("writing to stdout: %w", cause(out.err)))
	}
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
		Long: `Meshproof brings up clusters with Istio, with Linkerd, with both in layers, or with no mesh,
drives traffic spikes and faults through them, proves from recorded evidence whether mutual
TLS, policy and latency budgets held, and compares the meshes in one report.

Exit codes: 0 PASS, 1 FAIL, 2 usage or scenario error, 3 INVALID (the evidence can't
support a verdict), 4 the environment failed, 130 interrupted.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(badFlag)
	root.AddCommand(
		newRun(), newValidate(), newList(), newRender(), newVerify(), newReport(), newFidelity(), newSchema(), newClean(), newDoctor(), newBundle(), newProfile(), newLoad(), newLoadWorker(), newVersion(),
	)
	return root
}

// drivers are the names that --driver takes.
var drivers = []string{"embedded", kind.Driver}

// provider finds a driver by the name that --driver takes. bundleDir is that of real clusters: "" stands for the default.
func provider(driver, bundleDir string, versions map[string]string) (clusters.Provider, error) {
	switch driver {
	case "embedded":
		return embedded.New(map[string]proxy.Factory{
			"istio": istio.Factory(), "linkerd": linkerd.Factory(), "layered": layered.Factory(),
		}), nil
	case kind.Driver:
		return newKind(bundleDir, versions)
	case "existing":
		return nil, fmt.Errorf("--driver %s is not in this version: use --driver embedded or kind", driver)
	}
	return nil, fmt.Errorf("--driver %q is not known: use --driver embedded or kind", driver)
}
