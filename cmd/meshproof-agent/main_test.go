package main

import (
	"os/exec"
	"strings"
	"testing"
)

func TestTheAgentCarriesNothingOfTheDrivers(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	deps := strings.Fields(string(out))
	if len(deps) < 100 {
		t.Fatalf("only %d packages were listed", len(deps))
	}
	for _, d := range deps {
		for _, no := range []string{
			"helm.sh/", "sigs.k8s.io/kind/", "k8s.io/client-go/", "sigs.k8s.io/controller-runtime/", "github.com/prometheus/", "github.com/google/go-containerregistry/",
			"github.com/meshproof/meshproof/clusters/kind", "github.com/meshproof/meshproof/clusters/embedded", "github.com/meshproof/meshproof/verify",
		} {
			if strings.HasPrefix(d, no) {
				t.Errorf("it carries %s", d)
			}
		}
	}
}
