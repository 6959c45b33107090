package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func newValidate() *cobra.Command {
	return &cobra.Command{
		Use:   "validate FILE|NAME…",
		Short: "Find every error in scenario files, without running them",
		Args:  takes(1, -1),
		RunE: func(cmd *cobra.Command, given []string) error {
			p, err := provider("embedded", "", nil)
			if err != nil {
				return err
			}
			var errs []error
			for _, a := range given {
				if _, err := load(p, a); err != nil {
					errs = append(errs, err)
					continue
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s: valid\n", a)
			}
			return errors.Join(errs...)
		},
		ValidArgsFunction: completeScenarios,
	}
}
