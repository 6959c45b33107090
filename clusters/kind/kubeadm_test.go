package kind

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"
)

func TestKubeadmIsGivenPatchesThatItKnows(t *testing.T) {
	dir, err := writeKubeadmPatches(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != len(kubeadmPatches()) {
		t.Fatalf("%v, %v", files, err)
	}
	// The targets and types of patches that kubeadm takes: kubeadm.k8s.io/v1beta3, Patches.Directory.
	targets := []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubeletconfiguration", "corednsdeployment"}
	for _, f := range files {
		target, kind, ok := strings.Cut(strings.TrimSuffix(f.Name(), ".yaml"), "+")
		if !ok || !slices.Contains(targets, target) || !slices.Contains([]string{"strategic", "merge", "json"}, kind) {
			t.Errorf("kubeadm knows no patch %s", f.Name())
		}
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		var doc any
		if kind == "strategic" {
			doc = &appsv1.Deployment{}
		} else {
			doc = &[]struct{ Op, Path, Value string }{}
		}
		if err := yaml.UnmarshalStrict(b, doc); err != nil {
			t.Errorf("%s: %v", f.Name(), err)
		}
	}
}

func TestOnlyTheFirstNodeHasItsNetworkFromItsStart(t *testing.T) {
	r := ranges{pods: netip.MustParsePrefix("10.96.0.0/16"), services: netip.MustParsePrefix("10.97.0.0/16")}
	p, err := planned(t.TempDir(), "abcdef", "east", r, 2, true)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(p.networks[0], conflistFile))
	if err != nil || !json.Valid(b) || !strings.Contains(string(b), `"10.96.0.0/24"`) {
		t.Errorf("the first node's network: %s, %v", b, err)
	}
	if files, err := os.ReadDir(p.networks[1]); err != nil || len(files) != 0 {
		t.Errorf("the second node's network is configured before its cluster has given it addresses: %v, %v", files, err)
	}

	c := &cluster{ranges: r, ownCNI: true}
	c.nodes = []*node{{name: "first", pods: netip.MustParsePrefix("10.96.1.0/24")}}
	if err := c.configure(t.Context(), c.nodes[0]); err == nil || !strings.Contains(err.Error(), "10.96.1.0/24") {
		t.Errorf("a first node with other addresses than it was configured for: %v", err)
	}
}
