// Package doctor examines whether a host can run scenarios on real clusters.
// It changes nothing that it does not take back at once: what a kernel can do
// is found out by trying it in the network namespace of a container that is
// thrown away. Every finding that is not fine says what to do.
package doctor

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/meshproof/meshproof/internal/journal"
	"github.com/meshproof/meshproof/scenarios"
)

// Status is how bad a finding is.
type Status string

// The statuses.
const (
	OK      Status = "ok"
	Warning Status = "warning" // a run can begin, and something of it may be skipped or slow
	Problem Status = "problem" // a run cannot begin
	Unknown Status = "unknown" // it could not be examined, because of another problem
)

// Finding is what one examination found.
type Finding struct {
	Check  string `json:"check"` // what was examined: "docker", "memory", …
	Status Status `json:"status"`
	Found  string `json:"found"`
	Remedy string `json:"remedy,omitempty"` // what to do, unless all is well
}

// Needs is what runs will ask of the host.
type Needs struct {
	Clusters int  // side by side
	Nodes    int  // of all clusters
	Standing bool // the clusters stand already
	Pods     int  // in all clusters
	Meshed   bool
	Latency  bool // between clusters
	Faults   []scenarios.Fault
	Meshes   []string
}

// NeedsOf is what a scenario with its defaults filled in asks for.
func NeedsOf(s *scenarios.Scenario) Needs {
	n := Needs{Clusters: len(s.Spec.Topology.Clusters)}
	n.Latency = n.Clusters > 1 && s.Spec.Topology.Network.Latency > 0
	for _, m := range s.Spec.Meshes {
		n.Meshed = n.Meshed || m.Name != scenarios.MeshNone
	}
	for _, c := range s.Spec.Topology.Clusters {
		n.Nodes += c.Nodes
	}
	for _, w := range s.Workloads() {
		n.Pods += len(w.Clusters) * w.Replicas
	}
	n.Faults = s.Spec.Faults
	for _, m := range s.Spec.Meshes {
		n.Meshes = append(n.Meshes, string(m.Name))
	}
	return n
}

// Most is what covers each of two needs.
func (n Needs) Most(o Needs) Needs {
	return Needs{
		Clusters: max(n.Clusters, o.Clusters), Nodes: max(n.Nodes, o.Nodes), Standing: n.Standing && o.Standing, Pods: max(n.Pods, o.Pods),
		Meshed: n.Meshed || o.Meshed, Latency: n.Latency || o.Latency, Faults: slices.Concat(n.Faults, o.Faults),
		Meshes: append(n.Meshes, o.Meshes...),
	}
}

// Host is a host, and how it is looked at.
type Host struct {
	// Docker runs the docker command with these arguments and returns what it printed. Its error says what it printed
	// on stderr.
	Docker func(ctx context.Context, args ...string) (string, error)
	// Proc is where the kernel says what it has: "/proc".
	Proc string
	// Free is the number of bytes that may still be written below a folder.
	Free func(folder string) (uint64, error)
	// Journals is the folder of the journals.
	Journals string
	// Bundle says what is wrong with the bundle, or what it is.
	Bundle func(ctx context.Context) (found string, err error)
	// Mesh says which build of a mesh clusters would get, or what keeps them from it.
	Mesh func(mesh string) (found string, err error)
	// Chaos says which Chaos Mesh clusters would get for faults by it, or what keeps them from it.
	Chaos func() (found string, err error)
	// NodeImage is the image that containers are tried with, as Docker knows it; it is that of the clusters' nodes.
	NodeImage func(ctx context.Context) (ref string, err error)
	// Agent says why the program that runs inside clusters is not there.
	Agent func() error
	// Addresses says why there are no ranges of addresses for so many clusters.
	Addresses func(ctx context.Context, clusters int) error
	// Kept says which clusters earlier runs were told to leave standing.
	Kept func() ([]string, error)
}

// Examine looks at everything that the needs rest on, in the order in which a user would mend it.
func (h *Host) Examine(ctx context.Context, n Needs) []Finding {
	info, docker := h.docker(ctx)
	out := []Finding{docker, h.bundle(ctx)}
	out = append(out, h.meshes(n)...)
	out = append(out, h.chaos(n)...)
	image, node := h.nodeImage(ctx, info, out[1])
	out = append(out, node, h.agent(), h.memory(info, n), h.disk(info, n), h.inotify(n), h.addresses(ctx, info, n), cgroups(info))
	out = append(out, h.containers(ctx, image, n)...)
	return append(out, h.kept(), h.leftovers())
}

// Worst is the worst status among findings.
func Worst(fs []Finding) Status {
	rank := map[Status]int{OK: 0, Unknown: 1, Warning: 2, Problem: 3}
	worst := OK
	for _, f := range fs {
		if rank[f.Status] > rank[worst] {
			worst = f.Status
		}
	}
	return worst
}

// ErrNoBundle is wrapped by what Host.Bundle returns where there is none.
var ErrNoBundle = errors.New("there is no bundle")

func (h *Host) bundle(ctx context.Context) Finding {
	found, err := h.Bundle(ctx)
	switch {
	case errors.Is(err, ErrNoBundle):
		return Finding{"bundle", Problem, err.Error(), "make one: meshproof bundle build (from package registries), or meshproof bundle pull (from image registries)"}
	case err != nil:
		return Finding{"bundle", Problem, oneLine(err.Error()), "build what is wrong again: meshproof bundle build --only PART; meshproof bundle verify names every part"}
	}
	return Finding{"bundle", OK, found, ""}
}

// meshes looks at each mesh once. One that is not there keeps no run from beginning that leaves it out.
func (h *Host) meshes(n Needs) (out []Finding) {
	seen := map[string]bool{}
	for _, m := range n.Meshes {
		if seen[m] {
			continue
		}
		seen[m] = true
		f := Finding{Check: "mesh " + m, Status: OK}
		var err error
		if f.Found, err = h.Mesh(m); err != nil {
			f.Status, f.Found, f.Remedy = Warning, oneLine(err.Error()), "run without it (--mesh), or complete the bundle: "+complete(scenarios.MeshName(m))
		}
		out = append(out, f)
	}
	return out
}

// complete says how a bundle gets what a mesh needs. A build makes what package registries have, and Linkerd is in none.
func complete(mesh scenarios.MeshName) string {
	const build = "meshproof bundle build"
	if !slices.Contains(mesh.ControlPlanes(), scenarios.MeshLinkerd) {
		return build
	}
	linkerd := "meshproof bundle pull (or run --pull) takes Linkerd from its registries, meshproof bundle add from files that you bring; no build makes it"
	if mesh == scenarios.MeshLinkerd {
		return linkerd
	}
	return build + " makes Istio's part; " + linkerd
}

// chaos looks for Chaos Mesh where faults are by it. What it cannot carry out is skipped, and keeps no run from beginning.
func (h *Host) chaos(n Needs) []Finding {
	const check = "chaos-mesh"
	if !slices.ContainsFunc(n.Faults, func(f scenarios.Fault) bool { return f.By == scenarios.ByChaosMesh }) {
		return nil
	}
	found, err := h.Chaos()
	if err != nil {
		return []Finding{{check, Warning, "its faults are SKIPPED: " + oneLine(err.Error()), "complete the bundle: meshproof bundle build"}}
	}
	return []Finding{{check, OK, found, ""}}
}

// nodeImage brings the image of nodes into Docker. Its name is "" where that fails.
func (h *Host) nodeImage(ctx context.Context, info *dockerInfo, bundle Finding) (string, Finding) {
	switch {
	case info == nil:
		return "", untried("node image")
	case bundle.Status == Problem:
		return "", Finding{"node image", Unknown, "not examined: it comes from the bundle", "see bundle"}
	}
	ref, err := h.NodeImage(ctx)
	if err != nil {
		remedy := "build it again: meshproof bundle build --only node"
		if noRoom(err) {
			remedy = makeRoom
		}
		return "", Finding{"node image", Problem, short(oneLine(err.Error())), remedy}
	}
	return ref, Finding{"node image", OK, ref + " is in Docker", ""}
}

func (h *Host) agent() Finding {
	if err := h.Agent(); err != nil {
		return Finding{"agent", Problem, oneLine(err.Error()), "put meshproof-agent beside meshproof (make build does), or say in MESHPROOF_AGENT_BINARY where it is"}
	}
	return Finding{"agent", OK, "the program that runs inside clusters is there", ""}
}

func (h *Host) addresses(ctx context.Context, info *dockerInfo, n Needs) Finding {
	if info == nil {
		return untried("addresses")
	}
	if n.Standing {
		return Finding{"addresses", OK, "the clusters that stand have them", ""}
	}
	if err := h.Addresses(ctx, n.Clusters); err != nil {
		return Finding{"addresses", Problem, oneLine(err.Error()), "remove Docker networks and routes that nobody needs: docker network prune, ip route; meshproof clean --kept, where clusters are kept"}
	}
	return Finding{"addresses", OK, "there are ranges that neither routes nor Docker's networks use", ""}
}

func (h *Host) kept() Finding {
	kept, err := h.Kept()
	switch {
	case err != nil:
		return Finding{"kept clusters", Unknown, oneLine(err.Error()), "make the folder readable, or set XDG_STATE_HOME"}
	case len(kept) == 0:
		return Finding{"kept clusters", OK, "none", ""}
	}
	return Finding{"kept clusters", OK, strings.Join(kept, "; ") + " (meshproof run --reuse takes them, meshproof clean --kept removes them)", ""}
}

func (h *Host) leftovers() Finding {
	ls, err := journal.Leftovers(h.Journals)
	if err != nil {
		return Finding{"leftovers", Problem, oneLine(err.Error()), "make the folder of the journals readable, or set XDG_STATE_HOME"}
	}
	var runs []string
	for _, l := range ls {
		if !l.Running {
			runs = append(runs, l.Run)
		}
	}
	if len(runs) > 0 {
		return Finding{"leftovers", Warning, "runs that were killed may have left something: " + strings.Join(runs, ", "), "meshproof clean"}
	}
	return Finding{"leftovers", OK, "no run left anything", ""}
}

// tryTimeout bounds one try of a container.
const tryTimeout = 60 * time.Second

// oneLine makes an error of many lines one.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func read(file string) (string, error) {
	b, err := os.ReadFile(file)
	return strings.TrimSpace(string(b)), err
}
