package kind

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	chaosapi "github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"sigs.k8s.io/yaml"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/scenarios"
)

func TestEachFaultBecomesAnObjectOfChaosMesh(t *testing.T) {
	pods := chaosapi.PodSelector{Mode: chaosapi.AllMode, Selector: chaosapi.PodSelectorSpec{Pods: map[string][]string{"app": {"cart-1"}}}}
	c := &cluster{name: "east", f: &fleet{chaos: chaos{namespace: "chaos-mesh"}}}
	const selector = "mode: all\nselector:\n  pods:\n    app:\n    - cart-1\n"
	for kind, tc := range map[scenarios.FaultKind]struct {
		fault scenarios.Fault
		kind  string
		want  string // of the spec
	}{
		scenarios.PodKill:          {scenarios.Fault{}, "PodChaos", "action: pod-kill\n" + selector},
		scenarios.Partition:        {scenarios.Fault{}, "NetworkChaos", "action: partition\ndirection: both\nexternalTargets:\n- 10.2.0.0/16\n" + selector},
		scenarios.NetworkLoss:      {scenarios.Fault{Share: 0.25}, "NetworkChaos", "action: loss\ndirection: to\nexternalTargets:\n- 10.2.0.0/16\nloss:\n  loss: \"25\"\n" + selector},
		scenarios.NetworkDelay:     {scenarios.Fault{Delay: scenarios.Duration(40 * time.Millisecond)}, "NetworkChaos", "action: delay\ndelay:\n  latency: 40000us\ndirection: to\nexternalTargets:\n- 10.2.0.0/16\n" + selector},
		scenarios.NetworkBandwidth: {scenarios.Fault{BitsPerSecond: 8_000_000}, "NetworkChaos", "action: bandwidth\nbandwidth:\n  buffer: 10000\n  limit: 250000\n  rate: 8000000bit\ndirection: to\n" + selector},
		scenarios.CPUStress:        {scenarios.Fault{Workers: 2}, "StressChaos", "containerNames:\n- workload\n" + selector + "stressors:\n  cpu:\n    workers: 2\n"},
		scenarios.MemoryStress:     {scenarios.Fault{MemoryMiB: 64}, "StressChaos", "containerNames:\n- workload\n" + selector + "stressors:\n  memory:\n    size: 64MiB\n    workers: 1\n"},
		scenarios.ClockSkew:        {scenarios.Fault{Ahead: scenarios.Duration(10 * time.Minute)}, "TimeChaos", "containerNames:\n- workload\n" + selector + "timeOffset: 10m0s\n"},
		scenarios.DNSError:         {scenarios.Fault{}, "DNSChaos", "action: error\n" + selector},
	} {
		t.Run(string(kind), func(t *testing.T) {
			tc.fault.Kind = kind
			obj, resource := networkChaos(tc.fault, pods, []string{"10.2.0.0/16"}), "networkchaos"
			if !kind.Between() {
				obj, resource = podChaos(tc.fault, pods)
			}
			e, err := c.experimentIn(nil, obj, resource, "breaks", 1)
			if err != nil {
				t.Fatal(err)
			}
			if e.obj.GetKind() != tc.kind || e.obj.GetName() != "meshproof-breaks" || e.obj.GetNamespace() != "chaos-mesh" || e.obj.GetAPIVersion() != "chaos-mesh.org/v1alpha1" {
				t.Errorf("it is %s %s/%s of %s", e.obj.GetKind(), e.obj.GetNamespace(), e.obj.GetName(), e.obj.GetAPIVersion())
			}
			text, err := yaml.Marshal(e.obj.Object["spec"])
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, string(text)); d != "" {
				t.Errorf("spec (-want +got):\n%s", d)
			}
			if _, ok := e.obj.Object["status"]; ok {
				t.Error("it brings a status along")
			}
		})
	}
	if obj, _ := podChaos(scenarios.Fault{Kind: scenarios.MeshAbort}, pods); obj != nil {
		t.Errorf("a fault of the mesh became %v", obj)
	}
}

func TestWhatABundleLacksOfChaosMeshSkipsItsFaultsAndStartsNothing(t *testing.T) {
	const daemon, controller = "docker.io/meshproof/chaos-daemon:2.9", "docker.io/meshproof/chaos-mesh:2.9"
	for name, tc := range map[string]struct {
		charts, refs []string
		want         string
	}{
		"nothing":    {nil, nil, "chart-chaos-mesh"},
		"no chart":   {nil, []string{daemon, controller}, "chart-chaos-mesh"},
		"no daemon":  {[]string{"chaos-mesh"}, []string{controller}, "has no image chaos-daemon"},
		"everything": {[]string{"chaos-mesh"}, []string{daemon, controller}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := New(Config{Bundle: bundleWith(t, append(tc.charts, "other"), tc.refs...)})
			mat, err := p.chaosMaterial()
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				want := map[string]any{
					"controllerManager": map[string]any{"imagePullPolicy": "IfNotPresent", "image": map[string]any{"registry": "docker.io", "repository": "meshproof/chaos-mesh", "tag": "2.9"}},
					"chaosDaemon":       map[string]any{"imagePullPolicy": "IfNotPresent", "image": map[string]any{"registry": "docker.io", "repository": "meshproof/chaos-daemon", "tag": "2.9"}},
					"dnsServer":         map[string]any{"create": false},
				}
				if d := cmp.Diff(want, chaosImageValues(mat.images)); d != "" {
					t.Error(d)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			// A fleet without clusters shows that nothing is asked of them.
			fault := scenarios.Fault{Name: "cut", Kind: scenarios.Partition, By: scenarios.ByChaosMesh}
			f := &fleet{spec: clusters.Spec{Faults: []scenarios.Fault{fault}, Tools: []clusters.Release{{Namespace: "chaos-mesh"}}}}
			if err := f.installTools(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			if _, err := f.Injector(fault); !errors.Is(err, clusters.ErrNotPossible) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("the fault is refused with %v", err)
			}
		})
	}
}

func TestAProgramOfAnImageIsLookedIntoWithoutRunningIt(t *testing.T) {
	layer := func(files map[string]string) v1.Layer {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for name, text := range files {
			if err := errors.Join(w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(text)), Typeflag: tar.TypeReg})); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return static.NewLayer(b.Bytes(), types.DockerUncompressedLayer)
	}
	img, err := mutate.AppendLayers(empty.Image, layer(map[string]string{"usr/local/bin/chaos-daemon": "old " + fakeClock}), layer(map[string]string{"usr/local/bin/chaos-daemon": "new"}))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "image.tar")
	tag, err := name.NewTag("docker.io/meshproof/chaos-daemon:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(path, tag, img); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{"new": true, fakeClock: false} { // the upper layer counts
		if got, err := imageHas(path, chaosDaemon, text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	if _, err := imageHas(path, "nothing", "x"); err == nil || !strings.Contains(err.Error(), "no such program") {
		t.Errorf("a program that is not there: %v", err)
	}
	if err := os.WriteFile(path, []byte("no archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := imageHas(path, chaosDaemon, "x"); err == nil {
		t.Error("what is no archive was read")
	}
}

func TestWhatAContainerUsesIsReadOfBothVersionsOfControlGroups(t *testing.T) {
	for name, tc := range map[string]struct {
		text   string
		cpu    time.Duration
		memory int64
		bad    bool
	}{
		"version 1":  {`{"cpu":{"usage":{"total":1500000000,"kernel":1}},"memory":{"cache":1,"usage":{"limit":9,"usage":4096}}}`, 1500 * time.Millisecond, 4096, false},
		"version 2":  {`{"cpu":{"usage_usec":1500000,"user_usec":1},"memory":{"anon":1,"usage":4096}}`, 1500 * time.Millisecond, 4096, false},
		"no memory":  {`{"cpu":{"usage_usec":1500000}}`, 0, 0, true},
		"no cpu":     {`{"memory":{"usage":4096}}`, 0, 0, true},
		"nothing":    {`{}`, 0, 0, true},
		"no JSON":    {`ctr: not found`, 0, 0, true},
		"odd memory": {`{"cpu":{"usage_usec":1},"memory":{"usage":"much"}}`, 0, 0, true},
	} {
		got, err := readUsage([]byte(tc.text))
		if (err != nil) != tc.bad || err == nil && (got.cpu != tc.cpu || got.memory != tc.memory) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func FuzzReadUsage(f *testing.F) {
	f.Add([]byte(`{"cpu":{"usage":{"total":1}},"memory":{"usage":{"usage":4096}}}`))
	f.Fuzz(func(_ *testing.T, text []byte) { _, _ = readUsage(text) })
}
