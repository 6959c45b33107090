package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/meshproof/meshproof/scenarios"
)

// dockerInfo is what is needed of "docker info".
type dockerInfo struct {
	ServerVersion string
	CgroupVersion string
	DockerRootDir string
	MemTotal      uint64
	ServerErrors  []string
}

// docker asks the engine who it is. The result is nil where none answers.
func (h *Host) docker(ctx context.Context) (*dockerInfo, Finding) {
	const remedy = "start Docker, and let your user reach it; on a bare Debian host, as root: hack/prepare-host.sh"
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	text, err := h.Docker(ctx, "info", "--format", "{{json .}}")
	info := &dockerInfo{}
	if text != "" {
		if bad := json.Unmarshal([]byte(text), info); bad != nil && err == nil {
			err = fmt.Errorf("docker info says what cannot be read: %w", bad)
		}
	}
	switch {
	case len(info.ServerErrors) > 0:
		return nil, Finding{"docker", Problem, oneLine(info.ServerErrors[0]), remedy}
	case err != nil:
		return nil, Finding{"docker", Problem, "no Docker engine answers: " + oneLine(err.Error()), remedy}
	}
	return info, Finding{"docker", OK, "Docker " + info.ServerVersion + " answers", ""}
}

func cgroups(info *dockerInfo) Finding {
	switch {
	case info == nil:
		return untried("control groups")
	case info.CgroupVersion == "1":
		return Finding{"control groups", OK, "version 1: kubelets are told to run with it; faults that need version 2 are skipped", ""}
	}
	return Finding{"control groups", OK, "version " + info.CgroupVersion, ""}
}

func untried(check string) Finding {
	return Finding{check, Unknown, "not examined: it needs Docker", "see docker"}
}

// try is something that a container must be able to do: a command of the node image.
type try struct {
	check  string
	args   []string
	means  string // what works, where it does
	bad    Status
	broken string // what does not, where it fails
	remedy string
}

// tries are those of a set of needs. All run as nodes of clusters do: privileged, in a network namespace of their own.
func tries(n Needs) []try {
	out := []try{{
		check: "privileged containers", args: []string{"true"}, means: "start", bad: Problem,
		broken: "Docker cannot start one", remedy: "where the message is about capabilities, Docker needs a wrapper around runc; on a bare Debian host, as root: hack/prepare-host.sh",
	}}
	seen := map[scenarios.FaultKind]bool{}
	for _, kind := range n.Faults {
		if seen[kind] {
			continue
		}
		seen[kind] = true
		switch kind {
		case scenarios.NetworkDelay:
			out = append(out, try{
				// Latency between clusters is made there too; netem, which many kernels lack, is not needed.
				check: "kernel: " + string(kind), args: []string{"iptables", "-t", "mangle", "-A", "POSTROUTING", "-d", "192.0.2.1", "-j", "NFQUEUE", "--queue-num", "1"},
				means: "packets can be queued for a process", bad: Problem,
				broken: "the kernel has no packet queue, by which latency between clusters is made", remedy: "load the modules nfnetlink_queue and xt_NFQUEUE, or use a kernel that has them",
			})
		case scenarios.Partition:
			out = append(out, try{
				check: "kernel: " + string(kind), args: []string{"iptables", "-A", "FORWARD", "-s", "192.0.2.0/24", "-j", "DROP"},
				means: "iptables drops packets", bad: Warning,
				broken: "iptables does not work, so these faults are SKIPPED", remedy: "use a kernel with netfilter's filter table",
			})
		}
	}
	return out
}

// containers tries what containers can do.
func (h *Host) containers(ctx context.Context, info *dockerInfo, n Needs) []Finding {
	var out []Finding
	image, err := "", error(nil)
	if info != nil {
		image, err = h.NodeImage(ctx)
	}
	for i, t := range tries(n) {
		switch {
		case info == nil:
			out = append(out, untried(t.check))
		case err != nil:
			out = append(out, Finding{t.check, Unknown, "not tried, for want of the node image: " + oneLine(err.Error()), "see bundle"})
		case i > 0 && out[0].Status != OK:
			out = append(out, Finding{t.check, Unknown, "not tried: privileged containers do not start", "see privileged containers"})
		default:
			out = append(out, h.try(ctx, image, t))
		}
	}
	return out
}

func (h *Host) try(ctx context.Context, image string, t try) Finding {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	args := append([]string{"run", "--rm", "--privileged", "--network", "none", "--entrypoint", t.args[0], image}, t.args[1:]...)
	if _, err := h.Docker(ctx, args...); err != nil {
		return Finding{t.check, t.bad, t.broken + ": " + short(oneLine(err.Error())), t.remedy}
	}
	return Finding{t.check, OK, t.means + ", as a try in a throw-away container showed", ""}
}

// short keeps the end of a long message, where causes stand.
func short(s string) string {
	const most = 300
	if len(s) <= most {
		return s
	}
	return "… " + strings.ToValidUTF8(s[len(s)-most:], "")
}
