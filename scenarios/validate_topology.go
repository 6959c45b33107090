package scenarios

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

const (
	clustersPath = "spec.topology.clusters"
	servicesPath = "spec.topology.services"
	maxLatency   = Duration(10e9) // of the network
	maxCalls     = 1000           // made on behalf of one request, at most
)

// reservedNamespaces are Meshproof's own and those of the control planes.
var reservedNamespaces = []string{IngressNamespace, OutsiderNamespace, "istio-system", "kube-system", "kube-public", "kube-node-lease"}

func (v *validator) topology() {
	t := &v.s.Spec.Topology
	names := make([]string, len(t.Clusters))
	for i, c := range t.Clusters {
		names[i] = c.Name
		v.label(fmt.Sprintf("%s[%d].name", clustersPath, i), c.Name)
	}
	v.unique(clustersPath, ".name", names)
	if t.Network.Latency > maxLatency {
		v.problem("spec.topology.network.latency", t.Network.Latency.String()+" is too long", "at most "+maxLatency.String())
	}
	names = make([]string, len(t.Services))
	for i := range t.Services {
		names[i] = t.Services[i].Name
		v.service(fmt.Sprintf("%s[%d]", servicesPath, i), &t.Services[i])
	}
	v.unique(servicesPath, ".name", names)
	v.callGraph()
}

func (v *validator) service(path string, s *Service) {
	switch {
	case s.Name == IngressName || s.Name == OutsiderName:
		v.problem(path+".name", quote(s.Name)+" is the name of a workload that Meshproof adds itself", "choose another name")
	case s.Name == OutsideName:
		v.problem(path+".name", quote(s.Name)+" is Meshproof's word for clients outside of the clusters", "choose another name")
	case len(validation.IsDNS1035Label(s.Name)) > 0:
		v.problem(path+".name", quote(s.Name)+" is not a DNS label", "lower-case letters, digits and dashes, starting with a letter, at most 63")
	}
	if slices.Contains(reservedNamespaces, s.Namespace) {
		v.problem(path+".namespace", quote(s.Namespace)+" belongs to Meshproof or to a control plane", "choose another namespace, or leave it out for app")
	} else {
		v.label(path+".namespace", s.Namespace)
	}
	if v.d.positions.has(path + ".clusters") {
		for j, c := range s.Clusters {
			refers(v, fmt.Sprintf("%s.clusters[%d]", path, j), "cluster", c, v.clusters, clustersPath)
		}
		v.unique(path+".clusters", "", s.Clusters)
	}
	if s.Latency.P99 < s.Latency.P50 {
		v.problem(path+".latency.p99", fmt.Sprintf("%s is below p50 (%s)", s.Latency.P99, s.Latency.P50), "a 99th percentile is at least the median")
	}
	for j, c := range s.Calls {
		p := fmt.Sprintf("%s.calls[%d]", path, j)
		v.method(p+".method", c.Method)
		v.urlPath(p+".path", c.Path, false)
		if refers(v, p+".to", "service", c.To, v.services, servicesPath) && s.Name != "" {
			v.allowed(p, fmt.Sprintf("%s calls %s %s on %s", s.Name, c.Method, c.Path, c.To), s.Name, c.To, c.Method, c.Path)
		}
	}
}

// callGraph refuses cycles, and graphs in which one request would make an absurd number of calls.
func (v *validator) callGraph() {
	order := map[string]int{} // by name, the index of the service
	for i, s := range v.s.Spec.Topology.Services {
		if _, twice := order[s.Name]; !twice {
			order[s.Name] = i
		}
	}
	g := callGraph{v: v, index: order, state: make([]int, len(v.s.Spec.Topology.Services)), calls: make([]float64, len(v.s.Spec.Topology.Services))}
	for i := range v.s.Spec.Topology.Services {
		g.visit(i)
	}
	if g.cyclic {
		return
	}
	for i, n := range g.calls {
		if n > maxCalls {
			v.problem(fmt.Sprintf("%s[%d].calls", servicesPath, i), fmt.Sprintf("one request makes up to %.0f calls, directly and further on", n), fmt.Sprintf("at most %d", maxCalls))
			return // whoever calls it has the same problem
		}
	}
}

type callGraph struct {
	v      *validator
	index  map[string]int
	state  []int     // 0 not seen, 1 on the way, 2 done
	calls  []float64 // made on behalf of one request; a float, because it may be astronomic
	cyclic bool
}

// visit goes through the calls depth first, without recursion: a file may hold a chain of thousands of services.
func (g *callGraph) visit(root int) {
	type step struct{ service, call int }
	services := g.v.s.Spec.Topology.Services
	if g.state[root] != 0 {
		return
	}
	stack := []step{{service: root}}
	g.state[root] = 1
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		s := &services[top.service]
		if top.call == len(s.Calls) {
			for _, c := range s.Calls {
				if j, ok := g.index[c.To]; ok {
					g.calls[top.service] += 1 + g.calls[j]
				}
			}
			g.state[top.service] = 2
			stack = stack[:len(stack)-1]
			continue
		}
		k := top.call
		top.call++
		next, ok := g.index[s.Calls[k].To]
		switch {
		case !ok:
		case g.state[next] == 0:
			g.state[next] = 1
			stack = append(stack, step{service: next})
		case g.state[next] == 1:
			g.cyclic = true
			var names []string
			for i := slices.IndexFunc(stack, func(x step) bool { return x.service == next }); i < len(stack); i++ {
				names = append(names, services[stack[i].service].Name)
			}
			names = append(names, services[next].Name)
			if n := len(names); n > 12 {
				names = append(append(names[:6:6], "…"), names[n-5:]...)
			}
			g.v.problem(fmt.Sprintf("%s[%d].calls[%d].to", servicesPath, stack[len(stack)-1].service, k),
				"the calls go in a circle: "+strings.Join(names, " → "), "a request would never end; remove one of these calls")
		}
	}
}
