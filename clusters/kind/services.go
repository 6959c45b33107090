package kind

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// labelImported marks EndpointSlices of other clusters' pods (KEP-1645).
const labelImported = "multicluster.kubernetes.io/service-name"

// endpoint is a ready pod behind a Service.
type endpoint struct {
	cluster, ip string
}

// endpoints lists the ready pods behind a Service (namespace/name) in every cluster that has it. The fleet's lock must be
// held.
func (f *fleet) endpoints(key string) []endpoint {
	var eps []endpoint
	for _, c := range f.list {
		svc := c.services[key]
		if svc == nil || len(svc.Spec.Selector) == 0 {
			continue
		}
		selector := labels.SelectorFromSet(svc.Spec.Selector)
		for _, p := range c.pods {
			if p.ready && p.ip != "" && p.ref.Namespace == svc.Namespace && selector.Matches(labels.Set(p.obj.Labels)) {
				eps = append(eps, endpoint{c.name, p.ip})
			}
		}
	}
	slices.SortFunc(eps, func(a, b endpoint) int { return cmp.Or(cmp.Compare(a.cluster, b.cluster), cmp.Compare(a.ip, b.ip)) })
	return eps
}

// targetPort is the port of the pods that a Service's port leads to.
func targetPort(p corev1.ServicePort) int32 {
	if n := p.TargetPort.IntVal; n != 0 {
		return n
	}
	return p.Port
}

// mirror keeps, in every cluster, EndpointSlices of the other clusters' pods, until the fleet ends.
func (f *fleet) mirror(ctx context.Context) {
	written := map[*cluster]map[string]string{}
	for _, c := range f.list {
		written[c] = map[string]string{}
	}
	for ctx.Err() == nil {
		changed := f.change()
		again := false
		for _, c := range f.list {
			err := c.mirrorOnce(ctx, written[c])
			f.mu.Lock()
			if (err != nil) != (c.mirrored != nil) {
				f.notify()
			}
			c.mirrored = err
			f.mu.Unlock()
			again = again || err != nil
		}
		if again {
			sleep(ctx, lookAgain)
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// mirrorOnce writes those slices of a cluster that are not as they were written last.
func (c *cluster) mirrorOnce(ctx context.Context, written map[string]string) error {
	c.f.mu.Lock()
	var slicesNow []*discoveryv1.EndpointSlice
	for _, key := range slices.Sorted(maps.Keys(c.services)) {
		eps := c.f.endpoints(key)
		for _, o := range c.f.list {
			if o != c && o.services[key] != nil {
				slicesNow = append(slicesNow, slice(c.services[key], o.name, eps))
			}
		}
	}
	c.f.mu.Unlock()
	for _, s := range slicesNow {
		body, err := json.Marshal(s)
		if err != nil {
			return err
		}
		id := s.Namespace + "/" + s.Name
		if written[id] == string(body) {
			continue
		}
		p := patch{kind: s.Kind, namespace: s.Namespace, name: s.Name, gvk: s.GroupVersionKind(), body: body}
		if _, err := c.patch(ctx, p, false); err != nil {
			return fmt.Errorf("making the pods of other clusters known in cluster %s: %w", c.name, err)
		}
		written[id] = string(body)
	}
	return nil
}

// slice is the EndpointSlice of a Service's pods in another cluster.
func slice(svc *corev1.Service, of string, eps []endpoint) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		TypeMeta: metav1.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSlice"},
		ObjectMeta: metav1.ObjectMeta{
			Name: svc.Name + "-of-" + of, Namespace: svc.Namespace,
			Labels: map[string]string{
				discoveryv1.LabelServiceName: svc.Name, discoveryv1.LabelManagedBy: fieldManager,
				// Says that it is imported (KEP-1645). Istio passes over such slices: it reads the other clusters itself, and
				// would know no identity of pods that another cluster's slice lists by their addresses alone.
				labelImported: svc.Name,
			},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{},
	}
	for _, p := range svc.Spec.Ports {
		s.Ports = append(s.Ports, discoveryv1.EndpointPort{
			Name: new(p.Name), Port: new(targetPort(p)), Protocol: new(cmp.Or(p.Protocol, corev1.ProtocolTCP)), AppProtocol: p.AppProtocol,
		})
	}
	for _, ep := range eps {
		if ep.cluster == of {
			s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
				Addresses: []string{ep.ip}, Conditions: discoveryv1.EndpointConditions{Ready: new(true)},
			})
		}
	}
	return s
}

// rule is a line of kube-proxy's that leads from a Service to one of its endpoints: its comment names both.
var rule = regexp.MustCompile(`^-A KUBE-SVC-\S+ .*--comment "(\S+) -> (\S+)" .*-j KUBE-SEP-`)

// proxied reads from kube-proxy's rules (iptables-save) which endpoints each port of a Service has: "namespace/name:port"
// → addresses, sorted.
func proxied(rules string) map[string][]string {
	have := map[string][]string{}
	for line := range strings.Lines(rules) {
		if m := rule.FindStringSubmatch(line); m != nil {
			have[m[1]] = append(have[m[1]], m[2])
		}
	}
	for _, list := range have {
		slices.Sort(list)
	}
	return have
}
