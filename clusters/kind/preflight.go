package kind

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// AgentEnv names the environment variable that says where meshproof-agent is.
const AgentEnv = "MESHPROOF_AGENT_BINARY"

// agentName is the agent's file beside the file of meshproof itself.
const agentName = "meshproof-agent"

// Agent finds the agent's binary: what AgentEnv names, or what lies beside meshproof itself.
func Agent() (string, error) {
	path := os.Getenv(AgentEnv)
	if path == "" {
		own, err := os.Executable()
		if err == nil {
			own, err = filepath.EvalSymlinks(own)
		}
		if err != nil {
			return "", fmt.Errorf("finding %s: %w: say where it is in %s", agentName, err, AgentEnv)
		}
		path = filepath.Join(filepath.Dir(own), agentName)
	}
	path, err := filepath.Abs(path) // Docker mounts it
	if err != nil {
		return "", fmt.Errorf("finding %s: %w", agentName, err)
	}
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return "", fmt.Errorf("clusters run %s, and it can't be read: %w: make build builds it beside meshproof, or say in %s where it is", agentName, err, AgentEnv)
	case !st.Mode().IsRegular() || st.Mode()&0o111 == 0:
		return "", fmt.Errorf("%s is no program: make build builds %s, or say in %s where it is", path, agentName, AgentEnv)
	}
	return path, nil
}

// host is what is known of it when it can carry clusters.
type host struct {
	agent     string // path
	image     string // of nodes
	cgroupV1  bool
	noCNI     bool // the image of nodes brings no CNI of its own
	addresses []ranges
	network   netip.Prefix // of the nodes
}

// Addresses says why there are no ranges of addresses for so many clusters.
func Addresses(ctx context.Context, clusters int) error {
	used, err := usedRanges(ctx)
	if err == nil {
		_, _, err = pickRanges(clusters, used)
	}
	return err
}

// examine looks at the host before anything is changed on it.
func (p *Provider) examine(ctx context.Context, clusters int) (host, error) {
	var h host
	version, err := Docker(ctx, "info", "--format", "{{.CgroupVersion}} {{json .ServerErrors}}")
	if err == nil && !strings.HasSuffix(strings.TrimSpace(version), " null") {
		err = errors.New(strings.TrimSpace(version))
	}
	if err != nil {
		return h, fmt.Errorf("no Docker engine answers (%w): start Docker and let this user reach it, or use --driver embedded", err)
	}
	h.cgroupV1 = strings.HasPrefix(version, "1")
	if h.agent, err = Agent(); err != nil {
		return h, err
	}
	if h.image, err = p.cfg.NodeImage(ctx); err != nil {
		return h, err
	}
	if h.noCNI, err = p.lacksCNI(ctx, h.image); err != nil {
		return h, err
	}
	used, err := usedRanges(ctx)
	if err != nil {
		return h, err
	}
	h.addresses, h.network, err = pickRanges(clusters, used)
	return h, err
}

// defaultCNI is the manifest of the CNI that kind installs, where an image of nodes has one.
const defaultCNI = "default-cni.yaml"

// lacksCNI finds out whether an image of nodes has no CNI that kind would install. Once is enough in a process.
func (p *Provider) lacksCNI(ctx context.Context, image string) (bool, error) {
	p.lookInto.Lock()
	defer p.lookInto.Unlock()
	if has, known := p.withCNI[image]; known {
		return !has, nil
	}
	out, err := Docker(ctx, "run", "--rm", "--network", "none", "--entrypoint", "/usr/bin/find", image, "/kind/manifests", "-name", defaultCNI)
	if err != nil {
		return false, fmt.Errorf("looking into the image of nodes %s: %w", image, err)
	}
	p.withCNI[image] = strings.TrimSpace(out) != ""
	return !p.withCNI[image], nil
}
