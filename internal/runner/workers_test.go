package runner_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/runner"
	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

// envWorker makes this test's binary a worker.
const envWorker = "MESHPROOF_TEST_WORKER"

// pair is a load of two phases, of users.
const pair = `
apiVersion: meshproof/v1alpha1
kind: Scenario
metadata: {name: pair}
spec:
  meshes: [{name: none}]
  topology:
    clusters: [{name: east}]
    services: [{name: shop}]
  identity: {issuer: {kind: oidc, audience: shop}}
  traffic:
    - {name: users, to: shop, token: {claims: {role: customer}}, profile: {stages: [{name: calm, rate: 40, for: 1s}, {name: busy, rate: 60, for: 1s}]}}
  expect: {errors: [{traffic: users, rate: 0.01}]}
`

// crew is the options of a run whose loads are sent by two processes of this test's binary each, which are in the list.
func crew(t *testing.T, text string) (runner.Options, *[]*exec.Cmd) {
	t.Helper()
	s, err := scenarios.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	list := &[]*exec.Cmd{}
	return runner.Options{
		Scenario: s, Provider: models(), Out: t.TempDir(), Journal: t.TempDir(), Seed: 1, Version: "test", Workers: 2,
		Worker: func() *exec.Cmd {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), envWorker+"=1")
			cmd.Stderr = os.Stderr
			*list = append(*list, cmd)
			return cmd
		},
	}, list
}

// tap sees what is recorded of loads.
type tap func(item evidence.Item)

// Append implements evidence.Sink.
func (f tap) Append(item evidence.Item) error { f(item); return nil }

func TestALoadOfARunIsSentByWorkersAndWatched(t *testing.T) {
	o, _ := crew(t, pair)
	sent := int64(0)
	o.Watch = func(m *evidence.Manifest) evidence.Sink {
		if m.RunID == "" || m.Driver != "embedded" {
			t.Errorf("%+v", m)
		}
		return tap(func(item evidence.Item) {
			if k, ok := item.(*evidence.Tick); ok {
				sent += k.Sent
			} else if item.StreamName() != evidence.Phases {
				t.Errorf("%s is none of a load's", item.StreamName())
			}
		})
	}
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
		if g := p.Generators; len(g) != 2 || g[1].Of != 2 || g[0].Done == 0 || g[1].Done == 0 || p.Codes["200"] != int(p.Offered) {
			t.Errorf("%s: %v, %+v", p.Phase, p.Codes, p.Generators)
		}
	}
	if sent != 100 {
		t.Errorf("%d requests were seen, want 100", sent)
	}
}

func TestAWorkerThatARunLosesLeavesNoVerdictOnWhatCameAfter(t *testing.T) {
	o, list := crew(t, pair)
	var once sync.Once
	calm := int64(0)
	o.Watch = func(*evidence.Manifest) evidence.Sink {
		return tap(func(item evidence.Item) {
			switch v := item.(type) {
			case *evidence.Phase:
				calm = v.AtMicros + v.ForMicros
			case *evidence.Tick:
				if calm > 0 && v.AtMicros >= calm {
					once.Do(func() { _ = (*list)[0].Process.Kill() })
				}
			}
		})
	}
	o.Scenario.Spec.Traffic[0].Profile.Stages[1].For *= 20
	out, err := runner.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]verify.Check{}
	for _, c := range out.Result.Checks {
		found[c.ID] = c
	}
	for _, id := range []string{"load/users/busy", "errors/users/busy"} {
		if c := found[id]; c.Verdict != verify.Invalid || c.Reason != "SenderLost" || !strings.Contains(c.Message, "worker 1 of 2") {
			t.Errorf("%s is %s %s: %s", id, c.Verdict, c.Reason, c.Message)
		}
	}
	for _, id := range []string{"load/users/calm", "errors/users/calm"} {
		if c := found[id]; c.Verdict != verify.Pass && c.Reason != "LoadLate" && c.Reason != "LoadShortfall" {
			t.Errorf("%s is %s %s: %s", id, c.Verdict, c.Reason, c.Message)
		}
	}
	if out.Result.Verdict != verify.Invalid {
		t.Errorf("the run is %s", out.Result.Verdict)
	}
}

func TestWorkersThatCannotSendALoadAreRefusedBeforeTheRun(t *testing.T) {
	for text, want := range map[string]string{
		strings.Replace(inside, "MESH", "{name: istio}", 1):                            "parts of this process",
		strings.Replace(pair, "to: shop, token", "to: shop, maxInFlight: 1, token", 1): "2 workers share 1 connections",
	} {
		o, list := crew(t, text)
		if _, err := runner.Run(t.Context(), o); !errors.Is(err, runner.ErrUsage) || !strings.Contains(err.Error(), want) || len(*list) != 0 {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
