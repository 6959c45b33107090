package e2e

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// others are things on the host that are nobody's business but their owner's: a container that carries kind's label, and
// a network.
type others struct {
	container, network string // IDs
	before             []string
}

// newOthers makes them. Their names and labels begin with what a fleet's do.
func newOthers(t *testing.T, name string, networkLabels ...string) *others {
	t.Helper()
	ctx := t.Context()
	image := docker(ctx, t, "image", "ls", "--quiet", "--filter", "reference=meshproof/node")
	if len(image) == 0 {
		t.Fatal("Docker does not have the image of nodes, which doctor loads")
	}
	name = fmt.Sprintf("%s-%d", name, time.Now().UnixNano())
	o := &others{before: stands(ctx, t)}
	o.container = docker(ctx, t, "create", "--name", name, "--label", "io.x-k8s.kind.cluster="+name, "--entrypoint", "/bin/true", image[0])[0]
	t.Cleanup(func() { docker(context.WithoutCancel(ctx), t, "rm", "--force", "--volumes", o.container) })
	args := []string{"network", "create", "--internal"}
	for _, l := range networkLabels {
		args = append(args, "--label", l)
	}
	o.network = docker(ctx, t, append(args, name)...)[0]
	t.Cleanup(func() { docker(context.WithoutCancel(ctx), t, "network", "rm", o.network) })
	return o
}

// stands lists the clusters and networks that belong to no fleet: other runs' come and go on a host, and so do the
// containers of commands.
func stands(ctx context.Context, t *testing.T) []string {
	t.Helper()
	list := docker(ctx, t, "ps", "--all", "--no-trunc", "--filter", "label=io.x-k8s.kind.cluster", "--format", `{{.Label "io.x-k8s.kind.cluster"}} container {{.ID}}`)
	list = append(list, docker(ctx, t, "network", "ls", "--no-trunc", "--format", `{{.Name}} network {{.ID}}`)...)
	return slices.DeleteFunc(list, func(l string) bool { return strings.HasPrefix(l, "meshproof-") })
}

// untouched fails the test where they, or what stood before them, do not stand any more.
func (o *others) untouched(ctx context.Context, t *testing.T) {
	t.Helper()
	now := stands(ctx, t)
	for _, was := range o.before {
		if !slices.Contains(now, was) {
			t.Errorf("%s stood before, and is gone", was)
		}
	}
	if !slices.Contains(docker(ctx, t, "ps", "--all", "--no-trunc", "--quiet"), o.container) {
		t.Error("a container of somebody else with kind's label is gone")
	}
	if !slices.Contains(docker(ctx, t, "network", "ls", "--no-trunc", "--quiet"), o.network) {
		t.Error("a network of somebody else is gone")
	}
}

// nothingLeft fails the test where something of the host's runs is left, or something of others is not.
func (h *host) nothingLeft(ctx context.Context, t *testing.T) {
	t.Helper()
	fleets := h.fleets(t)
	if len(fleets) == 0 && !h.early {
		t.Error("no run on this host says which clusters it made: nothing can be said about what is left")
	}
	for _, id := range fleets {
		for _, thing := range ofFleet(ctx, t, id) {
			t.Errorf("left: %s", thing)
		}
	}
	err := filepath.WalkDir(h.state, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			t.Errorf("left: file %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	h.others.untouched(ctx, t)
}

// ofFleet lists what carries the ID of a fleet: in Docker, and processes. Commands that were under way when their run was
// killed end by themselves, when what they talk to is gone: it waits for those.
func ofFleet(ctx context.Context, t *testing.T, id string) []string {
	t.Helper()
	list := inDocker(ctx, t, id)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		running := processes(t, "meshproof-"+id)
		if len(running) == 0 {
			return list
		}
		if time.Now().After(deadline) {
			return append(list, running...)
		}
	}
}

// inDocker lists what carries the ID of a fleet: containers, networks, volumes by their containers.
func inDocker(ctx context.Context, t *testing.T, id string) []string {
	t.Helper()
	var list []string
	name := "meshproof-" + id
	for _, args := range [][]string{
		{"ps", "--all", "--format", `container {{.Names}} {{.Label "io.x-k8s.kind.cluster"}}`},
		{"network", "ls", "--format", `network {{.Name}} {{.Labels}}`},
		{"volume", "ls", "--format", `volume {{.Name}} {{.Labels}}`},
	} {
		for _, l := range docker(ctx, t, args...) {
			if strings.Contains(l+" ", name+"-") || strings.Contains(l+" ", name+" ") || strings.Contains(l+",", "io.meshproof.fleet="+id+",") {
				list = append(list, l)
			}
		}
	}
	return list
}

// processes lists the processes that have a name in their command line.
func processes(t *testing.T, name string) []string {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err == nil && strings.Contains(string(b), name+"-") {
			list = append(list, "process "+strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	return list
}

// volumesOf lists the volumes of a fleet's containers, which carry no name by which they could be found later.
func volumesOf(ctx context.Context, t *testing.T, id string) []string {
	t.Helper()
	var list []string
	for _, l := range docker(ctx, t, "ps", "--all", "--no-trunc", "--filter", "label=io.x-k8s.kind.cluster", "--format", `{{.Label "io.x-k8s.kind.cluster"}} {{.ID}}`) {
		cluster, container, _ := strings.Cut(l, " ")
		if !strings.HasPrefix(cluster, "meshproof-"+id+"-") {
			continue
		}
		out, err := exec.CommandContext(ctx, "docker", "inspect", "--format", "{{range .Mounts}}{{println .Name}}{{end}}", container).Output()
		if err == nil { // else it is gone by now
			list = append(list, strings.Fields(string(out))...)
		}
	}
	return list
}
