// Package doctor examines whether a host can run scenarios on real clusters.
// It changes nothing that it does not take back at once: what a kernel can do
// is found out by trying it in the network namespace of a container that is
// thrown away. Every finding that is not fine says what to do.
package doctor

import (
	"context"
	"errors"
	"os"
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
	Clusters int // side by side
	Nodes    int // of all clusters
	Pods     int // in all clusters
	Faults   []scenarios.FaultKind
}

// NeedsOf is what a scenario with its defaults filled in asks for.
func NeedsOf(s *scenarios.Scenario) Needs {
	n := Needs{Clusters: len(s.Spec.Topology.Clusters)}
	for _, c := range s.Spec.Topology.Clusters {
		n.Nodes += c.Nodes
	}
	for _, w := range s.Workloads() {
		n.Pods += len(w.Clusters) * w.Replicas
	}
	for _, f := range s.Spec.Faults {
		n.Faults = append(n.Faults, f.Kind)
	}
	return n
}

// Most is what covers each of two needs.
func (n Needs) Most(o Needs) Needs {
	return Needs{
		Clusters: max(n.Clusters, o.Clusters), Nodes: max(n.Nodes, o.Nodes), Pods: max(n.Pods, o.Pods), Faults: append(n.Faults, o.Faults...),
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
	// NodeImage is the image that containers are tried with, as Docker knows it; it is that of the clusters' nodes.
	NodeImage func(ctx context.Context) (ref string, err error)
}

// Examine looks at everything that the needs rest on, in the order in which a user would mend it.
func (h *Host) Examine(ctx context.Context, n Needs) []Finding {
	info, docker := h.docker(ctx)
	out := []Finding{docker, h.bundle(ctx)}
	out = append(out, h.memory(info, n), h.disk(info, n), h.inotify(n), cgroups(info))
	out = append(out, h.containers(ctx, info, n)...)
	return append(out, h.leftovers())
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
