package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/internal/runner"
	"github.com/meshproof/meshproof/scenarios"
)

func newValidate() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "validate FILE|NAME…",
		Short: "Find every error in scenario files, without running them",
		Long: `Find every error in scenario files, and what the driver cannot do of them, without running
them: objects, traffic and topology are examined as "meshproof run" does before it begins.
What one driver refuses, another may take.`,
		Example: "  meshproof validate my.yaml\n  meshproof validate my.yaml --driver kind",
		Args:    takes(1, -1),
		RunE: func(cmd *cobra.Command, given []string) error {
			if err := f.real(cmd); err != nil {
				return err
			}
			p, err := provider(f.driver, f.bundle, nil)
			if err != nil {
				return err
			}
			var errs []error
			for _, a := range given {
				list, err := loadAll(p, []string{a}, f)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				skipped := leftOut(list[0], p)
				if len(skipped) == len(list[0].Spec.Meshes) { // a run would have nothing to do
					errs = append(errs, fmt.Errorf("%s: %w", a, errors.Join(skipped...)))
					continue
				}
				for _, why := range skipped {
					fmt.Fprintf(cmd.OutOrStdout(), "%s: not examined, for a run skips it: %v\n", a, why)
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s: valid\n", a)
			}
			return errors.Join(errs...)
		},
		ValidArgsFunction: completeScenarios,
	}
	fl := cmd.Flags()
	fl.StringVar(&f.driver, "driver", "embedded", "the driver that is to run them: embedded, or kind")
	fl.StringSliceVar(&f.meshes, "mesh", nil, "examine only these of the scenario's meshes")
	bundleFlag(fl, "bundle", &f.bundle)
	must(cmd.RegisterFlagCompletionFunc("driver", cobra.FixedCompletions(drivers, cobra.ShellCompDirectiveNoFileComp)))
	must(cmd.RegisterFlagCompletionFunc("mesh", cobra.FixedCompletions(meshNames, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

// leftOut says of which of a scenario's meshes the driver has no means for, and why.
func leftOut(s *scenarios.Scenario, p clusters.Provider) (why []error) {
	for _, e := range s.Spec.Meshes {
		if err := runner.Check(s, e, p); errors.Is(err, clusters.ErrNotPossible) {
			why = append(why, fmt.Errorf("mesh %s: %w", e.Name, err))
		}
	}
	return why
}
