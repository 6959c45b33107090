package fidelity

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/meshproof/meshproof/clusters/embedded"
	"github.com/meshproof/meshproof/clusters/embedded/istio"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/runner"
	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

// folder holds the runs that the tests share.
var folder string

func TestMain(m *testing.M) {
	var err error
	if folder, err = os.MkdirTemp("", "fidelity"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := os.RemoveAll(folder); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
		os.Exit(code)
	}))
}

const tiny = `
apiVersion: meshproof/v1alpha1
kind: Scenario
metadata: {name: tiny}
spec:
  meshes: [{name: none, gaps: [mtls, policy]}, {name: istio}]
  identity: {issuer: {audience: shop}}
  topology:
    clusters: [{name: east}]
    services: [{name: shop, calls: [{to: cart}]}, {name: cart}]
  policy:
    default: deny
    allow:
      - {from: ingress, to: shop, claims: {role: customer}}
      - {from: shop, to: cart, methods: [GET]}
  expect:
    mtls: {everywhere: true}
    policy: {matrix: complete}
`

// recordedRuns are two runs of one scenario under two seeds, made once for all tests. Each call reads them anew.
var recordedRuns = sync.OnceValues(makeRuns)

func makeRuns() (dirs [2]string, err error) {
	for i := range dirs {
		s, err := scenarios.Parse("tiny.yaml", []byte(tiny))
		if err != nil {
			return dirs, err
		}
		out, err := runner.Run(context.Background(), runner.Options{
			Scenario: s, Provider: embedded.New(map[string]proxy.Factory{"istio": istio.Factory()}),
			Out: filepath.Join(folder, fmt.Sprint("out", i)), Journal: filepath.Join(folder, "journal"), Seed: int64(i + 1), Version: "test",
		})
		if err != nil {
			return dirs, err
		}
		dirs[i] = filepath.Join(out.Dir, runner.EvidenceDir)
	}
	return dirs, nil
}

func twoRuns(t *testing.T) (a, b *evidence.Record) {
	t.Helper()
	dirs, err := recordedRuns()
	if err != nil {
		t.Fatal(err)
	}
	for i, rec := range []**evidence.Record{&a, &b} {
		if *rec, err = evidence.Open(dirs[i]); err != nil {
			t.Fatal(err)
		}
	}
	return a, b
}

func TestTwoRunsOfOneScenarioDoNotDisagree(t *testing.T) {
	a, b := twoRuns(t)
	c := Compare(a, b)
	if c.Outcome != Agree {
		var text bytes.Buffer
		c.WriteText(&text)
		t.Fatalf("%s:\n%s", c.Outcome, &text)
	}
	for _, m := range c.Meshes {
		for _, kind := range []string{verify.SightingMatrix, verify.SightingToken, verify.SightingIdentity, KindVerdict} {
			if m.Agreed[kind] == 0 {
				t.Errorf("mesh %s: nothing of kind %s was compared", m.Name, kind)
			}
		}
	}
}

// shopToCart are the proof requests of one cell in one window.
func shopToCart(rec *evidence.Record, mesh, window, method string) []*evidence.Probe {
	var out []*evidence.Probe
	for _, p := range rec.Probes {
		if p.Trial.Mesh == mesh && p.Window == window && p.From.Service == "shop" && p.To == "cart" && p.Method == method && p.Role == "ask" {
			out = append(out, p)
		}
	}
	return out
}

func remove(rec *evidence.Record, gone []*evidence.Probe) {
	is := map[*evidence.Probe]bool{}
	for _, p := range gone {
		is[p] = true
	}
	kept := rec.Probes[:0:0]
	for _, p := range rec.Probes {
		if !is[p] {
			kept = append(kept, p)
		}
	}
	rec.Probes = kept
}

func TestWhatIsNotTheSameOnBothSidesIsFoundAndNamed(t *testing.T) {
	for _, tc := range []struct {
		name    string
		mutate  func(b *evidence.Record)
		mesh    string
		want    Outcome
		kind    string // of one difference, or unknown, that must be named
		subject string
		words   string // in B's words
	}{
		{
			name: "another status in one window", mesh: "none", want: Disagree,
			mutate: func(b *evidence.Record) {
				for _, p := range shopToCart(b, "none", "after/fresh", "GET") {
					p.Status = 204
				}
			},
			kind: verify.SightingMatrix, subject: "after/fresh shop@east->cart GET / (fresh)", words: "allowed, 204",
		},
		{
			name: "another sender in the workloads' records", mesh: "istio", want: Disagree,
			mutate: func(b *evidence.Record) {
				for _, r := range b.Requests {
					if r.Trial.Mesh == "istio" && r.Window == "before/established" && r.At.Service == "cart" {
						r.XFCC = strings.ReplaceAll(r.XFCC, "/sa/shop", "/sa/somebody")
					}
				}
			},
			kind: verify.SightingIdentity, subject: "before/established shop->cart, by the workload's record", words: "/sa/somebody",
		},
		{
			name: "another sender in the access log", mesh: "istio", want: Disagree,
			mutate: func(b *evidence.Record) {
				for _, l := range b.Accesses {
					if l.At.Service == "cart" {
						l.Line = bytes.ReplaceAll(l.Line, []byte("/sa/shop"), []byte("/sa/somebody"))
					}
				}
			},
			kind: verify.SightingIdentity, subject: "before/fresh shop->cart, by the proxy's access log", words: "/sa/somebody",
		},
		{
			name: "a pod that serves no TLS", mesh: "istio", want: Disagree,
			mutate: func(b *evidence.Record) {
				for _, h := range b.Handshakes {
					if h.Window == "after/fresh" && h.At.Service == "cart" {
						h.Chain, h.Error = nil, "not TLS"
					}
				}
			},
			kind: verify.SightingIdentity, subject: "after/fresh cart, by the served chain", words: "no chain: not TLS",
		},
		{
			name: "a disproved edge", mesh: "istio", want: Disagree,
			mutate: func(b *evidence.Record) {
				for _, h := range b.Handshakes {
					if h.At.Service == "cart" {
						h.Chain, h.Error = nil, "not TLS"
					}
				}
			},
			kind: KindVerdict, subject: "mtls/shop->cart", words: "FAIL, NotTLS",
		},
		{
			name: "another status of a token", mesh: "none", want: Disagree,
			mutate: func(b *evidence.Record) {
				status := map[string]bool{}
				for _, p := range b.Probes {
					if p.Trial.Mesh == "none" && p.Window == "before/edge" && p.Token != nil && p.Token.Kind == "expired" && p.Role == "ask" {
						p.Status = 403
						status[p.ID] = true
					}
				}
				for _, r := range b.Requests {
					if status[r.ID] && r.At.Service == "ingress" {
						r.Status = 403
					}
				}
			},
			kind: verify.SightingToken, subject: "expired", words: "refused, 403",
		},
		{
			name: "a cell that one side did not ask", mesh: "istio", want: Incomparable,
			mutate: func(b *evidence.Record) { remove(b, shopToCart(b, "istio", "before/established", "GET")) },
			kind:   verify.SightingMatrix, subject: "before/established shop@east->cart GET / (established)", words: "not proved",
		},
		{
			name: "evidence that contradicts itself", mesh: "istio", want: Incomparable,
			mutate: func(b *evidence.Record) {
				for _, p := range shopToCart(b, "istio", "before/fresh", "POST") {
					p.Status = 401
				}
			},
			kind: verify.SightingMatrix, subject: "before/fresh shop@east->cart POST / (fresh)", words: "not proved",
		},
		{
			name: "a trial that did not end", mesh: "none", want: Incomparable,
			mutate: func(b *evidence.Record) {
				for _, e := range b.Events {
					if e.Trial.Mesh == "none" && e.Kind == evidence.EventTrialEnd {
						e.Kind = "something-else"
					}
				}
			},
			kind: KindVerdict, subject: "run/whole", words: "NotFinished",
		},
		{
			name: "another mesh entry", mesh: "none", want: Incomparable,
			mutate: func(b *evidence.Record) {
				b.Manifest.Scenario = bytes.Replace(b.Manifest.Scenario, []byte(`"mtls",`), nil, 1)
			},
			kind: KindVerdict, subject: "the mesh's entry in the scenario", words: `"gaps":["policy"]`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, b := twoRuns(t)
			tc.mutate(b)
			c, back := Compare(a, b), Compare(b, a)
			if c.Outcome != tc.want || back.Outcome != tc.want {
				t.Errorf("the outcome is %s, and %s the other way about, want %s", c.Outcome, back.Outcome, tc.want)
			}
			for _, m := range c.Meshes {
				list := m.Unknown
				if tc.want == Disagree {
					list = m.Differ
				}
				found := false
				for _, d := range list {
					found = found || d.Kind == tc.kind && strings.Contains(d.Subject, tc.subject) && strings.Contains(d.B, tc.words) && !strings.Contains(d.A, tc.words)
				}
				if found != (m.Name == tc.mesh) {
					t.Errorf("mesh %s: %s %q with %q is named: %v\n%+v", m.Name, tc.kind, tc.subject, tc.words, found, list)
				}
			}
		})
	}
}

func TestRecordsThatAreNoTwoRunsOfOneScenarioAreNotCompared(t *testing.T) {
	for _, tc := range []struct {
		name   string
		mutate func(b *evidence.Record)
		why    string
	}{
		{"another policy", func(b *evidence.Record) {
			b.Manifest.Scenario = bytes.ReplaceAll(b.Manifest.Scenario, []byte(`"GET"`), []byte(`"PUT"`))
		}, "spec.policy.allow[1].methods[0]"},
		{"no scenario", func(b *evidence.Record) { b.Manifest.Scenario = json.RawMessage(`[]`) }, "B does not hold a readable scenario"},
		{"no seal", func(b *evidence.Record) { b.Sealed = false }, "B has no seal"},
		{"changed after the seal", func(b *evidence.Record) { b.Problems = []string{"probes: changed"} }, "B is not whole: probes: changed"},
		{"no mesh in common", func(b *evidence.Record) {
			b.Manifest.Order = [][]string{{}}
		}, "no mesh was run on both sides"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, b := twoRuns(t)
			tc.mutate(b)
			if c := Compare(a, b); c.Outcome != Incomparable || !strings.Contains(c.Reason, tc.why) {
				t.Errorf("%s, %q, want %q", c.Outcome, c.Reason, tc.why)
			}
		})
	}
}

func TestAMeshThatOneSideSkippedIsSaidAndNotCompared(t *testing.T) {
	a, b := twoRuns(t)
	b.Events = append(b.Events, &evidence.Event{
		Header: evidence.Header{Trial: evidence.Trial{Block: 1, Mesh: "istio"}}, Kind: evidence.EventSkipped, Message: "no images",
	})
	c := Compare(a, b)
	if c.Outcome != Agree || len(c.Meshes) != 2 || c.Meshes[1].Skipped != "B skipped it: no images" || len(c.Meshes[1].Agreed) > 0 {
		t.Errorf("%+v", c)
	}
	var text bytes.Buffer
	c.WriteText(&text)
	if !strings.Contains(text.String(), "istio: not compared: B skipped it: no images") {
		t.Error(text.String())
	}
}

// recovering is a run of three faults, as far as recoveries looks at one. Times are in ms after the start of the load;
// -1 was not seen to recover.
func recovering(at ...int64) *run {
	r := &run{record: &evidence.Record{}, scenario: &scenarios.Scenario{}, result: &verify.Result{}}
	for i, ms := range at {
		name := fmt.Sprint("fault", i)
		r.scenario.Spec.Faults = append(r.scenario.Spec.Faults, scenarios.Fault{Name: name})
		f := verify.Fault{Trial: evidence.Trial{Block: 1, Mesh: "istio"}, Name: name, Kind: string(scenarios.Partition), Verdict: verify.Pass, RecoveryMicros: -1}
		if ms >= 0 {
			f.EndMicros, f.RecoveryMicros = (ms-100)*1000, 100_000
		}
		r.result.Faults = append(r.result.Faults, f)
	}
	return r
}

// killing makes the first fault of a run one that ends a pod.
func killing(r *run) *run {
	r.scenario.Spec.Faults[0].Kind = scenarios.PodKill
	return r
}

// rotating makes the first fault of a run one that replaces certificates.
func rotating(r *run) *run {
	r.scenario.Spec.Faults[0].Kind = scenarios.LeafRotation
	return r
}

func ofModel(r *run) *run {
	r.record.Manifest.Modelled = true
	return r
}

func TestTheOrderOfRecoveriesIsCompared(t *testing.T) {
	for _, tc := range []struct {
		name    string
		a, b    *run
		agreed  int
		differ  []string
		unknown []string
	}{
		{"the same order at other times", recovering(1000, 2000, 3000), recovering(1500, 4000, 9000), 6, nil, nil},
		{"two the other way about", recovering(1000, 2000, 3000), recovering(2000, 1000, 3000), 5, []string{"order of fault0 and fault1: fault0 first, fault1 first"}, nil},
		{"too close to have an order", recovering(1000, 1200), recovering(2000, 1000), 2, nil, nil},
		{"not seen to recover on one side", recovering(1000, 2000), recovering(1000, -1), 1, nil, []string{"fault1: recovered, block 1: not seen to recover ()"}},
		{"certificates that are replaced, from which there is no recovery", recovering(-1, 2000), rotating(recovering(-1, 1000)), 1, nil, nil},
		{"a network's fault and a pod's, with a model", ofModel(recovering(1000, 2000)), killing(recovering(2000, 1000)), 2, nil, nil},
		{"a network's fault and a pod's, both real", recovering(1000, 2000), killing(recovering(2000, 1000)), 2, []string{"order of fault0 and fault1: fault0 first, fault1 first"}, nil},
		{"two of a network, with a model", ofModel(recovering(1000, 2000)), recovering(2000, 1000), 2, []string{"order of fault0 and fault1: fault0 first, fault1 first"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := Mesh{Agreed: map[string]int{}}
			for i := range tc.a.scenario.Spec.Faults { // both are of one scenario
				tc.a.scenario.Spec.Faults[i].Kind = tc.b.scenario.Spec.Faults[i].Kind
			}
			m.recoveries("istio", tc.a, tc.b)
			if noted := len(m.Notes) > 0; noted != strings.HasSuffix(tc.name, "a pod's, with a model") {
				t.Errorf("notes %q", m.Notes)
			}
			words := func(list []Difference) (out []string) {
				for _, d := range list {
					out = append(out, d.Subject+": "+d.A+", "+d.B)
				}
				return out
			}
			if d := cmp.Diff([]any{tc.agreed, tc.differ, tc.unknown}, []any{m.Agreed[KindRecovery], words(m.Differ), words(m.Unknown)}); d != "" {
				t.Error(d)
			}
		})
	}
}
