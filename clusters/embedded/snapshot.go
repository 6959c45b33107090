package embedded

import (
	"cmp"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/scenarios"
)

// publish makes the configuration of every cluster anew and hands it to every proxy. It holds everywhere when publish
// returns. The fleet's lock must be held.
func (f *fleet) publish() {
	f.version++
	for _, c := range f.list {
		s := c.build(f.version)
		c.snapshot.Store(s)
		for _, p := range c.pods() {
			if p.phase == ready && p.proxy != nil {
				p.proxy.Update(s)
			}
		}
		c.gateway.Store(c.ingressAddr())
	}
	f.notify()
}

// notify wakes who waits for a change. The fleet's lock must be held.
func (f *fleet) notify() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// build is the configuration of one cluster now.
func (c *cluster) build(version uint64) *proxy.Snapshot {
	s := &proxy.Snapshot{Version: version, Cluster: c.name, Services: map[string]proxy.Service{}, Hosts: c.f.spec.Hosts}
	for _, key := range slices.Sorted(maps.Keys(c.objects)) {
		obj := c.objects[key]
		s.Objects = append(s.Objects, obj)
		if svc, ok := obj.(*corev1.Service); ok {
			host := svc.Name + "." + svc.Namespace + ".svc." + scenarios.TrustDomain
			s.Services[host] = proxy.Service{
				Namespace: svc.Namespace, Name: svc.Name, Host: host, Port: int(svc.Spec.Ports[0].Port),
				Endpoints: c.f.endpoints(key),
			}
		}
	}
	return s
}

// endpoints are the pods behind a Service in every cluster that has it.
func (f *fleet) endpoints(key string) []proxy.Endpoint {
	var eps []proxy.Endpoint
	for _, c := range f.list {
		svc, ok := c.objects[key].(*corev1.Service)
		if !ok {
			continue
		}
		for _, p := range slices.Concat(c.pods(), c.fallen) {
			if p.listed && p.ref.Namespace == svc.Namespace && selects(svc.Spec.Selector, p.labels) {
				eps = append(eps, p.endpoint())
			}
		}
	}
	slices.SortFunc(eps, func(a, b proxy.Endpoint) int {
		return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Pod, b.Pod))
	})
	return eps
}

// namespaceMeta is what an injector reads of a namespace.
func (c *cluster) namespaceMeta(name string) proxy.Meta {
	ns := new(corev1.Namespace)
	ns.Name = name
	obj, ok := c.objects[clusters.Key(ns)]
	if !ok {
		return proxy.Meta{}
	}
	return proxy.Meta{Labels: obj.GetLabels(), Annotations: obj.GetAnnotations()}
}
