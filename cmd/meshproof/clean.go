package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/meshproof/meshproof/clusters/kind"
	"github.com/meshproof/meshproof/internal/journal"
)

func newClean() *cobra.Command {
	var kept bool
	cmd := &cobra.Command{
		Use:   "clean",
		Short: "Undo what runs left that were killed",
		Long: `Undo, newest first, every change that the journals of runs that were killed name, and forget
these journals. Runs that are alive are left alone. Reports and evidence are kept.

Clusters that a run was told to keep are listed, and removed with --kept.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := journal.Dir()
			if err != nil {
				return withCode(exitError, err)
			}
			ls, err := journal.Leftovers(dir)
			if err != nil {
				return withCode(exitError, err)
			}
			out := cmd.OutOrStdout()
			var errs []error
			cleaned := 0
			for _, l := range ls {
				if l.Running {
					fmt.Fprintf(out, "%s: still running, left alone\n", l.Run)
					continue
				}
				if err := undo(cmd.Context(), l); err != nil {
					errs = append(errs, err)
					continue
				}
				for _, i := range l.Intents {
					fmt.Fprintf(out, "%s: undone: %s\n", l.Run, i.What)
				}
				fmt.Fprintf(out, "%s: nothing is left\n", l.Run)
				cleaned++
			}
			if err := errors.Join(errs...); err != nil {
				return withCode(exitError, err)
			}
			n, err := cleanKept(cmd.Context(), out, kept)
			if err != nil {
				return withCode(exitError, err)
			}
			if cleaned+n == 0 {
				fmt.Fprintln(out, "nothing to clean")
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&kept, "kept", false, "remove clusters that runs were told to keep, too")
	return cmd
}

// cleanKept lists the clusters that were kept, or removes those that no run uses and says how many fleets these were.
func cleanKept(ctx context.Context, out io.Writer, remove bool) (removed int, err error) {
	state, err := kindState()
	if err != nil {
		return 0, err
	}
	kept, err := kind.Kept(state)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, k := range kept {
		switch {
		case k.InUse:
			fmt.Fprintf(out, "%s: a run uses it, left alone\n", k)
		case !remove:
			fmt.Fprintf(out, "%s: left alone, meshproof clean --kept removes it\n", k)
		default:
			if err := kind.CleanKept(ctx, state, k.ID); err != nil {
				errs = append(errs, err)
				continue
			}
			removed++
			fmt.Fprintf(out, "%s: removed\n", k)
		}
	}
	return removed, errors.Join(errs...)
}

// undo undoes the changes of a dead run. What the embedded driver made lived in the run's process and went with it, and
// what faults did inside real clusters goes with these; a change of a driver that this version does not know stays in
// its journal.
func undo(ctx context.Context, l journal.Leftover) error {
	if len(l.Intents) == 0 || l.Driver == "embedded" {
		return l.Remove()
	}
	if l.Driver != kind.Driver {
		return fmt.Errorf("%s: %q was made by driver %q, which this version can't undo: use the version that made it (journal: %s)",
			l.Run, l.Intents[0].What, l.Driver, l.Path)
	}
	state, err := kindState()
	if err != nil {
		return err
	}
	for _, i := range l.Intents {
		if id := i.Undo["fleet"]; id != "" {
			if err := kind.CleanKilled(ctx, state, id); err != nil {
				return fmt.Errorf("%s: undoing %q: %w (journal: %s)", l.Run, i.What, err, l.Path)
			}
		}
	}
	return l.Remove()
}
