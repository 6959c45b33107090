package faults

import (
	"slices"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/scenarios"
)

// chaosNamespace is where Chaos Mesh stands.
const chaosNamespace = "chaos-mesh"

// Tools are what is installed in each cluster to carry a scenario's faults out: Chaos Mesh where a fault is by it, with
// only what is needed. Faults run one trial long, so one controller does, and nobody looks at a dashboard.
func Tools(s *scenarios.Scenario) []clusters.Release {
	by := func(f scenarios.Fault) bool { return f.By == scenarios.ByChaosMesh }
	if !slices.ContainsFunc(s.Spec.Faults, by) {
		return nil
	}
	type values = map[string]any
	return []clusters.Release{{
		Name: "chaos-mesh", Namespace: chaosNamespace, Chart: "chaos-mesh",
		Values: values{
			"controllerManager": values{
				"replicaCount": 1, "leaderElection": values{"enabled": false},
				// Requests are made small, so that what a machine can hold is what it can run; limits are Chaos Mesh's own.
				"resources": values{"requests": values{"cpu": "10m", "memory": "64Mi"}},
			},
			"chaosDaemon": values{"runtime": "containerd", "socketPath": "/run/containerd/containerd.sock"},
			"dashboard":   values{"create": false},
			"dnsServer": values{"create": slices.ContainsFunc(s.Spec.Faults, func(f scenarios.Fault) bool {
				return by(f) && f.Kind == scenarios.DNSError
			})},
		},
	}}
}
