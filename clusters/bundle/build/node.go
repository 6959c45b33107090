package build

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/meshproof/meshproof/clusters/bundle"
)

// nodePackages are what kind's own base image installs, with Debian's containerd, runc and CNI plugins for its builds of
// them, and what the faults of scenarios use on a node.
var nodePackages = []string{
	"systemd", "systemd-sysv", "conntrack", "iptables", "nftables", "iproute2", "ethtool", "util-linux", "mount", "kmod",
	"libseccomp2", "pigz", "e2fsprogs", "ca-certificates", "curl", "jq", "procps", "ebtables", "socat", "ipset",
	"containernetworking-plugins", "runc", "containerd",
}

// nodeUnits are the units that systemd starts by itself on a host and that have no place in a container: those that
// kind's base image removes.
var nodeUnits = []string{
	"usr/lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service",
	"usr/lib/systemd/system/multi-user.target.wants/*", "etc/systemd/system/*.wants/*",
	"usr/lib/systemd/system/local-fs.target.wants/*", "usr/lib/systemd/system/sockets.target.wants/*udev*",
	"usr/lib/systemd/system/sockets.target.wants/*initctl*", "usr/lib/systemd/system/basic.target.wants/*",
}

// specFile is the file with the runtime specification that containerd on the node starts from.
const specFile = "cri-base.json"

// nodeRootFS is the root file system of nodes.
func nodeRootFS() rootFS {
	return rootFS{packages: nodePackages, leaveOut: nodeUnits, after: func(ctx context.Context, root string, j job) error {
		text, err := command{log: j.log, root: root, dir: "/"}.output(ctx, "/usr/bin/ctr", "oci", "spec")
		if err != nil {
			return err
		}
		spec, err := baseSpec(text)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(j.out, specFile), spec, 0o644)
	}}
}

// baseSpec adapts containerd's default runtime specification as kind's base image does: a hook that hides the host's
// product files, and no limits of its own.
func baseSpec(text []byte) ([]byte, error) {
	var spec map[string]any
	if err := json.Unmarshal(text, &spec); err != nil {
		return nil, fmt.Errorf("reading what ctr oci spec says: %w", err)
	}
	process, ok := spec["process"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("what ctr oci spec says has no process")
	}
	delete(process, "rlimits")
	hooks, ok := spec["hooks"].(map[string]any)
	if !ok {
		hooks = map[string]any{}
		spec["hooks"] = hooks
	}
	create, _ := hooks["createContainer"].([]any)
	hooks["createContainer"] = append(create, map[string]any{"path": "/kind/bin/mount-product-files.sh"})
	return json.Marshal(spec)
}

// conflist is the node's network, until a cluster's own is mounted over it: routed point-to-point links and addresses
// of kubeadm's default range, enough for one node. kind's own network plug-in is no Go module.
const conflist = `{
  "cniVersion": "0.4.0",
  "name": "meshproof",
  "plugins": [
    {"type": "ptp", "ipMasq": true, "mtu": 1500,
     "ipam": {"type": "host-local", "dataDir": "/run/cni-ipam-state",
              "ranges": [[{"subnet": "10.244.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`

// storage is the manifest that kind applies for storage: scenarios use none, but the file must be there.
const storage = `apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: standard}
provisioner: meshproof.invalid/none
`

// makeNode assembles the node image: Debian, kind's own files, Kubernetes, and the control plane's images.
func makeNode(ctx context.Context, j job) error {
	kindFiles, err := kindModule(ctx, j)
	if err != nil {
		return err
	}
	debian, err := readLayer(filepath.Join(j.from["debian-node"], layerFile))
	if err != nil {
		return err
	}
	spec, err := os.ReadFile(filepath.Join(j.from["debian-node"], specFile))
	if err != nil {
		return err
	}
	images, err := controlPlane(ctx, j)
	if err != nil {
		return err
	}
	pause := ""
	for _, t := range images {
		if strings.Contains(t.ref, "/pause:") {
			pause = t.ref
		}
	}
	own, err := writeLayer(filepath.Join(j.out, "node"), func(w *layerWriter) error {
		if err := addKindFiles(w, filepath.Join(kindFiles, "images", "base", "files"), pause); err != nil {
			return err
		}
		return addNodeFiles(w, spec, j.from["kubernetes"])
	})
	if err != nil {
		return err
	}
	store, err := writeLayer(filepath.Join(j.out, "store"), func(w *layerWriter) error {
		return writeContentStore(w, images, j.out)
	})
	if err != nil {
		return err
	}
	img, err := assemble(v1.Config{
		Env: []string{"container=docker", searchPath}, Entrypoint: []string{"/usr/local/bin/entrypoint", "/sbin/init"},
		StopSignal: "SIGRTMIN+3", // what ends systemd
	}, debian, own, store)
	if err != nil {
		return err
	}
	_, err = bundle.PutImage(ctx, j.bundle, bundle.Part{
		Name: "node", Kind: bundle.NodeImage, Version: kubernetesVersion, Inputs: j.key,
		Source: fmt.Sprintf("Go modules k8s.io/kubernetes %s and sigs.k8s.io/kind; Debian %s", kubernetesVersion, suite),
		Refs:   []string{"docker.io/meshproof/node:" + kubernetesVersion},
	}, img)
	return err
}

// kindModule fetches the module whose files make a Debian system a node of kind.
func kindModule(ctx context.Context, j job) (string, error) {
	d, err := describe("kind")
	if err != nil {
		return "", err
	}
	return d.moduleDir(ctx, "sigs.k8s.io/kind", j)
}

// addKindFiles adds kind's own files of its base image, with the configuration of containerd adapted to this image.
func addKindFiles(w *layerWriter, dir, pause string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		mode := int64(0o644)
		if strings.HasPrefix(rel, "usr/local/bin/") || strings.HasPrefix(rel, "kind/bin/") {
			mode = 0o755
		}
		if rel == "etc/containerd/config.toml" {
			if text, err = containerdConfig(text, pause); err != nil {
				return err
			}
		}
		return w.text(rel, mode, text)
	})
}

// containerdConfig adapts kind's configuration of containerd: the pause image that the node has, and no lowering of
// oom_score_adj below containerd's own, which needs CAP_SYS_RESOURCE on the host.
func containerdConfig(text []byte, pause string) ([]byte, error) {
	lines := bytes.Split(text, []byte("\n"))
	set := map[string]string{"sandbox_image": fmt.Sprintf("%q", pause), "restrict_oom_score_adj": "true"}
	for i, l := range lines {
		key, _, ok := bytes.Cut(l, []byte("="))
		name := string(bytes.TrimSpace(key))
		if value, wanted := set[name]; ok && wanted {
			lines[i] = append(bytes.TrimRight(key, " "), " = "+value...)
			delete(set, name)
		}
	}
	for name := range set {
		return nil, fmt.Errorf("kind's configuration of containerd does not set %s: this version of kind is not known to meshproof", name)
	}
	return bytes.Join(lines, []byte("\n")), nil
}

// addNodeFiles adds what is neither Debian's nor kind's.
func addNodeFiles(w *layerWriter, spec []byte, kubernetes string) error {
	texts := []struct {
		path, text string
	}{
		{"etc/containerd/" + specFile, string(spec)},
		{"etc/cni/net.d/10-ptp.conflist", conflist},
		{"etc/systemd/journald.conf.d/kind.conf", "[Journal]\nReadKMsg=no\n"}, // the host kernel's messages would confuse
		{"kind/version", kubernetesVersion},
		{"kind/manifests/default-storage.yaml", storage},
	}
	for _, f := range texts {
		if err := w.text(f.path, 0o644, []byte(f.text)); err != nil {
			return err
		}
	}
	links := [][2]string{
		{"usr/local/bin/containerd", "/usr/bin/containerd"}, // where kind's unit looks for it
		{"etc/systemd/system/systemd-binfmt.service", "/dev/null"},
	}
	for _, unit := range []string{"containerd", "kubelet", "undo-mount-hacks"} {
		links = append(links, [2]string{
			"etc/systemd/system/multi-user.target.wants/" + unit + ".service", "/etc/systemd/system/" + unit + ".service",
		})
	}
	for _, plugin := range []string{"host-local", "loopback", "portmap", "ptp", "bridge"} {
		links = append(links, [2]string{"opt/cni/bin/" + plugin, "/usr/lib/cni/" + plugin})
	}
	for _, l := range links {
		if err := w.link(l[0], l[1]); err != nil {
			return err
		}
	}
	if err := w.folder("etc/kubernetes/manifests", 0o755); err != nil {
		return err
	}
	return w.programs("usr/bin", kubernetes, "kubeadm", "kubectl", "kubelet")
}
