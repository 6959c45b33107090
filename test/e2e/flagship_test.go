package e2e

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"

	"github.com/meshproof/meshproof/evidence"
)

// proved are the checks of testdata/flagship.yaml. All of them must pass on every mesh, but for what bare says.
var proved = []string{
	"run/whole", "load/buyers/sale", "errors/buyers/sale",
	"mtls/ingress->shop", "mtls/shop->cart", "mtls/shop->stock",
	"policy/shop", "policy/cart", "policy/stock", "identity/shop",
	"fault/cart-dies", "recovery/cart-dies", "fault/broken-line", "recovery/broken-line",
	"fault/new-leaves", "rotation/new-leaves", "fault/new-issuer", "rotation/new-issuer", "fault/carts-gone", "failover/carts-gone",
}

// bare are the verdicts of clusters without a mesh: what they are declared not to do, they must be seen not to do.
var bare = map[string]string{
	"mtls/ingress->shop": "GAP", "mtls/shop->cart": "GAP", "mtls/shop->stock": "GAP",
	"policy/shop": "GAP", "policy/cart": "GAP", "policy/stock": "GAP", "identity/shop": "GAP",
	"fault/new-leaves": "SKIPPED", "rotation/new-leaves": "GAP", "fault/new-issuer": "SKIPPED", "rotation/new-issuer": "GAP",
}

func TestTheFlagshipIsProvedWithoutAMeshAndOnIstio(t *testing.T) {
	var r ended
	test(t, features.New("two clusters, tokens, a pod that dies, a line that breaks").
		Assess("the run passes, and each check of each mesh", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			h := hostOf(ctx)
			h.file = "testdata/flagship.yaml"
			r = h.run(ctx, t)
			t.Logf("it took %s", r.took)
			if len(r.doc.Runs) != 1 {
				t.Fatalf("exit code %d: %s\n%s", r.code, r.doc.Error, r.stderr)
			}
			rep := reportOf(t, r)
			got := map[string]map[string]string{} // verdicts, by mesh and check
			for _, c := range rep.Checks {
				if got[c.Mesh] == nil {
					got[c.Mesh] = map[string]string{}
				}
				got[c.Mesh][c.ID] = c.Verdict
			}
			want := map[string]map[string]string{}
			for _, mesh := range rep.Meshes {
				want[mesh] = map[string]string{}
				for _, id := range proved {
					want[mesh][id] = "PASS"
				}
			}
			maps.Copy(want["none"], bare)
			if d := cmp.Diff(want, got); d != "" || r.code != 0 {
				t.Errorf("exit code %d, checks (-want +got):\n%s\n%s", r.code, d, r.summary())
			}
			return ctx
		}).
		Assess("what is said of Istio is said of the build that ran, in both clusters", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			rec, err := evidence.Open(filepath.Join(r.doc.Runs[0].Dir, "evidence"))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := reportOf(t, r).Meshes, []string{"none", rec.Manifest.MeshName("istio")}; !slices.Equal(got, want) {
				t.Errorf("the report compares %q, want %q", got, want)
			}
			// One Service in both clusters, and whoever asks for it has an identity in both.
			clusters := map[string]bool{}
			for _, q := range rec.Requests {
				if q.Trial.Mesh == "istio" && q.Caller == "shop@east" && q.At.Service == "cart" && q.XFCC != "" {
					clusters[q.At.Cluster] = true
				}
			}
			if len(clusters) != 2 {
				t.Errorf("cart was reached in %v, want both clusters", slices.Sorted(maps.Keys(clusters)))
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
