package doctor

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

const mib = 1 << 20

// What clusters take, measured on a machine with two cores: two empty clusters had 1.4 GB in all; one node with istiod,
// Linkerd's control plane, Chaos Mesh and ten meshed pods had 2.4 GB.
const (
	memoryOfCluster = 700 * mib
	memoryOfWorker  = 250 * mib  // a node beside a cluster's first
	memoryOfMesh    = 1300 * mib // control planes in one cluster
	memoryOfPod     = 40 * mib   // with its sidecar
	diskOfNode      = 3 << 30    // a node's file system with its images
	diskOfImages    = 2 << 30    // in Docker
	instancesOfNode = 64         // inotify instances; kind's documentation asks for 512 in all
	watchesOfNode   = 30000
)

// makeRoom is what to do where the disk is full.
const makeRoom = "make room, for example with docker system prune"

// noRoom reports whether something failed for want of disk. Docker says so in words alone.
func noRoom(err error) bool { return strings.Contains(err.Error(), "no space left on device") }

func (n Needs) standing() string {
	if !n.Standing {
		return ""
	}
	return " more than they have: they stand already"
}

func (h *Host) memory(info *dockerInfo, n Needs) Finding {
	if info == nil {
		return untried("memory")
	}
	each, what := uint64(memoryOfCluster), "clusters"
	if n.Meshed {
		each, what = each+memoryOfMesh, "clusters with meshes"
	}
	need := uint64(n.Pods) * memoryOfPod
	if !n.Standing {
		need += uint64(n.Clusters)*each + uint64(max(n.Nodes-n.Clusters, 0))*memoryOfWorker
	}
	have, which := info.MemTotal, "in all"
	if free, err := h.available(); err == nil && free < have { // more than there is in all: Docker is elsewhere
		have, which = free, "available"
	}
	found := fmt.Sprintf("%s %s; %d %s, of %d nodes, and %d pods take about %s%s", size(have), which, n.Clusters, what, n.Nodes, n.Pods, size(need), n.standing())
	if have < need {
		return Finding{"memory", Problem, found, "stop what else runs, take fewer clusters or replicas, or give Docker more memory"}
	}
	return Finding{"memory", OK, found, ""}
}

// available is the kernel's estimate of what can be taken without swapping, in bytes.
func (h *Host) available() (uint64, error) {
	text, err := read(filepath.Join(h.Proc, "meminfo"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("%s does not say what memory is available", h.Proc)
}

func (h *Host) disk(info *dockerInfo, n Needs) Finding {
	if info == nil {
		return untried("disk")
	}
	need := uint64(diskOfImages)
	if !n.Standing {
		need += uint64(n.Nodes) * diskOfNode
	}
	have, err := h.Free(info.DockerRootDir)
	if err != nil {
		return Finding{"disk", Unknown, fmt.Sprintf("Docker keeps its data in %s, which cannot be looked at from here", info.DockerRootDir), "see there yourself that " + size(need) + " are free"}
	}
	found := fmt.Sprintf("%s free in %s; %d nodes take about %s%s", size(have), info.DockerRootDir, n.Nodes, size(need), n.standing())
	if have < need {
		return Finding{"disk", Problem, found, makeRoom}
	}
	return Finding{"disk", OK, found, ""}
}

func (h *Host) inotify(n Needs) Finding {
	var low []string
	for _, l := range []struct {
		name string
		need int
	}{
		{"max_user_instances", 64 + instancesOfNode*n.Nodes},
		{"max_user_watches", 30000 + watchesOfNode*n.Nodes},
	} {
		text, err := read(filepath.Join(h.Proc, "sys/fs/inotify", l.name))
		if err != nil {
			return Finding{"inotify", Unknown, "the limits cannot be read: " + err.Error(), "see that fs.inotify.max_user_instances is 512 at least"}
		}
		if have, err := strconv.Atoi(text); err != nil || have < l.need {
			low = append(low, fmt.Sprintf("fs.inotify.%s is %s, want %d", l.name, text, l.need))
		}
	}
	if len(low) > 0 {
		return Finding{"inotify", Problem, strings.Join(low, "; ") + ": nodes would fail with 'too many open files'", "as root: sysctl -w fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=524288"}
	}
	return Finding{"inotify", OK, fmt.Sprintf("limits are enough for %d nodes", n.Nodes), ""}
}

func size(n uint64) string {
	if n < 1<<30 {
		return fmt.Sprintf("%d MiB", n/mib)
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}
