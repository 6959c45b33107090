package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/meshproof/meshproof/clusters"
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
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	text, err := h.Docker(ctx, "info", "--format", "{{json .}}")
	info := &dockerInfo{}
	if text != "" {
		if bad := json.Unmarshal([]byte(text), info); bad != nil && err == nil {
			err = fmt.Errorf("docker info says what cannot be read: %w", bad)
		}
	}
	if len(info.ServerErrors) > 0 {
		err = errors.New(info.ServerErrors[0])
	}
	if err != nil {
		return nil, noDocker(err)
	}
	return info, Finding{"docker", OK, "Docker " + info.ServerVersion + " answers", ""}
}

// noDocker tells why no engine answers, and what mends just that.
func noDocker(err error) Finding {
	remedy := "start Docker; on a bare Debian host, as root: hack/prepare-host.sh"
	switch cause := err.Error(); {
	case errors.Is(err, exec.ErrNotFound):
		remedy = "install Docker's command-line client; on a bare Debian host, as root: hack/prepare-host.sh"
	case strings.Contains(cause, "permission denied"):
		remedy = "let your user reach Docker: as root, usermod -aG docker USER, then log in again; or run meshproof as root"
	case os.Getenv("DOCKER_HOST") != "":
		remedy = "start the engine that DOCKER_HOST names (" + os.Getenv("DOCKER_HOST") + "), or unset DOCKER_HOST"
	}
	return Finding{"docker", Problem, "no Docker engine answers: " + short(oneLine(err.Error())), remedy}
}

func cgroups(info *dockerInfo) Finding {
	switch {
	case info == nil:
		return untried("control groups")
	case info.CgroupVersion == "1":
		return Finding{"control groups", OK, "version 1: kubelets are told to run with it; stress by Chaos Mesh, which needs version 2, is skipped", ""}
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
	if n.Latency {
		t := clusters.QueueTry()
		out = append(out, try{check: "kernel: latency", args: t.Command, means: t.Means, bad: Problem, broken: t.Lacks, remedy: t.Remedy})
	}
	seen := map[string]bool{}
	for _, f := range n.Faults {
		check := "kernel: " + string(f.Kind)
		if f.By == scenarios.ByChaosMesh {
			check += " by " + string(f.By)
		}
		if seen[check] {
			continue
		}
		seen[check] = true
		for _, t := range clusters.Tries(f) {
			out = append(out, try{check: check, args: t.Command, means: t.Means, bad: Warning, broken: t.Lacks + ", so these faults are SKIPPED", remedy: t.Remedy})
		}
	}
	return out
}

// containers tries what containers can do.
func (h *Host) containers(ctx context.Context, image string, n Needs) []Finding {
	var out []Finding
	for i, t := range tries(n) {
		switch {
		case image == "":
			out = append(out, Finding{t.check, Unknown, "not tried, for want of the node image", "see node image"})
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
