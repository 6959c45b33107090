package meshes

import (
	telemetryapi "istio.io/api/telemetry/v1alpha1"
	telemetry "istio.io/client-go/pkg/apis/telemetry/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/scenarios"
)

// values are a chart's.
type values = map[string]any

// accessLogProvider names the sidecars' access log in Istio's mesh configuration.
const accessLogProvider = "meshproof"

// accessLogFormat is what a sidecar writes of each request, one JSON object a line; package verify reads it. Envoy writes
// null for what it does not know.
var accessLogFormat = values{
	"id":       "%REQ(X-REQUEST-ID)%",
	"start":    "%START_TIME%",
	"method":   "%REQ(:METHOD)%",
	"path":     "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
	"code":     "%RESPONSE_CODE%",
	"flags":    "%RESPONSE_FLAGS%",
	"details":  "%RESPONSE_CODE_DETAILS%",
	"peer":     "%DOWNSTREAM_PEER_URI_SAN%",
	"local":    "%DOWNSTREAM_LOCAL_URI_SAN%",
	"serial":   "%DOWNSTREAM_PEER_SERIAL%",
	"issuer":   "%DOWNSTREAM_PEER_ISSUER%",
	"tls":      "%DOWNSTREAM_TLS_VERSION%",
	"cipher":   "%DOWNSTREAM_TLS_CIPHER%",
	"upstream": "%UPSTREAM_HOST%",
}

// proofStats are the statistics of Envoy that proofs read and that a sidecar does not export by itself: handshakes and
// connections that no filter chain takes, requests and decisions about policy, and what tells how many lines of the access
// log were written.
var proofStats = []any{
	`listener\..*\.(ssl\..*|no_filter_chain_match)`,
	`http\.inbound_.*\.(rbac\..*|downstream_rq_completed)`,
	`filesystem\.write_buffered`,
	`http\.admin\.downstream_rq_completed`,
}

// Install implements Mesh: primary control planes on one flat network that trust one root, one in each cluster.
func (istio) Install(_ *scenarios.Scenario, _ scenarios.MeshEntry, flavor, cluster string) clusters.Installation {
	istiod := values{
		"global": values{
			"meshID":       "meshproof",
			"multiCluster": values{"clusterName": cluster},
			// Requests are made small, so that what a machine can hold is what it can run; limits are Istio's own.
			"proxy": values{"resources": values{"requests": values{"cpu": "10m", "memory": "64Mi"}}},
		},
		"autoscaleEnabled": false,
		"resources":        values{"requests": values{"cpu": "10m", "memory": "128Mi"}},
		"meshConfig": values{
			"trustDomain":           scenarios.TrustDomain,
			"outboundTrafficPolicy": values{"mode": "REGISTRY_ONLY"},
			"extensionProviders": []any{values{
				"name": accessLogProvider,
				"envoyFileAccessLog": values{
					"path": "/dev/stdout", "logFormat": values{"labels": accessLogFormat},
				},
			}},
			"defaultConfig": values{
				// Linkerd's proxies take no RSA leaf, and every mesh is compared with the same kind of key.
				"proxyMetadata":     values{"ECC_SIGNATURE_ALGORITHM": "ECDSA"},
				"proxyStatsMatcher": values{"inclusionRegexps": proofStats},
			},
		},
	}
	if flavor == clusters.FlavorUpstreamEnvoy {
		// What the upstream Envoy has no filters for; with an unknown one it would refuse its whole configuration.
		istiod["telemetry"] = values{"enabled": false}
		istiod["env"] = values{"PILOT_ENABLE_METADATA_EXCHANGE": "false", "PILOT_ENABLE_ALPN_FILTER": "false"}
	}
	return clusters.Installation{
		Releases: []clusters.Release{
			{Name: "istio-base", Namespace: istioNamespace, Chart: "base", Values: values{"defaultRevision": "default"}},
			{Name: "istiod", Namespace: istioNamespace, Chart: "istiod", Values: istiod},
		},
		Objects: []clusters.Object{accessLog()},
	}
}

// accessLog has every sidecar log what it receives. What it sends is logged where it arrives.
func accessLog() clusters.Object {
	t := &telemetry.Telemetry{
		TypeMeta:   metav1.TypeMeta{APIVersion: "telemetry.istio.io/v1", Kind: "Telemetry"},
		ObjectMeta: metav1.ObjectMeta{Namespace: istioNamespace, Name: "access-log"},
	}
	t.Spec.AccessLogging = []*telemetryapi.AccessLogging{{
		Match:     &telemetryapi.AccessLogging_LogSelector{Mode: telemetryapi.WorkloadMode_SERVER},
		Providers: []*telemetryapi.ProviderRef{{Name: accessLogProvider}},
	}}
	return t
}
