package kind

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// keptName is the file in a fleet's folder that says it is kept, and what its clusters are. A fleet in use has none.
	keptName = "kept.json"
	// lockName is the file that the process which uses a fleet holds locked.
	lockName = "lock"
	// keptVersion grows when the driver makes clusters in another way, or looks at more of them: older ones then fit nothing.
	keptVersion = 4
)

// keptFile is what kept.json says.
type keptFile struct {
	Version  int           `json:"version"`
	Since    time.Time     `json:"since"`
	Mesh     string        `json:"mesh"`
	Releases []keptRelease `json:"releases,omitempty"` // of the mesh, in the order of installation
	Image    string        `json:"image"`              // ID of the image of nodes
	Network  netip.Prefix  `json:"network"`            // of the nodes
	Separate bool          `json:"separate"`
	Clusters []keptCluster `json:"clusters"`
	State    fingerprint   `json:"state"`
	Bare     fingerprint   `json:"bare,omitempty"` // State without the mesh, where there is one
}

// keptRelease is a Helm release that stands in each of the clusters.
type keptRelease struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// keptCluster is what a cluster was made from.
type keptCluster struct {
	Name     string       `json:"name"`
	Pods     netip.Prefix `json:"pods"`
	Services netip.Prefix `json:"services"`
	Nodes    int          `json:"nodes"`
	OwnCNI   bool         `json:"ownCNI"` // the driver's, where the image of nodes has none
}

func (k *keptFile) names() []string {
	list := make([]string, len(k.Clusters))
	for i, c := range k.Clusters {
		list[i] = c.Name
	}
	return list
}

// files of a cluster in its fleet's folder.
func kubeconfigIn(dir, cluster string) string { return filepath.Join(dir, cluster+".kubeconfig") }

func networkIn(dir, cluster string, node int) string {
	return filepath.Join(dir, fmt.Sprintf("%s-%d.network", cluster, node))
}

// plan is what the cluster was made from, of a fleet whose folder is dir.
func (k keptCluster) plan(dir, id string) plan {
	p := plan{
		name: prefix(id) + "-" + k.Name, ranges: ranges{pods: k.Pods, services: k.Services}, kubeconfig: kubeconfigIn(dir, k.Name),
		networks: make([]string, k.Nodes),
	}
	for i := range p.networks {
		if k.OwnCNI {
			p.networks[i] = networkIn(dir, k.Name, i)
		}
	}
	return p
}

func readKept(dir string) (*keptFile, error) {
	b, err := os.ReadFile(filepath.Join(dir, keptName))
	if err != nil {
		return nil, err
	}
	k := &keptFile{}
	if err := json.Unmarshal(b, k); err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", filepath.Join(dir, keptName), err)
	}
	for _, c := range k.Clusters {
		if c.Name == "" || c.Nodes < 1 || !c.Pods.IsValid() || !c.Services.IsValid() {
			return nil, fmt.Errorf("%s does not say what cluster %q was made from", filepath.Join(dir, keptName), c.Name)
		}
	}
	return k, nil
}

// write puts the file into a fleet's folder, all of it or nothing.
func (k *keptFile) write(dir string) error {
	b, err := json.MarshalIndent(k, "", " ")
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, "."+keptName)
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, keptName))
}

// errInUse is that another process uses a fleet.
var errInUse = errors.New("another run uses it")

// lock takes a fleet for this process, until the file is closed or the process ends.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the fleet: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = errInUse
		}
		return nil, errors.Join(fmt.Errorf("locking the fleet: %w", err), f.Close())
	}
	return f, nil
}

// KeptFleet is clusters that were kept.
type KeptFleet struct {
	ID       string
	Since    time.Time
	Clusters []string // names
	Mesh     string   // whose control plane stands in them: "none"
	InUse    bool     // by a run
	Err      error    // why no more is known than the ID
}

func (k KeptFleet) String() string {
	if k.Err != nil {
		return fmt.Sprintf("fleet %s (%v)", k.ID, k.Err)
	}
	with := ""
	if k.Mesh != meshNone {
		with = " with mesh " + k.Mesh
	}
	return fmt.Sprintf("fleet %s: clusters %s%s, kept since %s", k.ID, strings.Join(k.Clusters, ", "), with, k.Since.Local().Format("2006-01-02 15:04:05"))
}

// Kept lists the fleets that were kept, the newest first.
func Kept(state string) ([]KeptFleet, error) {
	entries, err := os.ReadDir(state)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for kept clusters: %w", err)
	}
	var list []KeptFleet
	for _, e := range entries {
		dir := filepath.Join(state, e.Name())
		if !fleetID.MatchString(e.Name()) {
			continue
		}
		k, err := readKept(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue // in use, or what a killed run left: its journal says so
		}
		fleet := KeptFleet{ID: e.Name(), Err: err}
		if err == nil {
			fleet.Since, fleet.Clusters, fleet.Mesh = k.Since, k.names(), k.Mesh
		}
		l, err := lock(dir)
		if fleet.InUse = errors.Is(err, errInUse); err == nil {
			_ = l.Close()
		}
		list = append(list, fleet)
	}
	slices.SortStableFunc(list, func(a, b KeptFleet) int { return b.Since.Compare(a.Since) })
	return list, nil
}

// CleanKept removes a fleet that was kept, unless a run uses it.
func CleanKept(ctx context.Context, state, id string) error {
	l, err := lock(filepath.Join(state, id))
	if err != nil {
		return fmt.Errorf("removing the kept fleet %s: %w", id, err)
	}
	return errors.Join(Clean(ctx, state, id), l.Close())
}
