package bundle_test

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/meshproof/meshproof/clusters/bundle"
)

// TestTheBundlesImagesRun starts what the images of this machine's bundle hold, in plain Docker without a network: an
// image of wrong architecture, a program that wants a library that is not there, or a tool that is left out shows here,
// and not as a pod that never becomes ready.
func TestTheBundlesImagesRun(t *testing.T) {
	b := realBundle(t)
	cases := []struct {
		part string
		args []string // of docker run after the image; the first with a leading "=" is the entry point
		want string   // in what it prints; VERSION is the part's
	}{
		{"pilot", []string{"version"}, "VERSION"},
		{"proxyv2", []string{"version"}, "VERSION"},
		{"proxyv2", []string{"=envoy", "--version"}, "/RELEASE/"},
		{"proxyv2", []string{"=iptables", "--version"}, "nf_tables"},
		{"proxyv2", []string{"=cat", "/var/lib/istio/envoy/envoy_bootstrap_tmpl.json"}, `"dynamic_resources"`},
		{"chaos-mesh", []string{"chaos-controller-manager", "--version"}, "VERSION"},
		{"chaos-daemon", []string{"chaos-daemon", "--version"}, "VERSION"},
		{"chaos-daemon", []string{"cdh", "--help"}, "Usage"},
		{"chaos-daemon", []string{"nsexec", "--", "true"}, ""},
		{"chaos-daemon", []string{"sh", "-c", "pause || true"}, "usage: pause"},
		{"chaos-daemon", []string{"iptables", "--version"}, "legacy"},
		{"chaos-daemon", []string{"ebtables", "--version"}, "legacy"},
		{"chaos-daemon", []string{"ipset", "--version"}, "protocol version"},
		{"chaos-daemon", []string{"tc", "-V"}, "iproute2"},
		{"chaos-daemon", []string{"stress-ng", "--version"}, "stress-ng"},
		{"node", []string{"=kubeadm", "version", "-o", "short"}, "VERSION"},
		{"node", []string{"=kubelet", "--version"}, "VERSION"},
		{"node", []string{"=containerd", "--version"}, "containerd"},
	}
	loaded := map[string]bool{}
	whole := t // images stay until all cases are through
	for _, c := range cases {
		t.Run(c.part+" "+strings.Join(c.args, " "), func(t *testing.T) {
			p, err := b.Part(c.part)
			if err != nil {
				t.Skipf("%v", err) // a bundle for runs without meshes holds the node alone
			}
			if !loaded[c.part] {
				load(whole, b, p)
				loaded[c.part] = true
			}
			args := []string{"run", "--rm", "--network", "none", "--cap-add", "NET_ADMIN"} // ipset wants it even for its version
			rest := c.args
			if entry, ok := strings.CutPrefix(rest[0], "="); ok {
				args, rest = append(args, "--entrypoint", entry), rest[1:]
			}
			out := docker(t, append(append(args, p.Refs[0]), rest...)...)
			if want := strings.ReplaceAll(c.want, "VERSION", p.Version); !strings.Contains(out, want) {
				t.Errorf("want %q in what it says:\n%s", want, out)
			}
		})
	}
}

// TestTheChartOfChaosMeshHasTheDefinitionsOfItsControllers holds the field that the controllers' webhook writes into
// each NetworkChaos: a definition that does not know it makes every later change of the object fail.
func TestTheChartOfChaosMeshHasTheDefinitionsOfItsControllers(t *testing.T) {
	b := realBundle(t)
	p, err := b.Part("chart-chaos-mesh")
	if err != nil {
		t.Skipf("%v", err)
	}
	if p.Inputs == "" {
		t.Skip("this bundle's chart was not built here")
	}
	f, err := os.Open(b.Path(p))
	fatal(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	fatal(t, err)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			t.Fatal("there is no definition of NetworkChaos")
		}
		fatal(t, err)
		if !strings.HasSuffix(h.Name, "/crds/chaos-mesh.org_networkchaos.yaml") {
			continue
		}
		text, err := io.ReadAll(r)
		fatal(t, err)
		if !strings.Contains(string(text), "partitionBehavior:") {
			t.Error("the definition of NetworkChaos does not know partitionBehavior")
		}
		return
	}
}

// realBundle is this machine's bundle, where tests on real clusters run.
func realBundle(t *testing.T) *bundle.Bundle {
	t.Helper()
	if os.Getenv("MESHPROOF_TEST_KIND") == "" {
		t.Skip("needs Docker and a bundle: make test-kind")
	}
	dir, err := bundle.DefaultDir()
	fatal(t, err)
	b, err := bundle.Open(dir)
	fatal(t, err)
	return b
}

// load loads a part's image into Docker, and removes it at the end unless it was there before.
func load(t *testing.T, b *bundle.Bundle, p bundle.Part) {
	t.Helper()
	fatal(t, b.Check(t.Context(), p))
	there := exec.CommandContext(t.Context(), "docker", "image", "inspect", p.Refs[0]).Run() == nil
	docker(t, "load", "--quiet", "--input", b.Path(p))
	if !there {
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if out, err := exec.CommandContext(ctx, "docker", "rmi", p.Refs[0]).CombinedOutput(); err != nil {
				t.Logf("removing the image %s: %v: %s", p.Refs[0], err, out)
			}
		})
	}
}

// docker runs a command of Docker and returns what it prints.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
