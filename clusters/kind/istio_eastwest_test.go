package kind

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/internal/workload"
)

func TestTheEastWestGatewayIsReachedAtTheNodesOfItsCluster(t *testing.T) {
	_, _, west := twoClusters(t, true, true)
	want := map[string]any{"service": map[string]any{"externalIPs": []any{"10.100.0.4", "10.100.0.5"}}}
	if d := cmp.Diff(want, istio{}.clusterValues(west, "gateway")); d != "" {
		t.Error(d)
	}
	if got := (istio{}).clusterValues(west, "istiod"); got != nil {
		t.Errorf("values of another chart: %v", got)
	}
	own, other := workload.Namespace(istioNamespace, nil), workload.Namespace("app", nil)
	if got := west.onNetwork(own).GetLabels()[networkLabel]; got != "west" || own.Labels[networkLabel] != "" {
		t.Errorf("the network of west is %q, and the object that was given %v", got, own.Labels)
	}
	_, flat, _ := twoClusters(t, false, true)
	if west.onNetwork(other) != clusters.Object(other) || flat.onNetwork(own) != clusters.Object(own) {
		t.Error("another namespace, or one on a flat network, was changed")
	}
}

func TestSeparateNetworksAreRefusedForMeshesWithoutGateways(t *testing.T) {
	for mesh, possible := range map[string]bool{"none": true, "istio": true, "linkerd": false, "layered": false} {
		err := New(Config{}).CheckTopology(clusters.Spec{Mesh: mesh, Separate: true})
		if (err == nil) != possible || err != nil && !errors.Is(err, clusters.ErrNotPossible) {
			t.Errorf("%s: %v", mesh, err)
		}
	}
}
