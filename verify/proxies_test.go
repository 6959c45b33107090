package verify

import (
	"slices"
	"testing"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// installed has every pod's sidecar be of an image, and the run's mesh be installed with that.
func installed(rec *evidence.Record, mesh, container, image string) {
	rec.Manifest.Proxies = map[string]map[string]string{mesh: {container: image}}
	for _, p := range rec.Pods {
		p.Images = map[string]string{"workload": "meshproof/agent:dev"}
		if howMany(p.InitContainers, container)+howMany(p.Containers, container) > 0 {
			p.Images[container] = image
		}
	}
}

func TestASidecarOfAnotherVersionThanTheRunInstalledIsFound(t *testing.T) {
	for mesh, container := range map[scenarios.MeshName]string{scenarios.MeshIstio: "istio-proxy", scenarios.MeshLinkerd: "linkerd-proxy"} {
		for _, tt := range []struct {
			name    string
			change  func(last *evidence.Pod)
			verdict Verdict
			reason  string
		}{
			{"all of one version", func(*evidence.Pod) {}, Pass, "Proved"},
			{"one of an older version", func(p *evidence.Pod) { p.Images[container] = "proxy:1" }, Fail, "WrongSidecarSet"},
			{"one of which nobody knows", func(p *evidence.Pod) { delete(p.Images, container) }, Invalid, "NoImages"},
			{"none that is known", func(p *evidence.Pod) { p.Images = nil }, Invalid, "NoImages"},
		} {
			t.Run(string(mesh)+", "+tt.name, func(t *testing.T) {
				rec := goodRecord(t, testScenario(mesh))
				installed(rec, string(mesh), container, "proxy:2")
				tt.change(rec.Pods[len(rec.Pods)-1]) // the new cart
				checks := Evaluate(rec).Checks
				c := checks[slices.IndexFunc(checks, func(c Check) bool { return c.ID == "mtls/shop->cart" })]
				if c.Verdict != tt.verdict || c.Reason != tt.reason {
					t.Errorf("%s %s: %s", c.Verdict, c.Reason, c.Message)
				}
			})
		}
	}
}
