package e2e

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"

	"github.com/meshproof/meshproof/evidence"
)

// TestARunOnRealClusters is the first of the package: how long it takes tells the others when to kill a run.
func TestARunOnRealClusters(t *testing.T) {
	var r ended
	test(t, features.New("two clusters without a mesh").
		Assess("the run passes", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			r = hostOf(ctx).run(ctx, t)
			if r.code != 0 || len(r.doc.Runs) != 1 {
				t.Fatalf("exit code %d: %s\n%s\n%s", r.code, r.doc.Error, r.stderr, r.summary())
			}
			whole = r.took
			t.Logf("it took %s", r.took)
			return ctx
		}).
		Assess("its verdict is the record's, and no model's", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			out, err := hostOf(ctx).command(ctx, "verify", r.doc.Runs[0].Dir).CombinedOutput()
			if err != nil || !strings.Contains(string(out), "PASS") || strings.Contains(string(out), "(model)") {
				t.Errorf("verify: %v\n%s", err, out)
			}
			return ctx
		}).
		Assess("traffic went from one cluster to the other, and a pod died", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			rec, err := evidence.Open(filepath.Join(r.doc.Runs[0].Dir, "evidence"))
			if err != nil {
				t.Fatal(err)
			}
			across, killed := 0, map[string]bool{}
			for _, q := range rec.Requests {
				if q.Caller == "web@east" && q.At.Cluster == "west" && q.Window == "load" {
					across++
				}
			}
			for _, f := range rec.Faults {
				if f.Name == "api-dies" && f.UID != "" {
					killed[f.UID] = true
				}
			}
			// 10 a second for 15 seconds; the pod that died took some with it.
			if across < 100 || across > 150 || len(killed) == 0 {
				t.Errorf("%d requests went from web in east to api in west, want 100 to 150; pods killed: %v", across, killed)
			}
			return ctx
		}).Feature())
}
