package meshes

import (
	"errors"
	"strings"
	"testing"
	"time"

	networking "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/scenarios"
)

func TestIstioMakesAFaultOnEveryRouteButThoseOfProof(t *testing.T) {
	s, _, err := scenarios.Resolve("two-clusters")
	if err != nil {
		t.Fatal(err)
	}
	to := s.Spec.Topology.Services[0].Name
	objs, err := Render(istio{}, scenarios.MeshEntry{Name: scenarios.MeshIstio}, s, "east")
	if err != nil {
		t.Fatal(err)
	}
	target := &scenarios.FaultTarget{Service: to, Cluster: "east"}
	for _, f := range []scenarios.Fault{
		{Name: "aborts", Kind: scenarios.MeshAbort, Target: target, Share: 0.25, Status: 500},
		{Name: "holds", Kind: scenarios.MeshDelay, Target: target, Share: 1, Delay: scenarios.Duration(time.Second)},
	} {
		with, without, err := Faulty(scenarios.MeshIstio, s, f, objs)
		if err != nil {
			t.Fatal(err)
		}
		if clusters.Key(with) != clusters.Key(without) {
			t.Errorf("%s replaces %s", clusters.Key(with), clusters.Key(without))
		}
		faulty := 0
		for _, r := range with.(*networking.VirtualService).Spec.GetHttp() {
			in := r.GetFault()
			switch {
			case strings.HasPrefix(r.GetName(), "proof"):
				if in != nil {
					t.Errorf("%s: the route %s of proof traffic has a fault", f.Name, r.GetName())
				}
				continue
			case f.Kind == scenarios.MeshAbort && in.GetAbort().GetHttpStatus() == 500 && in.GetAbort().GetPercentage().GetValue() == 25,
				f.Kind == scenarios.MeshDelay && in.GetDelay().GetFixedDelay().AsDuration() == time.Second && in.GetDelay().GetPercentage().GetValue() == 100:
				faulty++
			default:
				t.Errorf("%s: route %s has %v", f.Name, r.GetName(), in)
			}
		}
		if faulty == 0 {
			t.Errorf("%s: no route has the fault", f.Name)
		}
		for _, r := range without.(*networking.VirtualService).Spec.GetHttp() {
			if r.GetFault() != nil {
				t.Errorf("%s: what is there without it has it", f.Name)
			}
		}
	}
	f := scenarios.Fault{Name: "aborts", Kind: scenarios.MeshAbort, Target: target, Share: 1, Status: 503}
	for mesh, want := range map[scenarios.MeshName]string{
		scenarios.MeshNone: "there is no proxy", scenarios.MeshLinkerd: "Linkerd injects no faults", scenarios.MeshLayered: "Linkerd injects no faults",
	} {
		if _, _, err := Faulty(mesh, s, f, objs); !errors.Is(err, clusters.ErrNotPossible) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", mesh, err, want)
		}
	}
	if _, _, err := Faulty(scenarios.MeshIstio, s, f, nil); err == nil || errors.Is(err, clusters.ErrNotPossible) {
		t.Errorf("without a VirtualService: %v", err)
	}
}
