package kind

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/meshproof/meshproof/internal/agent"
	"github.com/meshproof/meshproof/internal/workload"
	"github.com/meshproof/meshproof/scenarios"
)

const (
	gatewayContainer = "gateway"
	gatewayHealth    = 15021
	// gatewayVia is the port of the pod's own loopback on which Envoy takes what the workload sends: nothing captures it.
	gatewayVia = 15080
	istioProxy = "proxyv2"
)

// isGateway knows Istio's gateway by its image, whatever registry it comes from. Its name decides nothing here, and much
// in Linkerd's injector.
func isGateway(ct *corev1.Container) bool {
	name, _, _ := strings.Cut(path.Base(ct.Image), "@")
	name, _, _ = strings.Cut(name, ":")
	return name == istioProxy
}

// completeGateway adds to a container of Istio's proxy, which is written by hand, what Istio's injector would: arguments,
// who it is, its token, the root of istiod. The workload beside it sends through it.
func (f *fleet) completeGateway(spec *corev1.PodSpec, at int) {
	g := &spec.Containers[at]
	if img, ok := f.images[istioProxy]; ok {
		g.Image = img.ref
	}
	g.ImagePullPolicy = corev1.PullIfNotPresent
	g.Args = []string{
		"proxy", "sidecar", "--domain", "$(POD_NAMESPACE).svc." + scenarios.TrustDomain,
		"--proxyLogLevel=warning", "--proxyComponentLogLevel=misc:error", "--log_output_level=default:info",
	}
	field := func(name, path string) corev1.EnvVar {
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
	}
	// Before the container's own: an environment variable may name those that stand before it.
	g.Env = append([]corev1.EnvVar{
		field("POD_NAME", "metadata.name"), field("POD_NAMESPACE", "metadata.namespace"), field("INSTANCE_IP", "status.podIP"),
		field("SERVICE_ACCOUNT", "spec.serviceAccountName"), field("HOST_IP", "status.hostIP"),
		field("ISTIO_META_NODE_NAME", "spec.nodeName"),
		{Name: "ISTIO_META_HTTP_PROXY_PORT", Value: fmt.Sprint(gatewayVia)},
		{Name: "ISTIO_META_WORKLOAD_NAME", Value: scenarios.IngressName},
		{Name: "TRUST_DOMAIN", Value: scenarios.TrustDomain},
		{Name: "PROXY_CONFIG", Value: f.proxyConfig()},
	}, g.Env...)
	ready := corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz/ready", Port: intstr.FromInt32(gatewayHealth)}}
	g.StartupProbe = &corev1.Probe{ProbeHandler: ready, PeriodSeconds: 1, TimeoutSeconds: 3, FailureThreshold: 120}
	g.ReadinessProbe = &corev1.Probe{ProbeHandler: ready, PeriodSeconds: 15, TimeoutSeconds: 3, FailureThreshold: 4}
	mount := func(name, path string, from corev1.VolumeSource) {
		g.VolumeMounts = append(g.VolumeMounts, corev1.VolumeMount{Name: name, MountPath: path})
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: name, VolumeSource: from})
	}
	empty := corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
	mount("istio-envoy", "/etc/istio/proxy", corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}})
	mount("istio-data", "/var/lib/istio/data", empty)
	mount("workload-socket", "/var/run/secrets/workload-spiffe-uds", empty)
	mount("credential-socket", "/var/run/secrets/credential-uds", empty)
	mount("workload-certs", "/var/run/secrets/workload-spiffe-credentials", empty)
	mount("istiod-ca-cert", "/var/run/secrets/istio", corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: "istio-ca-root-cert"},
	}})
	mount("istio-token", "/var/run/secrets/tokens", corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
			Audience: "istio-ca", ExpirationSeconds: new(int64(43200)), Path: "istio-token",
		}}},
	}})
	info := func(what string) corev1.DownwardAPIVolumeFile {
		return corev1.DownwardAPIVolumeFile{Path: what, FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata." + what}}
	}
	mount("istio-podinfo", "/etc/istio/pod", corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{
		Items: []corev1.DownwardAPIVolumeFile{info("labels"), info("annotations")},
	}})
	for i := range spec.Containers {
		if spec.Containers[i].Image == workload.Image {
			spec.Containers[i].Env = append(spec.Containers[i].Env, corev1.EnvVar{Name: agent.EnvVia, Value: fmt.Sprintf("127.0.0.1:%d", gatewayVia)})
		}
	}
}

// proxyConfig is what the chart's values say of every proxy of Istio's, without the environment that its injector would
// set: a gateway that is written by hand has its own.
func (f *fleet) proxyConfig() string {
	cfg := map[string]any{}
	for _, in := range f.spec.Install {
		for _, r := range in.Releases {
			if mesh, ok := r.Values["meshConfig"].(map[string]any); ok {
				if d, ok := mesh["defaultConfig"].(map[string]any); ok {
					cfg = over(d, nil)
				}
			}
		}
	}
	delete(cfg, "proxyMetadata")
	text, err := json.Marshal(cfg)
	if err != nil {
		return "{}" // values of charts are JSON: Helm has read them
	}
	return string(text)
}

// outside is the port by which a pod that stands at the edge is entered: its gateway's, where it has one.
func outside(spec *corev1.PodSpec, workloads *corev1.Container) *corev1.Container {
	for i := range spec.Containers {
		if isGateway(&spec.Containers[i]) {
			return &spec.Containers[i]
		}
	}
	return workloads
}
