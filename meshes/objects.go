package meshes

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/internal/workload"
	"github.com/meshproof/meshproof/scenarios"
)

// workloadObjects renders what every mesh needs in a cluster: the workloads' namespaces with the labels that nsLabels
// gives them, then service accounts and Services of all workloads, so that every name resolves everywhere, then the
// Deployments of those that run in the cluster. nsLabels may be nil.
func workloadObjects(s *scenarios.Scenario, cluster string, nsLabels func(scenarios.Workload) map[string]string) ([]clusters.Object, error) {
	var namespaces, accounts, services, deployments []clusters.Object
	labelled := map[string]map[string]string{}
	owner := map[string]string{}
	for _, w := range s.Workloads() {
		var l map[string]string
		if nsLabels != nil {
			l = nsLabels(w)
		}
		have, known := labelled[w.Namespace]
		switch {
		case !known:
			labelled[w.Namespace], owner[w.Namespace] = l, w.Name
			namespaces = append(namespaces, workload.Namespace(w.Namespace, l))
		case !maps.Equal(have, l):
			return nil, fmt.Errorf("namespace %s holds %s and %s, which need different labels of it (%v and %v): give one of them a namespace of its own",
				w.Namespace, owner[w.Namespace], w.Name, have, l)
		}
		accounts = append(accounts, workload.ServiceAccount(w))
		services = append(services, workload.Service(w))
		if !slices.Contains(w.Clusters, cluster) {
			continue
		}
		d, err := workload.Deployment(s, w, cluster)
		if err != nil {
			return nil, err
		}
		deployments = append(deployments, d)
	}
	return slices.Concat(namespaces, accounts, services, deployments), nil
}

// beforeServices puts a mesh's settings before the Services, so that no pod ever runs without them.
func beforeServices(objs, settings []clusters.Object) []clusters.Object {
	at := slices.IndexFunc(objs, func(o clusters.Object) bool { _, ok := o.(*corev1.Service); return ok })
	if at < 0 {
		at = len(objs)
	}
	return slices.Insert(objs, at, settings...)
}
