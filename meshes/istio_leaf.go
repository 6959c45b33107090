package meshes

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/scenarios"
)

const (
	istioProxyConfig = "proxy.istio.io/config"
	// istioLeafLifetime is the variable of Istio's agent that says how long a certificate is to hold that it asks for.
	istioLeafLifetime = "SECRET_TTL"
	istioLeafKey      = "ECC_SIGNATURE_ALGORITHM"
)

// istioLeaves lets the agents ask for certificates that hold as long as the scenario says. Their keys are of the kind that
// takes no time to make.
func istioLeaves(s *scenarios.Scenario, objs []clusters.Object) {
	life := s.Spec.Identity.LeafLifetime.D()
	if life == 0 {
		return
	}
	for _, o := range objs {
		d, ok := o.(*appsv1.Deployment)
		if !ok {
			continue
		}
		if w, ok := s.Workload(d.Name); !ok || !w.Meshed {
			continue
		}
		t := &d.Spec.Template
		if t.Annotations == nil {
			t.Annotations = map[string]string{}
		}
		t.Annotations[istioProxyConfig] = fmt.Sprintf("proxyMetadata: {%s: ECDSA, %s: %s}", istioLeafKey, istioLeafLifetime, life)
	}
}
