package e2e

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"

	"github.com/meshproof/meshproof/evidence"
)

func TestChaosMeshBreaksWhatItIsToldToAndWhatCannotBeIsSkipped(t *testing.T) {
	onlyWhole(t)
	test(t, features.New("faults by Chaos Mesh").
		Assess("each is injected and seen, or skipped with the reason before the load", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			h := hostOf(ctx)
			h.file = "testdata/chaos.yaml"
			r := h.run(ctx, t)
			if r.code != 0 || len(r.doc.Runs) != 1 {
				t.Fatalf("exit code %d: %s\n%s", r.code, r.doc.Error, r.stderr)
			}
			t.Logf("it took %s", r.took)
			got := map[string]string{}
			for _, c := range reportOf(t, r).Checks {
				if strings.HasPrefix(c.ID, "fault/") || strings.HasPrefix(c.ID, "recovery/") {
					got[c.ID] = c.Verdict
				}
			}
			// Of this bundle: no name server, and a daemon without the object that stands for the clock. What of the kernel is
			// not there differs from host to host.
			want := map[string]string{
				"fault/api-dies": "PASS", "fault/cut": "PASS", "fault/early": "SKIPPED", "fault/nameless": "SKIPPED",
				"recovery/api-dies": "PASS", "recovery/cut": "PASS",
			}
			for id := range got {
				if _, ok := want[id]; !ok {
					if v := got[id]; v != "PASS" && v != "SKIPPED" {
						t.Errorf("%s is %s", id, v)
					}
					delete(got, id)
				}
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("checks (-want +got):\n%s", d)
			}
			rec, err := evidence.Open(filepath.Join(r.doc.Runs[0].Dir, "evidence"))
			if err != nil {
				t.Fatal(err)
			}
			start := map[bool]int{}
			for _, f := range rec.Faults {
				switch {
				case f.Action == evidence.FaultInjected && !strings.HasPrefix(f.By, "chaos-mesh "):
					t.Errorf("%s is by %q", f.Name, f.By)
				case f.Action == evidence.FaultReverted && f.Message != "":
					t.Errorf("%s had to be forced: %s", f.Name, f.Message)
				case f.Action == evidence.FaultSkipped:
					start[f.Message != ""]++
				}
			}
			if start[false] > 0 || start[true] < 2 {
				t.Errorf("skipped with and without a reason: %v", start)
			}
			return ctx
		}).Feature())
}
