package meshes

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	networkingapi "istio.io/api/networking/v1alpha3"
	typeapi "istio.io/api/type/v1beta1"
	networking "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshproof/meshproof/clusters"
	"github.com/meshproof/meshproof/clusters/linkerdapi"
	"github.com/meshproof/meshproof/internal/workload"
	"github.com/meshproof/meshproof/scenarios"
)

// layered is Istio at the edge with Linkerd behind it: Istio's gateway judges tokens and who may enter, Linkerd encrypts
// and judges who may call whom. The gateway is a container of the ingress's own pod; what it makes of requests to a
// service is decided by the entry (scenarios.Layered).
type layered struct{}

const (
	gatewayContainer = "gateway" // any name but istio-proxy, which Linkerd's injector takes for a sidecar
	gatewayImage     = "registry.istio.io/release/proxyv2:1.30.3"
	gatewayPort      = 8081 // for the outside; the workload has 8080
	gatewayPortName  = "http-outside"
	// gatewaySkips are the ports that the outside and the kubelet reach past Linkerd's proxy: the gateway's own listener,
	// its health and its metrics.
	gatewaySkips = "8081,15020,15021"
	linkerdSkip  = "config.linkerd.io/skip-inbound-ports"
	istioInject  = "sidecar.istio.io/inject"
)

// Name implements Mesh.
func (layered) Name() scenarios.MeshName { return scenarios.MeshLayered }

// Gaps implements Mesh.
func (layered) Gaps() []scenarios.Gap { return nil }

// Install implements Mesh: both control planes, Istio's for the gateways alone.
func (layered) Install(s *scenarios.Scenario, entry scenarios.MeshEntry, flavor, cluster string) clusters.Installation {
	in := istio{}.Install(s, entry, flavor, cluster)
	countHandshakes(in.Releases)
	in.Releases = append(in.Releases, linkerdReleases(s)...)
	in.Objects = append(in.Objects, workload.Namespace(scenarios.IngressNamespace, nil), gatewayListeners())
	return in
}

// gatewayStats are the statistics that a gateway's Envoy exports beside those of every proxy: its handshakes with services
// that failed. Where it has no proxy of Linkerd's, they say why it did not get through.
const gatewayStats = `cluster\.outbound\|.*\.ssl\.(connection_error|fail_verify_.*)`

// countHandshakes adds them to the values of istiod's chart. In layers it has no other proxies than gateways.
func countHandshakes(releases []clusters.Release) {
	for _, r := range releases {
		if mesh, ok := r.Values["meshConfig"].(values); ok {
			stats := mesh["defaultConfig"].(values)["proxyStatsMatcher"].(values)
			stats["inclusionRegexps"] = append(slices.Clone(stats["inclusionRegexps"].([]any)), gatewayStats)
		}
	}
}

// gatewayListeners has Istio's proxy in the ingress's pod listen for the outside, and lead what comes in to the workload
// beside it. Settings of the mesh then hold for it as for a sidecar, which it is to istiod: those about what it receives,
// and, for what the workload sends through it, those about what it sends.
func gatewayListeners() *networking.Sidecar {
	s := &networking.Sidecar{
		TypeMeta:   metav1.TypeMeta{APIVersion: "networking.istio.io/v1", Kind: "Sidecar"},
		ObjectMeta: metav1.ObjectMeta{Namespace: scenarios.IngressNamespace, Name: "meshproof-gateway"},
	}
	s.Spec.WorkloadSelector = &networkingapi.WorkloadSelector{Labels: map[string]string{workload.LabelApp: scenarios.IngressName}}
	s.Spec.Ingress = []*networkingapi.IstioIngressListener{{
		Port: &networkingapi.SidecarPort{Number: gatewayPort, Protocol: "HTTP", Name: gatewayPortName},
		Bind: "0.0.0.0", CaptureMode: networkingapi.CaptureMode_NONE,
		DefaultEndpoint: fmt.Sprintf("127.0.0.1:%d", scenarios.WorkloadPort),
	}}
	s.Spec.Egress = []*networkingapi.IstioEgressListener{{Hosts: []string{"*/*"}}}
	return s
}

// Objects implements Mesh.
func (layered) Objects(s *scenarios.Scenario, entry scenarios.MeshEntry, cluster string) ([]clusters.Object, error) {
	objs, err := workloadObjects(s, cluster, nil)
	if err != nil {
		return nil, err
	}
	how := howLayered(entry)
	settings, err := linkerdSettings(s, objs, how.identity)
	if err != nil {
		return nil, err
	}
	for _, o := range objs {
		if d, ok := o.(*appsv1.Deployment); ok && d.Namespace == scenarios.IngressNamespace && d.Name == scenarios.IngressName {
			how.addGateway(&d.Spec.Template, cluster, s.Spec.Identity.LeafLifetime.D())
		}
	}
	if how.Gateway == scenarios.GatewayDirect && defaultInbound(s) == allAuthenticated {
		settings = append(settings, admitGateway(s)...)
	}
	settings = append(settings, istioTokens(s)...)
	settings = append(settings, istioEdge(s)...)
	for _, w := range s.Workloads() {
		if w.Service != nil {
			settings = append(settings, how.lead(w)...)
		}
	}
	objs = beforeServices(objs, settings)
	return append([]clusters.Object{workload.Namespace(istioNamespace, nil)}, objs...), nil
}

// how says in which way a gateway reaches the services.
type how struct{ scenarios.Layered }

// howLayered fills in the defaults that an entry in a scenario has.
func howLayered(entry scenarios.MeshEntry) how {
	h := how{}
	if entry.Layered != nil {
		h.Layered = *entry.Layered
	}
	h.Gateway = cmp.Or(h.Gateway, scenarios.GatewayMeshed)
	h.Balancing = cmp.Or(h.Balancing, scenarios.BalancingService)
	return h
}

// identity is what a service sees of a caller. A direct gateway shows the certificate that Istio gave it, and its SPIFFE ID
// must be listed as it is: Linkerd's stars and its all-authenticated never hold for such names.
func (h how) identity(caller scenarios.Workload) string {
	if h.Gateway == scenarios.GatewayDirect && caller.Name == scenarios.IngressName {
		return caller.SPIFFEID()
	}
	return caller.LinkerdID()
}

// addGateway puts Istio's gateway into the pod of the ingress, written by hand: no injector of Istio's has a part in it. A
// certificate that it shows to services holds as long as theirs, where leaf says how long that is.
func (h how) addGateway(t *corev1.PodTemplateSpec, cluster string, leaf time.Duration) {
	c := corev1.Container{
		Name: gatewayContainer, Image: gatewayImage,
		Env: []corev1.EnvVar{
			{Name: "PILOT_CERT_PROVIDER", Value: "istiod"},
			{Name: "CA_ADDR", Value: "istiod." + istioNamespace + ".svc:15012"},
			// istiod's own name of the cluster: a gateway with another keeps an old configuration and serves it.
			{Name: "ISTIO_META_CLUSTER_ID", Value: cluster},
		},
		Ports: []corev1.ContainerPort{{Name: gatewayPortName, ContainerPort: gatewayPort}},
	}
	t.Labels[istioInject] = "false"
	t.Annotations = map[string]string{linkerdInject: "enabled", linkerdSkip: gatewaySkips}
	if h.Gateway == scenarios.GatewayDirect {
		// Linkerd takes ECDSA certificates alone, and Istio's are RSA by default.
		c.Env = append(c.Env, corev1.EnvVar{Name: istioLeafKey, Value: "ECDSA"})
		if leaf > 0 {
			c.Env = append(c.Env, corev1.EnvVar{Name: istioLeafLifetime, Value: leaf.String()})
		}
		t.Annotations = map[string]string{linkerdInject: "disabled"}
	}
	t.Spec.Containers = append(t.Spec.Containers, c)
}

// admitGateway lets a direct gateway in where every other client with a certificate of the mesh is let in by default.
func admitGateway(s *scenarios.Scenario) []clusters.Object {
	ingress, _ := s.Workload(scenarios.IngressName)
	var out []clusters.Object
	for _, w := range s.Workloads() {
		if w.Service == nil {
			continue
		}
		pods := &metav1.LabelSelector{MatchLabels: map[string]string{workload.LabelApp: w.Name}}
		name := w.Name + ".http"
		out = append(out,
			server(w.Namespace, name, pods, scenarios.WorkloadPort, allAuthenticated),
			meshTLS(w.Namespace, name, ingress.SPIFFEID()),
			authorize(w.Namespace, name, linkerdapi.TargetRef{Group: linkerdapi.Group, Kind: "Server", Name: name}),
		)
	}
	return out
}

// lead makes the gateway's routes to a service. Linkerd may be asked to retry, and retries on two layers multiply: the
// gateway has none. Everything stands in the gateway's namespace and, where the kind can say so, holds for it alone.
func (h how) lead(w scenarios.Workload) []clusters.Object {
	to := w.Host()
	var out []clusters.Object
	if h.Gateway == scenarios.GatewayMeshed && h.Balancing == scenarios.BalancingService {
		// Envoy connects to the pods of a Service by itself. An entry whose one address is the Service's makes it connect
		// there, and leaves the choice of the pod to Linkerd.
		to = fmt.Sprintf("%s.%s.clusterip.internal", w.Name, w.Namespace)
		out = append(out, serviceEntry(w, to))
	}
	rule := destinationRule(scenarios.IngressNamespace, w.Name, to)
	rule.Spec.WorkloadSelector = &typeapi.WorkloadSelector{MatchLabels: map[string]string{workload.LabelApp: scenarios.IngressName}}
	if h.Gateway == scenarios.GatewayDirect {
		rule.Spec.TrafficPolicy = &networkingapi.TrafficPolicy{Tls: &networkingapi.ClientTLSSettings{
			Mode: networkingapi.ClientTLSSettings_ISTIO_MUTUAL, Sni: w.LinkerdID(), SubjectAltNames: []string{w.LinkerdID()},
		}}
	}
	return append(out, virtualService(w, scenarios.IngressNamespace, to, false), rule)
}

func serviceEntry(w scenarios.Workload, host string) *networking.ServiceEntry {
	e := &networking.ServiceEntry{
		TypeMeta:   metav1.TypeMeta{APIVersion: "networking.istio.io/v1", Kind: "ServiceEntry"},
		ObjectMeta: metav1.ObjectMeta{Namespace: scenarios.IngressNamespace, Name: w.Name},
	}
	e.Spec.Hosts = []string{host}
	e.Spec.Location = networkingapi.ServiceEntry_MESH_INTERNAL
	e.Spec.Resolution = networkingapi.ServiceEntry_DNS
	e.Spec.Ports = []*networkingapi.ServicePort{{Number: scenarios.ServicePort, Name: "http", Protocol: "HTTP"}}
	e.Spec.Endpoints = []*networkingapi.WorkloadEntry{{Address: w.Host()}}
	return e
}
