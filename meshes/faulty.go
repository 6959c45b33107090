package meshes

import (
	"fmt"

	"google.golang.org/protobuf/types/known/durationpb"
	networkingapi "istio.io/api/networking/v1alpha3"
	networking "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/scenarios"
)

// Faulty is the object by which a mesh makes a fault itself, with the fault and as it is without: what the mesh has of objs,
// which are all that one cluster gets for the scenario. The error wraps clusters.ErrNotPossible for a mesh that injects no
// faults.
func Faulty(mesh scenarios.MeshName, s *scenarios.Scenario, f scenarios.Fault, objs []clusters.Object) (with, without clusters.Object, err error) {
	failed := func(why string) (clusters.Object, clusters.Object, error) {
		return nil, nil, fmt.Errorf("%w: %s by mesh %s: %s", clusters.ErrNotPossible, f.Kind, mesh, why)
	}
	switch mesh {
	case scenarios.MeshIstio:
	case scenarios.MeshNone:
		return failed("there is no proxy that could make it")
	default:
		return failed("Linkerd injects no faults: the filters of its HTTPRoutes change headers and redirect (RequestHeaderModifier, ResponseHeaderModifier, RequestRedirect)")
	}
	to, _ := s.Workload(f.Target.Service)
	for _, o := range objs {
		v, ok := o.(*networking.VirtualService)
		if !ok || len(v.Spec.GetHosts()) != 1 || v.Spec.GetHosts()[0] != to.Host() {
			continue
		}
		faulty := v.DeepCopy()
		hit := false
		for _, r := range faulty.Spec.GetHttp() {
			if !ofProof(r) { // its probes are of the other routes, as all traffic is
				r.Fault, hit = istioFault(f), true
			}
		}
		if !hit {
			return nil, nil, fmt.Errorf("VirtualService %s/%s has no route for the fault %s", v.Namespace, v.Name, f.Name)
		}
		return faulty, v, nil
	}
	return nil, nil, fmt.Errorf("there is no VirtualService for %s alone, in which the fault %s could stand", to.Host(), f.Name)
}

// ofProof reports whether a route is for proof traffic alone.
func ofProof(r *networkingapi.HTTPRoute) bool {
	for _, m := range r.GetMatch() {
		if m.GetHeaders()[scenarios.HeaderProof] == nil {
			return false
		}
	}
	return len(r.GetMatch()) > 0
}

func istioFault(f scenarios.Fault) *networkingapi.HTTPFaultInjection {
	share := &networkingapi.Percent{Value: 100 * f.Share}
	if f.Kind == scenarios.MeshDelay {
		return &networkingapi.HTTPFaultInjection{Delay: &networkingapi.HTTPFaultInjection_Delay{
			HttpDelayType: &networkingapi.HTTPFaultInjection_Delay_FixedDelay{FixedDelay: durationpb.New(f.Delay.D())}, Percentage: share,
		}}
	}
	return &networkingapi.HTTPFaultInjection{Abort: &networkingapi.HTTPFaultInjection_Abort{
		ErrorType: &networkingapi.HTTPFaultInjection_Abort_HttpStatus{HttpStatus: int32(f.Status)}, Percentage: share,
	}}
}
