// Command bench-kind measures how long two empty clusters take to be ready by
// Meshproof's kind driver, beside one by kind's own command on the same image of
// nodes: in turn, in one run. It prints what docs/benchmarks.md records, and
// fails where the median of the ratio is above the limit.
//
//	go run ./hack/bench-kind -rounds 5
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/bundle"
	"github.com/meshproof/meshproof/clusters/kind"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/journal"
)

func main() {
	rounds := flag.Int("rounds", 5, "how often each is measured")
	limit := flag.Float64("limit", 1.5, "largest median of the ratio that is good enough")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, max(*rounds, 1), *limit)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-kind:", err)
		os.Exit(1)
	}
}

// bench is what both measurements need.
type bench struct {
	kind    string // kind's command
	image   string // of nodes
	state   string // folder of fleets' files
	folder  string // of this command's own files
	journal *journal.Journal
	driver  *kind.Provider
}

func run(ctx context.Context, rounds int, limit float64) (err error) {
	folder, err := os.MkdirTemp("", "meshproof-bench-kind-")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	b := &bench{folder: folder, kind: filepath.Join(folder, "kind")}
	// The version of go.mod, which is that of the driver's library.
	build := exec.CommandContext(ctx, "go", "build", "-o", b.kind, "sigs.k8s.io/kind")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building kind's command: %w: %s", err, out)
	}
	dir, err := journal.Dir()
	if err != nil {
		return err
	}
	b.state = filepath.Join(filepath.Dir(dir), kind.Driver)
	// What is made is in a journal first: meshproof clean removes what a killed benchmark left.
	if b.journal, err = journal.Open(dir, "bench-kind-"+time.Now().UTC().Format("20060102T150405Z"), kind.Driver); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.journal.Close("")) }()
	parts, err := bundle.DefaultDir()
	if err != nil {
		return err
	}
	image := kind.FromBundle(parts)
	if b.image, err = image(ctx); err != nil { // loads it into Docker
		return err
	}
	b.driver = kind.New(kind.Config{NodeImage: image, State: b.state})
	return b.compare(ctx, rounds, limit)
}

// compare measures in turn and says what came out.
func (b *bench) compare(ctx context.Context, rounds int, limit float64) error {
	fmt.Printf("%-8s%20s%22s%8s%26s%8s%28s\n", "round", "kind, one: Ready", "meshproof, two: Ready", "ratio", "... and fit for a run", "ratio", "load average before each")
	var ones, twos, fits []time.Duration
	var ratios, fitRatios []float64
	for i := range rounds {
		loads := loadAverage()
		one, err := b.one(ctx)
		if err != nil {
			return err
		}
		loads += ", " + loadAverage()
		two, fit, err := b.two(ctx)
		if err != nil {
			return err
		}
		ones, twos, fits = append(ones, one), append(twos, two), append(fits, fit)
		ratios, fitRatios = append(ratios, two.Seconds()/one.Seconds()), append(fitRatios, fit.Seconds()/one.Seconds())
		fmt.Printf("%-8d%18.1f s%20.1f s%8.2f%24.1f s%8.2f%28s\n", i+1, one.Seconds(), two.Seconds(), ratios[i], fit.Seconds(), fitRatios[i], loads)
	}
	ratio := median(ratios)
	fmt.Printf("%-8s%18.1f s%20.1f s%8.2f%24.1f s%8.2f\n", "median", median(ones).Seconds(), median(twos).Seconds(), ratio, median(fits).Seconds(), median(fitRatios))
	if ratio > limit {
		return fmt.Errorf("the median of the ratio is %.2f, above %.2f", ratio, limit)
	}
	return nil
}

// two makes two clusters with the driver. ready is when the nodes of both are, which is what kind's command waits for;
// fit when the driver is done: DNS works, the agent's image is on every node, and the clusters are connected.
func (b *bench) two(ctx context.Context) (ready, fit time.Duration, err error) {
	fit, err = b.measure(ctx, "two clusters by the driver", func(id string) (time.Duration, error) {
		began := time.Now()
		fleet, err := b.driver.Create(ctx, clusters.Spec{
			ID: id, Trial: evidence.Trial{Block: 1, Mesh: "none"}, Mesh: "none", Clusters: []string{"east", "west"}, Sink: nowhere{},
		})
		took := time.Since(began)
		if err != nil {
			return 0, err
		}
		for _, c := range fleet.Clusters() {
			at, rerr := readyAt(ctx, "meshproof-"+id+"-"+c.Name()+"-control-plane")
			err = errors.Join(err, rerr)
			ready = max(ready, at.Sub(began))
		}
		down, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		return took, errors.Join(err, fleet.Close(down))
	})
	return ready, fit, err
}

// readyAt is when a node became Ready by its cluster's own word, which is in whole seconds: at the latest.
func readyAt(ctx context.Context, node string) (time.Time, error) {
	out, err := kind.Docker(ctx, "exec", node, "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", "get", "node", node,
		"--output", `jsonpath={.status.conditions[?(@.type=="Ready")].lastTransitionTime}`)
	if err != nil {
		return time.Time{}, err
	}
	at, err := time.Parse(time.RFC3339, strings.TrimSpace(out))
	return at.Add(time.Second), err
}

// one makes one cluster with kind's command, as its users do who have no image with kind's own CNI: that of one node.
func (b *bench) one(ctx context.Context) (time.Duration, error) {
	config, err := b.config(ctx)
	if err != nil {
		return 0, err
	}
	return b.measure(ctx, "one cluster by kind's command", func(id string) (time.Duration, error) {
		network := "meshproof-" + id
		if _, err := kind.Docker(ctx, "network", "create", "--label", "io.meshproof.fleet="+id, network); err != nil {
			return 0, err
		}
		cmd := exec.CommandContext(ctx, b.kind, "create", "cluster", "--name", network+"-one", "--wait", "5m", "--config", config, "--kubeconfig", filepath.Join(b.folder, "kubeconfig"))
		cmd.Env = append(os.Environ(), "KIND_EXPERIMENTAL_DOCKER_NETWORK="+network)
		began := time.Now()
		out, err := cmd.CombinedOutput()
		took := time.Since(began)
		if err != nil {
			return 0, fmt.Errorf("kind create cluster: %w: %s", err, out)
		}
		if strings.Contains(string(out), "Timed out") { // which kind calls no error
			return 0, fmt.Errorf("kind create cluster: its cluster did not become ready: %s", out)
		}
		return took, nil
	})
}

// measure does one measurement and removes all that it made.
func (b *bench) measure(ctx context.Context, what string, do func(id string) (time.Duration, error)) (time.Duration, error) {
	raw := make([]byte, 5)
	_, _ = rand.Read(raw) // never fails
	id := hex.EncodeToString(raw)
	settle, err := b.journal.Intend(what, map[string]string{"fleet": id})
	if err != nil {
		return 0, err
	}
	took, err := do(id)
	down, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if cerr := kind.Clean(down, b.state, id); cerr != nil {
		return 0, errors.Join(err, cerr) // not settled: left to meshproof clean
	}
	if err = errors.Join(err, settle()); err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	return took, nil
}

// config writes the configuration of the one cluster.
func (b *bench) config(ctx context.Context) (string, error) {
	kubelet := ""
	version, err := kind.Docker(ctx, "info", "--format", "{{.CgroupVersion}}")
	if err != nil {
		return "", err
	}
	if strings.TrimSpace(version) == "1" {
		kubelet = "kubeadmConfigPatches:\n- |\n  kind: KubeletConfiguration\n  apiVersion: kubelet.config.k8s.io/v1beta1\n  failCgroupV1: false\n"
	}
	conflist, path := filepath.Join(b.folder, "conflist"), filepath.Join(b.folder, "kind.yaml")
	text := fmt.Sprintf(`kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
networking: {disableDefaultCNI: true, podSubnet: 10.244.0.0/16}
nodes:
- role: control-plane
  image: %s
  extraMounts: [{hostPath: %s, containerPath: /etc/cni/net.d/10-ptp.conflist, readOnly: true}]
%s`, b.image, conflist, kubelet)
	err = errors.Join(
		os.WriteFile(conflist, []byte(`{"cniVersion": "0.3.1", "name": "bench", "plugins": [
  {"type": "ptp", "ipMasq": true, "ipam": {"type": "host-local", "dataDir": "/run/cni-ipam-state",
   "routes": [{"dst": "0.0.0.0/0"}], "ranges": [[{"subnet": "10.244.0.0/16"}]]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
`), 0o644),
		os.WriteFile(path, []byte(text), 0o644),
	)
	if err != nil {
		return "", fmt.Errorf("writing kind's configuration: %w", err)
	}
	return path, nil
}

// nowhere is where the evidence of a benchmark goes.
type nowhere struct{}

func (nowhere) Append(evidence.Item) error { return nil }

// median is the middle of a list, or the lower of the two in the middle.
func median[T ~int64 | ~float64](list []T) T {
	return slices.Sorted(slices.Values(list))[(len(list)-1)/2]
}

// loadAverage is the host's over the last minute, where it says so.
func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(b), " ")
	return first
}
