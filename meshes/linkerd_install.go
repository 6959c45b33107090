package meshes

import (
	"time"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/scenarios"
)

const linkerdNamespace = "linkerd"

// linkerdReleases are the charts of Linkerd's control plane in one cluster. The root and the issuer are brought by whoever
// installs them, in the Secret and the ConfigMap that the chart then expects (identity.externalCA, scheme
// kubernetes.io/tls), so that no key stands in a release's values.
func linkerdReleases(s *scenarios.Scenario) []clusters.Release {
	// Requests are made small, so that what a machine can hold is what it can run.
	small := values{"cpu": values{"request": "10m"}, "memory": values{"request": "32Mi"}}
	issuer, proxy := values{"scheme": "kubernetes.io/tls"}, values{"nativeSidecar": true, "resources": small}
	linkerdLeaves(s, issuer, proxy)
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
				"issuer":     issuer,
			},
			"proxy":            proxy,
			"disableHeartBeat": true,
			// A pod for which the injector cannot be asked is not made, rather than made without a proxy.
			"webhookFailurePolicy": "Fail",
		}},
	}
}

const (
	// linkerdSkew is how far the clocks of clusters may be apart where certificates hold only for seconds: the identity
	// service lets each hold for that much longer, either side. Its own 20 s would be most of such a certificate's life.
	linkerdSkew = time.Second
	// linkerdMinRefresh is the variable of Linkerd's proxies that bounds how soon they ask for a new certificate: by itself
	// it is 10 s, and shorter ones end before that.
	linkerdMinRefresh = "LINKERD2_PROXY_IDENTITY_MIN_REFRESH"
)

// linkerdLeaves lets the identity service sign certificates that hold as long as the scenario says, from now on, and proxies
// ask for the next one when 70 % of that is over, as always.
func linkerdLeaves(s *scenarios.Scenario, issuer, proxy values) {
	life := s.Spec.Identity.LeafLifetime.D()
	if life == 0 {
		return
	}
	issuer["issuanceLifetime"] = (life - linkerdSkew).String()
	issuer["clockSkewAllowance"] = linkerdSkew.String()
	proxy["additionalEnv"] = []any{values{"name": linkerdMinRefresh, "value": "1s"}}
}
