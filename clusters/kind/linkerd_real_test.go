package kind

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/linkerdapi"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/runner"
	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

// Where the bundle has Linkerd.
func TestRealLinkerdKeepsWhatIsExpectedOfIt(t *testing.T) {
	p := RealProvider(t)
	build, err := p.Build(string(scenarios.MeshLinkerd))
	if errors.Is(err, clusters.ErrNotPossible) {
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
	rec, err := evidence.Open(filepath.Join(out.Dir, runner.EvidenceDir))
	if err != nil {
		t.Fatal(err)
	}
	if build.Links {
		joinedByLinks(t, rec)
	} else if how := rec.Manifest.Components["clusters of mesh linkerd"]; !strings.Contains(how, joinedByDriver) {
		t.Errorf("clusters are %q", how)
	}
}

// judgedLinkerd wants everything to be proved but what pods ask themselves, which meets no proxy: the one pod of web has no
// other to ask, and a pod of api may be answered by itself alone on connections that stand, being the nearest.
func judgedLinkerd(t *testing.T, res *verify.Result) {
	t.Helper()
	cells := 0
	for _, c := range res.Cells {
		switch {
		case c.From == "web" && c.To == "web":
			if c.Verdict != verify.Skipped {
				t.Errorf("%s is %s, want %s: %s", c.ID, c.Verdict, verify.Skipped, c.Message)
			}
		case c.Verdict == verify.Pass:
			cells++
		case c.Verdict != verify.Skipped || c.From != c.To:
			t.Errorf("%s is %s: %s", c.ID, c.Verdict, c.Message)
		}
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

// joinedByLinks wants evidence to name Linkerd's own extension, with a Link in each cluster, and what web sent to api to have
// gone to the federated Service, over the pods of both clusters.
func joinedByLinks(t *testing.T, rec *evidence.Record) {
	t.Helper()
	if how := rec.Manifest.Components["clusters of mesh linkerd"]; !strings.Contains(how, "multicluster extension") {
		t.Errorf("clusters are %q", how)
	}
	links := map[string]string{}
	for _, e := range rec.Events {
		if e.Kind == evidence.EventApplied && strings.HasPrefix(e.Name, "Link/") {
			links[e.At.Cluster] = e.Name
		}
	}
	want := map[string]string{"east": "Link/" + linkerdapi.LinksNamespace + "/west", "west": "Link/" + linkerdapi.LinksNamespace + "/east"}
	if d := cmp.Diff(want, links); d != "" {
		t.Error(d)
	}
	most := 0
	for _, s := range rec.Scrapes {
		if s.At.Service != "web" || s.Error != "" {
			continue
		}
		have, err := balancedOver([]byte(s.Body))
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, have["app/api"+linkerdapi.FederatedSuffix])
		if n := have["app/api"]; n > 1 {
			t.Errorf("web balances api itself over %d pods, and the others are known by Links alone", n)
		}
	}
	if most != 2 {
		t.Errorf("web balanced the federated Service of api over %d pods, want 2", most)
	}
}
