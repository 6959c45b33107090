package kind

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/workload"
)

func TestAPodThatAControllerMakesDuringAnOutageEndsForIt(t *testing.T) {
	s := &sink{}
	c := &cluster{
		f: newFleet(clusters.Spec{Sink: s}, t.TempDir()), name: "east",
		pods: map[types.UID]*pod{}, ended: map[types.UID]bool{}, outages: map[string]string{},
	}
	appears := func(name string) {
		c.f.mu.Lock()
		defer c.f.mu.Unlock()
		c.observe(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Namespace: "app", Name: name, UID: types.UID(name), Labels: map[string]string{workload.LabelApp: "api"},
		}})
	}
	ends := func(name string) {
		c.f.mu.Lock()
		defer c.f.mu.Unlock()
		c.gone(types.UID(name))
	}
	appears("first")
	if got := c.condemn("app", "api", "workload-outage gone"); !cmp.Equal(got, []types.UID{"first"}) {
		t.Errorf("condemned %v", got)
	}
	ends("first")
	appears("stray")
	ends("stray")
	c.condemn("app", "api", "") // as where the outage is over
	appears("last")
	ends("last")
	got := map[string]string{}
	for _, i := range s.items {
		if e, ok := i.(*evidence.Event); ok && e.Kind == evidence.EventPodEnded {
			got[e.At.Pod] = e.Message
		}
	}
	if d := cmp.Diff(map[string]string{
		"first": "workload-outage gone", "stray": "workload-outage gone", "last": "its controller or somebody else removed it",
	}, got); d != "" {
		t.Errorf("ends of pods (-want +got):\n%s", d)
	}
}
