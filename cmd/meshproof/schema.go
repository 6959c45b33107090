package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/meshproof/meshproof/reports"
	"github.com/meshproof/meshproof/scenarios"
)

func newSchema() *cobra.Command {
	return &cobra.Command{
		Use:       "schema scenario|report|load",
		Short:     "Print the JSON Schema of scenario files, of report.json, or of what load writes",
		Example:   "  meshproof schema scenario > meshproof.schema.json",
		Args:      takes(1, 1),
		ValidArgs: []string{"scenario", "report", "load"},
		RunE: func(cmd *cobra.Command, args []string) error {
			schemas := map[string]func() ([]byte, error){"scenario": scenarios.Schema, "report": reports.Schema, "load": reports.LoadSchema}
			build, ok := schemas[args[0]]
			if !ok {
				return fmt.Errorf("there is no schema %q: the schemas are scenario, report and load", args[0])
			}
			b, err := build()
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s\n", b)
			return nil
		},
	}
}
