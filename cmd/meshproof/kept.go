package main

import (
	"fmt"
	"io"

	"github.com/meshproof/meshproof/internal/runner"
)

// printKept says what a run left standing, how to look at it and how to remove it.
func printKept(w io.Writer, out *runner.Outcome) {
	for _, n := range out.Notes {
		fmt.Fprintf(w, "  note     %s\n", n)
	}
	if out.Kept == nil {
		return
	}
	fmt.Fprintf(w, "  kept     clusters of fleet %s, reset: --reuse runs on them, meshproof clean --kept removes them\n", out.Kept.ID)
	for i, c := range out.Kept.Clusters {
		fmt.Fprintf(w, "           %s: kubectl --kubeconfig %s\n", c, out.Kept.Kubeconfigs[i])
	}
}
