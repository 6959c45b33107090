package istio

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	networkingapi "istio.io/api/networking/v1alpha3"
	networking "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/meshproof/meshproof/clusters/embedded/proxy"
	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// registered is one host that istiod knows: a Service, or a host of a ServiceEntry.
type registered struct {
	proxy.Service
	names []string // by which the client reaches it
}

// registryOf lists by host what a client can name. Of several ServiceEntries for a host the oldest counts.
func registryOf(snap *proxy.Snapshot, entries []*networking.ServiceEntry, client proxy.Pod) map[string]registered {
	reg := make(map[string]registered, len(snap.Services))
	for host, svc := range snap.Services {
		reg[host] = registered{svc, hostNames(svc.Name, svc.Namespace, client.Namespace)}
	}
	for _, e := range entries {
		for _, host := range e.Spec.GetHosts() {
			if _, ok := reg[host]; !ok && len(e.Spec.GetPorts()) > 0 {
				reg[host] = registered{entryService(e, host, snap, client.Cluster), []string{host}}
			}
		}
	}
	return reg
}

// entryService is a ServiceEntry with resolution DNS as Envoy sees it: the endpoints whose names resolve. Those are
// ClusterIPs of Services. Envoy knows nothing of the pods behind them, neither their mesh nor their identities.
func entryService(e *networking.ServiceEntry, host string, snap *proxy.Snapshot, cluster string) proxy.Service {
	port := e.Spec.GetPorts()[0]
	svc := proxy.Service{Namespace: e.Namespace, Name: host, Host: host, Port: int(port.GetNumber())}
	for _, ep := range e.Spec.GetEndpoints() {
		if _, ok := snap.Services[ep.GetAddress()]; !ok {
			continue
		}
		svc.Endpoints = append(svc.Endpoints, proxy.Endpoint{
			PodRef: evidence.PodRef{Cluster: cluster},
			Addr:   net.JoinHostPort(ep.GetAddress(), strconv.FormatUint(uint64(endpointPort(port, ep)), 10)),
		})
	}
	return svc
}

// endpointPort is the port where an endpoint listens: its own word, else the entry's targetPort, else the entry's port.
func endpointPort(p *networkingapi.ServicePort, ep *networkingapi.WorkloadEntry) uint32 {
	if n, ok := ep.GetPorts()[p.GetName()]; ok {
		return n
	}
	if n := p.GetTargetPort(); n != 0 {
		return n
	}
	return p.GetNumber()
}

const inCluster = ".svc." + scenarios.TrustDomain

func (r *report) serviceEntry(e *networking.ServiceEntry) {
	r.exported(e.Spec.GetExportTo())
	if len(e.Spec.GetHosts()) == 0 {
		r.Refuse("spec.hosts", "there is none; %s", byIstiod)
	}
	for i, h := range e.Spec.GetHosts() {
		path := fmt.Sprintf("spec.hosts[%d]", i)
		switch {
		case strings.Contains(h, "*"):
			r.Refuse(path, "%q is a wildcard; %s", h, useReal)
		case !strings.Contains(h, ".") || len(validation.IsDNS1123Subdomain(h)) > 0:
			r.Refuse(path, "%q is no full host name such as shop.global; %s", h, byIstiod)
		case strings.HasSuffix(h, inCluster):
			r.Refuse(path, "%q is the name of a Service, and how istiod merges the two is not modelled: take a name outside %s", h, inCluster[1:])
		}
	}
	switch e.Spec.GetLocation() {
	case networkingapi.ServiceEntry_MESH_EXTERNAL, networkingapi.ServiceEntry_MESH_INTERNAL:
	default:
		r.Refuse("spec.location", "%v is no location; %s", e.Spec.GetLocation(), byIstiod)
	}
	if e.Spec.GetResolution() != networkingapi.ServiceEntry_DNS {
		r.Refuse("spec.resolution", "%v is not DNS; %s", e.Spec.GetResolution(), useReal)
	}
	if len(e.Spec.GetEndpoints()) == 0 {
		r.Refuse("spec.endpoints", "there is none, so that the host itself is looked up, outside of the clusters; %s", useReal)
	}
	if n := len(e.Spec.GetPorts()); n != 1 {
		r.Refuse("spec.ports", "there are %d; one is modelled", n)
		return
	}
	p := e.Spec.GetPorts()[0]
	r.port("spec.ports[0].number", p.GetNumber())
	if p.GetTargetPort() != 0 {
		r.port("spec.ports[0].targetPort", p.GetTargetPort())
	}
	if p.GetName() == "" {
		r.Refuse("spec.ports[0].name", "it is empty; %s", byIstiod)
	}
	if strings.ToUpper(p.GetProtocol()) != "HTTP" {
		r.Refuse("spec.ports[0].protocol", "%q is not HTTP, and HTTP/1.1 alone is modelled", p.GetProtocol())
	}
	for i, ep := range e.Spec.GetEndpoints() {
		r.entryEndpoint(fmt.Sprintf("spec.endpoints[%d]", i), p.GetName(), ep)
	}
}

func (r *report) entryEndpoint(path, port string, ep *networkingapi.WorkloadEntry) {
	if name, ok := strings.CutSuffix(ep.GetAddress(), inCluster); !ok || strings.Count(name, ".") != 1 {
		r.Refuse(path+".address", "%q is no Service of the cluster: write <name>.<namespace>%s; %s", ep.GetAddress(), inCluster, useReal)
	}
	for _, name := range sortedKeys(ep.GetPorts()) {
		at := path + ".ports[" + name + "]"
		if name != port {
			r.Refuse(at, "spec.ports has no port of that name; %s", byIstiod)
		}
		r.port(at, ep.GetPorts()[name])
	}
}

func (r *report) port(path string, n uint32) {
	if n < 1 || n > 65535 {
		r.Refuse(path, "%d is no port; %s", n, byIstiod)
	}
}
