package kind

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/meshproof/meshproof/clusters"
)

// labelImported marks EndpointSlices of other clusters' pods (KEP-1645).
const labelImported = "multicluster.kubernetes.io/service-name"

// target is where a Service leads to in one cluster: addresses, each with these ports (by the names of the Service's own).
type target struct {
	addresses []string
	ports     map[string]int32
}

// inside is where a Service (namespace/name) leads to in its own cluster: its ready pods. The fleet's lock must be held.
func (c *cluster) inside(key string) target {
	t := target{ports: map[string]int32{}}
	svc := c.services[key]
	if svc == nil || len(svc.Spec.Selector) == 0 {
		return t
	}
	for _, p := range svc.Spec.Ports {
		t.ports[p.Name] = targetPort(p)
	}
	for _, p := range c.behind(key) {
		t.addresses = append(t.addresses, p.ip)
	}
	slices.Sort(t.addresses)
	return t
}

// behind are the ready pods of a Service (namespace/name) in its own cluster. The fleet's lock must be held.
func (c *cluster) behind(key string) (list []*pod) {
	svc := c.services[key]
	if svc == nil || len(svc.Spec.Selector) == 0 {
		return nil
	}
	selector := labels.SelectorFromSet(svc.Spec.Selector)
	for _, p := range c.pods {
		if p.ready && p.ip != "" && p.ref.Namespace == svc.Namespace && selector.Matches(labels.Set(p.obj.Labels)) {
			list = append(list, p)
		}
	}
	return list
}

// outside is where other clusters reach the pods of a Service in this one: the pods themselves on a flat network, the
// gateway where networks are separate, which is a port of every node. Where no pod is ready there is nothing to be
// reached. The fleet's lock must be held.
func (c *cluster) outside(key string) target {
	t := c.inside(key)
	if !c.f.spec.Separate || len(t.addresses) == 0 {
		return t
	}
	t = target{ports: c.gateways[key]}
	if t.ports == nil {
		return t
	}
	for _, n := range c.nodes {
		t.addresses = append(t.addresses, n.address.String())
	}
	return t
}

// targetPort is the port of the pods that a Service's port leads to.
func targetPort(p corev1.ServicePort) int32 {
	if n := p.TargetPort.IntVal; n != 0 {
		return n
	}
	return p.Port
}

// shared lists the other clusters that have a Service, too. The fleet's lock must be held.
func (c *cluster) shared(key string) []*cluster {
	return slices.DeleteFunc(c.others(), func(o *cluster) bool { return o.services[key] == nil })
}

// gated reports whether other clusters reach a Service by a gateway. The fleet's lock must be held.
func (c *cluster) gated(key string) bool {
	svc := c.services[key]
	return c.f.spec.Separate && svc != nil && len(svc.Spec.Selector) > 0 && len(c.shared(key)) > 0
}

// wanted is what kube-proxy's rules must lead to: "namespace/name:port" → addresses, sorted. It says what is lacking for
// that. The fleet's lock must be held.
func (c *cluster) wanted() (want map[string][]string, lacking []string) {
	want = map[string][]string{}
	add := func(svc *corev1.Service, targets ...target) {
		for _, p := range svc.Spec.Ports {
			var list []string
			for _, t := range targets {
				for _, a := range t.addresses {
					if n, ok := t.ports[p.Name]; ok {
						list = append(list, net.JoinHostPort(a, strconv.Itoa(int(n))))
					}
				}
			}
			slices.Sort(list)
			want[nameOf(svc)+":"+p.Name] = list
		}
	}
	for key, svc := range c.services {
		targets := []target{c.inside(key)}
		for _, o := range c.shared(key) {
			targets = append(targets, o.outside(key))
			if o.gated(key) && o.gateways[key] == nil {
				lacking = append(lacking, fmt.Sprintf("cluster %s has no gateway for %s yet", o.name, key))
			}
		}
		add(svc, targets...)
		if c.gated(key) {
			g, t := gatewayOf(svc), c.inside(key)
			for _, p := range g.Spec.Ports {
				t.ports[p.Name] = targetPort(p)
			}
			add(g, t)
		}
	}
	slices.Sort(lacking)
	return want, lacking
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

// mirrorOnce writes what of a cluster is not as it was written last: the gateways of its Services, where networks are
// separate, and the slices of the other clusters' pods.
func (c *cluster) mirrorOnce(ctx context.Context, written map[string]string) error {
	c.f.mu.Lock()
	gateways := map[string]*corev1.Service{}
	var slicesNow []*discoveryv1.EndpointSlice
	for _, key := range slices.Sorted(maps.Keys(c.services)) {
		if c.gated(key) {
			gateways[key] = gatewayOf(c.services[key])
		}
		for _, o := range c.shared(key) {
			s := slice(c.services[key], o.name, o.outside(key))
			if c.f.mesh != nil {
				c.f.mesh.imported(s, o.behind(key))
			}
			slicesNow = append(slicesNow, s)
		}
	}
	c.f.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(gateways)) {
		g := gateways[key]
		changed, err := c.write(ctx, g, written)
		if err == nil && changed {
			err = c.opened(ctx, key, g)
		}
		if err != nil {
			delete(written, clusters.Key(g))
			return fmt.Errorf("opening the gateway of %s in cluster %s: %w", key, c.name, err)
		}
	}
	for _, s := range slicesNow {
		if _, err := c.write(ctx, s, written); err != nil {
			return fmt.Errorf("making the pods of other clusters known in cluster %s: %w", c.name, err)
		}
	}
	return nil
}

// write applies an object of the driver's own, unless it was written like that before.
func (c *cluster) write(ctx context.Context, obj clusters.Object, written map[string]string) (changed bool, err error) {
	body, err := json.Marshal(obj)
	if err != nil {
		return false, err
	}
	id := clusters.Key(obj)
	if written[id] == string(body) {
		return false, nil
	}
	gvk := obj.GetObjectKind().GroupVersionKind()
	p := patch{kind: gvk.Kind, namespace: obj.GetNamespace(), name: obj.GetName(), gvk: gvk, body: body}
	if _, err := c.patch(ctx, p, false); err != nil {
		return false, err
	}
	written[id] = string(body)
	return true, nil
}

// slice is the EndpointSlice of a Service's pods in another cluster.
func slice(svc *corev1.Service, of string, t target) *discoveryv1.EndpointSlice {
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
		if n, ok := t.ports[p.Name]; ok {
			s.Ports = append(s.Ports, discoveryv1.EndpointPort{
				Name: new(p.Name), Port: new(n), Protocol: new(cmp.Or(p.Protocol, corev1.ProtocolTCP)), AppProtocol: p.AppProtocol,
			})
		}
	}
	for _, a := range t.addresses {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{a}, Conditions: discoveryv1.EndpointConditions{Ready: new(true)},
		})
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
