package kind

import (
	"strings"
	"testing"

	"github.com/meshproof/meshproof/scenarios"
)

func TestHTTP2IsRefusedWhereItWasNotSeenToGetThrough(t *testing.T) {
	for mesh, taken := range map[string]bool{"none": true, "istio": true, "linkerd": false, "layered": false} {
		tr := scenarios.Traffic{Name: "users", From: scenarios.IngressName, Protocol: scenarios.ProtocolHTTP2}
		err := new(Provider).CheckLoad(mesh, tr, 4)
		if (err == nil) != taken || err != nil && !strings.Contains(err.Error(), "traffic users in HTTP/2 is not in this version for mesh "+mesh) {
			t.Errorf("%s: %v", mesh, err)
		}
		if tr.Protocol = scenarios.ProtocolHTTP1; new(Provider).CheckLoad(mesh, tr, 4) != nil {
			t.Errorf("%s refuses HTTP/1.1", mesh)
		}
	}
	if new(Provider).CheckLoad("consul", scenarios.Traffic{}, 1) == nil {
		t.Error("an unknown mesh is known")
	}
}
