package runner_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/runner"
	"github.com/meshproof/meshproof/verify"
)

func TestTheSessionsOfARunHaveTheirSharesAndAreSplitOverWorkers(t *testing.T) {
	text := strings.Replace(pair, "services: [{name: shop}]", "services: [{name: shop, replicas: 3}]", 1)
	o, _ := crew(t, strings.Replace(text, "to: shop, token", "to: shop, sessions: 9, token", 1))
	out, err := runner.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := evidence.Open(filepath.Join(out.Dir, runner.EvidenceDir))
	if err != nil {
		t.Fatal(err)
	}
	if r := out.Result; r.Verdict != verify.Pass && r.Reason != "LoadLate" && r.Reason != "LoadShortfall" { // a busy machine may be late
		t.Errorf("%s %s: %s", r.Verdict, r.Reason, r.Message)
	}
	for _, p := range rec.Phases {
		if lo, hi := slices.Min(p.Sessions), slices.Max(p.Sessions); len(p.Sessions) != 9 || lo == 0 || hi-lo > 2 {
			t.Errorf("%s: %v", p.Phase, p.Sessions)
		}
	}
	for _, p := range out.Result.Phases {
		if s := p.Sessions; s == nil || s.Sessions != 9 || s.Most < 1 || s.Pods < s.Most || (s.OnePod == 9) != (s.Most == 1) {
			t.Errorf("%s: %+v", p.Phase, s)
		}
	}
	// Without it, nobody knows whose requests they were.
	rec.Phases[0].Sessions[3] -= 2
	rec.Phases[0].Sessions[4] += 2
	for _, c := range verify.Evaluate(rec).Checks {
		if c.ID == "load/users/calm" && (c.Verdict != verify.Invalid || c.Reason != "WrongLoad") {
			t.Errorf("with other shares %s is %s, %s", c.ID, c.Verdict, c.Message)
		}
	}
}
