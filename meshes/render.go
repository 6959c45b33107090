package meshes

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/scenarios"
)

// Render is everything that one cluster gets under a mesh: what the mesh renders of the scenario, and the mesh entry's
// own objects on top, of which one with the kind, namespace and name of a rendered one takes its place. The result is
// in the order of application. All errors of the entry's objects are reported at once, each with its place in the list.
func Render(m Mesh, entry scenarios.MeshEntry, s *scenarios.Scenario, cluster string) ([]clusters.Object, error) {
	objs, err := m.Objects(s, entry, cluster)
	if err != nil {
		return nil, fmt.Errorf("rendering mesh %s for cluster %s: %w", m.Name(), cluster, err)
	}
	at := map[string]int{}
	for i, obj := range objs {
		at[clusters.Key(obj)] = i
	}
	var errs []error
	own := map[string]int{}
	for i, raw := range entry.Objects {
		obj, err := clusters.Decode(raw)
		if err != nil {
			errs = append(errs, fmt.Errorf("objects[%d]: %w", i, err))
			continue
		}
		key := clusters.Key(obj)
		if first, twice := own[key]; twice {
			errs = append(errs, fmt.Errorf("objects[%d]: %s stands at objects[%d] already", i, describe(obj), first))
			continue
		}
		own[key] = i
		if j, replaces := at[key]; replaces {
			objs[j] = obj
		} else {
			objs = append(objs, obj)
		}
	}
	errs = append(errs, namespacesExist(objs, own)...)
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("mesh %s: %w", m.Name(), err)
	}
	clusters.Sort(objs)
	return objs, nil
}

// namespacesExist refuses objects of the entry that stand in a namespace which nobody makes.
func namespacesExist(objs []clusters.Object, own map[string]int) []error {
	exists := map[string]bool{"istio-system": true}
	for _, obj := range objs {
		if ns, ok := obj.(*corev1.Namespace); ok {
			exists[ns.Name] = true
		}
	}
	var errs []error
	for _, obj := range objs {
		i, ok := own[clusters.Key(obj)]
		if ns := obj.GetNamespace(); ok && ns != "" && !exists[ns] {
			errs = append(errs, fmt.Errorf("objects[%d]: %s: no service stands in namespace %q: correct it, or add the Namespace as an object", i, describe(obj), ns))
		}
	}
	return errs
}

func describe(obj clusters.Object) string {
	name := obj.GetName()
	if ns := obj.GetNamespace(); ns != "" {
		name = ns + "/" + name
	}
	return clusters.KindName(obj) + " " + name
}
