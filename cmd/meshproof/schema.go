package main

import (
	"github.com/spf13/cobra"

	"github.com/meshproof/meshproof/reports"
	"github.com/meshproof/meshproof/scenarios"
)

func newSchema() *cobra.Command {
	return &cobra.Command{
		Use:       "schema scenario|report",
		Short:     "Print the JSON Schema of scenario files or of report.json",
		Example:   "  meshproof schema scenario > meshproof.schema.json",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"scenario", "report"},
		RunE: func(cmd *cobra.Command, args []string) error {
			make := scenarios.Schema
			if args[0] == "report" {
				make = reports.Schema
			}
			b, err := make()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(append(b, '\n'))
			return err
		},
	}
}
