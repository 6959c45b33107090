package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
		NodeImage: func(context.Context) (string, error) { return "node:1", nil },
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

var needs = Needs{Clusters: 2, Nodes: 3, Pods: 12, Faults: []scenarios.FaultKind{scenarios.PodKill, scenarios.NetworkDelay, scenarios.Partition, scenarios.NetworkDelay}}

func TestAHostOnWhichAllIsWellHasOneFindingForEachExamination(t *testing.T) {
	var got []string
	for _, f := range host(t).Examine(t.Context(), needs) {
		if f.Status != OK || f.Remedy != "" {
			t.Errorf("%+v", f)
		}
		got = append(got, f.Check)
	}
	want := []string{"docker", "bundle", "memory", "disk", "inotify", "control groups", "privileged containers", "kernel: network-delay", "kernel: partition", "leftovers"}
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
	for _, tt := range []struct {
		name, check string
		breaks      func(t *testing.T, h *Host)
		want        Status
		says        string
		also        []string // other examinations that can then not be made
	}{
		{"no engine", "docker", func(_ *testing.T, h *Host) { failing(h, "info", "Cannot connect to the Docker daemon\nIs it running?") }, Problem, "Cannot connect to the Docker daemon Is it running?", []string{"memory", "disk", "control groups", "privileged containers", "kernel: network-delay", "kernel: partition"}},
		{"an engine that is out of reach", "docker", func(_ *testing.T, h *Host) {
			h.Docker = func(context.Context, ...string) (string, error) {
				return `{"ServerErrors":["permission denied"]}`, nil
			}
		}, Problem, "permission denied", []string{"memory", "disk", "control groups", "privileged containers", "kernel: network-delay", "kernel: partition"}},
		{"no bundle", "bundle", func(_ *testing.T, h *Host) {
			h.Bundle = func(context.Context) (string, error) { return "", fmt.Errorf("%w in /b", ErrNoBundle) }
		}, Problem, "there is no bundle in /b", nil},
		{"a broken bundle", "bundle", func(_ *testing.T, h *Host) {
			h.Bundle = func(context.Context) (string, error) { return "", errors.New("part node is cut short") }
		}, Problem, "part node is cut short", nil},
		{"little memory", "memory", func(t *testing.T, h *Host) { put(t, filepath.Join(h.Proc, "meminfo"), "MemAvailable: 1048576 kB\n") }, Problem, "1.0 GiB available; 2 clusters", nil},
		{"little room", "disk", func(_ *testing.T, h *Host) { h.Free = func(string) (uint64, error) { return 1 << 30, nil } }, Problem, "1.0 GiB free in /data", nil},
		{"Docker elsewhere", "disk", func(_ *testing.T, h *Host) { h.Free = func(string) (uint64, error) { return 0, os.ErrNotExist } }, Unknown, "cannot be looked at from here", nil},
		{"low limits", "inotify", func(t *testing.T, h *Host) {
			put(t, filepath.Join(h.Proc, "sys/fs/inotify/max_user_instances"), "128")
		}, Problem, "fs.inotify.max_user_instances is 128", nil},
		{"no privileged containers", "privileged containers", func(_ *testing.T, h *Host) { failing(h, "--entrypoint true", "unable to apply caps") }, Problem, "unable to apply caps", []string{"kernel: network-delay", "kernel: partition"}},
		{"no packet queue", "kernel: network-delay", func(_ *testing.T, h *Host) { failing(h, "NFQUEUE", "No chain/target/match by that name.") }, Problem, "is made: No chain/target/match", nil},
		{"no iptables", "kernel: partition", func(_ *testing.T, h *Host) { failing(h, "DROP", strings.Repeat("x", 1000)+" end") }, Warning, "xxx end", nil},
		{"no node image", "privileged containers", func(_ *testing.T, h *Host) {
			h.NodeImage = func(context.Context) (string, error) { return "", errors.New("not loaded") }
		}, Unknown, "not loaded", []string{"kernel: network-delay", "kernel: partition"}},
		{"a killed run", "leftovers", func(t *testing.T, h *Host) {
			put(t, filepath.Join(h.Journals, "r-1.jsonl"), `{"seq":1,"op":"begin","what":"r","driver":"kind"}`+"\n")
		}, Warning, "may have left something: r", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := host(t)
			tt.breaks(t, h)
			fs := h.Examine(t.Context(), needs)
			not := []string{}
			for _, f := range fs {
				switch {
				case f.Check == tt.check:
					if f.Status != tt.want || !strings.Contains(f.Found, tt.says) || f.Remedy == "" || strings.Contains(f.Found, "\n") || len(f.Found) > 500 {
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
	most := n.Most(Needs{Clusters: 9, Nodes: 12, Pods: 1, Faults: []scenarios.FaultKind{scenarios.Partition}})
	if most.Clusters != 9 || most.Nodes != 12 || most.Pods != pods || len(most.Faults) != len(n.Faults)+1 {
		t.Errorf("%+v", most)
	}
}
