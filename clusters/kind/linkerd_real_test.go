package kind

import (
	"errors"
	"testing"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/internal/runner"
	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

// Where the bundle has Linkerd.
func TestRealLinkerdKeepsWhatIsExpectedOfIt(t *testing.T) {
	p := RealProvider(t)
	if _, err := p.Build(string(scenarios.MeshLinkerd)); errors.Is(err, clusters.ErrNotPossible) {
		t.Skipf("SKIPPED: %v", err)
	}
	s, err := scenarios.Load("testdata/linkerd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	out, err := runner.Run(t.Context(), runner.Options{
		Scenario: s, Provider: p, Out: t.TempDir(), Journal: t.TempDir(), Seed: 1, Version: "test", Named: true, Log: t.Output(),
	})
	if err != nil {
		t.Fatal(err)
	}
	judgedLinkerd(t, out.Result)
}

// judgedLinkerd wants everything to be proved but that a pod is refused by itself: what a pod sends to its own address never
// passes its proxy's policy, so a service that calls its own Service gets through where it is sent to the pod that asks.
func judgedLinkerd(t *testing.T, res *verify.Result) {
	t.Helper()
	itself := map[string]bool{}
	cells := 0
	for _, c := range res.Cells {
		switch {
		case c.From == c.To:
			itself["policy/"+c.To] = itself["policy/"+c.To] || c.Verdict == verify.Fail
		case c.Verdict != verify.Pass:
			t.Errorf("%s is %s: %s", c.ID, c.Verdict, c.Message)
		default:
			cells++
		}
	}
	for _, c := range res.Checks {
		if c.Verdict != verify.Pass && c.Verdict != verify.Gap && c.Verdict != verify.Skipped && !itself[c.ID] {
			t.Errorf("%s is %s %s: %s", c.ID, c.Verdict, c.Reason, c.Message)
		}
	}
	if !itself["policy/web"] {
		t.Error("the one pod of web refused itself: the model, which says so, is then right, and this test is not")
	}
	if cells < 20 {
		t.Errorf("only %d cells were proved", cells)
	}
}
