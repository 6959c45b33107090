package meshes

import (
	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/scenarios"
)

const linkerdNamespace = "linkerd"

// linkerdReleases are the charts of Linkerd's control plane in one cluster. The root and the issuer are brought by whoever
// installs them, in the Secret and the ConfigMap that the chart then expects (identity.externalCA, scheme
// kubernetes.io/tls), so that no key stands in a release's values.
func linkerdReleases() []clusters.Release {
	// Requests are made small, so that what a machine can hold is what it can run.
	small := values{"cpu": values{"request": "10m"}, "memory": values{"request": "32Mi"}}
	return []clusters.Release{
		{Name: "linkerd-crds", Namespace: linkerdNamespace, Chart: "linkerd-crds", Values: values{
			// The Gateway API's definitions in the version that this Linkerd reads.
			"installGatewayAPI": true,
		}},
		{Name: "linkerd-control-plane", Namespace: linkerdNamespace, Chart: "linkerd-control-plane", Values: values{
			"clusterDomain":       scenarios.TrustDomain,
			"identityTrustDomain": scenarios.TrustDomain,
			"identity": values{
				"externalCA": true,
				"issuer":     values{"scheme": "kubernetes.io/tls"},
			},
			"proxy":            values{"nativeSidecar": true, "resources": small},
			"disableHeartBeat": true,
			// A pod for which the injector cannot be asked is not made, rather than made without a proxy.
			"webhookFailurePolicy": "Fail",
		}},
	}
}
