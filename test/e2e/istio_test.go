package e2e

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"
)

func TestWhatIsWrongWithRealIstioIsFound(t *testing.T) {
	test(t, features.New("a service that takes plaintext").
		Assess("each of its edges fails, and no other", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			h := hostOf(ctx)
			h.file = "testdata/permissive.yaml"
			r := h.run(ctx, t)
			if r.code != 1 || len(r.doc.Runs) != 1 {
				t.Fatalf("exit code %d, want 1: %s\n%s", r.code, r.doc.Error, r.stderr)
			}
			got := map[string]string{}
			for _, c := range reportOf(t, r).Checks {
				got[c.ID] = c.Verdict
			}
			// Policy refuses in plaintext, too: whoever has no certificate is nobody that it allows.
			want := map[string]string{"run/whole": "PASS", "mtls/ingress->web": "PASS", "mtls/web->api": "FAIL", "policy/web": "PASS", "policy/api": "PASS"}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("checks (-want +got):\n%s", d)
			}
			return ctx
		}).Feature())
}

// report is what is read of report.json.
type report struct {
	Meshes []string
	Checks []struct{ ID, Mesh, Verdict string }
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
