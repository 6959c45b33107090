package build

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const (
	chaosModule = "github.com/chaos-mesh/chaos-mesh"
	// chaosVersion is how images and chart call the module's version.
	chaosVersion = "2.9.0-dev.20260902"
	controlGen   = "controller-gen"
)

// chaosPackages are the tools that chaos-daemon runs.
var chaosPackages = []string{
	"iptables", "ebtables", "ipset", "iproute2", "stress-ng", "util-linux", "procps", "ca-certificates",
}

// chaosRootFS is the system under chaos-daemon. Chaos Mesh speaks to iptables' legacy tables, as its own image does.
func chaosRootFS() rootFS {
	return rootFS{packages: chaosPackages, after: func(_ context.Context, root string, _ job) error {
		for name, to := range map[string]string{
			"iptables": "iptables-legacy", "iptables-save": "iptables-legacy-save", "iptables-restore": "iptables-legacy-restore",
			"ip6tables": "ip6tables-legacy", "ip6tables-save": "ip6tables-legacy-save", "ip6tables-restore": "ip6tables-legacy-restore",
			"ebtables": "ebtables-legacy", "ebtables-save": "ebtables-legacy-save", "ebtables-restore": "ebtables-legacy-restore",
		} {
			link := filepath.Join(root, "etc", "alternatives", name)
			if _, err := os.Stat(filepath.Join(root, "usr", "sbin", to)); err != nil {
				return fmt.Errorf("the program that %s is to stand for: %w", name, err)
			}
			if err := os.Remove(link); err != nil {
				return err
			}
			if err := os.Symlink("/usr/sbin/"+to, link); err != nil {
				return err
			}
		}
		return nil
	}}
}

// chaosVars are the version that the programs say.
func chaosVars() []string {
	version := chaosModule + "/pkg/version."
	return []string{version + "gitVersion=" + chaosVersion, version + "gitCommit=unknown"}
}

// chaosBuild builds the controllers, and the generator of their resource definitions: without C, for with it the
// controllers would want a libc in their image.
func chaosBuild() goBuild {
	return goBuild{vars: chaosVars(), programs: []program{
		{chaosModule + "/cmd/chaos-controller-manager", "chaos-controller-manager"},
		{"sigs.k8s.io/controller-tools/cmd/controller-gen", controlGen},
	}}
}

// chaosDaemonBuild builds what runs on each node. It needs C.
func chaosDaemonBuild() goBuild {
	return goBuild{vars: chaosVars(), cgo: true, programs: []program{
		{chaosModule + "/cmd/chaos-daemon", "chaos-daemon"}, {chaosModule + "/cmd/chaos-daemon-helper", "cdh"},
	}}
}

// makeChaosMesh puts both images and the chart into the bundle.
func makeChaosMesh(ctx context.Context, j job) error {
	d, err := describe("chaos-mesh")
	if err != nil {
		return err
	}
	controllers, err := writeLayer(filepath.Join(j.out, "controllers"), func(w *layerWriter) error {
		if err := w.folder("tmp", 0o1777); err != nil {
			return err
		}
		return w.programs("usr/local/bin", j.from["chaos-mesh-controllers"], "chaos-controller-manager")
	})
	if err != nil {
		return err
	}
	if err := put(ctx, j, "chaos-mesh", chaosVersion, source(d, chaosModule), v1.Config{Env: []string{searchPath}}, controllers); err != nil {
		return err
	}
	debian, err := readLayer(filepath.Join(j.from["debian-chaos"], layerFile))
	if err != nil {
		return err
	}
	daemon, err := writeLayer(filepath.Join(j.out, "daemon"), func(w *layerWriter) error {
		if err := w.programs("usr/local/bin", j.from["chaos-mesh-daemon"], "chaos-daemon", "cdh"); err != nil {
			return err
		}
		return w.programs("usr/local/bin", j.from["chaos-helpers"], "pause", "nsexec")
	})
	if err != nil {
		return err
	}
	if err := put(ctx, j, "chaos-daemon", chaosVersion, source(d, chaosModule), v1.Config{Env: []string{searchPath}}, debian, daemon); err != nil {
		return err
	}
	return putChaosChart(ctx, j, d)
}

// putChaosChart packages Chaos Mesh's chart with the bundle's images as its defaults and with resource definitions
// generated from the module that the controllers are built with: those of the chart are older, and an object that the
// webhook completes with a field that they don't know can no longer be changed.
func putChaosChart(ctx context.Context, j job, d description) error {
	dir, err := d.moduleDir(ctx, chaosModule, j)
	if err != nil {
		return err
	}
	work := filepath.Join(j.tmp, "module") // where moduleDir has laid the description
	crds := filepath.Join(j.out, "crds")
	err = command{dir: work, env: goEnv, log: j.log}.run(ctx,
		filepath.Join(j.from["chaos-mesh-controllers"], controlGen), "crd:ignoreUnexportedFields=true,crdVersions=v1",
		"paths="+chaosModule+"/api/v1alpha1", "output:crd:artifacts:config="+crds)
	if err != nil {
		return err
	}
	c := chart{
		name: "chaos-mesh", dir: filepath.Join(dir, "helm", "chaos-mesh"), instead: map[string]string{"crds": crds},
		edit: map[string][]replacement{
			"Chart.yaml": {
				{`version: "0.0.0"`, `version: "` + chaosVersion + `"`}, {`appVersion: "0.0.0"`, `appVersion: "` + chaosVersion + `"`},
			},
			"values.yaml": {
				{`registry: "ghcr.io"`, `registry: "docker.io"`},
				{`tag: "v2.8.4"`, `tag: "` + chaosVersion + `"`},
				{"repository: chaos-mesh/chaos-mesh", "repository: meshproof/chaos-mesh"},
				{"repository: chaos-mesh/chaos-daemon", "repository: meshproof/chaos-daemon"},
			},
		},
	}
	return c.put(ctx, j, source(d, chaosModule))
}
