package kind

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/engine"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/bundle"
	"github.com/meshproof/meshproof/meshes"
	"github.com/meshproof/meshproof/scenarios"
)

// renderedCharts makes what Istio's own charts make of the values that Meshproof gives them, by chart.
func renderedCharts(t *testing.T, flavor string) map[string]string {
	t.Helper()
	dir, err := bundle.DefaultDir()
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Open(dir)
	if err != nil {
		t.Skipf("wants Istio's charts: %v", err)
	}
	mesh, err := meshes.ByName(scenarios.MeshIstio)
	if err != nil {
		t.Fatal(err)
	}
	apart := &scenarios.Scenario{}
	apart.Spec.Topology.Network.Kind = scenarios.NetworkSeparate
	_, _, west := twoClusters(t, true, true)
	images := map[string]image{
		"pilot":   {ref: "docker.io/istio/pilot:1.31.0", repository: "docker.io/istio", tag: "1.31.0"},
		"proxyv2": {ref: "docker.io/istio/proxyv2:1.31.0", repository: "docker.io/istio", tag: "1.31.0"},
	}
	out := map[string]string{}
	for _, r := range mesh.Install(apart, scenarios.MeshEntry{}, flavor, "west").Releases {
		part, err := b.Part("chart-" + r.Chart)
		if err != nil {
			t.Skipf("wants Istio's charts: %v", err)
		}
		ch, err := readChart(opener(b.Path(part)))
		if err != nil {
			t.Fatal(err)
		}
		values := over(over(r.Values, istio{}.imageValues(r.Chart, images)), istio{}.clusterValues(west, r.Chart))
		all, err := util.ToRenderValues(ch, values, common.ReleaseOptions{Name: r.Name, Namespace: r.Namespace, IsInstall: true, Revision: 1}, common.DefaultCapabilities)
		if err != nil {
			t.Fatalf("values of chart %s: %v", r.Chart, err)
		}
		files, err := engine.Render(ch, all)
		if err != nil {
			t.Fatalf("chart %s: %v", r.Chart, err)
		}
		var text strings.Builder
		for _, name := range slices.Sorted(maps.Keys(files)) {
			text.WriteString(files[name] + "\n")
		}
		out[r.Chart] = text.String()
	}
	return out
}

func TestIstiosChartsMakeOfTheValuesWhatTheyAreMeantFor(t *testing.T) {
	both := map[string][]string{
		"base": {"istio-reader-service-account", "kind: CustomResourceDefinition"},
		"istiod": {
			`image: "docker.io/istio/pilot:1.31.0"`, "trustDomain: cluster.local", "mode: REGISTRY_ONLY", "%DOWNSTREAM_PEER_URI_SAN%", "ECC_SIGNATURE_ALGORITHM: ECDSA",
			`listener\..*\.(ssl\..*|no_filter_chain_match)`, `value: "west"`, `"network": "west"`, `"meshID": "meshproof"`, `"hub": "docker.io/istio"`, `"tag": "1.31.0"`, `"imagePullPolicy": "IfNotPresent"`,
		},
		"gateway": {"10.100.0.4", "10.100.0.5", "port: 15443", `topology.istio.io/network: "west"`, "istio: eastwestgateway", "imagePullPolicy: IfNotPresent", "cpu: 10m"},
	}
	for flavor, more := range map[string][]string{"": nil, clusters.FlavorUpstreamEnvoy: {"PILOT_ENABLE_METADATA_EXCHANGE", "PILOT_ENABLE_ALPN_FILTER"}} {
		got := renderedCharts(t, flavor)
		for chart, want := range both {
			if chart == "istiod" {
				want = append(slices.Clone(want), more...)
			}
			for _, w := range want {
				if !strings.Contains(got[chart], w) {
					t.Errorf("flavor %q: chart %s makes nothing with %q", flavor, chart, w)
				}
			}
		}
		if strings.Contains(got["gateway"], "HorizontalPodAutoscaler") || strings.Contains(got["istiod"], "kind: Deployment\n    name: istiod\n") {
			t.Errorf("flavor %q: something scales by itself", flavor)
		}
		if flavor == "" && strings.Contains(got["istiod"], "PILOT_ENABLE_ALPN_FILTER") {
			t.Error("the stock proxy loses its ALPN filter")
		}
	}
}
