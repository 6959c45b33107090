package kind

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/tarball"
	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/internal/agent"
	"github.com/meshproof/meshproof/internal/workload"
	"github.com/meshproof/meshproof/scenarios"
)

// fakeClock is how Chaos Mesh's daemon names the object code that stands for the clock, which it has inside.
const fakeClock = "fakeclock/fake_clock_gettime.o"

// Read implements clusters.Injector.
func (f *fleet) Read(ctx context.Context, fault scenarios.Fault, target clusters.Pod) (int64, error) {
	c := f.cluster(target.Cluster)
	if c == nil {
		return 0, fmt.Errorf("there is no cluster %q", target.Cluster)
	}
	p, err := c.running(target)
	if err != nil {
		return 0, err
	}
	switch fault.Kind {
	case scenarios.CPUStress, scenarios.MemoryStress:
		m, err := c.usage(ctx, p)
		if err != nil {
			return 0, err
		}
		if fault.Kind == scenarios.CPUStress {
			return m.cpu.Microseconds(), nil
		}
		return m.memory, nil
	}
	cmd := agent.SelfCommand{Timeout: readTimeout}
	switch fault.Kind {
	case scenarios.NetworkBandwidth:
		cmd.Bytes = max(fault.BitsPerSecond/16, 1<<14) // what the limit lets through in half a second
	case scenarios.DNSError:
		cmd.Resolve = "kubernetes.default.svc." + scenarios.TrustDomain
	}
	began := time.Now()
	self, err := command[agent.Self](ctx, c, p.ref.Namespace, p.ref.Pod, agent.PathSelf, readTimeout, cmd)
	took := time.Since(began)
	if err != nil {
		return 0, err
	}
	switch fault.Kind {
	case scenarios.NetworkBandwidth:
		if len(self.Padding) != cmd.Bytes {
			return 0, fmt.Errorf("pod %s sent %d bytes, want %d", p.ref.Pod, len(self.Padding), cmd.Bytes)
		}
		return int64(float64(8*cmd.Bytes) / took.Seconds()), nil
	case scenarios.ClockSkew:
		return self.Now.Sub(began.Add(took / 2)).Microseconds(), nil
	case scenarios.DNSError:
		switch {
		case self.Resolved:
			return 1, nil
		case self.NoName:
			return 0, nil
		}
		return 0, fmt.Errorf("pod %s: %s", p.ref.Pod, self.Error)
	}
	return 0, fmt.Errorf("nothing is read from pods for faults of kind %s", fault.Kind)
}

// readTimeout bounds what a pod does to be read.
const readTimeout = 5 * time.Second

// usage is what a container uses.
type usage struct {
	cpu    time.Duration // so far
	memory int64         // bytes, now
}

// usage asks the node's container runtime about a pod's workload.
func (c *cluster) usage(ctx context.Context, p *pod) (usage, error) {
	c.f.mu.Lock()
	obj := p.obj
	c.f.mu.Unlock()
	id := containerOf(obj, workload.Container)
	if id == "" {
		return usage{}, fmt.Errorf("pod %s has no container %s that runs", p.ref.Pod, workload.Container)
	}
	out, err := onNode(ctx, obj.Spec.NodeName, "ctr", "--namespace", "k8s.io", "tasks", "metrics", "--format", "json", id)
	if err != nil {
		return usage{}, err
	}
	return readUsage([]byte(out))
}

func containerOf(obj *corev1.Pod, name string) string {
	for _, s := range obj.Status.ContainerStatuses {
		if s.Name == name {
			id, _ := strings.CutPrefix(s.ContainerID, "containerd://")
			return id
		}
	}
	return ""
}

// readUsage reads the metrics of a container as containerd prints them, of control groups of either version.
func readUsage(text []byte) (usage, error) {
	var m struct {
		CPU struct {
			Usec  *uint64 `json:"usage_usec"` // version 2
			Usage *struct {
				Total *uint64 `json:"total"` // version 1, nanoseconds
			} `json:"usage"`
		} `json:"cpu"`
		Memory struct {
			Usage json.RawMessage `json:"usage"`
		} `json:"memory"`
	}
	failed := func(err error) (usage, error) {
		return usage{}, fmt.Errorf("reading what the container runtime says of a container: %w", err)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return failed(err)
	}
	var u usage
	switch {
	case m.CPU.Usec != nil:
		u.cpu = time.Duration(*m.CPU.Usec) * time.Microsecond
	case m.CPU.Usage != nil && m.CPU.Usage.Total != nil:
		u.cpu = time.Duration(*m.CPU.Usage.Total)
	default:
		return failed(errors.New("there is nothing about its processors"))
	}
	var v1 struct {
		Usage *int64 `json:"usage"`
	}
	if err := json.Unmarshal(m.Memory.Usage, &u.memory); err == nil {
		return u, nil
	}
	if err := json.Unmarshal(m.Memory.Usage, &v1); err != nil || v1.Usage == nil {
		return failed(errors.New("there is nothing about its memory"))
	}
	u.memory = *v1.Usage
	return u, nil
}

// imageHas looks for a text in a program of an archive of an image.
func imageHas(archive, program, text string) (bool, error) {
	failed := func(err error) (bool, error) {
		return false, fmt.Errorf("looking for %s in the image %s: %w", program, archive, err)
	}
	img, err := tarball.ImageFromPath(archive, nil)
	if err != nil {
		return failed(err)
	}
	layers, err := img.Layers()
	if err != nil {
		return failed(err)
	}
	for i := len(layers) - 1; i >= 0; i-- {
		r, err := layers[i].Uncompressed()
		if err != nil {
			return failed(err)
		}
		b, err := fileIn(r, program)
		if cerr := r.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return failed(err)
		}
		if b != nil {
			return bytes.Contains(b, []byte(text)), nil
		}
	}
	return failed(errors.New("it has no such program"))
}

// fileIn is the content of the first regular file of that name in a layer; nil where there is none.
func fileIn(layer io.Reader, name string) ([]byte, error) {
	for r := tar.NewReader(layer); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag == tar.TypeReg && path.Base(h.Name) == name {
			return io.ReadAll(r)
		}
	}
}
