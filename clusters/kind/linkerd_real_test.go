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

// judgedLinkerd wants everything to be proved but what the one pod of web asks itself: that meets no proxy, and there is no
// other pod to ask.
func judgedLinkerd(t *testing.T, res *verify.Result) {
	t.Helper()
	cells := 0
	for _, c := range res.Cells {
		want := verify.Pass
		if c.From == "web" && c.To == "web" {
			want = verify.Skipped
		}
		if c.Verdict != want {
			t.Errorf("%s is %s, want %s: %s", c.ID, c.Verdict, want, c.Message)
			continue
		}
		cells++
	}
	for _, c := range res.Checks {
		if c.Verdict != verify.Pass && c.Verdict != verify.Gap && c.Verdict != verify.Skipped {
			t.Errorf("%s is %s %s: %s", c.ID, c.Verdict, c.Reason, c.Message)
		}
	}
	if cells < 20 {
		t.Errorf("only %d cells were proved", cells)
	}
}
