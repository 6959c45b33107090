package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshproof/meshproof/internal/journal"
	"github.com/meshproof/meshproof/scenarios"
)

// host is a host on which all is well.
func host(t *testing.T) *Host {
	t.Helper()
	proc := t.TempDir()
	for name, text := range map[string]string{
		"meminfo":                           "MemTotal: 33554432 kB\nMemAvailable:   16777216 kB\n",
		"sys/fs/inotify/max_user_instances": "512\n",
		"sys/fs/inotify/max_user_watches":   "524288\n",
	} {
		put(t, filepath.Join(proc, name), text)
	}
	return &Host{
		Docker: func(_ context.Context, args ...string) (string, error) {
			if args[0] == "info" {
				return `{"ServerVersion":"28.1","CgroupVersion":"2","DockerRootDir":"/data","MemTotal":34359738368}`, nil
			}
			return "", nil
		},
		Proc:      proc,
		Free:      func(string) (uint64, error) { return 100 << 30, nil },
		Journals:  t.TempDir(),
		Bundle:    func(context.Context) (string, error) { return "7 parts", nil },
		Mesh:      func(mesh string) (string, error) { return mesh + " 1.31", nil },
		NodeImage: func(context.Context) (string, error) { return "node:1", nil },
		Agent:     func() error { return nil },
		Addresses: func(context.Context, int) error { return nil },
		Kept:      func() ([]string, error) { return nil, nil },
	}
}

func put(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

var needs = Needs{Clusters: 2, Nodes: 3, Pods: 12, Meshed: true, Latency: true, Faults: []scenarios.Fault{{Kind: scenarios.PodKill}, {Kind: scenarios.NetworkDelay}, {Kind: scenarios.Partition}, {Kind: scenarios.NetworkDelay}}, Meshes: []string{"none", "istio", "none"}}

func TestAHostOnWhichAllIsWellHasOneFindingForEachExamination(t *testing.T) {
	var got []string
	for _, f := range host(t).Examine(t.Context(), needs) {
		if f.Status != OK || f.Remedy != "" {
			t.Errorf("%+v", f)
		}
		got = append(got, f.Check)
	}
	want := []string{"docker", "bundle", "mesh none", "mesh istio", "node image", "agent", "memory", "disk", "inotify", "addresses", "control groups", "privileged containers", "kernel: latency", "kernel: network-delay", "kernel: partition", "kept clusters", "leftovers"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestEachThingThatIsWrongIsFoundAndSaysWhatToDo(t *testing.T) {
	failing := func(h *Host, word, says string) {
		docker := h.Docker
		h.Docker = func(ctx context.Context, args ...string) (string, error) {
			if strings.Contains(strings.Join(args, " "), word) {
				return "", errors.New(says)
			}
			return docker(ctx, args...)
		}
	}
	afterDocker := []string{"node image", "memory", "disk", "addresses", "control groups", "privileged containers", "kernel: latency", "kernel: network-delay", "kernel: partition"}
	tried := []string{"privileged containers", "kernel: latency", "kernel: network-delay", "kernel: partition"}
	for _, tt := range []struct {
		name, check string
		breaks      func(t *testing.T, h *Host)
		want        Status
		says        string
		also        []string // other examinations that can then not be made
		do          string
	}{
		{"a mesh that the bundle lacks parts of", "mesh istio", func(_ *testing.T, h *Host) {
			h.Mesh = func(mesh string) (string, error) {
				if mesh == "istio" {
					return "", errors.New("the bundle has no image proxyv2")
				}
				return "", nil
			}
		}, Warning, "no image proxyv2", nil, "meshproof bundle build"},
		{"no engine", "docker", func(_ *testing.T, h *Host) { failing(h, "info", "Cannot connect to the Docker daemon\nIs it running?") }, Problem, "Cannot connect to the Docker daemon Is it running?", afterDocker, "start Docker"},
		{"no client", "docker", func(_ *testing.T, h *Host) {
			h.Docker = func(context.Context, ...string) (string, error) {
				return "", fmt.Errorf("docker: %w", exec.ErrNotFound)
			}
		}, Problem, "executable file not found", afterDocker, "install Docker's command-line client"},
		{"an engine that is out of reach", "docker", func(_ *testing.T, h *Host) {
			h.Docker = func(context.Context, ...string) (string, error) {
				return `{"ServerErrors":["permission denied"]}`, nil
			}
		}, Problem, "permission denied", afterDocker, "usermod -aG docker"},
		{"no bundle", "bundle", func(_ *testing.T, h *Host) {
			h.Bundle = func(context.Context) (string, error) { return "", fmt.Errorf("%w in /b", ErrNoBundle) }
		}, Problem, "there is no bundle in /b", append([]string{"node image"}, tried...), "meshproof bundle build"},
		{"a broken bundle", "bundle", func(_ *testing.T, h *Host) {
			h.Bundle = func(context.Context) (string, error) { return "", errors.New("part node is cut short") }
		}, Problem, "part node is cut short", append([]string{"node image"}, tried...), "--only PART"},
		{"little memory", "memory", func(t *testing.T, h *Host) { put(t, filepath.Join(h.Proc, "meminfo"), "MemAvailable: 1048576 kB\n") }, Problem, "1.0 GiB available; 2 clusters with meshes, of 3 nodes", nil, "stop what else runs"},
		{"little room", "disk", func(_ *testing.T, h *Host) { h.Free = func(string) (uint64, error) { return 1 << 30, nil } }, Problem, "1.0 GiB free in /data", nil, "make room"},
		{"Docker elsewhere", "disk", func(_ *testing.T, h *Host) { h.Free = func(string) (uint64, error) { return 0, os.ErrNotExist } }, Unknown, "cannot be looked at from here", nil, "are free"},
		{"low limits", "inotify", func(t *testing.T, h *Host) {
			put(t, filepath.Join(h.Proc, "sys/fs/inotify/max_user_instances"), "128")
		}, Problem, "fs.inotify.max_user_instances is 128", nil, "sysctl -w"},
		{"no agent", "agent", func(_ *testing.T, h *Host) { h.Agent = func() error { return errors.New("it can't be read") } }, Problem, "can't be read", nil, "make build"},
		{"no addresses", "addresses", func(_ *testing.T, h *Host) {
			h.Addresses = func(_ context.Context, n int) error { return fmt.Errorf("%d clusters want 5 free ranges", n) }
		}, Problem, "2 clusters want 5", nil, "docker network prune"},
		{"no privileged containers", "privileged containers", func(_ *testing.T, h *Host) { failing(h, "--entrypoint true", "unable to apply caps") }, Problem, "unable to apply caps", tried[1:], "wrapper around runc"},
		{"no packet queue", "kernel: latency", func(_ *testing.T, h *Host) {
			docker, once := h.Docker, false
			h.Docker = func(ctx context.Context, args ...string) (string, error) {
				if strings.Contains(strings.Join(args, " "), "NFQUEUE") && !once {
					once = true
					return "", errors.New("No chain/target/match by that name.")
				}
				return docker(ctx, args...)
			}
		}, Problem, "is made: No chain/target/match", nil, "nfnetlink_queue"},
		{"no iptables", "kernel: partition", func(_ *testing.T, h *Host) { failing(h, "DROP", strings.Repeat("x", 1000)+" end") }, Warning, "xxx end", nil, "netfilter"},
		{"no node image", "node image", func(_ *testing.T, h *Host) {
			h.NodeImage = func(context.Context) (string, error) { return "", errors.New("wrong digest") }
		}, Problem, "wrong digest", tried, "bundle build --only node"},
		{"no room for the node image", "node image", func(_ *testing.T, h *Host) {
			h.NodeImage = func(context.Context) (string, error) { return "", errors.New("write /x: no space left on device") }
		}, Problem, "no space left", tried, "make room"},
		{"a killed run", "leftovers", func(t *testing.T, h *Host) {
			put(t, filepath.Join(h.Journals, "r-1.jsonl"), `{"seq":1,"op":"begin","what":"r","driver":"kind"}`+"\n")
		}, Warning, "may have left something: r", nil, "meshproof clean"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := host(t)
			tt.breaks(t, h)
			fs := h.Examine(t.Context(), needs)
			not := []string{}
			for _, f := range fs {
				switch {
				case f.Check == tt.check:
					if f.Status != tt.want || !strings.Contains(f.Found, tt.says) || !strings.Contains(f.Remedy, tt.do) || strings.Contains(f.Found, "\n") || len(f.Found) > 500 {
						t.Errorf("%+v", f)
					}
				case f.Status == Unknown && f.Remedy != "":
					not = append(not, f.Check)
				case f.Status != OK:
					t.Errorf("%+v", f)
				}
			}
			if len(tt.also) > 0 || len(not) > 0 {
				if d := cmp.Diff(tt.also, not); d != "" {
					t.Errorf("not examined (-want +got):\n%s", d)
				}
			}
			if got := Worst(fs); got != tt.want {
				t.Errorf("the worst is %s, want %s", got, tt.want)
			}
		})
	}
}

func TestARunThatIsAliveLeftNothing(t *testing.T) {
	h := host(t)
	j, err := journal.Open(h.Journals, "alive", "kind")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := j.Close(""); err != nil {
			t.Error(err)
		}
	}()
	if fs := h.Examine(t.Context(), Needs{}); fs[len(fs)-1].Status != OK {
		t.Errorf("%+v", fs[len(fs)-1])
	}
}

func TestWhatAScenarioDoesNotHaveIsNoObstacle(t *testing.T) {
	h := host(t)
	docker := h.Docker
	h.Docker = func(ctx context.Context, args ...string) (string, error) {
		if strings.Contains(strings.Join(args, " "), "iptables") {
			return "", errors.New("no iptables here")
		}
		return docker(ctx, args...)
	}
	for name, tt := range map[string]struct {
		needs Needs
		want  Status
	}{
		"neither latency nor faults":          {Needs{Clusters: 2, Nodes: 2}, OK},
		"faults, which are SKIPPED":           {Needs{Clusters: 2, Faults: []scenarios.Fault{{Kind: scenarios.NetworkDelay}, {Kind: scenarios.Partition}}}, Warning},
		"latency, without which it can't run": {Needs{Clusters: 2, Latency: true}, Problem},
	} {
		if got := Worst(h.Examine(t.Context(), tt.needs)); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

func TestClustersThatStandAlreadyNeedNoMoreRoom(t *testing.T) {
	h := host(t)
	h.Free = func(string) (uint64, error) { return 4 << 30, nil }
	h.Kept = func() ([]string, error) { return []string{"fleet abcdef"}, nil }
	if got := Worst(h.Examine(t.Context(), Needs{Clusters: 2, Nodes: 2})); got != Problem {
		t.Errorf("for new ones: %s", got)
	}
	fs := h.Examine(t.Context(), Needs{Clusters: 2, Nodes: 2, Standing: true})
	if got := Worst(fs); got != OK {
		t.Errorf("for those that stand: %s", got)
	}
	if kept := fs[len(fs)-2]; kept.Status != OK || !strings.Contains(kept.Found, "abcdef") || !strings.Contains(kept.Found, "clean --kept") {
		t.Errorf("%+v", kept)
	}
}

func TestNeedsAreThoseOfTheWorkloadsInEveryCluster(t *testing.T) {
	s, err := scenarios.LoadLibrary("smoke")
	if err != nil {
		t.Fatal(err)
	}
	s.Spec.Topology.Clusters[0].Nodes = 3
	n := NeedsOf(s)
	pods := 0
	for _, w := range s.Workloads() {
		pods += len(w.Clusters) * w.Replicas
	}
	if want := len(s.Spec.Topology.Clusters); n.Clusters != want || n.Nodes != want+2 || n.Pods != pods || len(n.Faults) != len(s.Spec.Faults) {
		t.Errorf("%+v", n)
	}
	most := n.Most(Needs{Clusters: 9, Nodes: 12, Pods: 1, Faults: []scenarios.Fault{{Kind: scenarios.Partition}}})
	if most.Clusters != 9 || most.Nodes != 12 || most.Pods != pods || len(most.Faults) != len(n.Faults)+1 {
		t.Errorf("%+v", most)
	}
}

func TestChaosMeshIsLookedForWhereFaultsAreByIt(t *testing.T) {
	by := []scenarios.Fault{{Kind: scenarios.Partition, By: scenarios.ByChaosMesh}}
	for name, c := range map[string]struct {
		faults []scenarios.Fault
		err    error
		want   []Finding
	}{
		"nobody asks for it": {[]scenarios.Fault{{Kind: scenarios.Partition, By: scenarios.ByMeshproof}}, errors.New("no bundle"), nil},
		"it is there":        {by, nil, []Finding{{"chaos-mesh", OK, "chaos-mesh 2.9", ""}}},
		"it is not":          {by, errors.New("no\nbundle"), []Finding{{"chaos-mesh", Warning, "its faults are SKIPPED: no bundle", "complete the bundle: meshproof bundle build"}}},
	} {
		h := &Host{Chaos: func() (string, error) { return "chaos-mesh 2.9", c.err }}
		if got := h.chaos(Needs{Faults: c.faults}); !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	if got := tries(Needs{Faults: by}); len(got) != 3 || got[1].check != "kernel: partition by chaos-mesh" {
		t.Errorf("tried: %+v", got)
	}
}

func TestWhatBringsAMeshThatIsMissingIsSaidOfEachMesh(t *testing.T) {
	const build, pull, add = "meshproof bundle build", "meshproof bundle pull", "meshproof bundle add"
	h := host(t)
	h.Mesh = func(string) (string, error) { return "", errors.New("the bundle lacks it") }
	for mesh, want := range map[string][]string{"istio": {build}, "linkerd": {pull, add}, "layered": {build, pull, add}} {
		fs := h.Examine(t.Context(), Needs{Meshes: []string{mesh}})
		i := slices.IndexFunc(fs, func(f Finding) bool { return f.Check == "mesh "+mesh })
		if i < 0 {
			t.Fatalf("mesh %s was not examined", mesh)
		}
		var said []string
		for _, command := range []string{build, pull, add} {
			if strings.Contains(fs[i].Remedy, command) {
				said = append(said, command)
			}
		}
		if fs[i].Status != Warning || !slices.Equal(said, want) || !strings.Contains(fs[i].Remedy, "run without it (--mesh)") {
			t.Errorf("%+v, want %q", fs[i], want)
		}
	}
}
