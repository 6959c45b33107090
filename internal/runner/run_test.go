package runner_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/embedded"
	"github.com/meshproof/meshproof/clusters/embedded/istio"
	"github.com/meshproof/meshproof/clusters/embedded/layered"
	"github.com/meshproof/meshproof/clusters/embedded/linkerd"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/runner"
	"github.com/meshproof/meshproof/internal/workers"
	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

func TestMain(m *testing.M) {
	if os.Getenv(envWorker) != "" {
		if err := workers.Work(context.Background(), os.Stdin, os.Stdout, nil); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// tiny is the least that has a choice for the seed in each place: replicas to kill, kinds of request.
const tiny = `
apiVersion: meshproof/v1alpha1
kind: Scenario
metadata: {name: tiny}
spec:
  meshes: [{name: %s}]
  topology:
    clusters: [{name: east}]
    services: [{name: shop, replicas: 8}]
  policy: {default: deny, allow: [{from: ingress, to: shop}]}
  traffic:
    - name: users
      to: shop
      requests: [{path: /a}, {path: /b, weight: 2}, {method: POST, path: /c}]
      profile: {stages: [{rate: 40, for: 2s}]}
  faults:
    - {name: dies, kind: pod-kill, target: {service: shop}, at: 500ms}
  expect:
    errors: [{traffic: users, rate: 0.5}]
`

// models is the embedded driver with every mesh that it models.
func models() clusters.Provider {
	return embedded.New(map[string]proxy.Factory{"istio": istio.Factory(), "linkerd": linkerd.Factory(), "layered": layered.Factory()})
}

func run(t *testing.T, text string, seed int64, p clusters.Provider) (*runner.Outcome, *evidence.Record) {
	t.Helper()
	s, err := scenarios.Parse("tiny.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if p == nil {
		p = models()
	}
	out, err := runner.Run(t.Context(), runner.Options{
		Scenario: s, Provider: p, Out: t.TempDir(), Journal: t.TempDir(), Seed: seed, Version: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := evidence.Open(filepath.Join(out.Dir, runner.EvidenceDir))
	if err != nil {
		t.Fatal(err)
	}
	return out, rec
}

// drawn is all that the seed decides and the evidence shows.
func drawn(rec *evidence.Record) (requests, targets []string, offered []int64) {
	for _, r := range rec.Requests {
		if r.Window == "load" && r.At.Service == "ingress" {
			requests = append(requests, fmt.Sprint(r.ID, " ", r.Method, " ", r.Path))
		}
	}
	slices.Sort(requests)
	for _, f := range rec.Faults {
		if f.Action == evidence.FaultInject {
			targets = append(targets, f.Name+" "+f.Target)
		}
	}
	for _, k := range rec.Ticks {
		offered = append(offered, k.Offered)
	}
	return requests, targets, offered
}

func TestTheSameSeedGivesTheSameScheduleTargetsAndRequests(t *testing.T) {
	text := fmt.Sprintf(tiny, "none")
	_, a := run(t, text, 7, nil)
	_, b := run(t, text, 7, nil)
	_, c := run(t, text, 8, nil)
	ra, ta, oa := drawn(a)
	rb, tb, ob := drawn(b)
	rc, _, oc := drawn(c)
	if len(ra) != 80 || len(ta) != 1 || len(oa) == 0 {
		t.Fatalf("%d requests, %d targets, %d ticks", len(ra), len(ta), len(oa))
	}
	if d := cmp.Diff(ra, rb); d != "" {
		t.Errorf("requests differ:\n%s", d)
	}
	if d := cmp.Diff(ta, tb); d != "" {
		t.Errorf("targets differ:\n%s", d)
	}
	if d := cmp.Diff(oa, ob); d != "" {
		t.Errorf("schedules differ:\n%s", d)
	}
	if cmp.Equal(ra, rc) {
		t.Error("another seed draws the same requests")
	}
	if d := cmp.Diff(oa, oc); d != "" {
		t.Errorf("the schedule is the profile's, whatever the seed:\n%s", d)
	}
}

func TestAnEnvironmentThatFailsIsAnErrorVerdictWithAReport(t *testing.T) {
	p := failing{models(), errors.New("no room on this host")}
	out, _ := run(t, fmt.Sprintf(tiny, "istio"), 1, p)
	if out.Result.Verdict != verify.Error || !strings.Contains(out.Result.Message, "no room on this host") {
		t.Fatalf("%s: %s", out.Result.Verdict, out.Result.Message)
	}
	if _, err := os.Stat(filepath.Join(out.Dir, "report.html")); err != nil {
		t.Error(err)
	}
}

func TestEveryTrialIsInTheManifestBeforeItRuns(t *testing.T) {
	_, rec := run(t, fmt.Sprintf(tiny, "istio"), 3, nil)
	m := rec.Manifest
	if m.Driver != "embedded" || !m.Modelled || len(m.Models) == 0 || m.Seed != 3 || fmt.Sprint(m.Order) != "[[istio]]" {
		t.Errorf("manifest: %+v", m)
	}
	var s scenarios.Scenario
	if err := json.Unmarshal(m.Scenario, &s); err != nil || s.Spec.Topology.Services[0].Namespace != "app" {
		t.Errorf("the scenario is not there with its defaults: %v", err)
	}
	if !rec.Sealed || len(rec.Problems)+len(rec.Gaps()) > 0 {
		t.Errorf("sealed %v, problems %v, gaps %v", rec.Sealed, rec.Problems, rec.Gaps())
	}
}
