package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/runner"
	"github.com/meshproof/meshproof/verify"
)

func newVerify() *cobra.Command {
	return &cobra.Command{
		Use:     "verify RUN",
		Short:   "Recompute the verdicts of a run from its evidence",
		Long:    "Recompute the verdicts of a run from its evidence, on this or any other machine. RUN is a run's folder; nothing is written.",
		Example: "  meshproof verify out/latest",
		Args:    takes(1, 1),
		RunE: func(cmd *cobra.Command, given []string) error {
			dir, err := runDir(given[0])
			if err != nil {
				return err
			}
			rec, err := evidence.Open(filepath.Join(dir, runner.EvidenceDir))
			if err != nil {
				return err
			}
			res := verify.Evaluate(rec)
			printResult(cmd.OutOrStdout(), dir, rec.Manifest.RunID, res)
			if code := exitOf(res); code != exitPass {
				return withCode(code, nil)
			}
			return nil
		},
	}
}

// runDir finds the folder of a run: the argument itself, or the folder that holds it when it is the evidence.
func runDir(arg string) (string, error) {
	for _, dir := range []string{arg, filepath.Dir(filepath.Clean(arg))} {
		if st, err := os.Stat(filepath.Join(dir, runner.EvidenceDir)); err == nil && st.IsDir() {
			return dir, nil
		}
	}
	if _, err := os.Stat(arg); err != nil {
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return "", fmt.Errorf("%s: %w: name the folder of a run, such as out/latest", arg, err)
	}
	return "", fmt.Errorf("%s: %w: name the folder of a run, such as out/latest", arg, evidence.ErrNoRecord)
}
