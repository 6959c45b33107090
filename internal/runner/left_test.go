package runner_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/internal/journal"
	"github.com/meshproof/meshproof/internal/runner"
	"github.com/meshproof/meshproof/scenarios"
)

// failing is a driver whose clusters never come up.
type failing struct {
	clusters.Provider
	err error
}

func (f failing) Create(context.Context, clusters.Spec) (clusters.Fleet, error) { return nil, f.err }

func TestWhatAFailedCreateMayHaveLeftStaysInTheJournal(t *testing.T) {
	none := errors.New("no room on this host")
	for _, tt := range []struct {
		name string
		err  error
		left int // changes in the journal
	}{
		{"nothing is left", none, 0},
		{"something may be", errors.Join(none, fmt.Errorf("removing: %w", clusters.ErrLeft)), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := scenarios.Parse("tiny.yaml", fmt.Appendf(nil, tiny, "istio"))
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if _, err := runner.Run(t.Context(), runner.Options{
				Scenario: s, Provider: failing{models(), tt.err}, Out: t.TempDir(), Journal: dir, Version: "test",
			}); err != nil {
				t.Fatal(err)
			}
			changes := 0
			ls, err := journal.Leftovers(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range ls {
				changes += len(l.Intents)
			}
			if changes != tt.left {
				t.Errorf("%d changes are left in the journal, want %d", changes, tt.left)
			}
		})
	}
}
