package reports

import (
	"bytes"
	"strings"
	"testing"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/verify"
)

// costly is a result of real clusters with figures of cost for none and Istio, as far as they were recorded.
func costly() *Report {
	v := func(x float64) *float64 { return &x }
	none, istio := evidence.Trial{Block: 1, Mesh: "none"}, evidence.Trial{Block: 1, Mesh: "istio"}
	res := result(1)
	res.Modelled = false
	res.Costs = []verify.Cost{
		{Trial: none, Traffic: "buyers", Phase: "calm", Role: evidence.RoleWorkload, Verdict: verify.Pass, Containers: 4, CPUSeconds: v(0.5), PerThousand: v(3.25), MemoryMean: 30 << 20, MemoryPeak: 40 << 20},
		{Trial: istio, Traffic: "buyers", Phase: "calm", Role: evidence.RoleWorkload, Verdict: verify.Pass, Containers: 4, CPUSeconds: v(0.6), PerThousand: v(4), AtLeast: true, MemoryMean: 30 << 20, MemoryPeak: 41 << 20},
		{Trial: istio, Traffic: "buyers", Phase: "calm", Role: evidence.RoleSidecar, Verdict: verify.Pass, Containers: 5, CPUSeconds: v(1.7), PerThousand: v(11.5), MemoryMean: 160 << 20, MemoryPeak: 165 << 20},
		{Trial: istio, Traffic: "buyers", Phase: "calm", Role: evidence.RoleControlPlane, Verdict: verify.Invalid, Message: "node east-1 is missing from sample 3"},
	}
	m := manifest(1)
	m.Modelled, m.Models, m.Flavors = false, nil, map[string]string{"istio": "upstream Envoy"}
	return Build(&evidence.Record{Manifest: m, Sealed: true}, res)
}

func TestCostIsShownByMeshPhaseAndRoleUnderTheNameOfTheBuild(t *testing.T) {
	r := costly()
	var page bytes.Buffer
	if err := HTML(&page, r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`id="cost"`, `href="#cost"`, "<td>3.25</td><td>30 MiB</td><td>40 MiB</td>", "≥ 4</td>", "<td>11.5</td><td>160 MiB</td><td>165 MiB</td>",
		"node east-1 is missing from sample 3", `<span class="none">none</span>`, "istio (upstream Envoy)",
	} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	md := string(summary(r))
	for _, want := range []string{
		"| calm | none | 3.25 · 40 MiB | – | – |",
		"| calm | istio (upstream Envoy) | ≥ 4 · 41 MiB | 11.5 · 165 MiB | not known: node east-1 is missing from sample 3 |",
	} {
		if !strings.Contains(md, want) {
			t.Errorf("the summary lacks %q:\n%s", want, md)
		}
	}
	for _, c := range r.Costs {
		if c.Mesh == "istio" {
			t.Error("figures stand under the mesh's bare name")
		}
		if (c.Verdict == verify.Pass) != (c.CPUSeconds != nil && c.MemoryPeak != nil) {
			t.Errorf("%+v", c)
		}
	}
}

func TestWhereNoCostIsKnownTheReportSaysWhy(t *testing.T) {
	res := result(1)
	res.Costs = []verify.Cost{{Trial: evidence.Trial{Block: 1, Mesh: "istio"}, Verdict: verify.Skipped, Message: "the data planes are models, whose cost is not a mesh's"}}
	r := Build(&evidence.Record{Manifest: manifest(1), Sealed: true}, res)
	var page bytes.Buffer
	if err := HTML(&page, r); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(page.String(), "whose cost is not a mesh’s") && !strings.Contains(page.String(), "whose cost is not a mesh&#39;s") {
		t.Error("the page does not say why there is no cost")
	}
	if strings.Contains(string(summary(r)), "### Cost") {
		t.Error("the summary has a section on cost without a figure")
	}
	if r.Costs[0].CPUSeconds != nil || r.Costs[0].MemoryMean != nil {
		t.Errorf("what is not known has a figure: %+v", r.Costs[0])
	}
}
