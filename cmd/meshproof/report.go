package main

import (
	"github.com/spf13/cobra"

	"github.com/meshproof/meshproof/internal/runner"
)

func newReport() *cobra.Command {
	return &cobra.Command{
		Use:   "report RUN",
		Short: "Write the reports of a run anew from its evidence",
		Long: `Recompute the verdicts of a run from its evidence and write report.html, report.json,
junit.xml and summary.md into its folder. This works too for a run that was killed: its
report is marked as partial.

The exit code is 0 once they are written, whatever the verdict; "meshproof verify" has the verdict's.`,
		Example: "  meshproof report out/latest",
		Args:    takes(1, 1),
		RunE: func(cmd *cobra.Command, given []string) error {
			dir, err := runDir(given[0])
			if err != nil {
				return err
			}
			out, err := runner.Judge(dir)
			if err != nil {
				return err
			}
			printResult(cmd.OutOrStdout(), dir, out.Report.Scenario.Name, out.Result)
			return nil
		},
	}
}
