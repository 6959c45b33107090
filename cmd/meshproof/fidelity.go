package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/runner"
	"github.com/meshproof/meshproof/verify/fidelity"
)

func newFidelity() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "fidelity A B",
		Short: "Compare two runs of one scenario, cell by cell",
		Long: `Compare two runs of one scenario, usually on models and on real clusters: what was allowed
and refused in each proof window and with which status, who was seen as the sender, what was
proved, and in which order faults were recovered from. Times, rates and costs are not
compared, and neither are meshes that one side did not run. A and B are runs' folders.

Exit codes: 0 no disagreement, 1 disagreements, 2 usage, 3 the records do not allow the
comparison: runs of different scenarios, or something that one side did not see or prove.`,
		Example: "  meshproof fidelity out/checkout-spike-20261123T160000Z out/latest",
		Args:    takes(2, 2),
		RunE: func(cmd *cobra.Command, given []string) error {
			var recs [2]*evidence.Record
			for i, arg := range given {
				dir, err := runDir(arg)
				if err != nil {
					return err
				}
				if recs[i], err = evidence.Open(filepath.Join(dir, runner.EvidenceDir)); err != nil {
					return err
				}
			}
			c := fidelity.Compare(recs[0], recs[1])
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				if err := enc.Encode(c); err != nil {
					return withCode(exitError, fmt.Errorf("writing to stdout: %w", cause(err)))
				}
			} else {
				c.WriteText(cmd.OutOrStdout())
			}
			switch c.Outcome {
			case fidelity.Agree:
				return nil
			case fidelity.Disagree:
				return withCode(exitFail, nil)
			default:
				return withCode(exitInvalid, nil)
			}
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON document on stdout and nothing else")
	return cmd
}
