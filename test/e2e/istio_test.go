package e2e

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"

	"github.com/meshproof/meshproof/evidence"
)

func TestRealIstioIsProved(t *testing.T) {
	test(t, features.New("a mesh as it should be").
		Assess("the run passes, under the name of what ran", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			h := hostOf(ctx)
			h.file = "testdata/istio.yaml"
			r := h.run(ctx, t)
			if r.code != 0 || len(r.doc.Runs) != 1 {
				t.Fatalf("exit code %d: %s\n%s", r.code, r.doc.Error, r.stderr)
			}
			t.Logf("it took %s", r.took)
			rec, err := evidence.Open(filepath.Join(r.doc.Runs[0].Dir, "evidence"))
			if err != nil {
				t.Fatal(err)
			}
			name := rec.Manifest.MeshName("istio")
			if got := reportOf(t, r).Meshes; !slices.Equal(got, []string{name}) {
				t.Errorf("the report compares %q, want %q", got, name)
			}
			// One Service in both clusters, and whoever asks for it has an identity in both.
			clusters := map[string]bool{}
			for _, q := range rec.Requests {
				if q.Caller == "web@east" && q.At.Service == "api" && q.XFCC != "" {
					clusters[q.At.Cluster] = true
				}
			}
			if len(clusters) != 2 {
				t.Errorf("api was reached in %v, want both clusters", clusters)
			}
			return ctx
		}).Feature())
}

// report is what is read of report.json.
type report struct {
	Meshes []string
}

func reportOf(t *testing.T, r ended) (out report) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(r.doc.Runs[0].Dir, "report.json"))
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}
