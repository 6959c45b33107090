package kind

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	security "istio.io/client-go/pkg/apis/security/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/linkerdapi"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/agent"
	"github.com/meshproof/meshproof/internal/workload"
	"github.com/meshproof/meshproof/scenarios"
)

// sink keeps what it is given.
type sink struct {
	mu    sync.Mutex
	items []evidence.Item
}

func (s *sink) Append(i evidence.Item) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items = append(s.items, i)
	return nil
}

// said is what was given, in short.
func (s *sink) said() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, i := range s.items {
		switch i := i.(type) {
		case *evidence.Request:
			out = append(out, i.Trial.Mesh+" "+i.ID)
		case *evidence.Event:
			out = append(out, fmt.Sprintf("%s %s %d", i.Kind, i.Of, i.Count))
		}
	}
	return out
}

func testFollower(t *testing.T) (*follower, *sink) {
	t.Helper()
	s := &sink{}
	f := newFleet(clusters.Spec{Trial: evidence.Trial{Block: 1, Mesh: "none"}, Sink: s}, t.TempDir())
	p := &pod{ref: evidence.PodRef{Cluster: "east", Namespace: "app", Service: "shop", Pod: "shop-1", UID: "u"}}
	return newFollower(&cluster{f: f, name: "east"}, p), s
}

func line(t *testing.T, process string, n uint64, id string) []byte {
	t.Helper()
	l := agent.Line{Process: process, N: n}
	if id != "" {
		l.Request = &evidence.Request{ID: id}
	}
	b, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

func TestALogIsTakenOnceAndWhatIsMissingIsSaid(t *testing.T) {
	const src = "pod/east/shop-1"
	for name, tt := range map[string]struct {
		lines [][]byte
		want  []string
		stray string
	}{
		"whole":                         {lines: [][]byte{line(t, "a", 1, ""), line(t, "a", 2, "x"), line(t, "a", 3, "y")}, want: []string{"none x", "none y"}},
		"read again from its beginning": {lines: [][]byte{line(t, "a", 1, ""), line(t, "a", 2, "x"), line(t, "a", 1, ""), line(t, "a", 2, "x"), line(t, "a", 3, "y")}, want: []string{"none x", "none y"}},
		"a hole":                        {lines: [][]byte{line(t, "a", 1, ""), line(t, "a", 4, "x")}, want: []string{"lost " + src + " 2", "none x"}},
		"its beginning is cut off":      {lines: [][]byte{line(t, "a", 3, "x")}, want: []string{"lost " + src + " 2", "none x"}},
		"a restart":                     {lines: [][]byte{line(t, "a", 1, ""), line(t, "b", 1, ""), line(t, "b", 2, "x")}, want: []string{"error  0", "none x"}},
		"a panic":                       {lines: [][]byte{line(t, "a", 1, ""), []byte("panic: oh\n"), []byte("{\"n\":\n")}, stray: "panic: oh\n{\"n\":\n"},
	} {
		t.Run(name, func(t *testing.T) {
			f, s := testFollower(t)
			for _, l := range tt.lines {
				if err := f.take(l); err != nil {
					t.Fatal(err)
				}
			}
			if d := cmp.Diff(tt.want, s.said()); d != "" {
				t.Error(d)
			}
			if got := string(f.stray()); got != tt.stray {
				t.Errorf("stray %q, want %q", got, tt.stray)
			}
		})
	}
}

func TestAFollowerThatEndsSaysHowManyLinesItLacks(t *testing.T) {
	f, _ := testFollower(t)
	for n := range uint64(3) {
		if err := f.take(line(t, "a", n+1, "")); err != nil {
			t.Fatal(err)
		}
	}
	if n := f.reach(t.Context(), agent.Last{Process: "a", N: 3}); n != 0 {
		t.Errorf("%d lines are missing of those that are there", n)
	}
	close(f.ended)
	if n := f.reach(t.Context(), agent.Last{Process: "a", N: 5}); n != 2 {
		t.Errorf("%d lines are missing, want 2", n)
	}
	if n := f.reach(t.Context(), agent.Last{Process: "b", N: 5}); n != 5 {
		t.Errorf("of another process %d lines are missing, want 5", n)
	}
}

func FuzzTake(f *testing.F) {
	f.Add([]byte(`{"process":"a","n":1,"request":{"id":"x"}}`))
	f.Add([]byte("panic: x"))
	fl := newFollower(&cluster{f: newFleet(clusters.Spec{Sink: &sink{}}, f.TempDir())}, &pod{})
	f.Fuzz(func(_ *testing.T, text []byte) { _ = fl.take(text) })
}

func TestKubeProxysRulesAreRead(t *testing.T) {
	got := proxied(`*nat
:KUBE-SVC-AAA - [0:0]
-A KUBE-SERVICES -d 10.97.3.4/32 -p tcp -m comment --comment "app/shop:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-AAA
-A KUBE-SVC-AAA ! -s 10.96.0.0/16 -d 10.97.3.4/32 -p tcp -m comment --comment "app/shop:http cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SVC-AAA -m comment --comment "app/shop:http -> 10.98.0.7:8080" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-BBB
-A KUBE-SVC-AAA -m comment --comment "app/shop:http -> 10.96.0.5:8080" -j KUBE-SEP-CCC
-A KUBE-SEP-CCC -p tcp -m comment --comment "app/shop:http" -m tcp -j DNAT --to-destination 10.96.0.5:8080
COMMIT
`)
	if d := cmp.Diff(map[string][]string{"app/shop:http": {"10.96.0.5:8080", "10.98.0.7:8080"}}, got); d != "" {
		t.Error(d)
	}
}

func FuzzProxied(f *testing.F) {
	f.Add(`-A KUBE-SVC-AAA -m comment --comment "app/shop:http -> 10.96.0.5:8080" -j KUBE-SEP-CCC`)
	f.Fuzz(func(_ *testing.T, rules string) { proxied(rules) })
}

func TestAClusterIsMadeForItsHost(t *testing.T) {
	p := plan{name: "meshproof-abcdef-east", ranges: ranges{pods: netip.MustParsePrefix("10.96.0.0/16"), services: netip.MustParsePrefix("10.97.0.0/16")}}
	p.networks = []string{""}
	with := p
	with.networks = []string{"/s/east-0.network"}
	three := p
	three.networks = []string{"/s/east-0.network", "/s/east-1.network", "/s/east-2.network"}
	for _, tt := range []struct {
		name   string
		plan   plan
		host   host
		mounts int
		nodes  int
		noCNI  bool
		v1     bool
	}{
		{name: "an image with a CNI", plan: p, host: host{agent: "/a", image: "i"}, nodes: 1, mounts: 2},
		{name: "an image without", plan: with, host: host{agent: "/a", image: "i"}, nodes: 1, mounts: 3, noCNI: true},
		{name: "several nodes", plan: three, host: host{agent: "/a", image: "i"}, nodes: 3, mounts: 3, noCNI: true},
		{name: "control groups of version 1", plan: p, host: host{agent: "/a", image: "i", cgroupV1: true}, nodes: 1, mounts: 2, v1: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := tt.plan.config(tt.host)
			if len(c.Nodes) != tt.nodes || c.Networking.DisableDefaultCNI != tt.noCNI {
				t.Errorf("%+v", c)
			}
			folders := map[string]bool{}
			for i, n := range c.Nodes {
				folders[n.ExtraMounts[len(n.ExtraMounts)-1].HostPath] = true
				if len(n.ExtraMounts) != tt.mounts || (n.Role == v1alpha4.ControlPlaneRole) != (i == 0) || (len(n.ExtraPortMappings) == 1) != (i == 0) {
					t.Errorf("node %d: %+v", i, n)
				}
			}
			if len(folders) != tt.nodes {
				t.Errorf("%d nodes keep the configuration of their networks in %v", tt.nodes, folders)
			}
			// kind takes the taint away from a single node, and fails where there is none.
			if got := strings.Contains(strings.Join(c.KubeadmConfigPatches, "---\n"), "taints: []"); got != (tt.nodes > 1) {
				t.Errorf("patches %q", c.KubeadmConfigPatches)
			}
			if got := strings.Contains(c.KubeadmConfigPatches[0], "failCgroupV1: false"); got != tt.v1 {
				t.Errorf("patches %q", c.KubeadmConfigPatches)
			}
			for _, m := range c.Nodes[0].ExtraPortMappings {
				if m.ListenAddress != "127.0.0.1" {
					t.Errorf("port %d listens at %q", m.ContainerPort, m.ListenAddress)
				}
			}
		})
	}
	b, err := conflist(netip.MustParsePrefix("10.96.0.0/16"))
	var doc struct {
		Plugins []struct {
			Type   string
			IPMasq bool
			IPAM   struct{ Ranges [][]struct{ Subnet string } }
		}
	}
	if err != nil || json.Unmarshal(b, &doc) != nil || doc.Plugins[0].IPAM.Ranges[0][0].Subnet != "10.96.0.0/16" || doc.Plugins[0].IPMasq {
		t.Errorf("conflist = %s, %v", b, err)
	}
}

func TestTheAgentsImageIsTheSameForTheSameBinary(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent")
	if err := os.WriteFile(path, []byte("binary"), 0o755); err != nil {
		t.Fatal(err)
	}
	a, err := agentImage(path)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // whole seconds are what archives have
	b, err := agentImage(path)
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("two archives of %d and %d bytes differ: %v", len(a), len(b), err)
	}
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(file, a, 0o644); err != nil {
		t.Fatal(err)
	}
	img, err := tarball.ImageFromPath(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := img.ConfigFile()
	if err != nil || cfg.Config.User == "" || len(cfg.Config.Entrypoint) != 1 || cfg.Config.Entrypoint[0] != "/meshproof-agent" {
		t.Errorf("config %+v, %v", cfg, err)
	}
	if _, err := agentImage(path + "-not"); err == nil {
		t.Error("an image was made of nothing")
	}
}

func TestWhatAClusterCannotTakeIsRefusedBeforeTheRun(t *testing.T) {
	p := New(Config{})
	foreign := &appsv1.Deployment{}
	foreign.Name, foreign.Namespace = "shop", "app"
	foreign.Spec.Template.Spec.Containers = []corev1.Container{{Name: "web", Image: "nginx"}}
	own := foreign.DeepCopy()
	own.Spec.Template.Spec.Containers[0].Image = workload.Image
	for _, tt := range []struct {
		name string
		mesh scenarios.MeshName
		obj  clusters.Object
		want string
	}{
		{"a workload", scenarios.MeshNone, own, ""},
		{"an image that no node has", scenarios.MeshNone, foreign, "nginx"},
		{"a kind that has no definition", scenarios.MeshNone, &corev1.Secret{}, "kind"},
		{"a workload of Istio", scenarios.MeshIstio, own, ""},
		{"a setting of Istio", scenarios.MeshIstio, &security.PeerAuthentication{}, ""},
		{"a setting of a mesh that is not there", scenarios.MeshNone, &security.PeerAuthentication{}, "kind"},
		{"a setting of another mesh", scenarios.MeshIstio, &linkerdapi.Server{}, "kind"},
		{"a workload of Linkerd", scenarios.MeshLinkerd, own, ""},
		{"a setting of Linkerd", scenarios.MeshLinkerd, &linkerdapi.Server{}, ""},
		{"a setting of the other mesh", scenarios.MeshLinkerd, &security.PeerAuthentication{}, "kind"},
		{"a setting of either mesh", scenarios.MeshLayered, &security.PeerAuthentication{}, ""},
		{"a mesh", "consul", own, "--driver embedded"},
	} {
		err := p.Check(string(tt.mesh), []clusters.Object{tt.obj})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestWithoutAnAgentTheErrorSaysHowToGetOne(t *testing.T) {
	t.Setenv(AgentEnv, filepath.Join(t.TempDir(), "nothing"))
	if _, err := Agent(); err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("Agent: %v", err)
	}
	plain := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv(AgentEnv, plain)
	if _, err := Agent(); err == nil || !strings.Contains(err.Error(), "no program") {
		t.Errorf("Agent: %v", err)
	}
}

func TestOnlyAnIDOfAFleetIsCleaned(t *testing.T) {
	state := t.TempDir()
	for _, id := range []string{"", "..", "short", "With-Dash", strings.Repeat("a", 21)} {
		if err := Clean(context.Background(), state, id); err == nil {
			t.Errorf("%q was cleaned", id)
		}
	}
	if _, err := os.Stat(state); err != nil {
		t.Error(err)
	}
}

func TestASliceHoldsWhatAServiceLeadsToInAnotherCluster(t *testing.T) {
	svc := workload.Service(scenarios.Workload{Name: "cart", Namespace: "app"})
	s := slice(svc, "west", target{[]string{"10.98.0.2", "10.98.0.3"}, map[string]int32{"http": scenarios.WorkloadPort}})
	var got []string
	for _, e := range s.Endpoints {
		got = append(got, e.Addresses...)
	}
	if d := cmp.Diff([]string{"10.98.0.2", "10.98.0.3"}, got); d != "" {
		t.Error(d)
	}
	if len(s.Ports) != 1 || *s.Ports[0].Port != scenarios.WorkloadPort || s.Labels["kubernetes.io/service-name"] != "cart" {
		t.Errorf("%+v", s)
	}
}
